"""One task that looks after all sockets: pings, the dead ones, and ``last_heartbeat_at`` (ocpp.md §1 Liveness).

Any frame and any pong is a sign of life. A socket is dead after missed pongs; a charger that is known to answer no
pings (station policy) only after ``STATION_OFFLINE_AFTER_S`` without a frame. One shared task instead of a keep-alive
task per socket keeps idle chargers cheap.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

from evpower.logging import get_logger
from socket_tier.background import STEP_S, Work
from socket_tier.unavailable import is_unavailable

log = get_logger(__name__)

MISSED_PINGS = 2
FLUSH_INTERVAL_S = 30.0
GOING_AWAY = 1001


class Living(Protocol):
    """A socket as this module sees it. ``last_seen`` and ``last_ping`` are readings of ``time.monotonic``."""

    last_ping: float
    answers_pings: bool

    @property
    def station_id(self) -> str: ...

    @property
    def last_seen(self) -> float: ...

    async def ping(self) -> None:
        """Send a ping; the pong moves ``last_seen``."""
        ...

    async def close(self, code: int, reason: str) -> None: ...


Touch = Callable[[dict[str, float]], Awaitable[None]]
"""Stores signs of life: station -> seconds since the last one."""


class Liveness:
    """Watches the sockets that ``living`` returns."""

    def __init__(
        self,
        living: Callable[[], Iterable[Living]],
        touch: Touch,
        *,
        ping_interval_s: float,
        offline_after_s: float,
        flush_interval_s: float = FLUSH_INTERVAL_S,
    ) -> None:
        self._living = living
        self._touch = touch
        self._ping_interval_s = ping_interval_s
        self._dead_after_s = min(ping_interval_s * (MISSED_PINGS + 1), offline_after_s)
        self._offline_after_s = offline_after_s
        self._flush_interval_s = flush_interval_s
        self._flushed: dict[str, float] = {}
        self._last_flush = self._stored_at = time.monotonic()
        self._tasks: set[asyncio.Task[None]] = set()

    def stores(self) -> bool:
        """Whether signs of life reach the database: lately one flush did, or there was nothing to store."""
        return time.monotonic() - self._stored_at < 2 * self._flush_interval_s + 15

    async def run(self, work: Work) -> None:
        """Look after the sockets until cancelled."""
        while True:
            await asyncio.sleep(min(self._ping_interval_s / 4, self._flush_interval_s, 5.0))
            self.tick(time.monotonic())
            if time.monotonic() - self._last_flush >= self._flush_interval_s:
                self._last_flush = time.monotonic()
                await self.flush(work)

    def tick(self, now: float) -> None:
        """Ping the quiet sockets and close the dead ones."""
        for socket in list(self._living()):
            silence = now - socket.last_seen
            limit = self._dead_after_s if socket.answers_pings else self._offline_after_s
            if silence >= limit:
                log.warning("socket is dead", extra={"station_id": socket.station_id, "silent_s": round(silence, 1)})
                self._spawn(socket.close(GOING_AWAY, "no sign of life"))
            elif silence >= self._ping_interval_s and now - socket.last_ping >= self._ping_interval_s:
                socket.last_ping = now
                self._spawn(socket.ping())

    async def flush(self, work: Work | None = None) -> None:
        """Store the signs of life that are newer than the stored ones, in one statement for all stations."""
        now = time.monotonic()
        seen = {socket.station_id: socket.last_seen for socket in self._living()}
        news = {station: now - at for station, at in seen.items() if at > self._flushed.get(station, float("-inf"))}
        if not news:
            self._stored_at = now
            return
        try:
            async with (work or Work("once")).step():
                await self._touch(news)
        except Exception as error:
            if not (is_unavailable(error) or isinstance(error, TimeoutError)):
                log.exception("signs of life not stored")
            return
        self._flushed, self._stored_at = seen, now

    def _spawn(self, work: Awaitable[None]) -> None:
        async def run() -> None:
            try:
                async with asyncio.timeout(STEP_S):
                    await work
            except Exception as error:  # a socket that breaks while it is pinged or closed is what this is about
                log.debug("socket broke", extra={"error": str(error)})

        task = asyncio.get_running_loop().create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
