"""Redis as a helper that may be away: one place that notices, logs once, and tries again a moment later."""

import time
from collections.abc import Awaitable, Callable
from typing import Any

from redis.exceptions import RedisError

from evpower.logging import get_logger

log = get_logger(__name__)

PAUSE_AFTER_FAILURE_S = 0.5


class RedisAway(Exception):
    """Redis cannot be used at the moment; every caller has a rule for that."""


class RedisLink:
    """Runs Redis operations and knows whether the last one worked."""

    def __init__(self) -> None:
        self._down_since: float | None = None
        self._skip_until = 0.0

    @property
    def degraded(self) -> bool:
        """Redis failed the last time it was used."""
        return self._down_since is not None

    async def call(self, operation: Callable[[], Awaitable[Any]], *, now: bool = False) -> Any:
        """Run ``operation``. For a moment after a failure nothing is tried, unless ``now``.

        Raises RedisAway when Redis cannot be used.
        """
        if not now and time.monotonic() < self._skip_until:
            raise RedisAway
        try:
            result = await operation()
        except (RedisError, OSError, TimeoutError) as error:
            if self._down_since is None:
                self._down_since = time.monotonic()
                log.warning("Redis is away; serving local stations only", extra={"error": str(error)})
            self._skip_until = time.monotonic() + PAUSE_AFTER_FAILURE_S
            raise RedisAway from error
        if self._down_since is not None:
            log.info("Redis is back", extra={"seconds": round(time.monotonic() - self._down_since, 1)})
            self._down_since, self._skip_until = None, 0.0
        return result
