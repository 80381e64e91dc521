"""The sweep over what chargers keep: reservations and profiles that are over, lists that hold closed cards."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from psycopg.types.json import Jsonb

from evpower.clock import FrozenClock
from evpower.config import Settings
from evpower.db import PooledDatabase
from functions.sweeps import charger_state
from tests.fakes.network import build
from tests.integration.evpower.stations.rows import NOW
from tests.integration.functions.sweeps.parts import sweep_deps

STATION = "station-1"


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
