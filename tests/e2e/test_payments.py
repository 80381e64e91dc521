"""Top-ups through the real webhook, queue, worker and the provider's stand-in."""

import asyncio
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from infra.local.demo.books import Books, differences
from infra.local.demo.driver import APPROVED, ApiError, Driver
from tests.e2e.world import World


class Provider:
    """The stand-in's control endpoints, found through the top-up's payment page."""

    def __init__(self, top_up: dict[str, Any]) -> None:
        link = urlsplit(top_up["app_link"])
        self.base = f"{link.scheme}://{link.netloc}"

    async def request(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        async with httpx.AsyncClient(base_url=self.base, trust_env=False) as http:
            response = await http.request(method, path, json=body)
            response.raise_for_status()
            return response

    async def pay(self, top_up: dict[str, Any], **options: Any) -> None:
        await self.request("POST", f"/pay/{top_up['invoice_id']}", options)


async def check_books(world: World, driver: Driver, *paid_in: float) -> None:
    assert differences(Books(await driver.balance(), await driver.ledger(), paid_in, [])) == []
    await world.check_money()


async def test_a_top_up_is_credited_once_and_seen_by_the_app(world: World) -> None:
    driver = await world.driver()
    top_up = await driver.top_up(500)
    assert top_up["qr_lifetime_seconds"] == top_up["invoice_lifetime_seconds"] == 300
    assert (await driver.payment_status(top_up["invoice_id"]))["status"] == 0
    await driver.pay(top_up)
    status = await driver.wait_paid(top_up["invoice_id"])
    assert status["paid_amount"] == 500
    assert await driver.balance() == 500
    await check_books(world, driver, 500)


async def test_repeated_callbacks_and_polls_credit_once(world: World) -> None:
    driver = await world.driver()
    top_up = await driver.top_up(120)
    provider = Provider(top_up)
    await provider.request("PUT", "/control", {"callbacks": 5})
    try:
        await provider.pay(top_up)
        check = {"invoice_id": top_up["invoice_id"]}
        await asyncio.gather(
            driver.wait_paid(top_up["invoice_id"]),
            *(driver.call("POST", "/api/v1/payment/check-status", check) for _ in range(3)),
        )
    finally:
        await provider.request("DELETE", "/control")
    assert await driver.balance() == 120
    await check_books(world, driver, 120)


async def test_without_any_callback_the_checks_find_the_payment(world: World) -> None:
    driver = await world.driver()
    top_up = await driver.top_up(75)
    provider = Provider(top_up)
    await provider.request("PUT", "/control", {"callbacks": 0})
    try:
        await provider.pay(top_up)
        await driver.wait_paid(top_up["invoice_id"], timeout_s=60)
    finally:
        await provider.request("DELETE", "/control")
    await check_books(world, driver, 75)


async def test_a_superseded_top_up_that_is_paid_after_all_is_credited(world: World) -> None:
    driver = await world.driver()
    first = await driver.top_up(100)
    second = await driver.top_up(200)
    assert first["invoice_id"] != second["invoice_id"]
    provider = Provider(first)
    await provider.pay(first, force=True)
    await provider.pay(second)
    await driver.wait_paid(first["invoice_id"])
    await driver.wait_paid(second["invoice_id"])
    assert await driver.balance() == 300
    await check_books(world, driver, 100, 200)


async def test_what_was_paid_is_credited_not_what_was_asked_for(world: World) -> None:
    driver = await world.driver()
    top_up = await driver.top_up(100)
    await Provider(top_up).pay(top_up, amount=6050)
    status = await driver.wait_paid(top_up["invoice_id"])
    assert status["paid_amount"] == 60.5
    await check_books(world, driver, 60.5)


async def test_nobody_sees_or_moves_another_clients_payment(world: World) -> None:
    driver, other = await world.driver(), await world.driver()
    top_up = await driver.top_up(100)
    for request in (
        other.payment_status(top_up["invoice_id"]),
        other.call("POST", f"/api/v1/payment/cancel/{top_up['invoice_id']}"),
    ):
        with pytest.raises(ApiError) as caught:
            await request
        assert caught.value.status in (403, 404)


async def test_a_cancelled_top_up_says_so(world: World) -> None:
    driver = await world.driver()
    top_up = await driver.top_up(100)
    answer = await driver.call("POST", f"/api/v1/payment/cancel/{top_up['invoice_id']}")
    assert answer["success"]
    status = await driver.payment_status(top_up["invoice_id"])
    assert status["status"] != APPROVED
    await check_books(world, driver)


@pytest.mark.parametrize(
    ("amount", "code"), [(9, "minimum_amount_required"), (100_001, "maximum_amount_exceeded"), (-5, "invalid_amount")]
)
async def test_amounts_out_of_bounds(world: World, amount: float, code: str) -> None:
    driver = await world.driver()
    with pytest.raises(ApiError) as caught:
        await driver.top_up(amount)
    assert caught.value.status in (400, 422)
    assert caught.value.code in (code, "minimum_amount_required", "validation_error")


async def test_a_forged_callback_is_refused_and_changes_nothing(world: World) -> None:
    driver = await world.driver()
    top_up = await driver.top_up(100)
    forged = {"trans_id": "1", "status_pay": 3, "site_id": "local-merchant", "order_id": top_up["order_id"],
              "amount": 10_000, "currency": "KGS", "mktime": "1", "test": 0, "hash": "0" * 32}  # fmt: skip
    async with httpx.AsyncClient(base_url=world.place.base_url, trust_env=False) as http:
        response = await http.post("/api/v1/payment/webhook", json=forged)
    assert response.status_code == 401
    assert response.json()["error_code"] == "unauthorized"
    assert (await driver.payment_status(top_up["invoice_id"]))["status"] == 0
    await check_books(world, driver)
