"""Rows whose state is read from their command's row, wanted by two at once: who waits sees what the first one did.

A statement that joins and locks does not: when it has waited, it knows the row as it is, and the command as it was.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from evpower.db import Conn, PooledDatabase
from evpower.errors import EvPowerError, StateConflict
from evpower.local_list import service as local_list
from evpower.reservations import service as reservations
from evpower.reservations.models import NewReservation
from evpower.smart_charging import service as smart_charging
from evpower.smart_charging.models import Kind, NewProfile, Period, Profile, Purpose, RateUnit, Schedule
from evpower.stations import key_rotation
from evpower.stations.failures import CredentialsConflict
from tests.fakes.network import build
from tests.fakes.rows import NOW
from tests.fakes.stations import until

STATION = "station-1"
WAITING = """SELECT count(DISTINCT l.pid) AS n FROM pg_locks l JOIN pg_stat_activity a USING (pid)
              WHERE NOT l.granted AND a.datname = current_database()"""


@pytest.fixture(autouse=True)
async def network(db: PooledDatabase) -> None:
    await build(db, NOW)


async def second_of_two(db: PooledDatabase, work: Callable[[Conn], Awaitable[Any]]) -> Any:
    """What the second gets when it has waited for the first, done in a transaction that ends only then."""
    async with db.transaction() as conn:
        await work(conn)
        second = asyncio.ensure_future(db.run(work))

        async def waits() -> bool:
            async with db.transaction() as other:
                row = await (await other.execute(WAITING)).fetchone()
                assert row is not None
                return bool(row["n"])

        await until(waits, "the second to wait for the first")
    try:
        return await second
    except EvPowerError as refusal:
        return refusal


async def commands(db: PooledDatabase, action: str) -> int:
    async with db.transaction() as conn:
        cursor = await conn.execute("SELECT count(*) AS n FROM station_commands WHERE action = %s", (action,))
        row = await cursor.fetchone()
        assert row is not None
        return int(row["n"])


async def ended(db: PooledDatabase) -> None:
    async with db.transaction() as conn:
        await conn.execute("UPDATE station_commands SET status = 'accepted', finished_at = %s", (NOW,))


async def test_a_reservation_is_cancelled_once(db: PooledDatabase) -> None:
    new = NewReservation(STATION, 1, NOW + timedelta(hours=1), "test", client_id="client-1")
    made, _ = await db.run(lambda conn: reservations.create(conn, new, NOW))
    await ended(db)
    _, command = await second_of_two(
        db, lambda conn: reservations.cancel(conn, STATION, made.reservation_id, "test", NOW)
    )
    assert command is None, "one is on its way"
    assert await commands(db, "CancelReservation") == 1


async def test_a_list_is_sent_once(db: PooledDatabase) -> None:
    async with db.transaction() as conn:
        await conn.execute("INSERT INTO id_tags (id_tag, client_id) VALUES ('A', 'client-1')")
        await conn.execute(
            """INSERT INTO local_lists (station_id, is_enabled, selection, updated_at)
               VALUES (%s, true, 'all_active', %s)""",
            (STATION, NOW),
        )
    refused = await second_of_two(db, lambda conn: local_list.sync(conn, STATION, "test", NOW))
    assert isinstance(refused, StateConflict)
    assert await commands(db, "SendLocalList") == 1


async def test_a_profile_is_asked_for_once(db: PooledDatabase) -> None:
    schedule = Schedule(RateUnit.WATT, (Period(0, Decimal(7000)),))
    profile = Profile(0, 0, Purpose.TX_DEFAULT, Kind.RELATIVE, schedule)
    new = NewProfile(STATION, 1, profile, "test")
    made, _ = await db.run(lambda conn: smart_charging.create(conn, new, NOW))
    await ended(db)
    refused = await second_of_two(db, lambda conn: smart_charging.resend(conn, STATION, made.number, "test", NOW))
    assert isinstance(refused, StateConflict)
    assert await commands(db, "SetChargingProfile") == 2


async def test_a_security_profile_is_asked_for_once(db: PooledDatabase) -> None:
    async with db.transaction() as conn:
        await conn.execute("UPDATE stations SET auth_key_hash = 'x' WHERE id = %s", (STATION,))
    refused = await second_of_two(db, lambda conn: key_rotation.send_profile(conn, STATION, 1, "test", NOW))
    assert isinstance(refused, CredentialsConflict)
    assert await commands(db, "ChangeConfiguration") == 1
