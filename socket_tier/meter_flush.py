"""Group commit of meter readings: every charger's handler awaits one shared flush (design: Meter values).

A reading is acknowledged only after its commit. While one flush runs, the next batch gathers, so batches grow with the
load; an idle process adds only a few milliseconds. A batch that the database refuses is stored row by row, and only
the offending message is put aside for the operator.

A flush without an answer may have been stored, or may be yet: it is sent again under the same number, and the database
stores a number once (:mod:`evpower.charging.repository.meter_values`). A session that somebody has locked does not hold
up the others: its readings are set aside and tried again until the lock goes or their patience ends.
"""

import asyncio
import bisect
import itertools
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence

import psycopg
from psycopg_pool import PoolClosed

from evpower.charging.models import FlushNumber, FlushOutcome, MeterUpdate
from evpower.db import Conn, PooledDatabase
from evpower.ids import new_id
from evpower.logging import get_logger
from socket_tier import metrics
from socket_tier.background import Background
from socket_tier.unavailable import is_refusal, is_unavailable

log = get_logger(__name__)

LINGER_S = 0.004
MAX_BATCH = 500
PATIENCE_S = 20.0
"""As long as a charger's message may stay unanswered; then its connection must hear of it."""
_CHECK_S = 1.0
_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 1.0
_LOCKED_PAUSE_S = 0.02
_LONGEST_LOCKED_PAUSE_S = 0.5

FlushRows = Callable[[Conn, FlushNumber, Sequence[MeterUpdate]], Awaitable[FlushOutcome]]
"""Stores a batch by one statement, once for each number."""
Quarantine = Callable[[Conn, MeterUpdate, str], Awaitable[None]]
Done = Callable[[bool | Exception], None]


class Unstored(psycopg.OperationalError):
    """The update could not be stored in time. It may be stored all the same, if the database got it."""


class _Item:
    """An update that somebody waits for; ``done`` is None once that one has heard of it."""

    __slots__ = ("done", "pause_s", "since", "update")

    def __init__(self, update: MeterUpdate, done: Done) -> None:
        self.update = update
        self.done: Done | None = done
        self.since = time.monotonic()
        self.pause_s = _LOCKED_PAUSE_S


class _Flight:
    """A batch under the number by which the database knows it."""

    __slots__ = ("items", "number")

    def __init__(self, number: FlushNumber, items: list[_Item]) -> None:
        self.number = number
        self.items = items


class MeterFlush:
    """Gathers updates and commits them together."""

    def __init__(
        self,
        database: PooledDatabase,
        flush_rows: FlushRows,
        quarantine: Quarantine,
        *,
        linger_s: float = LINGER_S,
        max_batch: int = MAX_BATCH,
        patience_s: float = PATIENCE_S,
        background: Background | None = None,
    ) -> None:
        self._database = database
        self._flush_rows = flush_rows
        self._quarantine = quarantine
        self._linger_s = linger_s
        self._max_batch = max_batch
        self._patience_s = patience_s
        # Of this run alone: another one begins to count anew.
        self._writer = new_id()
        self._numbers = itertools.count(1)
        self._pending: list[_Item] = []
        self._flights: deque[_Flight] = deque()
        self.aside: set[_Item] = set()
        self._running: asyncio.Task[None] | None = None
        self._clock: asyncio.TimerHandle | None = None
        self._work = (background or Background()).register("meter flush", self._begin_anew)

    async def store(self, update: MeterUpdate) -> bool:
        """Wait until ``update`` is committed.

        Returns False when its readings are stored but its session was not updated, because the session has ended or
        the station has connected elsewhere meanwhile: what the caller knows of them is out of date.

        Raises:
            psycopg.Error: the database is away, or the session is locked for too long.
        """
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        def done(outcome: bool | Exception) -> None:
            if future.done():
                return
            if isinstance(outcome, Exception):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

        self.add(update, done)
        return await future

    def add(self, update: MeterUpdate, done: Done) -> None:
        """:meth:`store` without waiting: ``done`` is called once, with its result or its error, within the patience."""
        self._pending.append(_Item(update, done))
        self._start()

    async def drained(self) -> None:
        """Wait until nothing is pending (shutdown)."""
        while self._running is not None or self.aside:
            if self._running is not None:
                await asyncio.wait([self._running])
            else:
                await asyncio.sleep(_LOCKED_PAUSE_S)

    # --- running ------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        if self._running is None:
            self._running = asyncio.get_running_loop().create_task(self._run(), name="background: meter flush")
        self._watch_patience()

    async def _run(self) -> None:
        me = asyncio.current_task()
        try:
            while self._running is me and (self._flights or self._pending):
                if not self._flights:
                    # Use case: all chargers answer the last flush within a few milliseconds; one commit takes them all.
                    if len(self._pending) < self._max_batch:
                        await asyncio.sleep(self._linger_s)
                    batch, self._pending = self._pending[: self._max_batch], self._pending[self._max_batch :]
                    self._plan(batch)
                flight = self._flights[0]
                refused = await self._flush(flight)
                if self._running is me:
                    self._flights.popleft()
                    for item in refused:
                        self._plan([item])
        finally:
            if self._running is me:
                self._running = None
                if self._pending or self._flights:
                    self._start()

    def _plan(self, batch: list[_Item]) -> None:
        self._flights.append(_Flight(FlushNumber(self._writer, next(self._numbers)), batch))

    def _begin_anew(self) -> None:
        """The running flush stands. It is sent again under its number, so that it is stored once."""
        old, self._running = self._running, None
        if old is not None:
            old.cancel()
        if self._pending or self._flights:
            self._start()

    def _look_at_patience(self) -> None:
        """Nobody waits longer than the patience, whatever the database does or does not."""
        self._clock = None
        oldest = time.monotonic() - self._patience_s
        waiting = [*(item for flight in self._flights for item in flight.items), *self.aside, *self._pending]
        late = [item for item in waiting if item.since <= oldest and item.done is not None]
        if late:
            log.error("meter values not stored in time", extra={"messages": len(late)})
            self._answer(late, Unstored("the readings could not be stored in time"))
            self._pending = [item for item in self._pending if item.done is not None]
            self.aside = {item for item in self.aside if item.done is not None}
        if self._running is not None or self.aside:
            self._watch_patience()

    def _watch_patience(self) -> None:
        if self._clock is None:
            self._clock = asyncio.get_running_loop().call_later(
                min(_CHECK_S, self._patience_s / 2), self._look_at_patience
            )

    # --- one batch ----------------------------------------------------------------------------------------------

    async def _flush(self, flight: _Flight) -> list[_Item]:
        """Store what the flight holds and answer; returns what must be stored one by one."""
        started = time.perf_counter()
        batch = flight.items
        updates = [item.update for item in batch]
        try:
            outcome = await self._persistently(flight, updates)
        except Exception as error:
            if is_refusal(error) and len(batch) > 1:
                log.warning("batch refused, storing row by row", extra={"rows": len(batch), "error": str(error)})
                return batch
            await self._fail(batch, error)
            return []
        metrics.flush_seconds.observe(time.perf_counter() - started)
        if not outcome.locked and not outcome.stale:
            metrics.flushed_rows.inc(sum(len(update.readings) for update in updates))
            self._answer(batch, True)
            return []
        for position, item in enumerate(batch):
            if position in outcome.locked:
                self._set_aside(item)
            else:
                metrics.flushed_rows.inc(len(item.update.readings))
                self._answer([item], position not in outcome.stale)
        return []

    async def _persistently(self, flight: _Flight, updates: list[MeterUpdate]) -> FlushOutcome:
        """Store the batch under its number, again and again while somebody waits for it."""
        pause = _PAUSE_S
        while True:
            try:
                async with self._work.step():
                    return await self._database.run_single(lambda conn: self._flush_rows(conn, flight.number, updates))
            except Exception as error:
                if isinstance(error, PoolClosed) or not (is_unavailable(error) or isinstance(error, TimeoutError)):
                    raise
                if all(item.done is None for item in flight.items):
                    raise
                log.warning("meter values wait for the database", extra={"rows": len(updates), "error": str(error)})
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_S)

    def _set_aside(self, item: _Item) -> None:
        """Use case: an operator's transaction, or one whose process is lost, holds the row of one session."""
        if item.done is not None:
            metrics.locked_rows.inc()
            self.aside.add(item)
            asyncio.get_running_loop().call_later(item.pause_s, self._try_again, item)
            item.pause_s = min(item.pause_s * 2, _LONGEST_LOCKED_PAUSE_S)

    def _try_again(self, item: _Item) -> None:
        if item in self.aside:
            self.aside.discard(item)
            bisect.insort(self._pending, item, key=lambda other: other.since)  # before what its station sent since
            self._start()

    async def _fail(self, batch: list[_Item], error: Exception) -> None:
        """One message that the database refuses: put aside and acknowledged. Any other failure: nobody is answered.

        Without a durable commit there is no answer, also when the fault is ours: the charger keeps the reading.
        """
        if is_refusal(error):
            update = batch[0].update
            log.error("meter values put aside", extra={"station_id": update.station_id, "error": str(error)})
            try:
                async with self._work.step():
                    await self._database.run(lambda conn: self._quarantine(conn, update, str(error)))
            except Exception as second:
                error = second
            else:
                metrics.quarantined_rows.inc()
                self._answer(batch, False)
                return
        self._answer(batch, error)

    @staticmethod
    def _answer(items: Iterable[_Item], outcome: bool | Exception) -> None:
        for item in items:
            done, item.done = item.done, None
            if done is None:
                continue
            try:
                done(outcome)
            except Exception:  # one charger's answer must not cost the others theirs
                log.exception("after the flush", extra={"station_id": item.update.station_id})
