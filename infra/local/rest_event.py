"""API Gateway REST (v1) proxy integration, pure: HTTP request to event, function answer to HTTP response.

Source: AWS API Gateway Developer Guide, "Set up Lambda proxy integrations in API Gateway", input and output format.
"""

import base64
import binascii
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

STAGE = "local"
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "upgrade", "te", "trailer", "proxy-connection"}

_NO_IDENTITY = (
    "accessKey",
    "accountId",
    "apiKey",
    "apiKeyId",
    "caller",
    "cognitoAuthenticationProvider",
    "cognitoAuthenticationType",
    "cognitoIdentityId",
    "cognitoIdentityPoolId",
    "principalOrgId",
    "user",
    "userArn",
)


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """What came over the wire. ``target`` is path and query as sent; headers keep order and case."""

    method: str
    target: str
    headers: Sequence[tuple[str, str]]
    body: bytes
    source_ip: str
    port: int


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """What goes back over the wire."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class MalformedProxyResponseError(Exception):
    """The function's answer is not in the proxy format; the caller gets a 502."""


def proxy_event(request: HttpRequest, now: datetime, trace: str) -> dict[str, Any]:
    """The event for ``request`` received at ``now``."""
    path, _, query = request.target.partition("?")
    pairs = parse_qsl(query, keep_blank_values=True)
    headers = _edge_headers(request, trace)
    text, is_base64 = _event_body(request.body)
    return {
        "resource": "/{proxy+}",
        "path": path,
        "httpMethod": request.method,
        "headers": dict(headers),
        "multiValueHeaders": _multi(headers),
        "queryStringParameters": dict(pairs) or None,
        "multiValueQueryStringParameters": _multi(pairs) or None,
        "pathParameters": {"proxy": path.lstrip("/")},
        "stageVariables": None,
        "requestContext": _context(request, path, now),
        "body": text,
        "isBase64Encoded": is_base64,
    }


def _edge_headers(request: HttpRequest, trace: str) -> list[tuple[str, str]]:
    """The client's headers plus those that the edge sets; the client's address is appended, never replaced."""
    forwarded = [value for name, value in request.headers if name.lower() == "x-forwarded-for"]
    edge = {
        "X-Forwarded-For": ", ".join([*forwarded, request.source_ip]),
        "X-Forwarded-Proto": "http",
        "X-Forwarded-Port": str(request.port),
        "X-Amzn-Trace-Id": trace,
    }
    replaced = {name.lower() for name in edge} | _HOP_BY_HOP
    kept = [(name, value) for name, value in request.headers if name.lower() not in replaced]
    return [*kept, *edge.items()]


def _multi(pairs: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return found


def _event_body(body: bytes) -> tuple[str | None, bool]:
    if not body:
        return None, False
    try:
        return body.decode(), False
    except UnicodeDecodeError:
        return base64.b64encode(body).decode(), True


def _header(headers: Sequence[tuple[str, str]], wanted: str) -> str | None:
    return next((value for name, value in headers if name.lower() == wanted), None)


def _context(request: HttpRequest, path: str, now: datetime) -> dict[str, Any]:
    identity = dict.fromkeys(_NO_IDENTITY)
    now = now.astimezone(UTC)
    return {
        "accountId": "123456789012",
        "apiId": "local",
        "authorizer": None,
        "domainName": _header(request.headers, "host") or "127.0.0.1",
        "domainPrefix": "local",
        "extendedRequestId": base64.b64encode(uuid.uuid4().bytes[:11]).decode(),
        "httpMethod": request.method,
        "identity": {
            **identity,
            "sourceIp": request.source_ip,
            "userAgent": _header(request.headers, "user-agent"),
        },
        "operationName": None,
        "path": path,
        "protocol": "HTTP/1.1",
        "requestId": str(uuid.uuid4()),
        "requestTime": now.strftime("%d/%b/%Y:%H:%M:%S +0000"),
        "requestTimeEpoch": int(now.timestamp() * 1000),
        "resourceId": "local",
        "resourcePath": "/{proxy+}",
        "stage": STAGE,
    }


def http_response(answer: Any) -> HttpResponse:
    """The HTTP response for a function's answer.

    Raises `MalformedProxyResponseError` for what API Gateway calls a malformed Lambda proxy response.
    """
    if not isinstance(answer, Mapping):
        raise MalformedProxyResponseError(f"the function answered {type(answer).__name__}, not an object")
    try:
        status = int(answer["statusCode"])
        single: Mapping[str, Any] = answer.get("headers") or {}
        multi: Mapping[str, Sequence[Any]] = answer.get("multiValueHeaders") or {}
        headers = [(name, str(value)) for name, values in multi.items() for value in values]
        named = {name.lower() for name, _ in headers}
        headers += [(name, str(value)) for name, value in single.items() if name.lower() not in named]
        body = "" if answer.get("body") is None else answer["body"]
        content = base64.b64decode(body, validate=True) if answer.get("isBase64Encoded") else body.encode()
    except (KeyError, TypeError, ValueError, AttributeError, binascii.Error) as exc:
        raise MalformedProxyResponseError(f"malformed proxy response: {exc!r}") from exc
    if not 100 <= status <= 599:
        raise MalformedProxyResponseError(f"malformed proxy response: statusCode {status}")
    dropped = _HOP_BY_HOP | {"content-length"}
    return HttpResponse(status, [(n, v) for n, v in headers if n.lower() not in dropped], content)
