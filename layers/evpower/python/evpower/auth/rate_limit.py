"""Rate limits that all processes share: Redis, and a rule for each kind of call while Redis is away."""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from evpower.auth import guards
from evpower.auth.rate_rules import WINDOW_S, Bucket, Count, Window, allows, retry_after_s
from evpower.clock import Clock
from evpower.db import Database, system_claims
from evpower.logging import get_logger
from evpower.redis_access import RedisAccess, RedisAway

_log = get_logger(__name__)

# One script, so that two processes cannot both see the last free place. All keys carry one hash tag: one slot.
# Arguments by bucket: weight of the window before, limit, lifetime of the key.
_SCRIPT = """
local counts, all = {}, 1
for i = 1, #KEYS / 2 do
  local present = tonumber(redis.call('GET', KEYS[2 * i - 1]) or '0')
  local before = tonumber(redis.call('GET', KEYS[2 * i]) or '0')
  local room = 1
  if present + 1 + before * tonumber(ARGV[3 * i - 2]) > tonumber(ARGV[3 * i - 1]) then room, all = 0, 0 end
  counts[i] = {room, present, before}
end
if all == 1 then
  for i = 1, #KEYS / 2 do
    counts[i][2] = redis.call('INCR', KEYS[2 * i - 1])
    redis.call('EXPIRE', KEYS[2 * i - 1], ARGV[3 * i])
  end
end
return counts
"""
_GIVE_BACK = """
for i = 1, #KEYS do
  if tonumber(redis.call('GET', KEYS[i]) or '0') > 0 then redis.call('DECR', KEYS[i]) end
end
"""
_MAX_LOCAL_BUCKETS = 10_000


@dataclass(frozen=True, slots=True)
class Full:
    """The bucket that stands in the way longest, and for how many seconds it does."""

    bucket: Bucket
    retry_after_s: int


class LocalCounter:
    """Counts of this process alone; the oldest bucket makes room for a new one."""

    def __init__(self, max_buckets: int = _MAX_LOCAL_BUCKETS) -> None:
        self._hits: OrderedDict[tuple[str, int, int], int] = OrderedDict()
        self._max_buckets = max_buckets

    def hit_all(self, buckets: Sequence[Bucket], now: datetime) -> list[Count]:
        """As the script above."""
        counts = []
        for bucket in buckets:
            window = Window.at(now, bucket.window_s)
            present = self._hits.get((bucket.name, bucket.window_s, window.number), 0)
            before = self._hits.get((bucket.name, bucket.window_s, window.number - 1), 0)
            counts.append(Count(allows(present, before, window.weight, bucket.limit), present, before))
        if all(count.has_room for count in counts):
            for bucket, count in zip(buckets, counts, strict=True):
                self._hits[_place(bucket, now)] = count.present + 1
            while len(self._hits) > self._max_buckets:
                self._hits.popitem(last=False)
            counts = [Count(True, count.present + 1, count.before) for count in counts]
        return counts

    def give_back(self, buckets: Sequence[Bucket], now: datetime) -> None:
        """Take one hit back from each bucket."""
        for bucket in buckets:
            key = _place(bucket, now)
            if self._hits.get(key, 0) > 0:
                self._hits[key] -= 1


def _place(bucket: Bucket, now: datetime) -> tuple[str, int, int]:
    return bucket.name, bucket.window_s, Window.at(now, bucket.window_s).number


class RateLimiter:
    """Sliding windows over buckets (who and which kind of call).

    While Redis is away ``durable`` buckets (those that protect money) are counted in PostgreSQL, the others per
    process: a limit that is a little loose harms less than a refused driver.
    """

    def __init__(self, redis: RedisAccess, database: Database, clock: Clock) -> None:
        self._redis = redis
        self._database = database
        self._clock = clock
        self._local = LocalCounter()

    async def hit(self, name: str, limit: int, *, durable: bool, window_s: int = WINDOW_S) -> int | None:
        """Count one call of ``limit`` in ``window_s`` seconds. None: go on; else the seconds to wait."""
        full = await self.hit_all(name, [Bucket(name, limit, window_s)], durable=durable)
        return full.retry_after_s if full else None

    async def hit_all(self, group: str, buckets: Sequence[Bucket], *, durable: bool) -> Full | None:
        """Count one call in all of these buckets, or, when one of them is full, in none. None: go on.

        ``group`` is where Redis Cluster keeps them: buckets that are ever counted together have one.
        """
        now = self._clock.now()
        hashed = [_hashed(bucket) for bucket in buckets]
        try:
            counts = await self._in_redis(_digest(group), hashed, now)
        except RedisAway:
            counts = await self._without_redis(hashed, now, durable=durable)
        return _fullest(buckets, counts, now)

    async def give_back(self, group: str, buckets: Sequence[Bucket], *, durable: bool) -> None:
        """Take back what :meth:`hit_all` counted, when nothing came of the call."""
        now = self._clock.now()
        hashed = [_hashed(bucket) for bucket in buckets]
        keys = [key for bucket in hashed for key in _keys(_digest(group), bucket, now)[:1]]
        try:
            await self._redis.run(lambda client: client.eval(_GIVE_BACK, len(keys), *keys))
        except RedisAway:
            self._local.give_back(hashed, now)
            if durable:
                try:
                    await self._database.run(
                        lambda conn: guards.give_back(conn, _windows(hashed, now)), claims=system_claims()
                    )
                except (psycopg.OperationalError, OSError) as error:
                    _log.warning("rate counters are away: %s", error)

    async def _in_redis(self, tag: str, buckets: Sequence[Bucket], now: datetime) -> list[Count]:
        keys = [key for bucket in buckets for key in _keys(tag, bucket, now)]
        arguments: list[object] = []
        for bucket in buckets:
            window = Window.at(now, bucket.window_s)
            arguments += [f"{window.weight:.6f}", bucket.limit, 2 * bucket.window_s]

        async def script(client: Any) -> Any:
            return await client.eval(_SCRIPT, len(keys), *keys, *arguments)

        return [Count(bool(room), int(present), int(before)) for room, present, before in await self._redis.run(script)]

    async def _without_redis(self, buckets: Sequence[Bucket], now: datetime, *, durable: bool) -> list[Count]:
        if durable:
            try:
                return await self._database.run(
                    lambda conn: guards.count_hits(conn, _windows(buckets, now)), claims=system_claims()
                )
            except (psycopg.OperationalError, OSError) as error:
                _log.warning("rate counters are away: %s", error)
        return self._local.hit_all(buckets, now)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:32]


def _hashed(bucket: Bucket) -> Bucket:
    """Names hold addresses and tokens of people: only a hash of them is kept."""
    return Bucket(_digest(bucket.name), bucket.limit, bucket.window_s)


def _windows(buckets: Sequence[Bucket], now: datetime) -> list[tuple[Bucket, Window]]:
    return [(bucket, Window.at(now, bucket.window_s)) for bucket in buckets]


def _keys(tag: str, bucket: Bucket, now: datetime) -> list[str]:
    """Of the present window and of the one before."""
    number = Window.at(now, bucket.window_s).number
    return [f"evpower:rate:{{{tag}}}:{bucket.name}:{bucket.window_s}:{n}" for n in (number, number - 1)]


def _fullest(buckets: Sequence[Bucket], counts: Sequence[Count], now: datetime) -> Full | None:
    full = []
    for bucket, count in zip(buckets, counts, strict=True):
        if not count.has_room:
            window = Window.at(now, bucket.window_s)
            wait = retry_after_s(count.present, count.before, window.weight, bucket.limit, bucket.window_s)
            full.append(Full(bucket, wait))
    return max(full, key=lambda found: found.retry_after_s, default=None)
