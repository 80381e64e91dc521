"""Charges by RFID card, and staff who change the card at the same moment."""

import asyncio
from datetime import timedelta
from decimal import Decimal

import pytest

from evpower.db import Conn
from tests.fakes.network import balance_of, money_faults
from tests.integration.evpower.charging.driver import Driver
from tests.integration.evpower.charging.test_corner_cases import CLIENT, OTHER, reconnect, sql, until_blocked


async def test_a_card_that_gets_its_holder_meanwhile_does_not_charge_for_nothing(driver: Driver) -> None:
    """Neither is it known who pays, nor may the charger go on."""
    inserted, go_on = asyncio.Event(), asyncio.Event()

    async def another_try(conn: Conn) -> None:
        """The same message on a connection that breaks."""
        await conn.execute(
            """INSERT INTO ocpp_transactions (station_id, connector_id, id_tag, meter_start, started_at, received_at)
               VALUES (%s, 1, 'CARD-1', 0, %s, %s)""",
            (driver.network.station_id, driver.now, driver.now),
        )
        inserted.set()
        await go_on.wait()
        raise ConnectionError

    trying = asyncio.create_task(driver.run(another_try))
    await inserted.wait()
    plugging = asyncio.create_task(driver.plug("CARD-1"))
    await until_blocked(driver)
    await sql(driver, "INSERT INTO id_tags (id_tag, client_id) VALUES ('CARD-1', %s)", CLIENT)
    go_on.set()
    with pytest.raises(ConnectionError):
        await trying
    answer = await plugging
    assert (answer.id_tag_status, answer.session_id) == ("Invalid", None)
    assert answer.command_id is not None
    driver.wait(minutes=1)
    assert (await driver.plug("CARD-1")).id_tag_status == "Accepted"
    assert await balance_of(driver.db, CLIENT) == 300


async def test_a_card_given_away_meanwhile_does_not_charge_its_former_holder(driver: Driver) -> None:
    await sql(driver, "INSERT INTO id_tags (id_tag, client_id) VALUES ('CARD-1', %s)", CLIENT)
    locked, go_on = asyncio.Event(), asyncio.Event()

    async def hold(conn: Conn) -> None:
        await conn.execute("SELECT FROM clients WHERE id = %s FOR UPDATE", (CLIENT,))
        locked.set()
        await go_on.wait()

    holding = asyncio.create_task(driver.run(hold))
    await locked.wait()
    plugging = asyncio.create_task(driver.plug("CARD-1"))
    await until_blocked(driver)
    await sql(driver, "UPDATE id_tags SET client_id = %s WHERE id_tag = 'CARD-1'", OTHER)
    go_on.set()
    await holding
    answer = await plugging
    assert (answer.id_tag_status, answer.session_id) == ("Invalid", None)
    assert answer.command_id is not None
    assert await balance_of(driver.db, CLIENT) == 500
    driver.wait(minutes=1)
    assert (await driver.plug("CARD-1", 2)).id_tag_status == "Accepted"
    assert await balance_of(driver.db, OTHER) == 300
    assert await money_faults(driver.db) == []


@pytest.mark.parametrize("days", [0.1, 0.9, 1.1, 5, 29])
async def test_an_offline_charge_is_billed_however_late_it_is_told_of(driver: Driver, days: float) -> None:
    """The charger had no connection over a long weekend."""
    await sql(driver, "INSERT INTO id_tags (id_tag, client_id) VALUES ('CARD-1', %s)", CLIENT)
    began = driver.now
    driver.wait(days=days)
    await reconnect(driver)
    answer = await driver.plug("CARD-1", charger_time=began)
    assert answer.session_id is not None
    driver.wait(seconds=1)
    await driver.unplug(answer.transaction_id, 5000, charger_time=began + timedelta(minutes=30))
    session = await driver.session(answer.session_id)
    assert (session.energy_wh, session.final_amount, session.needs_review) == (5000, Decimal("67.50"), False)
    assert (session.start_time, session.stop_time) == (began, began + timedelta(minutes=30))
    assert await money_faults(driver.db) == []


@pytest.mark.parametrize("days", [0.1, 5])
async def test_an_offline_charge_has_the_price_of_its_begin(driver: Driver, days: float) -> None:
    """It was told of by day, and charged at night."""
    await sql(driver, "INSERT INTO id_tags (id_tag, client_id) VALUES ('CARD-1', %s)", CLIENT)
    await sql(
        driver,
        """INSERT INTO client_tariffs (client_id, fixed_rate_per_kwh, valid_from, valid_until)
           VALUES (%s, 10, '2020-01-01', %s)""",
        CLIENT,
        driver.now + timedelta(hours=1),
    )
    began = driver.now
    driver.wait(days=days)
    await reconnect(driver)
    answer = await driver.plug("CARD-1", charger_time=began)
    await driver.unplug(answer.transaction_id, 5000, charger_time=began + timedelta(minutes=30))
    assert answer.session_id is not None
    assert (await driver.session(answer.session_id)).final_amount == Decimal(50)
