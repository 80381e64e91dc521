"""Redis for short-lived processes: opened at the first use, given up on quickly while it is away."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from evpower import metrics
from evpower.config import Settings
from evpower.logging import get_logger

T = TypeVar("T")

_TIMEOUT_S = 0.5
_WITHIN_S = 3.0  # connecting, a second attempt and the answer together
_PAUSE_S = 2.0

_log = get_logger(__name__)


class RedisAway(Exception):
    """Redis does not answer (now, or a moment ago)."""


class RedisAccess:
    """One client per process, on the process's one event loop.

    After a failure nobody waits for Redis for 2 s: while it is away, every request would otherwise pay the time-out.
    """

    def __init__(self, settings: Settings, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._monotonic = monotonic
        self._client: Any = None
        self._away_until = 0.0

    async def run(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """Do ``work`` with the client.

        Raises:
            RedisAway: it does not answer.
        """
        if self._monotonic() < self._away_until:
            raise RedisAway("waiting before the next attempt")
        # Imported here: it costs 0.2-0.8 s, which a cold start must not pay for a request that needs no Redis.
        from evpower.redis_client import open_redis, redis_errors

        try:
            if self._client is None:
                self._client = open_redis(self._settings, socket_timeout_s=_TIMEOUT_S)
            async with asyncio.timeout(_WITHIN_S):
                return await work(self._client)
        except redis_errors() as error:
            self._away_until = self._monotonic() + _PAUSE_S
            _log.warning("redis is away: %s", error)
            metrics.emit({"RedisAway": 1})
            raise RedisAway(str(error)) from error

    async def close(self) -> None:
        """Close the client, if there is one."""
        if self._client is not None:
            client, self._client = self._client, None
            await client.aclose()
