"""Corners of a session's money: clocks, cards, reopened sessions, moved connectors, chargers that answer nothing."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from evpower.charging import service
from evpower.charging.models import SessionState
from evpower.db import Conn
from evpower.errors import ValidationFailed
from tests.fakes.hearing import heard
from tests.fakes.network import balance_of, money_faults
from tests.integration.evpower.charging.driver import Driver

CLIENT, OTHER = "client-1", "client-2"


async def sql(driver: Driver, statement: str, *parameters: object) -> None:
    async def work(conn: Conn) -> None:
        await conn.execute(statement, parameters)  # type: ignore[call-overload]

    await driver.run(work)


async def price_by_the_minute(driver: Driver, *, per_kwh: int = 0, per_minute: int = 1) -> None:
    await sql(
        driver,
        """INSERT INTO client_tariffs (client_id, fixed_rate_per_kwh, fixed_rate_per_minute, valid_from)
           VALUES (%s, %s, %s, '2020-01-01')""",
        CLIENT,
        per_kwh,
        per_minute,
    )


async def reconnect(driver: Driver) -> None:
    await sql(driver, "UPDATE stations SET connected_at = %s, last_heartbeat_at = %s", driver.now, driver.now)


async def test_readings_replayed_hours_later_bill_the_minutes_of_the_charger(driver: Driver) -> None:
    """The station was away for five hours after twenty minutes of charging, and its StopTransaction is lost."""
    await price_by_the_minute(driver)
    started = await driver.start(CLIENT, amount="400")
    transaction = (await driver.plug(started.session.id_tag)).transaction_id
    driver.wait(minutes=5)
    await driver.alive()
    await driver.read(transaction, 1000)
    driver.wait(minutes=15)
    at_the_charger = driver.now
    await driver.sweep()
    assert (await driver.session(started.session.id)).final_amount == Decimal("5.00")
    driver.wait(hours=5)
    await reconnect(driver)
    await driver.read(transaction, 4000, charger_time=at_the_charger)
    driver.wait(minutes=11)
    await driver.alive()
    await driver.sweep()
    session = await driver.session(started.session.id)
    assert (session.settlement_revision, session.energy_wh) == (2, 4000)
    assert session.final_amount == Decimal("20.00")
    assert await money_faults(driver.db) == []


async def test_a_reading_after_the_stop_bills_nothing_more(driver: Driver) -> None:
    """Some chargers send their last MeterValues after StopTransaction; this one replays both much later."""
    await price_by_the_minute(driver, per_kwh=10)
    started = await driver.start(CLIENT, amount="400")
    transaction = (await driver.plug(started.session.id_tag)).transaction_id
    driver.wait(minutes=30)
    ended = driver.now
    driver.wait(hours=3)
    await reconnect(driver)
    await driver.unplug(transaction, 5000, charger_time=ended)
    session = await driver.session(started.session.id)
    assert session.final_amount == Decimal("80.00")  # 5 kWh and 30 minutes
    await driver.read(transaction, 5100, charger_time=ended)
    driver.wait(minutes=11)
    await driver.alive()
    await driver.sweep()
    session = await driver.session(session.id)
    assert (session.energy_wh, session.final_amount, session.needs_review) == (5000, Decimal("80.00"), True)
    assert await money_faults(driver.db) == []


async def test_a_blocked_card_is_not_billed_for_a_replayed_start(driver: Driver) -> None:
    """A stolen card is blocked; a charger that was offline let it charge all the same. Its owner does not pay."""
    await sql(driver, "INSERT INTO id_tags (id_tag, client_id, status) VALUES ('CARD-1', %s, 'blocked')", CLIENT)
    began = driver.now
    driver.wait(hours=1)
    await reconnect(driver)
    answer = await driver.plug("CARD-1", charger_time=began)
    assert (answer.id_tag_status, answer.session_id) == ("Blocked", None)
    await driver.unplug(answer.transaction_id, 5000, charger_time=began + timedelta(minutes=30))
    assert await balance_of(driver.db, CLIENT) == 500


async def test_a_card_without_money_is_billed_for_a_replayed_start(driver: Driver) -> None:
    await sql(driver, "INSERT INTO id_tags (id_tag, client_id) VALUES ('CARD-1', %s)", CLIENT)
    emptied = await driver.start(CLIENT, amount="495")
    await driver.stop(emptied.session.id)
    await spend(driver, CLIENT, Decimal(495))
    began = driver.now
    driver.wait(hours=1)
    await reconnect(driver)
    answer = await driver.plug("card-1", charger_time=began)
    assert answer.id_tag_status == "Accepted"
    await driver.unplug(answer.transaction_id, 5000, charger_time=began + timedelta(minutes=30))
    assert answer.session_id is not None
    session = await driver.session(answer.session_id)
    assert (session.final_amount, session.written_off_amount) == (5, Decimal("62.50"))
    assert await money_faults(driver.db) == []


@pytest.mark.parametrize("days", [0.1, 5])
@pytest.mark.parametrize("where", ["elsewhere", "same connector"])
async def test_a_charge_by_card_told_of_while_the_client_charges_again_is_billed(
    driver: Driver, where: str, days: float
) -> None:
    """It was real, whatever runs now; that goes on untouched."""
    await sql(driver, "INSERT INTO id_tags (id_tag, client_id) VALUES ('CARD-1', %s)", CLIENT)
    began = driver.now
    driver.wait(days=days)
    await driver.alive()
    if where == "elsewhere":
        await driver.start(CLIENT, 2, amount="100")
    else:
        await driver.start(OTHER, 1, amount="100")
    await reconnect(driver)
    answer = await driver.plug("CARD-1", charger_time=began)
    assert answer.id_tag_status == "Accepted"
    assert answer.command_id is None
    assert answer.session_id is not None
    session = await driver.session(answer.session_id)
    assert (session.state, session.reserved_amount, session.start_time) == (SessionState.STOPPED, 0, began)
    assert (await driver.plug("CARD-1", charger_time=began)).transaction_id == answer.transaction_id
    for _ in range(2):
        await driver.unplug(answer.transaction_id, 5000, charger_time=began + timedelta(minutes=30))
    session = await driver.session(answer.session_id)
    assert (session.energy_wh, session.final_amount, session.settlement_revision) == (5000, Decimal("67.5"), 2)
    assert await balance_of(driver.db, CLIENT) == 500 - Decimal("67.5") - (100 if where == "elsewhere" else 0)
    assert await money_faults(driver.db) == []


async def test_a_clockless_charger_cannot_say_that_a_second_charge_is_long_over(driver: Driver) -> None:
    """Its 1970 may be now: a second charge of the client is refused as everywhere."""
    await sql(driver, "INSERT INTO id_tags (id_tag, client_id) VALUES ('CARD-1', %s)", CLIENT)
    await driver.start(CLIENT, 2, amount="100")
    await reconnect(driver)
    answer = await driver.plug("CARD-1", charger_time=datetime(1970, 1, 1, tzinfo=UTC))
    assert (answer.id_tag_status, answer.session_id) == ("ConcurrentTx", None)


async def test_a_card_that_expired_after_it_had_charged_is_billed(driver: Driver) -> None:
    expires = driver.now + timedelta(minutes=30)
    await sql(driver, "INSERT INTO id_tags (id_tag, client_id, expires_at) VALUES ('CARD-1', %s, %s)", CLIENT, expires)
    began = driver.now
    driver.wait(hours=1)
    await reconnect(driver)
    assert (await driver.plug("CARD-1", 2)).id_tag_status == "Expired"
    answer = await driver.plug("CARD-1", charger_time=began)
    assert answer.id_tag_status == "Accepted"
    await driver.unplug(answer.transaction_id, 5000, charger_time=began + timedelta(minutes=20))
    assert await balance_of(driver.db, CLIENT) == 500 - Decimal("67.5")


async def spend(driver: Driver, client: str, amount: Decimal) -> None:
    from evpower.accounts import service as accounts
    from evpower.accounts.models import LedgerType, Movement

    movement = Movement(client, LedgerType.MANUAL_ADJUSTMENT, -amount, f"adjust:spend:{client}")
    await driver.run(lambda conn: accounts.move(conn, movement))


async def refunded(driver: Driver, **limits: str) -> str:
    """A session that was refunded because nobody plugged in; its tag."""
    started = await driver.start(CLIENT, **limits)
    driver.wait(minutes=11)
    await driver.alive()
    await driver.sweep()
    assert (await driver.session(started.session.id)).state is SessionState.ERROR
    return started.session.id_tag


async def test_a_small_session_goes_on_after_its_refund(driver: Driver) -> None:
    """Five som were enough to start; they are enough to start again."""
    tag = await refunded(driver, amount="5")
    answer = await driver.plug(tag)
    assert answer.id_tag_status == "Accepted"
    assert await balance_of(driver.db, CLIENT) == 495
    assert await money_faults(driver.db) == []


async def test_a_small_session_without_its_money_does_not_go_on(driver: Driver) -> None:
    tag = await refunded(driver, amount="5")
    await spend(driver, CLIENT, Decimal("495.01"))
    assert (await driver.plug(tag)).id_tag_status == "Blocked"
    assert await balance_of(driver.db, CLIENT) == Decimal("4.99")
    assert await money_faults(driver.db) == []


async def test_a_free_session_reserves_nothing_when_it_goes_on(driver: Driver) -> None:
    await price_by_the_minute(driver, per_minute=0)
    tag = await refunded(driver, energy="20")
    answer = await driver.plug(tag)
    assert answer.id_tag_status == "Accepted"
    assert await balance_of(driver.db, CLIENT) == 500
    assert await money_faults(driver.db) == []


async def test_a_session_that_goes_on_is_ended_by_who_ends_it(driver: Driver) -> None:
    tag = await refunded(driver, amount="100")
    answer = await driver.plug(tag)
    assert answer.session_id is not None
    await driver.stop(answer.session_id, CLIENT)
    session = await driver.session(answer.session_id)
    assert (session.stop_reason, session.stop_initiator) == ("client", "client")


async def test_free_energy_replayed_after_the_refund_is_no_error(driver: Driver) -> None:
    """`error` is for sessions that never delivered energy (mobile-api.md §0.15), also where there is nothing to pay."""
    await price_by_the_minute(driver, per_minute=0)
    tag = await refunded(driver, energy="20")
    began = driver.now - timedelta(minutes=8)
    driver.wait(hours=1)
    await reconnect(driver)
    answer = await driver.plug(tag, charger_time=began)
    assert answer.session_id is not None
    await driver.unplug(answer.transaction_id, 6000, charger_time=began + timedelta(minutes=40))
    session = await driver.session(answer.session_id)
    assert (session.state, session.final_amount, session.error_code) == (SessionState.STOPPED, 0, None)
    assert session.stop_time == began + timedelta(minutes=40)


async def test_the_end_of_a_replayed_session_is_that_of_its_transaction(driver: Driver) -> None:
    tag = await refunded(driver, amount="100")
    began = driver.now - timedelta(minutes=8)
    driver.wait(hours=1)
    await reconnect(driver)
    answer = await driver.plug(tag, charger_time=began)
    await driver.unplug(answer.transaction_id, 6000, charger_time=began + timedelta(minutes=40))
    assert answer.session_id is not None
    session = await driver.session(answer.session_id)
    assert (session.start_time, session.stop_time) == (began, began + timedelta(minutes=40))


async def test_a_charger_that_answers_no_stop_does_not_hold_the_client_for_hours(driver: Driver) -> None:
    """It is heard, but the RemoteStop goes unanswered and is queued again and again until it expires."""
    started = await driver.start(CLIENT, amount="100")
    transaction = (await driver.plug(started.session.id_tag)).transaction_id
    driver.wait(minutes=2)
    await driver.read(transaction, 1000)
    await driver.stop(started.session.id, CLIENT)
    for _ in range(17):
        driver.wait(minutes=1)
        await driver.alive()
        await driver.sweep()
    session = await driver.session(started.session.id)
    assert (session.state, session.final_amount) == (SessionState.STOPPED, Decimal("13.50"))
    assert session.needs_review
    await driver.unplug(transaction, 1500)
    assert (await driver.session(session.id)).final_amount == Decimal("20.25")
    assert await money_faults(driver.db) == []


async def test_a_limit_below_one_watt_hour_is_refused(driver: Driver) -> None:
    """It would be rounded to nothing: a paid session without a reserve."""
    with pytest.raises(ValidationFailed):
        await driver.start(CLIENT, energy="0.0004")


async def test_another_start_on_the_connector_that_the_charger_really_uses(driver: Driver) -> None:
    """The charger begins on connector 2 what was asked for on 1, while somebody else starts on 2."""
    mine = await driver.start(CLIENT, 1, amount="100")
    locked, go_on = asyncio.Event(), asyncio.Event()

    async def theirs(conn: Conn) -> None:
        from evpower.charging.models import StartRequest

        request = StartRequest(OTHER, driver.network.station_id, 2, amount_som=Decimal(50))
        await service.start(conn, request, driver.now)
        locked.set()
        await go_on.wait()

    other = asyncio.create_task(driver.run(theirs))
    await locked.wait()
    plugging = asyncio.create_task(driver.plug(mine.session.id_tag, 2))
    await until_blocked(driver)
    go_on.set()
    await other
    answer = await plugging
    assert (answer.id_tag_status, answer.session_id) == ("ConcurrentTx", None)
    assert await money_faults(driver.db) == []


async def until_blocked(driver: Driver) -> None:
    """Wait until a backend of this database waits for a lock."""

    async def waiting(conn: Conn) -> bool:
        cursor = await conn.execute(
            "SELECT 1 FROM pg_locks l JOIN pg_stat_activity a USING (pid) "
            "WHERE NOT l.granted AND a.datname = current_database()"
        )
        return await cursor.fetchone() is not None

    async with asyncio.timeout(10):
        while not await driver.run(waiting):
            await asyncio.sleep(0.01)


async def test_a_card_stops_the_session_that_it_started(driver: Driver) -> None:
    """The driver holds the card to the charger again, and this charger asks before it stops."""
    await sql(driver, "INSERT INTO id_tags (id_tag, client_id) VALUES ('CARD-1', %s), ('CARD-2', %s)", CLIENT, CLIENT)

    async def verdict(station: str, tag: str) -> str:
        return (await driver.run(lambda conn: service.authorize(conn, station, tag, driver.now))).status

    assert await verdict("station-1", "card-1") == "Accepted"
    assert (await driver.plug("CARD-1")).id_tag_status == "Accepted"
    assert await verdict("station-1", "card-1") == "Accepted"
    assert await verdict("station-1", "CARD-2") == "ConcurrentTx"
    assert await verdict("station-2", "CARD-1") == "ConcurrentTx"
    assert (await driver.plug("CARD-1", 2, register=7)).id_tag_status == "ConcurrentTx"


async def test_a_session_that_goes_on_ends_although_its_bill_is_its_reserve(driver: Driver) -> None:
    tag = await refunded(driver, amount="27")
    answer = await driver.plug(tag)
    driver.wait(minutes=20)
    await driver.unplug(answer.transaction_id, 2000)
    assert answer.session_id is not None
    session = await driver.session(answer.session_id)
    assert (session.state, session.final_amount) == (SessionState.STOPPED, Decimal(27))
    assert (await balance_of(driver.db, CLIENT), await money_faults(driver.db)) == (473, [])


async def test_another_stop_of_a_stopped_transaction_bills_nothing(driver: Driver) -> None:
    """Its transaction id is right and its register is not: an operator looks at it, nobody pays for it."""
    started = await driver.start(CLIENT, amount="100")
    transaction = (await driver.plug(started.session.id_tag)).transaction_id
    driver.wait(minutes=20)
    await driver.unplug(transaction, 2000)
    driver.wait(minutes=20)
    assert (await driver.unplug(transaction, 5000)).quarantined
    session = await driver.session(started.session.id)
    assert (session.settlement_revision, session.energy_wh, session.final_amount) == (1, 2000, 27)
    assert await money_faults(driver.db) == []


async def test_a_process_that_lost_the_station_neither_reserves_nor_moves_the_meter(driver: Driver) -> None:
    started = await driver.start(CLIENT)
    transaction = (await driver.plug(started.session.id_tag)).transaction_id
    driver.wait(minutes=5)
    await driver.read(transaction, 1000)
    stale, driver.network = driver.network, replace(driver.network, epoch=driver.network.epoch + 1)
    await sql(driver, "UPDATE stations SET connection_epoch = %s", driver.network.epoch)
    driver.wait(minutes=5)
    await driver.read(transaction, 2000)

    driver.network, present = stale, driver.network
    driver.wait(minutes=5)
    await driver.read(transaction, 2500)
    with pytest.raises(service.ConnectionLost):
        await driver.run(lambda conn: service.extend_reserve(conn, started.session.id, stale.epoch, driver.now))
    with pytest.raises(service.ConnectionLost):
        await driver.unplug(transaction, 3000)
    session = await driver.session(started.session.id)
    assert (session.energy_wh, session.reserved_amount, session.state) == (2000, 200, SessionState.CHARGING)

    driver.network = present
    driver.wait(minutes=5)
    await driver.unplug(transaction, 3000)
    assert (await driver.session(session.id)).final_amount == Decimal("40.50")
    assert await money_faults(driver.db) == []


async def test_a_station_heard_between_finding_and_settling_is_not_silent(driver: Driver) -> None:
    started = await driver.start(CLIENT, amount="100")
    await driver.plug(started.session.id_tag)
    driver.wait(minutes=11)
    await heard(driver.db, driver.now)
    sweep = next(sweep for sweep in service.SWEEPS if sweep.name == "station_offline")
    found = await driver.run(lambda conn: sweep.find(conn, driver.now, 10))
    assert found == [started.session.id]
    await driver.alive()
    await driver.run(lambda conn: sweep.handle(conn, found[0], driver.now))
    assert (await driver.session(found[0])).state is SessionState.CHARGING


async def test_a_limit_reached_too_late_does_not_open_an_ended_session(driver: Driver) -> None:
    started = await driver.start(CLIENT)
    transaction = (await driver.plug(started.session.id_tag)).transaction_id
    driver.wait(minutes=20)
    await driver.unplug(transaction, 2000)
    session_id, epoch = started.session.id, driver.network.epoch
    assert await driver.run(lambda conn: service.auto_stop(conn, session_id, driver.now)) is None
    assert await driver.run(lambda conn: service.extend_reserve(conn, session_id, epoch, driver.now)) is None
    assert (await driver.session(session_id)).state is SessionState.STOPPED
    assert await money_faults(driver.db) == []
