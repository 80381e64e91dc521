"""Redis as a helper that may be away: one place that notices, logs once, and lets one loop find its return."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from evpower.logging import get_logger
from evpower.redis_client import redis_errors

log = get_logger(__name__)

PROBE_S = 0.5
CALL_S = 10.0
"""Above every blocking read. The client has time-outs for each thing it does, and none for all of them together."""
_ERRORS = redis_errors()


class RedisAway(Exception):
    """Redis cannot be used at the moment; every caller has a rule for that."""


class RedisLink:
    """Runs Redis operations and knows whether the last one worked.

    After a failure nothing is tried until a ``probe`` works again, so that a hung Redis costs one time-out and not
    one per connecting charger. The owner of the link probes in its own loop.
    """

    def __init__(self) -> None:
        self._down_since: float | None = None

    @property
    def degraded(self) -> bool:
        """Redis failed the last time it was used."""
        return self._down_since is not None

    async def call(self, operation: Callable[[], Awaitable[Any]], *, probe: bool = False) -> Any:
        """Run ``operation``. Raises RedisAway when Redis cannot be used."""
        if self._down_since is not None and not probe:
            raise RedisAway
        try:
            async with asyncio.timeout(CALL_S):
                result = await operation()
        except Exception as error:
            if not isinstance(error, _ERRORS):
                # redis-py also raises what its own state causes, e.g. AttributeError when a socket dies in mid-write.
                log.warning("unexpected failure of a Redis operation", exc_info=error)
            if self._down_since is None:
                self._down_since = time.monotonic()
                log.warning("Redis is away; serving local stations only", extra={"error": str(error)})
            raise RedisAway from error
        if self._down_since is not None:
            log.info("Redis is back", extra={"seconds": round(time.monotonic() - self._down_since, 1)})
            self._down_since = None
        return result
