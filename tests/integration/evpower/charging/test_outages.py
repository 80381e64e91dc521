"""After an outage of ours nothing is decided by silence until chargers could be heard for long enough again."""

from datetime import timedelta
from decimal import Decimal

import pytest

from evpower.charging import service
from evpower.charging.models import EndReason, Session, SessionState
from evpower.clock import FrozenClock
from evpower.db import Conn, PooledDatabase
from evpower.stations import service as stations
from tests.fakes.hearing import heard
from tests.fakes.network import balance_of, build, money_faults
from tests.integration.evpower.charging.driver import Driver

CLIENT = "client-1"
JUST_SHORT, LONG_ENOUGH = timedelta(seconds=599), timedelta(seconds=601)


@pytest.fixture
async def driver(db: PooledDatabase) -> Driver:
    clock = FrozenClock()
    return Driver(db, await build(db, clock.now()), clock)


async def charging(driver: Driver) -> tuple[str, int]:
    """A charge whose first reading is overdue in three intervals of a minute."""
    started = await driver.start(CLIENT, amount="200")
    transaction = (await driver.plug(started.session.id_tag)).transaction_id
    due = driver.now + timedelta(minutes=3)
    await sql(driver, "UPDATE charging_sessions SET auto_stop_at = %s WHERE id = %s", due, started.session.id)
    return started.session.id, transaction


async def session(driver: Driver, session_id: str) -> Session:
    return await driver.session(session_id)


async def sql(driver: Driver, statement: str, *parameters: object) -> None:
    async def work(conn: Conn) -> None:
        await conn.execute(statement.encode(), parameters)

    await driver.run(work)


async def test_nobody_is_settled_as_offline_before_it_could_be_heard_for_the_threshold(driver: Driver) -> None:
    session_id, transaction = await charging(driver)
    driver.wait(minutes=5)
    await driver.read(transaction, 1000)
    driver.wait(hours=3)  # we were away
    for heard_for in (timedelta(0), JUST_SHORT):
        await driver.sweep(heard_for)
        assert (await session(driver, session_id)).state is SessionState.CHARGING
    await driver.sweep(LONG_ENOUGH)
    ended = await session(driver, session_id)
    assert (ended.state, ended.stop_reason, ended.energy_wh) == (SessionState.STOPPED, "station_offline", 1000)
    assert await money_faults(driver.db) == []


async def test_while_nobody_hears_nothing_is_decided(driver: Driver) -> None:
    waiting = (await driver.start("client-2", 2, amount="50")).session.id
    session_id, _ = await charging(driver)
    await heard(driver.db, driver.now)
    driver.wait(hours=13)
    assert await driver.sweep(None) == []
    assert (await session(driver, session_id)).state is SessionState.CHARGING
    assert (await session(driver, waiting)).state is SessionState.PENDING


async def test_a_start_that_waits_is_refunded_after_ten_minutes_in_which_its_begin_could_be_told(
    driver: Driver,
) -> None:
    session_id = (await driver.start(CLIENT, amount="200")).session.id
    driver.wait(hours=1)
    await driver.sweep(JUST_SHORT)
    assert await balance_of(driver.db, CLIENT) == 300
    await driver.sweep(LONG_ENOUGH)
    assert (await session(driver, session_id)).stop_reason == "NO_CONNECTION"
    assert await balance_of(driver.db, CLIENT) == 500


async def test_twelve_hours_are_over_once_its_stop_could_be_told(driver: Driver) -> None:
    session_id, _ = await charging(driver)
    driver.wait(hours=13)
    await driver.alive()
    await sql(driver, "UPDATE charging_sessions SET auto_stop_at = NULL")
    await driver.sweep(JUST_SHORT)
    assert (await session(driver, session_id)).state is SessionState.CHARGING
    await driver.sweep(LONG_ENOUGH)
    assert (await session(driver, session_id)).stop_reason == "TOO_LONG"


async def test_a_stop_is_given_up_after_a_quarter_of_an_hour_in_which_its_answer_could_be_heard(
    driver: Driver,
) -> None:
    session_id, _ = await charging(driver)
    await driver.stop(session_id, CLIENT)
    await sql(driver, "UPDATE station_commands SET status = 'failed', finished_at = %s", driver.now)
    driver.wait(minutes=40)
    await driver.alive()
    asked = await driver.sweep(timedelta(minutes=14))
    assert len(asked) == 1  # it is asked again all the same
    assert (await session(driver, session_id)).state is SessionState.STOPPING
    await driver.sweep(timedelta(minutes=16))
    assert (await session(driver, session_id)).state is SessionState.STOPPED


async def test_late_readings_are_over_when_they_could_have_come_for_ten_minutes(driver: Driver) -> None:
    session_id, transaction = await charging(driver)
    driver.wait(minutes=5)
    await driver.read(transaction, 1000)
    driver.wait(minutes=11)
    await driver.sweep()
    assert (await session(driver, session_id)).final_amount == Decimal("13.50")
    await driver.read(transaction, 2000)
    driver.wait(hours=1)
    await driver.sweep(JUST_SHORT)
    assert (await session(driver, session_id)).final_amount == Decimal("13.50")
    await driver.sweep(LONG_ENOUGH)
    assert (await session(driver, session_id)).final_amount == Decimal(27)


# --- Overdue readings ---------------------------------------------------------------------------------------------


async def overdue(driver: Driver) -> bool:
    sweep = next(sweep for sweep in service.SWEEPS if sweep.name == "readings_overdue")
    return bool(await driver.run(lambda conn: sweep.find(conn, driver.now, 10)))


async def connected(driver: Driver, instance: str | None) -> None:
    await sql(
        driver, "UPDATE stations SET connected_instance = %s, connected_at = %s, last_heartbeat_at = %s",
        instance, driver.now if instance else None, driver.now,
    )  # fmt: skip


async def test_readings_are_overdue_three_intervals_after_the_charger_is_connected_again(driver: Driver) -> None:
    """The database was away, the sockets were closed, and the charger waits before it dials."""
    await charging(driver)
    driver.wait(minutes=4)
    await heard(driver.db, driver.now, timedelta(minutes=1))  # again since a minute; the charger was not heard since
    assert not await overdue(driver)
    await connected(driver, "test")
    driver.wait(seconds=179)
    await heard(driver.db, driver.now, timedelta(seconds=239))
    assert not await overdue(driver)
    driver.wait(seconds=2)
    await heard(driver.db, driver.now, timedelta(seconds=241))
    assert await overdue(driver)


async def test_a_charger_that_keeps_its_socket_owes_readings_three_intervals_after_we_hear_again(
    driver: Driver,
) -> None:
    await charging(driver)
    driver.wait(minutes=30)
    await driver.alive()
    await heard(driver.db, driver.now, timedelta(seconds=179))
    assert not await overdue(driver)
    await heard(driver.db, driver.now, timedelta(seconds=181))
    assert await overdue(driver)


@pytest.mark.parametrize("holder", [None, "died", "hangs"])
async def test_a_charger_without_a_live_holder_is_stopped_only_after_the_threshold(
    driver: Driver, holder: str | None
) -> None:
    """It cannot be stopped before it is back, and then its readings tell."""
    await charging(driver)
    await connected(driver, holder)
    if holder == "hangs":
        await heard(driver.db, driver.now, instance="hangs")
    driver.wait(seconds=180 + 599)
    await heard(driver.db, driver.now)
    assert not await overdue(driver)
    driver.wait(seconds=2)
    await heard(driver.db, driver.now)
    assert await overdue(driver)


async def test_a_charger_that_dials_again_and_again_and_tells_nothing_is_stopped(driver: Driver) -> None:
    await charging(driver)
    for _ in range(14):
        driver.wait(minutes=1)
        await connected(driver, "test")
        await heard(driver.db, driver.now)
    assert await overdue(driver)


# --- One instance of several --------------------------------------------------------------------------------------


async def test_a_station_whose_instance_died_has_the_threshold_to_be_heard_elsewhere(driver: Driver) -> None:
    session_id, _ = await charging(driver)
    await connected(driver, "a")
    driver.wait(minutes=8)  # it could not store what it heard
    await heard(driver.db, driver.now, instance="a")
    driver.wait(minutes=9)
    await driver.sweep()
    assert (await session(driver, session_id)).state is SessionState.CHARGING
    driver.wait(minutes=2)
    await driver.sweep()
    assert (await session(driver, session_id)).stop_reason == EndReason.STATION_OFFLINE


async def test_a_station_whose_instance_hears_again_has_the_threshold_as_well(driver: Driver) -> None:
    """It had hung; its chargers believe that they are connected, and have to find out."""
    session_id, _ = await charging(driver)
    await connected(driver, "a")
    driver.wait(minutes=30)
    await heard(driver.db, driver.now, timedelta(minutes=9), instance="a")
    await driver.sweep()
    assert (await session(driver, session_id)).state is SessionState.CHARGING
    await heard(driver.db, driver.now, timedelta(minutes=11), instance="a")
    await driver.sweep()
    assert (await session(driver, session_id)).stop_reason == EndReason.STATION_OFFLINE


# --- A clock that was set -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("hours", [1, -1, 13])
async def test_a_sweep_whose_clock_differs_from_the_signs_decides_nothing(driver: Driver, hours: int) -> None:
    """+1 h ended 5 of 66 charges."""
    session_id, _ = await charging(driver)
    waiting = (await driver.start("client-2", 2, amount="50")).session.id
    driver.wait(minutes=2)
    await driver.alive()
    await heard(driver.db, driver.now)
    driver.wait(hours=hours)
    await driver.sweep(None)
    assert (await session(driver, session_id)).state is SessionState.CHARGING
    assert (await session(driver, waiting)).state is SessionState.PENDING


async def test_what_was_written_before_the_clock_went_back_counts_as_long_ago(driver: Driver) -> None:
    session_id, _ = await charging(driver)
    waiting = (await driver.start("client-2", 2, amount="50")).session.id
    driver.wait(hours=-9)
    await driver.sweep(JUST_SHORT)
    assert (await session(driver, session_id)).state is SessionState.CHARGING
    assert (await session(driver, waiting)).state is SessionState.PENDING
    await driver.sweep(LONG_ENOUGH)
    assert (await session(driver, session_id)).stop_reason == EndReason.STATION_OFFLINE
    assert (await session(driver, waiting)).stop_reason == EndReason.NO_CONNECTION
    assert await money_faults(driver.db) == []


async def test_a_station_that_is_heard_after_the_clock_went_back_is_heard(driver: Driver) -> None:
    station = driver.network.station_id
    session_id, _ = await charging(driver)
    driver.wait(hours=-9)
    await driver.run(lambda conn: stations.touch(conn, {station: driver.now}, driver.now))
    await sql(driver, "UPDATE charging_sessions SET auto_stop_at = NULL")
    driver.wait(minutes=9)
    await driver.sweep()
    assert (await session(driver, session_id)).state is SessionState.CHARGING
    driver.wait(minutes=2)
    await driver.sweep()
    assert (await session(driver, session_id)).stop_reason == EndReason.STATION_OFFLINE


async def test_a_silent_station_is_marked_after_the_clock_went_back(driver: Driver) -> None:
    driver.wait(hours=-9)
    await heard(driver.db, driver.now, JUST_SHORT)
    assert await driver.run(lambda conn: stations.mark_offline(conn, driver.now, 10)) == []
    await heard(driver.db, driver.now, LONG_ENOUGH)
    (marked,) = await driver.run(lambda conn: stations.mark_offline(conn, driver.now, 10))
    assert marked.station_id == driver.network.station_id
    station = await driver.run(lambda conn: stations.resolve(conn, marked.station_id))
    assert station is not None
    assert not stations.is_online(station, driver.now)
