"""Group commit of meter readings: every charger's handler awaits one shared flush (design: Meter values).

A reading is acknowledged only after its commit. While one flush runs, the next batch gathers, so batches grow with the
load; an idle process adds only a few milliseconds. A batch that the database refuses is stored row by row, and only
the offending message is put aside for the operator.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

from evpower.charging.models import MeterUpdate
from evpower.db import Conn, PooledDatabase
from evpower.logging import get_logger
from socket_tier import metrics
from socket_tier.unavailable import is_refusal

log = get_logger(__name__)

LINGER_S = 0.004
MAX_BATCH = 500

FlushRows = Callable[[Conn, Sequence[MeterUpdate]], Awaitable[frozenset[int]]]
"""Stores a batch by one statement; returns the positions whose session or connection is no longer live."""
Quarantine = Callable[[Conn, MeterUpdate, str], Awaitable[None]]
Done = Callable[[bool | Exception], None]
_Item = tuple[MeterUpdate, Done]


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
    ) -> None:
        self._database = database
        self._flush_rows = flush_rows
        self._quarantine = quarantine
        self._linger_s = linger_s
        self._max_batch = max_batch
        self._pending: list[_Item] = []
        self._running: asyncio.Task[None] | None = None

    async def store(self, update: MeterUpdate) -> bool:
        """Wait until ``update`` is committed.

        Returns False when its readings are stored but its session was not updated, because the session has ended or
        the station has connected elsewhere meanwhile: what the caller knows of them is out of date.

        Raises:
            psycopg.Error: the database is away; nothing of this update is stored.
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
        """:meth:`store` without waiting: ``done`` is called once, with its result or its error."""
        self._pending.append((update, done))
        if self._running is None:
            self._running = asyncio.get_running_loop().create_task(self._run())

    async def drained(self) -> None:
        """Wait until nothing is pending (shutdown)."""
        while self._running is not None:
            await asyncio.shield(self._running)

    async def _run(self) -> None:
        try:
            while self._pending:
                # Use case: all chargers answer the last flush within a few milliseconds; one commit takes them all.
                if len(self._pending) < self._max_batch:
                    await asyncio.sleep(self._linger_s)
                batch, self._pending = self._pending[: self._max_batch], self._pending[self._max_batch :]
                await self._flush(batch)
        finally:
            self._running = None

    async def _flush(self, batch: list[_Item]) -> None:
        started = time.perf_counter()
        updates = [update for update, _ in batch]
        try:
            stale = await self._database.run_single(lambda conn: self._flush_rows(conn, updates))
        except Exception as error:
            if not is_refusal(error) or len(batch) == 1:
                await self._fail(batch, error)
            else:
                log.warning("batch refused, storing row by row", extra={"rows": len(batch), "error": str(error)})
                for item in batch:
                    await self._flush([item])
            return
        metrics.flush_seconds.observe(time.perf_counter() - started)
        metrics.flushed_rows.inc(sum(len(update.readings) for update in updates))
        self._tell(batch, [position not in stale for position in range(len(batch))])

    async def _fail(self, batch: list[_Item], error: Exception) -> None:
        """One message that the database refuses: put aside and acknowledged. Any other failure: nobody is answered.

        Without a durable commit there is no answer, also when the fault is ours: the charger keeps the reading.
        """
        if is_refusal(error):
            update = batch[0][0]
            log.error("meter values put aside", extra={"station_id": update.station_id, "error": str(error)})
            try:
                await self._database.run(lambda conn: self._quarantine(conn, update, str(error)))
            except Exception as second:
                error = second
            else:
                metrics.quarantined_rows.inc()
                self._tell(batch, [False])
                return
        self._tell(batch, [error] * len(batch))

    @staticmethod
    def _tell(batch: list[_Item], outcomes: Sequence[bool | Exception]) -> None:
        for (update, done), outcome in zip(batch, outcomes, strict=True):
            try:
                done(outcome)
            except Exception:  # one charger's answer must not cost the others theirs
                log.exception("after the flush", extra={"station_id": update.station_id})
