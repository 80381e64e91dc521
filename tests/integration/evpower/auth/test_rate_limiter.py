"""One rule, three memories: Redis (single and cluster), PostgreSQL and the process count alike."""

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from evpower.auth.rate_limit import RateLimiter
from evpower.auth.rate_rules import Bucket
from evpower.clock import FrozenClock
from evpower.config import Settings
from evpower.db import PooledDatabase
from evpower.redis_access import RedisAccess

START = datetime(2026, 3, 11, 23, 50, tzinfo=UTC)
AWAY = "redis://127.0.0.1:1/0"


async def play(limiter: RateLimiter, clock: FrozenClock, *, durable: bool) -> list[object]:
    """The answers to a fixed story of calls, refusals and calls taken back, over minutes, hours and days."""
    chance, told = random.Random(13), []
    for _ in range(250):
        clock.advance(timedelta(seconds=chance.choice([0, 0, 1, 7, 40, 600, 5000, 40_000])))
        buckets = [
            Bucket(f"one-{chance.randint(0, 2)}", chance.randint(1, 3)),
            Bucket("hour", 4, 3600),
            Bucket("day", 6, 86_400),
        ][: chance.randint(1, 3)]
        full = await limiter.hit_all("group", buckets, durable=durable)
        told.append(full and (full.bucket.name, full.retry_after_s))
        if chance.random() < 0.2:
            await limiter.give_back("group", buckets, durable=durable)
    return told


@pytest.mark.parametrize("memory", ["redis", "cluster", "database", "process"])
async def test_every_memory_counts_alike(
    memory: str, make_settings: Callable[..., Settings], db: PooledDatabase, redis_url: str, redis_cluster_url: str
) -> None:
    url = {"redis": redis_url, "cluster": redis_cluster_url}.get(memory, AWAY)
    redis = RedisAccess(make_settings(redis_url=url, redis_cluster=memory == "cluster"))
    process = RedisAccess(make_settings(redis_url=AWAY))
    clock, expected_clock = FrozenClock(START), FrozenClock(START)
    told = await play(RateLimiter(redis, db, clock), clock, durable=memory != "process")
    expected = await play(RateLimiter(process, db, expected_clock), expected_clock, durable=False)
    assert told == expected
    assert {answer is None for answer in told} == {True, False}
    await redis.close()
    await process.close()
