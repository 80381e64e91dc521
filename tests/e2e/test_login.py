"""A person signs in with the code on the phone, uses the app, and leaves: through the front door only."""

import random

import httpx
import pytest

from infra.local.demo.driver import ApiError, Driver
from infra.local.demo.login import read_code, sign_in
from infra.local.system import LocalSystem
from tests.e2e.world import World


def new_phone() -> str:
    return f"+99670{random.randrange(10**7):07d}"


async def test_sign_in_top_up_refresh_log_out(system: LocalSystem, world: World) -> None:
    phone = new_phone()
    login = await sign_in(system.base_url, system.sms.outbox_url, phone)
    assert (login["is_new_user"], login["user"]["phone"]) == (True, phone)
    driver = await world.stack.enter_async_context(Driver(system.base_url, login["access_token"]))
    assert (await driver.profile())["client_id"] == login["user"]["id"]
    top_up = await driver.top_up(50)
    await driver.pay(top_up)
    await driver.wait_paid(top_up["invoice_id"])
    refreshed = await driver.call("POST", "/api/v1/auth/refresh", {"refresh_token": login["refresh_token"]})
    again = await world.stack.enter_async_context(Driver(system.base_url, refreshed["access_token"]))
    assert await again.balance() == 50
    await again.call("POST", "/api/v1/auth/logout", {"refresh_token": login["refresh_token"]})
    with pytest.raises(ApiError) as caught:
        await again.call("POST", "/api/v1/auth/refresh", {"refresh_token": login["refresh_token"]})
    assert caught.value.status == 401


async def test_leave_and_come_back_as_somebody_new(system: LocalSystem, world: World) -> None:
    phone = new_phone()
    login = await sign_in(system.base_url, system.sms.outbox_url, phone)
    driver = await world.stack.enter_async_context(Driver(system.base_url, login["access_token"]))
    top_up = await driver.top_up(60)
    await driver.pay(top_up)
    await driver.wait_paid(top_up["invoice_id"])
    await driver.call("POST", "/api/v1/auth/delete-account")
    with pytest.raises(ApiError) as caught:
        await driver.profile()
    assert caught.value.code == "client_deleted"
    row = await world.one("SELECT phone, balance FROM clients WHERE id = %s", login["user"]["id"])
    assert (row["phone"], row["balance"]) == (None, 0)


async def test_a_wrong_code_and_an_impatient_person(system: LocalSystem) -> None:
    phone = new_phone()
    async with httpx.AsyncClient(base_url=system.base_url, trust_env=False, timeout=20) as http:
        assert (await http.post("/api/v1/auth/send-otp", json={"phone": phone})).status_code == 200
        again = await http.post("/api/v1/auth/send-otp", json={"phone": phone})
        assert (again.status_code, again.json()["error_code"]) == (429, "rate_limit")
        assert 50 <= again.json()["retry_after_seconds"] <= 60
        code = await read_code(system.sms.outbox_url, phone)
        wrong = f"{(int(code) + 1) % 10**6:06d}"
        for tried, status in ((wrong, 401), (code, 200), (code, 401)):
            answer = await http.post("/api/v1/auth/verify-otp", json={"phone": phone, "code": tried})
            assert answer.status_code == status, answer.text
