"""Headers on every answer: CORS for native builds too, security, correlation id, caching."""

import httpx
import pytest

from evpower.ids import correlation_id

PATHS = ["/probe/numbers", "/probe/domain", "/probe/crash", "/probe/database", "/nowhere"]
ORIGINS = ["https://localhost", "capacitor://localhost", "http://localhost:3000"]


@pytest.mark.parametrize("origin", ORIGINS)
@pytest.mark.parametrize("path", PATHS)
async def test_cors_on_success_failure_and_crash(http: httpx.AsyncClient, path: str, origin: str) -> None:
    response = await http.get(path, headers={"Origin": origin})
    assert response.headers["access-control-allow-origin"] == origin
    assert "X-Correlation-ID" in response.headers["access-control-expose-headers"]
    assert "Origin" in response.headers["vary"]


@pytest.mark.parametrize("origin", ORIGINS)
async def test_preflight_is_answered_by_the_application(http: httpx.AsyncClient, origin: str) -> None:
    response = await http.options(
        "/api/v1/charging/start",
        headers={
            "Origin": origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type,idempotency-key,x-correlation-id",
        },
    )
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == origin
    allowed = response.headers["access-control-allow-headers"].lower()
    for name in (
        "authorization",
        "content-type",
        "idempotency-key",
        "x-csrf-token",
        "x-client-id",
        "x-client-timestamp",
        "x-client-signature",
        "x-correlation-id",
    ):
        assert name in allowed
    assert response.headers["access-control-max-age"] == "86400"
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        assert method in response.headers["access-control-allow-methods"]
    assert response.headers["x-frame-options"] == "DENY"


async def test_other_origins_get_no_permission(http: httpx.AsyncClient) -> None:
    response = await http.get("/probe/numbers", headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in response.headers


@pytest.mark.parametrize("path", PATHS)
async def test_security_headers(http: httpx.AsyncClient, path: str) -> None:
    headers = (await http.get(path)).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-xss-protection"] == "1; mode=block"
    assert "max-age=31536000" in headers["strict-transport-security"]
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "referrer-policy" in headers
    assert "permissions-policy" in headers


async def test_what_is_private_is_not_cached(http: httpx.AsyncClient) -> None:
    assert "cache-control" not in (await http.get("/probe/numbers")).headers
    private = await http.get("/probe/numbers", headers={"Authorization": "Bearer x.y.z"})
    assert private.headers["cache-control"] == "no-store"
    assert (await http.post("/probe/empty")).headers["cache-control"] == "no-store"
    assert (await http.get("/nowhere")).headers["cache-control"] == "no-store"


async def test_the_correlation_id_is_accepted_echoed_and_replaced_when_harmful(http: httpx.AsyncClient) -> None:
    given = await http.get("/probe/crash", headers={"X-Correlation-ID": "phone-42"})
    assert given.headers["x-correlation-id"] == given.json()["correlation_id"] == "phone-42"
    made = [(await http.get("/probe/numbers")).headers["x-correlation-id"] for _ in range(2)]
    assert made[0] != made[1]
    harmful = await http.get("/probe/numbers", headers={"X-Correlation-ID": "a b\tinjected"})
    assert "injected" not in harmful.headers["x-correlation-id"]
    assert correlation_id.get() is None, "nothing of a request is left behind"


async def test_the_idempotency_key_is_echoed_or_made(http: httpx.AsyncClient) -> None:
    response = await http.post("/probe/empty", headers={"Idempotency-Key": "k-1"})
    assert response.headers["idempotency-key"] == "k-1"
    assert len((await http.post("/probe/empty")).headers["idempotency-key"]) == 36
    assert "idempotency-key" not in (await http.get("/probe/numbers")).headers


@pytest.mark.parametrize("key", ["", "x" * 256, "a b"])
async def test_an_unusable_idempotency_key_is_refused(http: httpx.AsyncClient, key: str) -> None:
    response = await http.post("/probe/empty", headers={"Idempotency-Key": key})
    assert response.status_code == 400
    assert response.json()["error_code"] == "invalid_request"
