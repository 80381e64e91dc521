"""HTTP to REST (v1) proxy event and back."""

import base64
from datetime import UTC, datetime
from typing import Any

import pytest

from infra.gateway_responses import GATEWAY_RESPONSES
from infra.local.rest_event import HttpRequest, MalformedProxyResponseError, http_response, proxy_event
from infra.paths import is_socket_path

_NOW = datetime(2026, 11, 1, 12, 30, 5, tzinfo=UTC)


def _event(**changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "method": "GET",
        "target": "/api/v1/locations",
        "headers": [("Host", "127.0.0.1:9210")],
        "body": b"",
        "source_ip": "127.0.0.1",
        "port": 9210,
    }
    return proxy_event(HttpRequest(**{**values, **changes}), _NOW, "Root=1-0-0")


def test_path_stays_encoded_and_query_is_decoded() -> None:
    event = _event(target="/api/v1/station/A%2FB/status?name=%D0%9E%D1%88&name=x&empty=")
    assert event["path"] == "/api/v1/station/A%2FB/status"
    assert event["pathParameters"] == {"proxy": "api/v1/station/A%2FB/status"}
    assert event["queryStringParameters"] == {"name": "x", "empty": ""}
    assert event["multiValueQueryStringParameters"] == {"name": ["Ош", "x"], "empty": [""]}


def test_no_query_and_no_body_are_null() -> None:
    event = _event()
    assert event["queryStringParameters"] is None
    assert event["multiValueQueryStringParameters"] is None
    assert event["body"] is None
    assert event["isBase64Encoded"] is False


def test_text_bodies_are_text_and_others_base64() -> None:
    assert _event(body='{"a":"Ош"}'.encode())["body"] == '{"a":"Ош"}'
    event = _event(body=b"\xff\x00")
    assert event["isBase64Encoded"] is True
    assert base64.b64decode(event["body"]) == b"\xff\x00"


def test_repeated_headers_are_kept_and_the_clients_address_is_appended() -> None:
    event = _event(headers=[("X-A", "1"), ("X-A", "2"), ("x-forwarded-for", "10.0.0.9"), ("Connection", "close")])
    assert event["multiValueHeaders"]["X-A"] == ["1", "2"]
    assert event["headers"]["X-A"] == "2"
    assert event["multiValueHeaders"]["X-Forwarded-For"] == ["10.0.0.9, 127.0.0.1"]
    assert "x-forwarded-for" not in event["headers"]
    assert "Connection" not in event["headers"]


def test_context_carries_what_handlers_read() -> None:
    context = _event(headers=[("User-Agent", "curl/8")])["requestContext"]
    assert context["identity"]["sourceIp"] == "127.0.0.1"
    assert context["identity"]["userAgent"] == "curl/8"
    assert context["requestTime"] == "01/Nov/2026:12:30:05 +0000"
    assert context["requestTimeEpoch"] == 1793536205000
    assert context["stage"] == "local"
    assert context["requestId"] != _event()["requestContext"]["requestId"]


def test_an_answer_becomes_a_response() -> None:
    response = http_response(
        {
            "statusCode": 201,
            "headers": {"content-type": "application/json", "set-cookie": "last"},
            "multiValueHeaders": {"Set-Cookie": ["a=1", "b=2"]},
            "body": "{}",
        }
    )
    assert response.status == 201
    assert response.headers == [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("content-type", "application/json")]
    assert response.body == b"{}"


def test_base64_answers_are_decoded() -> None:
    answer = {"statusCode": 200, "body": base64.b64encode(b"\x89PNG").decode(), "isBase64Encoded": True}
    assert http_response(answer).body == b"\x89PNG"


@pytest.mark.parametrize(
    "answer",
    [
        None,
        "text",
        {},
        {"statusCode": "none"},
        {"statusCode": 99},
        {"statusCode": 200, "body": {}},
        {"statusCode": 200, "body": "not base64!", "isBase64Encoded": True},
    ],
)
def test_malformed_answers_are_told_apart(answer: Any) -> None:
    with pytest.raises(MalformedProxyResponseError):
        http_response(answer)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/ws/EVP-1", True),
        ("/ocpp/EVP%201/", True),
        ("/ocpp/a/b", True),
        ("/ocpp", True),
        ("/api/v1/locations/stream", True),
        ("/api/v1/ws/locations", True),
        ("/api/v1/locations/ws/locations", True),
        ("/api/v1/locations", False),
        ("/api/v1/locations/streams", False),
        ("/wsx/1", False),
    ],
)
def test_paths_of_the_socket_tier(path: str, expected: bool) -> None:
    assert is_socket_path(path) is expected


def test_gateway_answers_are_the_flat_envelope() -> None:
    import json

    for response in GATEWAY_RESPONSES.values():
        body = json.loads(response.body)
        assert body["success"] is False
        assert body["error_code"] == response.error.code
        assert body["error"] == body["message"] != ""
    assert GATEWAY_RESPONSES["INTEGRATION_TIMEOUT"].status == 504
