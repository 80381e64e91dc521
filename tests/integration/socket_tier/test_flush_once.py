"""Whatever becomes of the answers, each reading is stored once, and no meter goes back.

The group commit runs on real PostgreSQL; between them answers are lost, statements are lost, and statements arrive
late, in any order, while sessions are locked and given free.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypeVar, cast

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evpower.charging import service as charging
from evpower.charging.models import MeterState, MeterUpdate, Reading
from evpower.config import Settings
from evpower.db import Conn, PooledDatabase
from evpower.db.bounded import NoAnswer
from socket_tier import meter_flush
from socket_tier.meter_flush import MeterFlush
from tests.fakes.network import build

T = TypeVar("T")
SESSIONS = 3
STORED, ANSWER_LOST, LOST, LATE = "stored", "answer lost", "lost", "late"

fates = st.lists(st.sampled_from([STORED, STORED, ANSWER_LOST, LOST, LATE]), max_size=12)
# A session whose charger sends a reading (None: a reading without a session), or whose lock is taken or given back.
steps = st.lists(
    st.tuples(st.sampled_from(["read", "read", "read", "lock", "unlock", "deliver"]), st.integers(0, SESSIONS)),
    min_size=1,
    max_size=14,
)


class LossyDatabase:
    """Lets each statement meet the next fate; after the last one all goes well."""

    def __init__(self, database: PooledDatabase, fates: Iterator[str]) -> None:
        self._database = database
        self._fates = fates
        self._late: list[Callable[[Conn], Awaitable[Any]]] = []

    async def run_single(self, work: Callable[[Conn], Awaitable[T]]) -> T:
        fate = next(self._fates, STORED)
        if fate == LATE:
            self._late.append(work)
        if fate in (LOST, LATE):
            raise NoAnswer(fate)
        result = await self._database.run_single(work)
        if fate == ANSWER_LOST:
            self._late.append(work)  # a pooler may even deliver it twice
            raise NoAnswer(fate)
        return result

    async def deliver(self) -> None:
        """What was held up arrives."""
        late, self._late = self._late, []
        for work in reversed(late):
            await self._database.run_single(work)


class World:
    """Three running sessions of three stations."""

    def __init__(self, db: PooledDatabase, owner_dsn: str, fates: Iterator[str]) -> None:
        self.db = db
        self.lossy = LossyDatabase(db, fates)
        self.flush = MeterFlush(
            cast(PooledDatabase, self.lossy), charging.flush_readings, charging.quarantine_readings, linger_s=0.0005
        )
        self._owner = owner_dsn
        self._locks: dict[int, psycopg.Connection[Any]] = {}
        self._chains: list[asyncio.Task[bool] | None] = [None] * (SESSIONS + 1)
        self.registers = [0] * (SESSIONS + 1)

    async def prepare(self) -> None:
        with psycopg.connect(self._owner, autocommit=True) as conn:
            conn.execute("TRUNCATE clients, stations, locations, ocpp_meter_values, meter_flushes CASCADE")
        await build(self.db, datetime.now(UTC), balances=(500,) * SESSIONS)

        async def work(conn: Conn) -> None:
            for index in range(SESSIONS):
                await conn.execute(
                    "INSERT INTO stations (id, serial_number, location_id, connection_epoch)"
                    " VALUES (%s, %s, 'place-1', 1)",
                    (f"s{index}", f"SN{index}"),
                )
                await conn.execute(
                    "INSERT INTO charging_sessions (id, user_id, station_id, connector_id, id_tag, state, price)"
                    " VALUES (%s, %s, %s, 1, %s, 'charging', '{}')",
                    (f"session-{index}", f"client-{index + 1}", f"s{index}", f"TAG{index}"),
                )

        await self.db.run(work)

    def read(self, index: int) -> None:
        """The next reading of a session's charger, sent when the one before has been answered."""
        self.registers[index] += 10
        self._chains[index] = asyncio.ensure_future(self._send(index, self.registers[index], self._chains[index]))

    async def _send(self, index: int, register: int, before: asyncio.Task[bool] | None) -> bool:
        if before is not None:
            await before
        now = datetime.now(UTC)
        energy = Decimal(register)
        has_session = index < SESSIONS
        update = MeterUpdate(
            f"s{index}",
            1,
            1,
            index + 1,
            f"session-{index}" if has_session else None,
            now,
            (Reading(now, energy_wh=energy),),
            MeterState(Decimal(0), energy, energy, since=now) if has_session else None,
        )
        return await self.flush.store(update)

    async def lock(self, index: int) -> None:
        if index in self._locks or index >= SESSIONS:
            return
        conn = self._locks[index] = psycopg.connect(self._owner)
        await asyncio.to_thread(
            conn.execute, "SELECT 1 FROM charging_sessions WHERE id = %s FOR UPDATE", (f"session-{index}",)
        )

    def unlock(self, index: int) -> None:
        conn = self._locks.pop(index, None)
        if conn is not None:
            conn.close()

    async def play(self, wanted: list[tuple[str, int]]) -> None:
        for step, index in wanted:
            if step == "read":
                self.read(index)
            elif step == "lock":
                await self.lock(index)
            elif step == "unlock":
                self.unlock(index)
            else:
                await self.lossy.deliver()
            await asyncio.sleep(0)
        for index in list(self._locks):
            self.unlock(index)
        async with asyncio.timeout(30):
            await asyncio.gather(*(chain for chain in self._chains if chain is not None))
            await self.flush.drained()
        await self.lossy.deliver()

    async def check(self) -> None:
        async def rows(conn: Conn) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
            stored = await conn.execute("SELECT station_id, energy_wh FROM ocpp_meter_values ORDER BY 1, 2")
            meters = await conn.execute("SELECT id, meter_current, energy_wh FROM charging_sessions ORDER BY 1")
            return await stored.fetchall(), await meters.fetchall()

        stored, meters = await self.db.run(rows)
        sent = [(f"s{index}", wh) for index, last in enumerate(self.registers) for wh in range(10, last + 1, 10)]
        assert [(row["station_id"], row["energy_wh"]) for row in stored] == sent
        for index, row in enumerate(meters):
            assert (row["meter_current"] or 0, row["energy_wh"]) == (self.registers[index], self.registers[index])


@pytest.mark.property
@pytest.mark.timeout(300)
def test_each_reading_is_stored_once_and_no_meter_goes_back(
    make_settings: Callable[..., Settings], database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meter_flush, "_PAUSE_S", 0.001)
    monkeypatch.setattr(meter_flush, "_LONGEST_LOCKED_PAUSE_S", 0.02)

    @settings(max_examples=80)
    @given(steps, fates)
    def play(wanted: list[tuple[str, int]], met: list[str]) -> None:
        async def work() -> None:
            db = PooledDatabase(make_settings(database_pooler="session"), size=4)
            await db.open()
            try:
                world = World(db, database_url, iter(met))
                await world.prepare()
                await world.play(wanted)
                await world.check()
            finally:
                await db.close()

        asyncio.run(work())

    play()
