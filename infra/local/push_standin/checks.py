"""What the real services check of a request, in their words."""

import re
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs

import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from starlette.requests import Request

from evpower.notifications import web_crypto
from infra.local.push_standin import credentials as local
from infra.local.push_standin.credentials import PushCredentials

_SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_APNS_TOKEN = re.compile(r"[0-9a-f]{64}")
_TOPIC = re.compile(r"[A-Za-z0-9_-]{1,32}")
_DAY_S = 86400


class Fault(Exception):
    """A request that the real service would refuse."""

    def __init__(self, status: int, reason: str, body: Any = None) -> None:
        super().__init__(f"{status} {reason}")
        self.status = status
        self.reason = reason
        self.body = body if body is not None else {"reason": reason}


def _public(pem: str) -> rsa.RSAPublicKey | ec.EllipticCurvePublicKey:
    key = load_pem_private_key(pem.encode(), password=None)
    assert isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey)
    return key.public_key()


def assertion(body: str, credentials: PushCredentials, audience: str) -> None:
    """RFC 7523 §3 as Google's token endpoint wants it."""
    form = {name: values[0] for name, values in parse_qs(body).items()}
    try:
        if form.get("grant_type") != _GRANT:
            raise Fault(400, "unsupported_grant_type", {"error": "unsupported_grant_type"})
        claims = jwt.decode(
            form.get("assertion", ""),
            _public(credentials.service_account_key),
            ["RS256"],
            audience=audience,
            issuer=local.CLIENT_EMAIL,
            options={"require": ["iat", "exp"]},
        )
    except jwt.InvalidTokenError as error:
        raise Fault(400, f"invalid_grant {error}", {"error": "invalid_grant"}) from error
    if claims.get("scope") != _SCOPE or claims["exp"] - claims["iat"] > 3600:
        raise Fault(400, "invalid_scope", {"error": "invalid_scope"})


def _google(status: int, word: str, detail: dict[str, Any] | None = None) -> Fault:
    error = {"code": status, "message": word, "status": word, "details": [detail] if detail else []}
    return Fault(status, word, {"error": error})


def fcm(request: Request, body: Any, tokens: Sequence[str]) -> dict[str, Any]:
    """``projects.messages.send``: the message."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme != "Bearer" or token not in tokens:
        raise _google(401, "UNAUTHENTICATED")
    if request.path_params["project"] != local.PROJECT:
        raise _google(403, "PERMISSION_DENIED")
    message: dict[str, Any] = body["message"]
    data = message.get("data", {})
    if not all(isinstance(value, str) for value in data.values()):
        raise _google(400, "INVALID_ARGUMENT", {"fieldViolations": [{"field": "message.data"}]})
    if any(name in ("from", "message_type") or name.startswith(("google.", "gcm.")) for name in data):
        raise _google(400, "INVALID_ARGUMENT", {"fieldViolations": [{"field": "message.data"}]})
    if not isinstance(message.get("token"), str) or ":" not in message["token"]:
        raise _google(400, "INVALID_ARGUMENT", {"fieldViolations": [{"field": "message.token"}]})
    if not re.fullmatch(r"\d+s", message["android"]["ttl"]) or len(orjson.dumps(data)) > 4096:
        raise _google(400, "INVALID_ARGUMENT")
    return message


def apns(request: Request, body: bytes, credentials: PushCredentials) -> dict[str, Any]:
    """``POST /3/device/{token}``: the payload."""
    if request.scope["http_version"] != "2":
        raise Fault(505, "HTTP/2 only")
    if len(body) > 4096:
        raise Fault(413, "PayloadTooLarge")
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme != "bearer":
        raise Fault(403, "MissingProviderToken")
    try:
        header = jwt.get_unverified_header(token)
        claims = jwt.decode(token, _public(credentials.apns_key), ["ES256"], issuer=local.APNS_TEAM_ID)
    except jwt.InvalidTokenError as error:
        raise Fault(403, "InvalidProviderToken") from error
    if header.get("kid") != local.APNS_KEY_ID:
        raise Fault(403, "InvalidProviderToken")
    if abs(time.time() - claims["iat"]) > 3600:
        raise Fault(403, "ExpiredProviderToken")
    if request.headers.get("apns-topic") != local.APNS_TOPIC:
        raise Fault(400, "BadTopic")
    if request.headers.get("apns-push-type") != "alert" or request.headers.get("apns-priority") not in ("5", "10"):
        raise Fault(400, "InvalidPushType")
    if not 0 < len(request.headers.get("apns-collapse-id", "").encode()) <= 64:
        raise Fault(400, "BadCollapseId")
    if not request.headers.get("apns-expiration", "").isdigit():
        raise Fault(400, "BadExpirationDate")
    if not _APNS_TOKEN.fullmatch(request.path_params["token"]):
        raise Fault(400, "BadDeviceToken")
    payload: dict[str, Any] = orjson.loads(body)
    return payload


def vapid(request: Request, body: bytes, credentials: PushCredentials, audience: str) -> None:
    """RFC 8030 §5 and RFC 8292 §2-4."""
    match = re.fullmatch(r"vapid t=([^,\s]+), ?k=([^,\s]+)", request.headers.get("authorization", ""))
    if match is None:
        raise Fault(401, "no VAPID authorization")
    raw = int.from_bytes(web_crypto.decode(credentials.vapid_key), "big")
    key = ec.derive_private_key(raw, ec.SECP256R1()).public_key()
    if match[2] != web_crypto.encode(web_crypto.point(key)):
        raise Fault(403, "not the key of the subscription")
    try:
        claims = jwt.decode(match[1], key, ["ES256"], audience=audience, options={"require": ["exp", "sub"]})
    except jwt.InvalidTokenError as error:
        raise Fault(403, f"VAPID token: {error}") from error
    if claims["exp"] - time.time() > _DAY_S or not claims["sub"].startswith(("mailto:", "https:")):
        raise Fault(403, "VAPID claims")
    headers = request.headers
    if not headers.get("ttl", "").isdigit() or headers.get("content-encoding") != "aes128gcm":
        raise Fault(400, "TTL or Content-Encoding")
    if headers.get("urgency") not in ("very-low", "low", "normal", "high"):
        raise Fault(400, "Urgency")
    if not _TOPIC.fullmatch(headers.get("topic", "")):
        raise Fault(400, "Topic")
    if len(body) > 4096:
        raise Fault(413, "too large")


def decrypted(body: bytes, key: ec.EllipticCurvePrivateKey, auth: bytes) -> bytes:
    """What only the browser can read."""
    try:
        return web_crypto.decrypt(body, key, auth)
    except ValueError as error:
        raise Fault(400, str(error)) from error
