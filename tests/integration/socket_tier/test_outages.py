"""Outages of ours at running instances: the database away, its clock set, instances that end (docs/decisions/0018)."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import psycopg
import pytest
from psycopg import sql

from evpower.charging.models import SessionState
from evpower.clock import SystemClock
from evpower.config import Settings, get_settings
from evpower.db import Conn, PooledDatabase, database_time
from evpower.stations import hearing
from evpower.stations.listening import hearing_at
from functions.sweeps import hanging_sessions, station_status
from functions.sweeps.deps import SweepDeps
from socket_tier import signs_of_life
from socket_tier.tier import SocketTier
from tests.conftest import with_database
from tests.fakes.charging_story import Story, sample, stamp
from tests.fakes.database_clock import DatabaseClock
from tests.fakes.hearing import heard_all_along
from tests.fakes.network import Network, add_client, build, money_faults
from tests.fakes.raw_charger import RawCharger
from tests.fakes.stations import until
from tests.integration.functions.sweeps.parts import sweep_deps
from tests.integration.socket_tier.conftest import MakeTier, url

STATIONS = 6
SILENT_S = 5
"""More than the pool of an instance waits until it tries again to connect after an outage of about so long."""


@pytest.fixture
def clock(database_url: str) -> DatabaseClock:
    return DatabaseClock(database_url)


@pytest.fixture
def deps(make_settings: Callable[..., Settings], db: PooledDatabase) -> SweepDeps:
    """Sweeps by the database's time, as they run in production."""
    return replace(sweep_deps(make_settings, db, SystemClock())[0], has_own_clock=False)


@pytest.fixture
def story(db: PooledDatabase, network: Network) -> Story:
    return Story(db)


async def sweep(deps: SweepDeps) -> dict[str, int]:
    """Both sweeps that look for silence; what they found."""
    now = await deps.now()
    found = await hanging_sessions.run(deps, now) | await station_status.run(deps, now)
    return {name: count for name, count in found.items() if count}


async def read(charger: RawCharger, transaction: int, register_wh: float) -> None:
    values = sample(register_wh)
    assert await charger.call("MeterValues", connectorId=1, transactionId=transaction, meterValue=values) == {}


async def began_an_hour_ago(story: Story) -> None:
    """There was time enough for what the readings show."""

    async def work(conn: Conn) -> None:
        hour = timedelta(hours=1)
        await conn.execute(
            """UPDATE charging_sessions SET charging_started_at = charging_started_at - %(h)s,
                      last_meter_at = last_meter_at - %(h)s, last_meter_charger_at = last_meter_charger_at - %(h)s""",
            {"h": hour},
        )
        await conn.execute("UPDATE ocpp_transactions SET started_at = started_at - %s", (hour,))

    await story.db.run(work)


@pytest.mark.parametrize("hours", [-1, 1])
async def test_no_energy_is_lost_when_the_server_s_clock_is_set(
    clock: DatabaseClock, make_tier: MakeTier, story: Story, hours: int
) -> None:
    """1,560 Wh; at -1 h 960 of them were dropped. Half of them come to the other instance, as does the stop."""
    a, b = await make_tier(instance_id="a"), await make_tier(instance_id="b")
    async with RawCharger.open(url(a)) as charger:
        await charger.boot()
        session, transaction = await story.begin(a, charger, energy_kwh=Decimal(5))
        await began_an_hour_ago(story)
        await read(charger, transaction, 1600)
        clock.step(timedelta(hours=hours))
        assert await a.signs.write()
        assert await b.signs.write()
        for step in range(1, 5):
            await read(charger, transaction, 1600 + step * 120)
        charger.drop()
    async with RawCharger.open(url(b)) as charger:
        for step in range(5, 8):
            await read(charger, transaction, 1600 + step * 120)
        await charger.call("StopTransaction", transactionId=transaction, meterStop=2560, timestamp=stamp())
    ended = await story.session(session.id)
    assert (ended.state, ended.energy_wh, ended.needs_review) == (SessionState.STOPPED, 1560, False)
    assert await money_faults(story.db) == []


@pytest.mark.parametrize("hours", [-1, 1, 13])
async def test_nothing_ends_when_the_server_s_clock_is_set(
    clock: DatabaseClock, make_tier: MakeTier, story: Story, deps: SweepDeps, hours: int
) -> None:
    """+1 h ended 5 of 66 charges. Neither before nor after the instances have seen it does a sweep decide anything."""
    a = await make_tier(instance_id="a")
    async with RawCharger.open(url(a)) as charger:
        await charger.boot()
        session, transaction = await story.begin(a, charger, energy_kwh=Decimal(5))
        await story.request("client-2", 2, energy_kwh=Decimal(5))
        await read(charger, transaction, 1010)
        await a.liveness.flush()
        await heard_all_along(story.db)
        assert (await sweep(deps)) == {}
        clock.step(timedelta(hours=hours))
        assert (await sweep(deps)) == {}
        assert await a.signs.write()
        assert (await sweep(deps)) == {}
        await read(charger, transaction, 1020)
        await a.liveness.flush()
        assert (await sweep(deps)) == {}
    assert (await story.session(session.id)).state is SessionState.CHARGING


async def test_an_instance_keeps_the_database_s_time(
    clock: DatabaseClock, make_tier: MakeTier, network: Network
) -> None:
    clock.step(timedelta(hours=3))
    tier = await make_tier()
    told = await tier.database.run(database_time)
    assert abs(tier.clock.now() - told) < timedelta(seconds=2)


# --- The database away, instances that end -------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The waits of minutes made seconds."""
    monkeypatch.setenv("STATION_OFFLINE_AFTER_S", str(SILENT_S))
    get_settings.cache_clear()
    monkeypatch.setattr(hearing, "LONGEST_GAP", timedelta(seconds=1))
    monkeypatch.setattr(signs_of_life, "SIGN_EVERY_S", 0.2)


async def quick_tier(make_tier: MakeTier, instance: str) -> SocketTier:
    tier = await make_tier(instance_id=instance, station_offline_after_s=60)
    tier.liveness._flush_interval_s = 0.2
    return tier


@asynccontextmanager
async def database_away(database_url: str) -> AsyncIterator[None]:
    """All connections end, and none can be opened."""
    with psycopg.connect(with_database(database_url, "postgres"), autocommit=True) as owner:
        name = database_url.rpartition("/")[2].partition("?")[0]
        allow = sql.SQL("ALTER DATABASE {} WITH ALLOW_CONNECTIONS {}")
        owner.execute(allow.format(sql.Identifier(name), sql.SQL("false")))
        owner.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        try:
            yield
        finally:
            owner.execute(allow.format(sql.Identifier(name), sql.SQL("true")))


async def charge_everywhere(
    stack: AsyncExitStack, db: PooledDatabase, tiers: tuple[SocketTier, SocketTier]
) -> list[tuple[RawCharger, asyncio.Task[None]]]:
    """A car charges by card at each station; half of the stations are at the one instance, half at the other.

    Each charger comes with the task of its heartbeats.
    """
    chargers = []
    for number in range(2, STATIONS + 2):
        station = f"station-{number}"
        network = await build(db, await db.run(database_time), balances=(), station_id=station)

        async def card(conn: Conn, name: str = f"card-{number}") -> None:
            await add_client(conn, name, Decimal(500))
            await conn.execute("INSERT INTO id_tags (id_tag, client_id) VALUES (%s, %s)", (name, name))

        await db.run(card)
        charger = await stack.enter_async_context(RawCharger.open(url(tiers[number % 2], network.station_id)))
        await charger.boot()
        begin = {"connectorId": 1, "idTag": f"card-{number}", "meterStart": 0, "timestamp": stamp()}
        assert (await charger.call("StartTransaction", **begin))["idTagInfo"]["status"] == "Accepted"
        beating = asyncio.create_task(heartbeats(charger))
        stack.callback(beating.cancel)
        chargers.append((charger, beating))
    return chargers


async def heartbeats(charger: RawCharger) -> None:
    """The charger is heard all the while, whether or not we can write it down."""
    while True:
        await charger.call("Heartbeat")
        await asyncio.sleep(0.3)


async def states(db: PooledDatabase) -> list[str]:
    async def work(conn: Conn) -> list[str]:
        rows = await (await conn.execute("SELECT state FROM charging_sessions ORDER BY created_at")).fetchall()
        return [row["state"] for row in rows]

    return await db.run(work)


async def hears_for(db: PooledDatabase, seconds: float) -> bool:
    async def work(conn: Conn) -> bool:
        return (await hearing_at(conn, await database_time(conn))).lasted(seconds)

    return await db.run(work)


async def test_nobody_ends_after_the_database_was_away_but_who_is_silent_then(
    quick: None, make_tier: MakeTier, db: PooledDatabase, database_url: str, deps: SweepDeps
) -> None:
    """22 of 24 charges ended within seconds of its return, while the cars charged on and the chargers queued."""
    tiers = (await quick_tier(make_tier, "a"), await quick_tier(make_tier, "b"))
    async with AsyncExitStack() as stack:
        chargers = await charge_everywhere(stack, db, tiers)
        await until(lambda: hears_for(db, SILENT_S), "chargers to be heard for long enough")
        async with database_away(database_url):
            await asyncio.sleep(SILENT_S + 0.5)
        await db.pool.check()  # its connections died as well
        while not await hears_for(db, SILENT_S):
            assert await sweep(deps) == {}
            await asyncio.sleep(0.05)
        for _ in range(20):
            assert await sweep(deps) == {}
            await asyncio.sleep(0.05)
        assert await states(db) == ["charging"] * STATIONS
        gone, beating = chargers[0]
        beating.cancel()
        gone.drop()

        async def one_ended() -> bool:
            await sweep(deps)
            return (await states(db)).count("charging") == STATIONS - 1

        await until(one_ended, "the silent station's charge to end")
        assert (await states(db))[0] == "stopped"
    assert await money_faults(db) == []


async def test_nobody_ends_after_all_instances_were_away(
    quick: None, make_tier: MakeTier, db: PooledDatabase, deps: SweepDeps
) -> None:
    tiers = (await quick_tier(make_tier, "a"), await quick_tier(make_tier, "b"))
    async with AsyncExitStack() as stack:
        await charge_everywhere(stack, db, tiers)
        await until(lambda: hears_for(db, SILENT_S), "chargers to be heard for long enough")
        for tier in tiers:
            await tier.stop()
        await asyncio.sleep(SILENT_S + 0.5)
        assert await sweep(deps) == {}
        await quick_tier(make_tier, "c")
        await until(lambda: hears_for(db, 0), "a sign of life")
        assert await sweep(deps) == {}
        assert await states(db) == ["charging"] * STATIONS
