"""The sweep of hanging sessions from the scheduled event to the money."""

import asyncio
from collections.abc import Callable
from decimal import Decimal

import pytest

from evpower.charging import service as charging
from evpower.clock import FrozenClock
from evpower.config import Settings
from evpower.db import Conn, PooledDatabase
from functions.sweeps import hanging_sessions
from tests.fakes.hearing import heard
from tests.fakes.network import balance_of, build, money_faults
from tests.integration.evpower.charging.driver import Driver
from tests.integration.functions.sweeps.parts import Commands, Live, sweep_deps

QUIET = dict.fromkeys(
    (
        "stops_by_card",
        "never_started",
        "too_long",
        "station_offline",
        "readings_overdue",
        "stop_unanswered",
        "late_readings",
        "left_open",
        "failures",
    ),
    0,
)


@pytest.fixture
async def driver(db: PooledDatabase) -> Driver:
    clock = FrozenClock()
    return Driver(db, await build(db, clock.now()), clock)


@pytest.fixture
def parts(make_settings: Callable[..., Settings], driver: Driver) -> tuple[object, Commands, Live]:
    return sweep_deps(make_settings, driver.db, driver.clock)


async def sweep(driver: Driver, parts: tuple[object, Commands, Live]) -> dict[str, int]:
    await heard(driver.db, driver.now)
    return await hanging_sessions.run(parts[0], driver.now)  # type: ignore[arg-type]


async def test_money_comes_back_ten_minutes_after_a_start_without_a_cable(
    driver: Driver, parts: tuple[object, Commands, Live]
) -> None:
    started = await driver.start("client-1", amount="200")
    assert await balance_of(driver.db, "client-1") == 300
    driver.wait(minutes=9, seconds=59)
    await driver.alive()
    assert await sweep(driver, parts) == QUIET
    driver.wait(seconds=2)
    assert await sweep(driver, parts) == QUIET | {"never_started": 1}
    assert await balance_of(driver.db, "client-1") == 500
    assert (await driver.session(started.session.id)).status == "error"
    assert parts[2].changed == ["station-1"]
    assert await sweep(driver, parts) == QUIET
    assert await money_faults(driver.db) == []


async def test_twelve_hours_are_billed_by_the_meter_and_the_charger_is_stopped(
    driver: Driver, parts: tuple[object, Commands, Live]
) -> None:
    started = await driver.start("client-1", amount="200")
    transaction = (await driver.plug(started.session.id_tag)).transaction_id
    driver.wait(minutes=30)
    await driver.read(transaction, 10_000, power_w=0)
    driver.wait(hours=12)
    await driver.alive()
    counts = await sweep(driver, parts)
    assert (counts["too_long"], counts["failures"]) == (1, 0)
    assert parts[1].sent == [f"RemoteStopTransaction {started.session.id}"]
    assert await balance_of(driver.db, "client-1") == 500 - Decimal("135.00")
    assert await money_faults(driver.db) == []


async def test_runs_that_overlap_treat_each_session_once(driver: Driver, parts: tuple[object, Commands, Live]) -> None:
    await driver.start("client-1", 1, amount="200")
    await driver.start("client-2", 2, amount="100")
    driver.wait(minutes=11)
    await driver.alive()
    await asyncio.gather(*(sweep(driver, parts) for _ in range(4)))
    assert await balance_of(driver.db, "client-1") == 500
    assert await balance_of(driver.db, "client-2") == 500
    assert await money_faults(driver.db) == []


async def test_a_session_that_fails_does_not_keep_the_others_waiting(
    driver: Driver, parts: tuple[object, Commands, Live], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = (await driver.start("client-1", 1, amount="200")).session.id
    await driver.start("client-2", 2, amount="100")
    driver.wait(minutes=11)
    await driver.alive()
    original = next(one for one in charging.SWEEPS if one.name == "never_started")

    async def handle(conn: Conn, session_id: str, now: object) -> str | None:
        command = await original.handle(conn, session_id, now)  # type: ignore[arg-type]
        if session_id == broken:
            raise RuntimeError("crash after the booking")
        return command

    failing = charging.Sweep(original.name, original.find, handle)
    sweeps = tuple(failing if one is original else one for one in charging.SWEEPS)
    monkeypatch.setattr(charging, "SWEEPS", sweeps)
    monkeypatch.setattr(hanging_sessions, "_BATCH", 1)  # the broken one fills the first batch again and again
    counts = await sweep(driver, parts)
    assert (counts["never_started"], counts["failures"]) == (1, 1)
    assert await balance_of(driver.db, "client-1") == 300  # rolled back whole
    assert await balance_of(driver.db, "client-2") == 500
    monkeypatch.undo()
    await sweep(driver, parts)
    assert await balance_of(driver.db, "client-1") == 500
    assert await money_faults(driver.db) == []
