"""Rate limits that all processes share: Redis, and a rule for each kind of call while Redis is away."""

import hashlib
from collections import OrderedDict
from typing import Any

import psycopg

from evpower.auth import guards
from evpower.auth.rate_rules import WINDOW_S, Window, allows, retry_after_s
from evpower.clock import Clock
from evpower.db import Database, system_claims
from evpower.logging import get_logger
from evpower.redis_access import RedisAccess, RedisAway

_log = get_logger(__name__)

# One script, so that two processes cannot both see the last free place. Both keys carry one hash tag: one slot.
_SCRIPT = """
local present = tonumber(redis.call('GET', KEYS[1]) or '0')
local before = tonumber(redis.call('GET', KEYS[2]) or '0')
if present + 1 + before * tonumber(ARGV[1]) > tonumber(ARGV[2]) then return {0, present, before} end
redis.call('INCR', KEYS[1])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return {1, present + 1, before}
"""
_MAX_LOCAL_BUCKETS = 10_000


class LocalCounter:
    """Counts of this process alone; the oldest bucket makes room for a new one."""

    def __init__(self, max_buckets: int = _MAX_LOCAL_BUCKETS) -> None:
        self._hits: OrderedDict[tuple[str, int], int] = OrderedDict()
        self._max_buckets = max_buckets

    def hit(self, bucket: str, window: Window, limit: int) -> tuple[bool, int, int]:
        """As the script above."""
        present = self._hits.get((bucket, window.number), 0)
        before = self._hits.get((bucket, window.number - 1), 0)
        if not allows(present, before, window.weight, limit):
            return False, present, before
        self._hits[(bucket, window.number)] = present + 1
        while len(self._hits) > self._max_buckets:
            self._hits.popitem(last=False)
        return True, present + 1, before


class RateLimiter:
    """Sliding window over a bucket (who and which kind of call)."""

    def __init__(self, redis: RedisAccess, database: Database, clock: Clock) -> None:
        self._redis = redis
        self._database = database
        self._clock = clock
        self._local = LocalCounter()

    async def hit(self, bucket: str, limit: int, *, durable: bool, window_s: int = WINDOW_S) -> int | None:
        """Count one call of ``limit`` in ``window_s`` seconds. None: go on; else the seconds to wait.

        While Redis is away ``durable`` buckets (those that protect money) are counted in PostgreSQL, the others per
        process: a limit that is a little loose harms less than a refused driver.
        """
        bucket = hashlib.sha256(bucket.encode()).hexdigest()[:32]
        window = Window.at(self._clock.now(), window_s)
        try:
            counted, present, before = await self._in_redis(bucket, window, limit)
        except RedisAway:
            counted, present, before = await self._without_redis(bucket, window, limit, durable=durable)
        return None if counted else retry_after_s(present, before, window.weight, limit, window_s)

    async def _in_redis(self, bucket: str, window: Window, limit: int) -> tuple[bool, int, int]:
        keys = [f"evpower:rate:{{{bucket}}}:{number}" for number in (window.number, window.number - 1)]

        async def script(client: Any) -> Any:
            return await client.eval(_SCRIPT, 2, *keys, f"{window.weight:.6f}", limit, 2 * window.length_s)

        counted, present, before = await self._redis.run(script)
        return bool(counted), int(present), int(before)

    async def _without_redis(self, bucket: str, window: Window, limit: int, *, durable: bool) -> tuple[bool, int, int]:
        if durable:
            try:
                return await self._database.run(
                    lambda conn: guards.count_hit(conn, bucket, window, limit), claims=system_claims()
                )
            except (psycopg.OperationalError, OSError) as error:
                _log.warning("rate counters are away: %s", error)
        return self._local.hit(bucket, window, limit)
