"""Single requests through the deployed gateway: who answers, and that the answer is the contract's."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from infra.gateway_responses import GATEWAY_RESPONSES
from infra.local.cloud_system import CloudSystem
from infra.paths import WEBHOOK_PATHS
from tests.localstack.test_events import log_events, until

ORIGIN = "https://localhost"


@pytest_asyncio.fixture(loop_scope="session")
async def http(cloud: CloudSystem) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=cloud.base_url, timeout=30, trust_env=False) as client:
        yield client


async def _is_answered_by(cloud: CloudSystem, function: str, response: httpx.Response) -> None:
    """The correlation id of the answer stands in that function's log."""
    identity = response.headers["x-correlation-id"]
    await until(lambda: log_events(cloud, function, identity), f"a line of {function}", 30)


async def test_the_product_is_healthy_behind_the_gateway(http: httpx.AsyncClient) -> None:
    answer = (await http.get("/health")).json()
    assert (answer["status"], answer["database"], answer["redis"]) == ("healthy", True, True)
    assert answer["connected_stations"] == 2


async def test_an_unknown_path_and_a_missing_token_get_the_envelope(
    cloud: CloudSystem, http: httpx.AsyncClient
) -> None:
    for path, status, code in (("/no/such/path", 404, "not_found"), ("/api/v1/balance/current", 401, "unauthorized")):
        response = await http.get(path, headers={"Origin": ORIGIN})
        assert (response.status_code, response.json()["error_code"]) == (status, code)
        assert response.json()["success"] is False
        assert response.headers["access-control-allow-origin"] == ORIGIN
        await _is_answered_by(cloud, "api", response)


async def test_a_preflight_is_answered_by_the_product(http: httpx.AsyncClient) -> None:
    asked = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    response = await http.options("/api/v1/charging/start", headers=asked)
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == ORIGIN
    assert "authorization" in response.headers["access-control-allow-headers"].lower()


@pytest.mark.parametrize("path", WEBHOOK_PATHS)
async def test_callbacks_have_a_function_of_their_own(cloud: CloudSystem, http: httpx.AsyncClient, path: str) -> None:
    unsigned = await http.post(path, json={"order_id": "nobody"})
    assert (unsigned.status_code, unsigned.json()["error_code"]) == (401, "unauthorized")
    await _is_answered_by(cloud, "payment_webhook", unsigned)
    asked = await http.get(path)
    assert asked.status_code in {404, 405}
    await _is_answered_by(cloud, "api", asked)


async def test_bytes_and_unicode_arrive_as_they_were_sent(http: httpx.AsyncClient) -> None:
    broken = await http.post(
        "/api/v1/auth/send-otp", content=b"\xff\xfe\x00", headers={"Content-Type": "application/json"}
    )
    assert (broken.status_code, broken.json()["error_code"]) == (400, "invalid_request")
    found = await http.get("/api/v1/locations", params={"search": "Ала-Тоо", "limit": 1})
    assert found.status_code == 200
    assert "Бишкек" in found.text


async def test_a_function_that_cannot_start_is_answered_with_the_gateways_own_status(
    cloud: CloudSystem, http: httpx.AsyncClient
) -> None:
    """LocalStack takes the status of the gateway's own answers and leaves out their envelope (verification.md)."""
    name, spec = cloud.name("payment_webhook"), {"Handler": "functions.payment_webhook.handler.handler"}

    async def configure(**change: Any) -> None:
        client = cloud.client("lambda")
        client.update_function_configuration(FunctionName=name, **change)
        found = lambda: client.get_function_configuration(FunctionName=name)  # noqa: E731 - asked again and again
        await until(lambda: found()["LastUpdateStatus"] == "Successful", "the new configuration")

    await configure(Handler="functions.payment_webhook.handler.gone")
    try:
        response = await http.post(WEBHOOK_PATHS[0], json={})
        assert response.status_code == GATEWAY_RESPONSES["DEFAULT_5XX"].status
    finally:
        await configure(**spec)
    assert (await http.post(WEBHOOK_PATHS[0], json={})).status_code == 401, "and it is back"
