"""The sweep that finds silent stations."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import timedelta

import pytest

from evpower.config import Settings
from evpower.db import PooledDatabase
from evpower.realtime.service import Publisher
from evpower.stations.models import StationRef
from functions.sweeps import station_status
from functions.sweeps.deps import SweepDeps, build_deps
from tests.fakes.hearing import heard
from tests.integration.evpower.stations.rows import NOW, add_station, one


class Recorder(Publisher):
    """Keeps what would be published, and how many stations were unavailable for others at that moment."""

    def __init__(self, database: PooledDatabase) -> None:
        super().__init__(Settings())
        self.database = database
        self.calls: list[tuple[list[str], int]] = []

    async def stations_changed(self, stations: Iterable[str | StationRef]) -> None:
        names = [item if isinstance(item, str) else item.station_id for item in stations]
        async with self.database.transaction() as conn:
            row = await one(conn, "SELECT count(*) AS n FROM stations WHERE NOT is_available")
        self.calls.append((names, row["n"]))


def recorded(deps: SweepDeps) -> list[tuple[list[str], int]]:
    assert isinstance(deps.publisher, Recorder)
    return deps.publisher.calls


@pytest.fixture
async def deps(db: PooledDatabase, make_settings: Callable[..., Settings]) -> SweepDeps:
    await heard(db, NOW)
    return replace(build_deps(make_settings(), database=db), publisher=Recorder(db))


async def test_silent_stations_are_marked_and_published_after_the_commit(deps: SweepDeps) -> None:
    silent = NOW - timedelta(seconds=600)
    async with deps.database.transaction() as conn:
        await add_station(conn, "a", is_available=True, last_heartbeat_at=silent)
        await add_station(conn, "b", is_available=True, last_heartbeat_at=NOW)
    assert await station_status.run(deps, NOW) == {"stations_offline": 1}
    assert recorded(deps) == [(["a"], 1)]
    assert await station_status.run(deps, NOW) == {"stations_offline": 0}


async def test_many_stations_are_marked_in_batches(deps: SweepDeps, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(station_status, "BATCH", 3)
    async with deps.database.transaction() as conn:
        for number in range(7):
            await add_station(conn, f"s{number}", connectors=0, is_available=True, last_heartbeat_at=None)
    assert await station_status.run(deps, NOW) == {"stations_offline": 7}
    assert [len(names) for names, _ in recorded(deps)] == [3, 3, 1]
    assert [committed for _, committed in recorded(deps)] == [3, 6, 7]


async def test_a_run_is_bounded_and_the_next_one_goes_on(deps: SweepDeps, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(station_status, "BATCH", 2)
    monkeypatch.setattr(station_status, "MAX_BATCHES", 2)
    async with deps.database.transaction() as conn:
        for number in range(5):
            await add_station(conn, f"s{number}", connectors=0, is_available=True, last_heartbeat_at=None)
    assert await station_status.run(deps, NOW) == {"stations_offline": 4}
    assert await station_status.run(deps, NOW) == {"stations_offline": 1}


async def test_the_threshold_is_the_setting(deps: SweepDeps, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATION_OFFLINE_AFTER_S", "60")
    async with deps.database.transaction() as conn:
        await add_station(conn, "a", is_available=True, last_heartbeat_at=NOW - timedelta(seconds=59))
        await add_station(conn, "b", is_available=True, last_heartbeat_at=NOW - timedelta(seconds=60))
    assert await station_status.run(deps, NOW) == {"stations_offline": 1}
    assert recorded(deps)[0][0] == ["b"]


async def test_the_owner_hears_of_a_silent_station(deps: SweepDeps) -> None:
    silent = NOW - timedelta(seconds=600)
    async with deps.database.transaction() as conn:
        await conn.execute("INSERT INTO users (id, role) VALUES ('owner', 'admin')")
        await add_station(conn, "a", is_available=True, last_heartbeat_at=silent, user_id="owner")
        await add_station(conn, "b", is_available=True, last_heartbeat_at=silent)
    assert await station_status.run(deps, NOW) == {"stations_offline": 2}
    async with deps.database.transaction() as conn:
        told = await one(conn, "SELECT user_type, user_id, event, payload FROM push_outbox")
    assert (told["user_type"], told["user_id"], told["event"]) == ("owner", "owner", "station_offline")
    assert (told["payload"]["station_id"], told["payload"]["offline_since"]) == ("a", "2026-03-11T05:50:00.000Z")
