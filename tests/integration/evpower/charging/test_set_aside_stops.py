"""StopTransactions that were put aside and are used when their session must end; stops that do not tell their time."""

from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from evpower.charging import members, service
from evpower.charging.models import Reading, SessionState, StopTransaction
from evpower.db import Conn
from tests.fakes.network import money_faults
from tests.integration.evpower.charging.driver import Driver
from tests.integration.evpower.charging.test_corner_cases import CLIENT

SECOND_CLIENT = "client-2"


async def send_stop(driver: Driver, sent: dict[str, Any], readings: tuple[Reading, ...] = ()) -> None:
    """A StopTransaction as the socket tier reads it."""
    needed = {
        "transactionId": members.identifier(sent.get("transactionId")),
        "meterStop": members.register(sent.get("meterStop")),
        "timestamp": members.moment(sent.get("timestamp")),
    }
    message = StopTransaction(
        driver.network.station_id,
        needed["transactionId"] or 0,  # type: ignore[arg-type]
        needed["meterStop"],  # type: ignore[arg-type]
        needed["timestamp"],  # type: ignore[arg-type]
        driver.now,
        driver.network.epoch,
        id_tag=sent.get("idTag"),
        readings=readings,
        raw=sent,
        unreadable=tuple(name for name, value in needed.items() if value is None),
    )
    await driver.run(lambda conn: service.stop_transaction(conn, message))


async def refuse_stop(driver: Driver, session_id: str) -> None:
    await driver.stop(session_id)
    await driver.run(lambda conn: service.remote_stop_rejected(conn, session_id, driver.now))


async def quarantined(driver: Driver) -> list[Any]:
    async def work(conn: Conn) -> list[Any]:
        return [
            row["resolved_as"]
            for row in await (await conn.execute("SELECT resolved_as FROM quarantined_messages ORDER BY id")).fetchall()
        ]

    return await driver.run(work)


async def billed_minutes(driver: Driver, session_id: str) -> Decimal:
    async def work(conn: Conn) -> Decimal:
        query = "SELECT minutes FROM settlements WHERE session_id = %s ORDER BY revision DESC LIMIT 1"
        row = await (await conn.execute(query, (session_id,))).fetchone()
        assert row is not None
        return Decimal(row["minutes"])

    return await driver.run(work)


async def two_charges(driver: Driver) -> tuple[Any, Any]:
    first = (await driver.start(CLIENT, 1, amount="200")).session
    second = (await driver.start(SECOND_CLIENT, 2, amount="200")).session
    await driver.plug(first.id_tag, 1, 1000)
    await driver.plug(second.id_tag, 2, 1000)
    driver.wait(minutes=30)
    return first, second


async def test_a_stop_that_can_be_either_charge_s_is_used_for_neither(driver: Driver) -> None:
    sessions = await two_charges(driver)
    await send_stop(driver, {"transactionId": -1, "meterStop": 3000, "timestamp": driver.now.isoformat()})
    for session in sessions:
        await refuse_stop(driver, session.id)
        assert (await driver.session(session.id)).energy_wh == 0
    assert await quarantined(driver) == [None]
    assert await money_faults(driver.db) == []


async def test_a_stop_without_a_register_names_its_charge_by_the_tag(driver: Driver) -> None:
    """By the card alone nobody ends a charge that runs; once the charger does not know it any more, it is clear."""
    first, second = await two_charges(driver)
    await send_stop(driver, {"transactionId": "?", "idTag": second.id_tag.lower(), "timestamp": "x"})
    assert await quarantined(driver) == [None]
    await refuse_stop(driver, first.id)
    assert await quarantined(driver) == [None]
    await refuse_stop(driver, second.id)
    assert await quarantined(driver) == ["automatic"]
    assert (await driver.session(second.id)).needs_review
    assert not (await driver.session(first.id)).needs_review


@pytest.mark.parametrize("repeats", [1, 2])
async def test_a_sweep_uses_it_too(driver: Driver, repeats: int) -> None:
    started = await driver.start(CLIENT, amount="200")
    await driver.plug(started.session.id_tag, register=1000)
    await driver.alive()
    driver.wait(minutes=30)
    sent = {"transactionId": None, "meterStop": 3000, "timestamp": driver.now.isoformat()}
    for _ in range(repeats):
        await send_stop(driver, sent)
        driver.wait(seconds=40)
    driver.wait(minutes=30)
    await driver.sweep()
    session = await driver.session(started.session.id)
    assert (session.state, session.energy_wh, session.final_amount) == (SessionState.STOPPED, 2000, Decimal(27))
    assert await billed_minutes(driver, session.id) == 30
    assert await quarantined(driver) == ["automatic"]
    assert await money_faults(driver.db) == []


@pytest.mark.parametrize("live", [True, False], ids=["live", "in transactionData"])
async def test_a_stop_that_does_not_tell_its_time_bills_minutes_to_the_last_reading(driver: Driver, live: bool) -> None:
    started = await driver.start(CLIENT, amount="400")
    transaction = (await driver.plug(started.session.id_tag)).transaction_id
    driver.wait(minutes=20)
    seen: datetime = driver.now
    if live:
        await driver.read(transaction, 2000)
    driver.wait(hours=3)  # it waited in the charger
    data = () if live else (Reading(seen, energy_wh=Decimal(2000)),)
    await send_stop(driver, {"transactionId": transaction, "meterStop": 2100, "timestamp": "2026/11/30"}, data)
    session = await driver.session(started.session.id)
    assert (session.state, session.energy_wh) == (SessionState.STOPPED, 2100)
    assert await billed_minutes(driver, session.id) == 20
