"""Every failure is the flat envelope, in the caller's language, and shows nothing of the inside."""

from typing import Any

import httpx
import pytest

from evpower.auth import hmac_signature
from evpower.auth.models import AuthRequest
from evpower.clock import FrozenClock

JSON = {"Content-Type": "application/json"}


def envelope(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    body: dict[str, Any] = response.json()
    assert response.status_code == status, body
    assert response.headers["content-type"].startswith("application/json")
    assert body["success"] is False
    assert body["error_code"] == code
    assert body["error"] == body["message"] != ""
    assert body["correlation_id"] == response.headers["x-correlation-id"]
    assert "detail" not in body
    assert None not in body.values()
    return body


async def test_domain_errors_show_code_sentence_and_details(http: httpx.AsyncClient) -> None:
    body = envelope(await http.get("/probe/domain"), 402, "insufficient_balance")
    assert body["error"] == "Недостаточно средств на балансе."
    assert body["current_balance"] == 12.5
    assert "required_amount" not in body, "a detail of None is left out, never null"


@pytest.mark.parametrize(
    ("accept", "language", "sentence"),
    [
        ("", "ru", "Недостаточно средств на балансе."),
        ("ky-KG,ky;q=0.9,ru;q=0.8", "ky", "Баланста каражат жетишсиз."),
        ("en-US,en;q=0.9", "en", "Not enough money on the balance."),
        ("ru;q=0.1, en;q=0.2", "en", "Not enough money on the balance."),
        ("de-DE,fr", "ru", "Недостаточно средств на балансе."),
        ("en;q=0", "ru", "Недостаточно средств на балансе."),
        (";;;,q=,*", "ru", "Недостаточно средств на балансе."),
    ],
)
async def test_the_sentence_follows_accept_language(
    http: httpx.AsyncClient, accept: str, language: str, sentence: str
) -> None:
    response = await http.get("/probe/domain", headers={"Accept-Language": accept})
    assert response.json()["error"] == sentence
    assert response.headers["content-language"] == language


async def test_unknown_paths_and_wrong_methods(http: httpx.AsyncClient) -> None:
    for path in ("/nowhere", "/api/v1", "/api/v1/", "/api/v1/nowhere"):
        envelope(await http.get(path), 404, "not_found")
    envelope(await http.get("/probe/echo/"), 404, "not_found")
    response = await http.delete("/probe/echo")
    envelope(response, 405, "invalid_request")
    assert "POST" in response.headers["allow"]


async def test_a_crash_says_nothing_of_the_inside(http: httpx.AsyncClient) -> None:
    response = await http.get("/probe/crash")
    envelope(response, 500, "internal_error")
    assert "secret" not in response.text


async def test_a_database_that_is_away_is_503(http: httpx.AsyncClient) -> None:
    response = await http.get("/probe/database")
    envelope(response, 503, "service_unavailable")
    assert "10.0.0.7" not in response.text


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "amount"),
        ({"amount": None}, "amount"),
        ({"amount": "10"}, "amount"),
        ({"amount": True}, "amount"),
        ({"amount": [1]}, "amount"),
        ({"amount": 1, "name": 5}, "name"),
        ({"amount": 1, "name": "x" * 11}, "name"),
        ([], "body"),
        ("text", "body"),
        (None, "body"),
    ],
)
async def test_validation_names_the_field(http: httpx.AsyncClient, body: Any, field: str) -> None:
    answer = envelope(await http.post("/probe/echo", json=body), 422, "validation_error")
    assert answer["field"] == field
    assert field in answer["error"]
    assert answer["fields"][0]["field"] == field


async def test_a_wrong_query_names_its_parameter(http: httpx.AsyncClient) -> None:
    answer = envelope(await http.get("/probe/numbers?limit=zero"), 422, "validation_error")
    assert answer["field"] == "limit"


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"amount=1",
        b'{"amount": 1,}',
        b'{"amount": 1} x',
        b'{"amount": NaN}',
        b'{"amount": Infinity}',
        b'{"amount": -Infinity}',
        b'{"amount": 1e400}',
        b'{"amount": ' + b"9" * 5000 + b"}",
        b'{"amount": 0.' + b"1" * 100 + b"}",
        b'{"amount": 1, "amount": 2}',
        b'{"amount": 1, "x": {"a": 1, "a": 1}}',
        b'{"amount": 1, "x": ' + b"[" * 33 + b"]" * 33 + b"}",
        b'{"amount": 1, "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"amount": 1, "name": "a\\u0000b"}',
        b'{"amount": 1, "name": "\\ud800"}',
        b'{"amount": 1, "\\u0000": 2}',
        b"\xff\xfe",
        '{"amount": 1}'.encode("utf-16"),
    ],
)
async def test_bodies_that_two_parsers_may_read_differently_are_refused(http: httpx.AsyncClient, body: bytes) -> None:
    refused = envelope(await http.post("/probe/echo", content=body, headers=JSON), 400, "invalid_request")
    assert refused["reason"], "the developer of a client is told what is wrong with it"


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "multipart/form-data; boundary=x", "nonsense"])
async def test_other_content_types_are_refused(http: httpx.AsyncClient, kind: str) -> None:
    response = await http.post("/probe/echo", content=b'{"amount":1}', headers={"Content-Type": kind})
    envelope(response, 415, "invalid_request")


@pytest.mark.parametrize(
    "headers",
    [{}, JSON, {"Content-Type": "application/json; charset=utf-8"}, {"Content-Type": "application/merge-patch+json"}],
)
async def test_json_is_taken_and_amounts_stay_decimal(http: httpx.AsyncClient, headers: dict[str, str]) -> None:
    response = await http.post("/probe/echo", content=b'{"amount": 10.10, "unknown": 1}', headers=headers)
    assert response.json() == {
        "amount": 10.1,
        "kind": "Decimal",
        "moment": "2026-01-15T06:00:00.000Z",
        "nullable": None,
    }


@pytest.mark.parametrize("content", [b"", b"  "])
async def test_an_empty_body_with_a_json_content_type(http: httpx.AsyncClient, content: bytes) -> None:
    response = await http.post("/probe/empty", content=content, headers=JSON)
    assert response.json() == {"success": True}
    envelope(await http.post("/probe/echo", content=content, headers=JSON), 422, "validation_error")


async def test_bodies_over_one_megabyte_are_refused(http: httpx.AsyncClient) -> None:
    async def unannounced() -> Any:
        for _ in range(40):
            yield b" " * 32 * 1024

    envelope(await http.post("/probe/echo", content=b" " * (1024 * 1024 + 1)), 413, "invalid_request")
    envelope(await http.post("/probe/echo", content=unannounced()), 413, "invalid_request")
    fits = b'{"amount": 1, "x": "' + b"y" * (1024 * 1024 - 100) + b'"}'
    assert (await http.post("/probe/echo", content=fits)).status_code == 200


async def test_a_malformed_length_is_refused(http: httpx.AsyncClient) -> None:
    response = await http.post("/probe/empty", content=b"", headers={"Content-Length": "ten"})
    envelope(response, 400, "invalid_request")


async def test_the_caller_is_asked_for_before_the_body_is_judged(http: httpx.AsyncClient) -> None:
    for content in (b"{", b"{}", b""):
        response = await http.post("/probe/protected", content=content, headers=JSON)
        envelope(response, 401, "unauthorized")
        assert response.headers["www-authenticate"].startswith("Bearer")


async def test_the_master_key_is_nobodys_account(http: httpx.AsyncClient) -> None:
    response = await http.post("/probe/protected", json={"amount": 1}, headers={"X-API-Key": "test-master-key"})
    envelope(response, 403, "forbidden")


async def test_an_unusable_bearer_breaks_only_protected_routes(http: httpx.AsyncClient) -> None:
    demo = {"Authorization": "Bearer aaa.bbb.ccc"}
    assert (await http.get("/probe/numbers", headers=demo)).json() == {"limit": 5}
    response = await http.post("/probe/protected", json={"amount": 1}, headers=demo)
    envelope(response, 401, "unauthorized")


@pytest.mark.parametrize(
    ("headers", "credential"),
    [
        ({}, None),
        ({"Authorization": "Bearer aaa.bbb.ccc"}, "Authorization"),
        ({"Authorization": "Basic abc"}, "Authorization"),
        ({"X-API-Key": "guess"}, "X-API-Key"),
        ({"Authorization": "Bearer aaa.bbb.ccc", "X-API-Key": "test-master-key"}, "Authorization"),
        ({"X-Client-Id": "c-1", "X-Client-Timestamp": "1", "X-Client-Signature": "v2=00"}, "X-Client-Signature"),
    ],
)
async def test_the_credential_that_does_not_verify_is_named_and_not_why(
    http: httpx.AsyncClient, headers: dict[str, str], credential: str | None
) -> None:
    response = await http.post("/probe/protected", headers={**headers, "Accept-Language": "en"})
    body = envelope(response, 401, "unauthorized")
    assert body.get("credential") == credential
    assert body["error"] == ("The credential was not accepted. Sign in again." if credential else "Sign in first.")
    assert set(body) <= {"success", "error_code", "error", "message", "correlation_id", "credential"}


async def test_a_signature_that_cannot_be_judged_breaks_only_protected_routes(http: httpx.AsyncClient) -> None:
    """The memory of used signatures is in the database, which is away."""
    timestamp = int(FrozenClock().now().timestamp() * 1000)

    def headers(method: str, path: str) -> dict[str, str]:
        request = AuthRequest(method, path, "", {}, b"")
        signature = hmac_signature.sign("test-hmac-secret", request, client_id="c-1", timestamp_ms=timestamp)
        return {"X-Client-Id": "c-1", "X-Client-Timestamp": str(timestamp), "X-Client-Signature": signature}

    assert (await http.get("/probe/numbers", headers=headers("GET", "/probe/numbers"))).status_code == 200
    response = await http.post("/probe/protected", headers=headers("POST", "/probe/protected"))
    envelope(response, 503, "service_unavailable")


async def test_health_says_503_when_nothing_answers(http: httpx.AsyncClient) -> None:
    body = envelope(await http.get("/health"), 503, "service_unavailable")
    assert (body["status"], body["redis"], body["database"], body["connected_stations"]) == (
        "unhealthy",
        False,
        False,
        0,
    )
    body = envelope(await http.get("/readyz"), 503, "service_unavailable")
    assert (body["status"], body["checks"]) == ("not_ready", {"redis": False, "database": False})


async def test_system_routes_that_need_nothing(http: httpx.AsyncClient) -> None:
    version = (await http.get("/version")).json()
    assert version["success"] is True
    assert set(version) == {"success", "version"}, "what is unknown is left out"
    root = (await http.get("/")).json()
    assert root["service"] == "evpower-backend"
    for path in ("/docs", "/openapi.json"):
        assert (path in root["endpoints"]) is ((await http.get(path)).status_code == 200)
