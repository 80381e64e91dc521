"""The message log's writer: entries gather in memory and are stored in batches, off the way of the answers.

Nothing waits for it and nothing fails because of it. Memory is bounded: while the database is away or slow the oldest
entries go, and a flood of one station is cut; both are counted (``evpower_unlogged_messages_total``).
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

import orjson

from evpower.db import Conn, PooledDatabase
from evpower.logging import get_logger
from evpower.message_log import models
from evpower.message_log.models import Direction, NewEntry
from socket_tier import metrics, rpc
from socket_tier.background import Background, Work
from socket_tier.unavailable import is_refusal

log = get_logger(__name__)

INTERVAL_S = 0.5
BATCH_ENTRIES = 500
BATCH_BYTES = 256 * 1024  # building a batch holds up the loop: 2 ms of readings, more of what must be masked
MAX_BYTES = 16 * 1024 * 1024
MAX_ENTRIES = 20_000
LONGEST_PAUSE_S = 5.0
STOP_PATIENCE_S = 5.0
STATION_ENTRIES_PER_S = 200
REFUSALS_PER_S = 20

IN, OUT, EVENT = Direction.IN, Direction.OUT, Direction.EVENT
UNANSWERED = "Unanswered"
UNEXPECTED = "UnexpectedAnswer"

Store = Callable[[Conn, Sequence[NewEntry]], Awaitable[None]]


class MessageLog:
    """Gathers entries and writes them. :meth:`add` never waits and never raises."""

    def __init__(
        self,
        database: PooledDatabase,
        store: Store,
        *,
        interval_s: float = INTERVAL_S,
        background: Background | None = None,
    ) -> None:
        self._database = database
        self._store = store
        self._interval_s = interval_s
        self._entries: deque[NewEntry] = deque()
        self._bytes = 0
        self._background = background or Background()
        self._is_writing = False
        self._refusals = Window(REFUSALS_PER_S)

    def __len__(self) -> int:
        return len(self._entries)

    def start(self) -> None:
        """Start writing."""
        self._is_writing = True
        self._background.start("message log", self._write_forever)

    async def stop(self, patience_s: float = STOP_PATIENCE_S) -> None:
        """Write what has gathered, for a few seconds at most."""
        if not self._is_writing:
            return
        self._is_writing = False
        await self._background.stop("message log")
        with suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                while self._entries and await self._write_batch(Work("once")):
                    pass
        self._drop(len(self._entries), "shutdown")

    def add(self, entry: NewEntry) -> None:
        """Take one entry; the oldest go when there are too many."""
        self._entries.append(entry)
        self._bytes += len(entry.request or b"") + len(entry.response or b"")
        if self._bytes > MAX_BYTES or len(self._entries) > MAX_ENTRIES:
            self._drop(max(1, len(self._entries) // 20), "backlog")

    def event(self, station_id: str, action: str, details: dict[str, Any], error: str | None = None) -> None:
        """Note what happened to a connection."""
        text = orjson.dumps(details, default=str)
        self.add(NewEntry(station_id, time.time(), EVENT, action, None, text, error=error))

    def refused(self, station_id: str, status: int, sentence: str, address: str) -> None:
        """Note a refused upgrade of somebody who called himself ``station_id``; a crowd of them is cut."""
        if self._refusals.take(time.time()):
            details = {"status": status, "reason": sentence, "address": address}
            self.event(station_id, models.CONNECTION_REFUSED, details, str(status))
        else:
            metrics.unlogged("flood")

    # --- writing ------------------------------------------------------------------------------------------------

    async def _write_forever(self, work: Work) -> None:
        pause = self._interval_s
        while True:
            await asyncio.sleep(pause)
            pause = self._interval_s
            while self._entries:
                if not await self._write_batch(work):
                    pause = min(max(pause * 2, self._interval_s), LONGEST_PAUSE_S)
                    break

    async def _write_batch(self, work: Work) -> bool:
        """Write some entries; false when the database does not take any now. They stay at the head of the line."""
        batch = self._take()
        try:
            await self._write(batch, work)
        except asyncio.CancelledError:
            self._give_back(batch)
            raise
        except Exception as error:
            log.warning("message log not written", extra={"error": str(error), "waiting": len(self._entries)})
            self._give_back(batch)
            return False
        return True

    async def _write(self, batch: list[NewEntry], work: Work) -> None:
        """Store a batch; what the database refuses is looked for by halves, and dropped.

        Raises:
            Exception: the database is away or slow; nothing of what was not stored is lost.
        """
        try:
            async with work.step():
                await self._database.run_single(lambda conn: self._store(conn, batch))
        except Exception as error:
            if not (is_refusal(error) or isinstance(error, ValueError | TypeError)):
                raise
            if len(batch) == 1:
                log.error("message not logged", extra={"station_id": batch[0].station_id, "error": str(error)})
                metrics.unlogged("refused")
                return
            for part in (batch[: len(batch) // 2], batch[len(batch) // 2 :]):
                await self._write(part, work)
        else:
            metrics.logged_messages.inc(len(batch))

    def _take(self) -> list[NewEntry]:
        batch: list[NewEntry] = []
        size = 0
        while self._entries and len(batch) < BATCH_ENTRIES and size < BATCH_BYTES:
            entry = self._entries.popleft()
            size += entry.size
            batch.append(entry)
        self._bytes -= size
        return batch

    def _give_back(self, batch: list[NewEntry]) -> None:
        self._entries.extendleft(reversed(batch))
        self._bytes += sum(entry.size for entry in batch)

    def _drop(self, count: int, reason: str) -> None:
        for _ in range(count):
            self._bytes -= self._entries.popleft().size
        if count:
            metrics.unlogged(reason, count)


class Window:
    """At most ``limit`` a second, by whole seconds."""

    __slots__ = ("_left", "_limit", "_until")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._left = limit
        self._until = 0.0

    def take(self, now: float) -> bool:
        """Whether one more fits; ``now`` is seconds since 1970."""
        if not now < self._until <= now + 1:  # the clock may have been set back
            self._until = now + 1
            self._left = self._limit
        self._left -= 1
        return self._left >= 0


class StationLog:
    """The log of one socket: its exchanges and its end."""

    __slots__ = ("_log", "_opened", "_station_id", "_suppressed", "_window")

    def __init__(self, message_log: MessageLog, station_id: str) -> None:
        self._log = message_log
        self._station_id = station_id
        self._window = Window(STATION_ENTRIES_PER_S)
        self._suppressed = 0
        self._opened = time.monotonic()

    def note(
        self,
        direction: Direction,
        action: str | None,
        message_id: rpc.MessageId | None,
        request: bytes | None,
        response: bytes | None = None,
        error: str | None = None,
        latency_s: float | None = None,
        *,
        is_json: bool = False,
    ) -> None:
        """Note one exchange, or a frame that is part of none. Without ``error``, a CALLERROR tells its own."""
        now = time.time()
        if not self._window.take(now):
            self._suppressed += 1
            metrics.unlogged("flood")
            return
        if self._suppressed:
            self._tell_suppressed()
        if response is not None and error is None and response[:2] == b"[4":
            answer = rpc.parse(response)
            error = answer.code if isinstance(answer, rpc.CallError) else rpc.GENERIC_ERROR
        at = now if latency_s is None else now - latency_s
        self._log.add(
            NewEntry(self._station_id, at, direction, action, message_id, request, response, error, latency_s, is_json)
        )

    def opened(self, **details: Any) -> None:
        """Note that the socket is open."""
        self._log.event(self._station_id, models.CONNECTION_OPENED, details)

    def closed(self, code: int | None, reason: str | None, **details: Any) -> None:
        """Note that the socket is closed; a code other than a normal end is an error."""
        if self._suppressed:
            self._tell_suppressed()
        seconds = round(time.monotonic() - self._opened, 3)
        error = None if code in _NORMAL_ENDS else str(code)
        self._log.event(
            self._station_id,
            models.CONNECTION_CLOSED,
            {"code": code, "reason": reason or "", "seconds": seconds, **details},
            error,
        )

    def _tell_suppressed(self) -> None:
        self._log.event(self._station_id, models.MESSAGES_SUPPRESSED, {"count": self._suppressed})
        self._suppressed = 0


_NORMAL_ENDS = (1000, 1001, 1012)  # done, going away, this server restarts
