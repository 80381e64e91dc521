"""A StopTransaction that was put aside and decided on comes again with the same content: it is acknowledged, never used
twice, and not lost from view, for it may be another charge's.
"""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from evpower.charging import service
from evpower.charging.models import SessionState
from evpower.charging.service.quarantine import AlreadyDecided
from evpower.charging.staff_models import AppliedStop, QuarantinedMessage, StopToApply
from evpower.db import Conn
from tests.fakes.network import money_faults
from tests.fakes.stations import until
from tests.integration.evpower.charging.driver import Driver

CARD = "CARD-1"
UNKNOWN = -1
WAITING = """SELECT count(DISTINCT l.pid) AS n FROM pg_locks l JOIN pg_stat_activity a USING (pid)
              WHERE NOT l.granted AND a.datname = current_database()"""


async def messages(driver: Driver) -> list[dict[str, Any]]:
    async def work(conn: Conn) -> list[dict[str, Any]]:
        return await (await conn.execute("SELECT * FROM quarantined_messages ORDER BY id")).fetchall()

    return await driver.run(work)


async def events(driver: Driver) -> int:
    async def work(conn: Conn) -> int:
        row = await (
            await conn.execute("SELECT count(*) AS n FROM station_events WHERE type = 'stop_quarantined'")
        ).fetchone()
        assert row is not None
        return int(row["n"])

    return await driver.run(work)


async def dismiss(driver: Driver, message_id: int, note: str = "nobody's") -> QuarantinedMessage:
    return await driver.run(
        lambda conn: service.dismiss_quarantined(conn, message_id, actor="staff-1", note=note, now=driver.now)
    )


async def apply(driver: Driver, message_id: int, transaction_id: int) -> AppliedStop:
    wish = StopToApply(message_id, transaction_id, None, None, "as the driver said", "staff-1")
    return await driver.run(lambda conn: service.apply_quarantined_stop(conn, wish, driver.now))


@pytest.fixture
async def card(driver: Driver) -> str:
    await driver.run(lambda c: c.execute("INSERT INTO id_tags (id_tag, client_id) VALUES (%s, 'client-1')", (CARD,)))
    return CARD


async def test_a_dismissed_stop_that_comes_again_is_open_again(driver: Driver) -> None:
    """Use case: a charger without clock and register says the same at the end of every charge."""
    said = {"charger_time": driver.now}
    assert (await driver.unplug(UNKNOWN, 0, **said)).quarantined
    (message,) = await messages(driver)
    await dismiss(driver, message["id"])
    driver.wait(days=1)
    assert (await driver.unplug(UNKNOWN, 0, **said)).quarantined, "it is answered, whatever was decided"
    (again,) = await messages(driver)
    assert (again["resolved_at"], again["repeat_count"], again["last_received_at"]) == (None, 1, driver.now)
    assert (again["resolved_as"], again["resolution"]) == ("dismissed", "nobody's"), "what was decided is told"
    assert await events(driver) == 2
    driver.wait(hours=1)
    decided = await dismiss(driver, message["id"], "still nobody's")
    assert (decided.resolved_at, decided.resolution) == (driver.now, "still nobody's")
    assert (await dismiss(driver, message["id"], "again")).resolution == "still nobody's"


async def test_while_nobody_has_decided_a_repeat_is_counted(driver: Driver) -> None:
    said = {"charger_time": driver.now}
    for _ in range(3):
        assert (await driver.unplug(UNKNOWN, 0, **said)).quarantined
    (message,) = await messages(driver)
    assert (message["repeat_count"], message["resolved_at"], await events(driver)) == (2, None, 1)


async def test_an_applied_stop_that_comes_again_is_applied_once(driver: Driver, card: str) -> None:
    started = await driver.plug(card)
    driver.wait(minutes=30)
    said = {"charger_time": driver.now}
    assert (await driver.unplug(UNKNOWN, 3000, **said)).quarantined
    (message,) = await messages(driver)
    applied = await apply(driver, message["id"], started.transaction_id)
    assert applied.session_id is not None
    before = await driver.session(applied.session_id)
    driver.wait(hours=1)
    assert (await driver.unplug(UNKNOWN, 3000, **said)).quarantined
    assert await driver.session(applied.session_id) == before
    (again,) = await messages(driver)
    assert (again["resolved_at"], again["resolved_as"]) == (None, "applied"), "somebody looks whether it is another's"
    second = await driver.plug("CARD-2")
    with pytest.raises(AlreadyDecided):
        await apply(driver, message["id"], second.transaction_id)
    repeated = await apply(driver, message["id"], started.transaction_id)
    assert (repeated.repeated, repeated.message.resolved_at) == (True, driver.now)
    assert await driver.session(applied.session_id) == before
    assert await driver.unplug(UNKNOWN, 3000, **said)
    seen = await dismiss(driver, message["id"], "a repeat")
    assert (seen.resolved_as, seen.resolved_transaction_id) == ("applied", started.transaction_id)
    assert await money_faults(driver.db) == []


async def test_a_repeat_of_an_applied_stop_does_not_end_the_next_charge_of_the_card(driver: Driver, card: str) -> None:
    """It names no transaction, only the card, whose next charge begins at the register where the last one ended."""
    first = await driver.plug(card)
    driver.wait(minutes=30)
    said: dict[str, Any] = {"charger_time": driver.now, "tag": "card-1"}
    # Another transaction with the tag runs at the same time: it cannot be told which one ends.
    await driver.run(
        lambda conn: conn.execute(
            """INSERT INTO ocpp_transactions (station_id, connector_id, id_tag, meter_start, started_at, received_at)
               VALUES (%s, 2, %s, 0, %s, %s)""",
            (driver.network.station_id, CARD, *[driver.now - timedelta(minutes=30)] * 2),
        )
    )
    assert (await driver.unplug(UNKNOWN, 3000, **said)).quarantined
    await driver.run(
        lambda conn: conn.execute("UPDATE ocpp_transactions SET status = 'stopped' WHERE connector_id = 2")
    )
    (message,) = await messages(driver)
    await apply(driver, message["id"], first.transaction_id)
    driver.wait(minutes=5)
    second = await driver.plug(card, register=3000)
    assert second.session_id is not None
    assert (await driver.unplug(UNKNOWN, 3000, **said)).quarantined
    assert (await driver.session(second.session_id)).state is SessionState.CHARGING
    assert await money_faults(driver.db) == []


async def test_a_repeat_of_a_stop_that_was_found_by_its_card_does_not_end_the_next_charge(
    driver: Driver, card: str
) -> None:
    first = await driver.plug(card)
    driver.wait(minutes=30)
    said: dict[str, Any] = {"charger_time": driver.now, "tag": card}
    stopped = await driver.unplug(UNKNOWN, 3000, **said)
    assert (stopped.session_id, stopped.quarantined) == (first.session_id, False)
    driver.wait(minutes=5)
    second = await driver.plug(card, register=3000)
    assert second.session_id is not None
    await driver.unplug(UNKNOWN, 3000, **said)  # the answer to the first one was lost
    assert (await driver.session(second.session_id)).state is SessionState.CHARGING
    driver.wait(minutes=30)
    ended = await driver.unplug(second.transaction_id, 6000)
    assert ended.session_id == second.session_id
    assert (await driver.session(second.session_id)).energy_wh == 3000
    assert await money_faults(driver.db) == []


async def test_a_stop_that_came_again_is_billed_by_the_receipt_that_can_be_the_charges(
    driver: Driver, card: str
) -> None:
    """The first receipt is older than the charge: by that time the connector can have delivered nothing."""
    said = {"charger_time": driver.now}
    assert (await driver.unplug(UNKNOWN, 3000, **said)).quarantined
    driver.wait(days=1)
    await driver.alive()
    started = await driver.plug(card)
    driver.wait(minutes=30)
    assert (await driver.unplug(UNKNOWN, 3000, **said)).quarantined
    (message,) = await messages(driver)
    applied = await apply(driver, message["id"], started.transaction_id)
    assert applied.session_id is not None
    session = await driver.session(applied.session_id)
    assert (session.energy_wh, session.stop_time) == (3000, driver.now)
    assert await money_faults(driver.db) == []


async def test_a_repeat_that_meets_the_decision_waits_for_it(driver: Driver) -> None:
    """Two connections: the message comes again while somebody's decision about it is not committed yet."""
    said = {"charger_time": driver.now}
    await driver.unplug(UNKNOWN, 0, **said)
    (message,) = await messages(driver)
    async with driver.db.transaction() as conn:
        await service.dismiss_quarantined(conn, message["id"], actor="staff-1", note="nobody's", now=driver.now)
        driver.wait(seconds=1)
        again = asyncio.ensure_future(driver.unplug(UNKNOWN, 0, **said))

        async def waits() -> bool:
            async def work(other: Conn) -> bool:
                row = await (await other.execute(WAITING)).fetchone()
                assert row is not None
                return bool(row["n"])

            return await driver.run(work)

        await until(waits, "the message to wait for the decision")
    assert (await again).quarantined
    (seen,) = await messages(driver)
    assert (seen["resolved_at"], seen["resolved_as"], seen["repeat_count"]) == (None, "dismissed", 1)
    assert seen["last_received_at"] - seen["received_at"] == timedelta(seconds=1)
