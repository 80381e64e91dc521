"""The sweep over what chargers keep: reservations and profiles that are over, lists that hold closed cards."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from evpower.clock import FrozenClock
from evpower.config import Settings
from evpower.db import Conn, PooledDatabase
from evpower.local_list import service as local_list
from functions.sweeps import charger_state
from tests.fakes.network import build
from tests.fakes.stations import until
from tests.integration.evpower.stations.rows import NOW
from tests.integration.functions.sweeps.parts import sweep_deps

STATION = "station-1"
WAITING = """SELECT count(DISTINCT l.pid) AS n FROM pg_locks l JOIN pg_stat_activity a USING (pid)
              WHERE NOT l.granted AND a.datname = current_database()"""


async def _fill(db: PooledDatabase) -> None:
    async with db.transaction() as conn:
        for number, minutes in enumerate((-1, 10), 1):
            await conn.execute(
                """INSERT INTO reservations (station_id, reservation_id, connector_id, id_tag, expires_at, state,
                       requested_by, created_at, updated_at) VALUES (%s, %s, %s, 'T', %s, 'accepted', 'x', %s, %s)""",
                (STATION, number, number, NOW + timedelta(minutes=minutes), NOW, NOW),
            )
        await conn.execute(
            """INSERT INTO ocpp_transactions (id, station_id, connector_id, id_tag, meter_start, started_at, status)
               VALUES (7, %s, 1, 'T', 0, %s, 'stopped'), (8, %s, 2, 'T', 0, %s, 'active')""",
            (STATION, NOW, STATION, NOW),
        )
        for number in (7, 8):
            await conn.execute(
                """INSERT INTO charging_profiles (station_id, charging_profile_id, connector_id, purpose, stack_level,
                       transaction_id, state, requested_by, created_at, updated_at)
                   VALUES (%s, %s, 1, 'TxProfile', 0, %s, 'active', 'x', %s, %s)""",
                (STATION, number, number, NOW, NOW),
            )
        await conn.execute("INSERT INTO id_tags (id_tag, client_id, status) VALUES ('A', 'client-1', 'blocked')")
        await conn.execute(
            "INSERT INTO local_lists (station_id, is_enabled, state, updated_at) VALUES (%s, true, 'synced', %s)",
            (STATION, NOW),
        )
        await conn.execute(
            "INSERT INTO local_list_entries (station_id, id_tag, held) VALUES (%s, 'A', %s)",
            (STATION, Jsonb({"idTag": "A", "idTagInfo": {"status": "Accepted"}})),
        )


async def states(db: PooledDatabase, table: str, number: str) -> dict[int, str]:
    async with db.transaction() as conn:
        cursor = await conn.execute(f"SELECT {number} AS n, state FROM {table}".encode())
        return {row["n"]: row["state"] for row in await cursor.fetchall()}


async def test_what_is_over_is_written_down_and_closed_cards_are_pushed_out(
    db: PooledDatabase, make_settings: Callable[..., Settings]
) -> None:
    await build(db, NOW)
    await _fill(db)
    deps, commands, _ = sweep_deps(make_settings, db, FrozenClock(NOW))
    counts: Any = await charger_state.run(deps, NOW)
    assert counts == {"reservations_over": 1, "profiles_over": 1, "lists_updated": 1}
    assert await states(db, "reservations", "reservation_id") == {1: "expired", 2: "accepted"}
    assert await states(db, "charging_profiles", "charging_profile_id") == {7: "ended", 8: "active"}
    assert commands.sent == ["SendLocalList None"]
    again = await charger_state.run(deps, NOW)
    assert again == {"reservations_over": 0, "profiles_over": 0, "lists_updated": 0}


async def test_a_list_of_a_charger_that_is_away_waits_for_it(
    db: PooledDatabase, make_settings: Callable[..., Settings]
) -> None:
    await build(db, NOW)
    await _fill(db)
    async with db.transaction() as conn:
        await conn.execute("UPDATE stations SET connected_instance = NULL")
    deps, commands, _ = sweep_deps(make_settings, db, FrozenClock(NOW))
    assert (await charger_state.run(deps, NOW))["lists_updated"] == 0
    assert commands.sent == []


async def _add_list(db: PooledDatabase, station_id: str, *, most: int = 500) -> None:
    """A connected charger whose list lets a blocked card charge; ``most``: tags that it takes."""
    async with db.transaction() as conn:
        await conn.execute(
            """INSERT INTO stations (id, serial_number, connected_instance, last_heartbeat_at)
               VALUES (%s, %s, 'instance', %s) ON CONFLICT DO NOTHING""",
            (station_id, f"SN-{station_id}", NOW),
        )
        await conn.execute(
            "INSERT INTO ocpp_configuration (station_id, key, value) VALUES (%s, 'LocalAuthListMaxLength', %s)",
            (station_id, str(most)),
        )
        await conn.execute(
            """INSERT INTO local_lists (station_id, is_enabled, selection, state, updated_at)
               VALUES (%s, true, 'all_active', 'synced', %s)""",
            (station_id, NOW),
        )
        await conn.execute(
            "INSERT INTO local_list_entries (station_id, id_tag, held) VALUES (%s, 'A', %s)",
            (station_id, Jsonb({"idTag": "A", "idTagInfo": {"status": "Accepted"}})),
        )


async def _add_cards(db: PooledDatabase) -> None:
    async with db.transaction() as conn:
        await conn.execute(
            """INSERT INTO id_tags (id_tag, client_id, status)
               VALUES ('A', 'client-1', 'blocked'), ('B', 'client-1', 'active'), ('C', 'client-2', 'active')"""
        )


async def test_lists_that_cannot_be_updated_keep_no_other_from_it(
    db: PooledDatabase, make_settings: Callable[..., Settings]
) -> None:
    """More cards may charge than these chargers take: each run met them first, and came no further."""
    await build(db, NOW)
    await _add_cards(db)
    for number in range(charger_state.LISTS + 5):
        await _add_list(db, f"full-{number:02}", most=1)
    await _add_list(db, "other")
    deps, commands, _ = sweep_deps(make_settings, db, FrozenClock(NOW))
    assert (await charger_state.run(deps, NOW))["lists_updated"] == 1
    assert commands.sent == ["SendLocalList None"]
    async with db.transaction() as conn:
        cursor = await conn.execute("SELECT state, failure FROM local_lists WHERE station_id = 'full-00'")
        assert await cursor.fetchone() == {"state": "failed", "failure": "the charger's list holds at most 1 tags"}


async def test_a_run_updates_a_bounded_number_of_lists(
    db: PooledDatabase, make_settings: Callable[..., Settings]
) -> None:
    await build(db, NOW)
    await _add_cards(db)
    for number in range(charger_state.LISTS + 2):
        await _add_list(db, f"list-{number:02}")
    deps, _, _ = sweep_deps(make_settings, db, FrozenClock(NOW))
    runs = [(await charger_state.run(deps, NOW))["lists_updated"] for _ in range(3)]
    assert runs == [charger_state.LISTS, 2, 0]


async def test_one_list_that_cannot_be_read_stops_no_other(
    db: PooledDatabase, make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    await build(db, NOW)
    await _add_cards(db)
    for station_id in ("broken", "whole"):
        await _add_list(db, station_id)
    whole = local_list.revoke_closed_cards

    async def broken(conn: Conn, station_id: str, now: Any) -> Any:
        if station_id == "broken":
            raise LookupError
        return await whole(conn, station_id, now)

    monkeypatch.setattr(local_list, "revoke_closed_cards", broken)
    deps, commands, _ = sweep_deps(make_settings, db, FrozenClock(NOW))
    assert (await charger_state.run(deps, NOW))["lists_updated"] == 1
    assert commands.sent == ["SendLocalList None"]


async def test_runs_that_overlap_update_each_list_once_and_hold_one_at_a_time(
    db: PooledDatabase, make_settings: Callable[..., Settings]
) -> None:
    """Two connections. A charger's answer locks its own list in the middle: nobody waits for more than that."""
    await build(db, NOW)
    await _add_cards(db)
    for number in range(6):
        await _add_list(db, f"list-{number}")
    deps, commands, _ = sweep_deps(make_settings, db, FrozenClock(NOW))
    async with db.transaction() as answering:
        await answering.execute("SELECT FROM local_lists WHERE station_id = 'list-3' FOR UPDATE")
        runs = [asyncio.ensure_future(charger_state.run(deps, NOW)) for _ in range(2)]

        async def waiting() -> bool:
            async with db.transaction() as conn:
                cursor = await conn.execute(WAITING)
                row = await cursor.fetchone()
                assert row is not None
                return bool(row["n"] == 2)

        await until(waiting, "both runs to wait for the answer")
        # What was done before is committed: other chargers' answers go on.
        for number in range(3):
            await answering.execute(
                "SELECT FROM local_lists WHERE station_id = %s FOR UPDATE NOWAIT", (f"list-{number}",)
            )
    counts = [await run for run in runs]
    assert sum(count["lists_updated"] for count in counts) == 6
    assert commands.sent == ["SendLocalList None"] * 6
