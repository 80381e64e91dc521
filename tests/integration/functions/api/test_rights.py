"""Rare statements of the routes under the API's limited role: prices, promo codes and write-offs have rights too."""

from decimal import Decimal

import pytest

from tests.integration.functions.api.conftest import CLIENT, SERIAL, STATION, Api
from tests.integration.functions.api.desk_world import MESSAGES, NOTE, stop, wait
from tests.integration.functions.api.staff_world import FIRST, ROOT, build


@pytest.fixture
async def priced(api: Api) -> Api:
    """A station with a tariff of its own, a client with a tariff of its own, and a promo code."""
    await build(api)
    await api.sql("INSERT INTO tariff_plans (id, name) VALUES ('plan', 'Plan')")
    await api.sql(
        """INSERT INTO tariff_rules (id, tariff_plan_id, tariff_type, price)
           VALUES ('rule', 'plan', 'per_kwh', 100), ('fee', 'plan', 'session_fee', 7)"""
    )
    await api.sql("UPDATE stations SET tariff_plan_id = 'plan', price_per_kwh = NULL WHERE id = %s", STATION)
    await api.sql(
        "INSERT INTO promo_codes (id, code, discount_type, discount_value) VALUES ('promo', 'Welcome', 'fixed', 50)"
    )
    return api


async def test_a_tariff_is_shown_to_anybody(priced: Api) -> None:
    shown = await priced.ok("GET", f"/api/v1/station/status/{SERIAL}", client=None)
    assert shown["tariff_rub_kwh"] == 100


async def test_a_client_with_a_tariff_of_its_own_pays_that(priced: Api) -> None:
    await priced.sql(
        """INSERT INTO client_tariffs (id, client_id, fixed_rate_per_kwh, valid_from)
           VALUES ('ct', %s, 9, now() - interval '1 day')""",
        CLIENT,
    )
    await priced.start(energy_kwh=10)
    assert await priced.one("SELECT price ->> 'rate_per_kwh' FROM charging_sessions") in ("9", "9.0000")


async def test_a_bill_with_a_promo_code_and_more_than_the_balance_is_settled_by_staff(priced: Api) -> None:
    started = await priced.start(energy_kwh=5, promo_code="WELCOME")
    transaction = await priced.charger_starts(started["session_id"])
    wait(priced, minutes=30)
    await stop(priced, 2_000_000_000, 21_000)  # 20 kWh under an id of nobody
    listed = await priced.ok("GET", f"{MESSAGES}?open=true", client=ROOT)
    path = f"{MESSAGES}/{listed['data']['messages'][0]['id']}/apply"
    answer = (await priced.ok("POST", path, {"transaction_id": transaction, **NOTE}, client=FIRST))["data"]
    assert answer["final_amount_som"] == 1000  # all that there was
    assert await priced.balance() == 0
    assert await priced.one("SELECT discount_amount FROM promo_code_usage") == 50
    assert await priced.one("SELECT sum(amount) FROM write_offs") == Decimal(2007 - 50 - 1000)
