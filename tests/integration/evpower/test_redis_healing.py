"""Keys of a wrong type in Valkey, whoever left them there, heal at the first use; single and in cluster mode."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from evpower.auth.rate_limit import RateLimiter
from evpower.auth.rate_rules import Window
from evpower.clock import FrozenClock
from evpower.config import Settings
from evpower.redis_access import RedisAccess, RedisAway
from evpower.redis_client import open_redis
from socket_tier.registry import INBOX_BLOCK_S, Owner, Registry
from tests.fakes.stations import FakeConnection, until

# A value of each other type: text that is no number, list, set, hash, stream.
SPOILERS: dict[str, Callable[[Any, str], Awaitable[Any]]] = {
    "list": lambda redis, key: redis.rpush(key, "x"),
    "set": lambda redis, key: redis.sadd(key, "x"),
    "hash": lambda redis, key: redis.hset(key, "x", "y"),
    "stream": lambda redis, key: redis.xadd(key, {"x": "y"}),
    "string": lambda redis, key: redis.set(key, "x"),
}


@pytest.fixture(params=["single", "cluster"])
def settings(request: pytest.FixtureRequest) -> Settings:
    cluster = request.param == "cluster"
    url = request.getfixturevalue("redis_cluster_url" if cluster else "redis_url")
    return Settings.model_validate({"environment": "test", "redis_url": url, "redis_cluster": cluster})


@pytest.fixture
async def redis(settings: Settings) -> AsyncIterator[Any]:
    client = open_redis(settings)
    yield client
    await client.aclose()


@pytest.mark.parametrize("kind", SPOILERS)
async def test_owners_inbox_and_connected_stations_heal(settings: Settings, redis: Any, kind: str) -> None:
    """Came: one such key made the instance think that Redis was away, for good."""
    for key in ("evpower:owner:{ST-1}", "evpower:inbox:{a}", "evpower:inbox:{b}", "evpower:{connected}"):
        await SPOILERS[kind](redis, key)
    made = []
    for instance in ("a", "b"):
        blocking = open_redis(settings, socket_timeout_s=INBOX_BLOCK_S + 2)
        made.append(Registry(open_redis(settings), blocking, instance, hand_off_timeout_s=3.0, refresh_s=0.1))
    a, b = made
    taken: list[str] = []
    b.on_hand_off = lambda _station, command: bool(taken.append(command)) or True
    try:
        await b.register("ST-1", FakeConnection("ST-1", epoch=7))
        for registry in made:
            registry.start()
        assert (await a.owner("ST-1")).owner == Owner("b", 7)
        assert await a.connected_stations() == ["ST-1"]
        assert await a.hand_off(Owner("b", 7), "ST-1", "command-1") is True
        assert taken == ["command-1"]
        await SPOILERS[kind](redis, "evpower:inbox:{c}")  # no key of theirs
        await until(lambda: not (a.degraded or b.degraded), "Redis to be thought of as there")
        assert await redis.type("evpower:inbox:{c}") != b"none", "nobody else's key is removed"
    finally:
        for registry in made:
            await registry.stop()


@pytest.mark.parametrize("kind", [kind for kind in SPOILERS if kind != "string"])
async def test_a_counter_of_the_rate_limit_heals(settings: Settings, redis: Any, kind: str) -> None:
    now = datetime(2026, 1, 15, tzinfo=UTC)
    access = RedisAccess(settings)
    limiter = RateLimiter(access, None, FrozenClock(now))  # type: ignore[arg-type] - PostgreSQL is not asked
    try:
        assert await limiter.hit("somebody", 2, durable=True) is None
        (key,) = [key async for key in redis.scan_iter("evpower:rate:*")]
        await redis.delete(key)
        await SPOILERS[kind](redis, key.decode())
        assert [await limiter.hit("somebody", 2, durable=True) for _ in range(2)] == [None, None]
        assert await limiter.hit("somebody", 2, durable=True) is not None
        assert Window.at(now, 60).number == int(key.rpartition(b":")[2])
    finally:
        await access.close()


async def test_keys_that_are_not_ours_and_other_errors_stay(settings: Settings, redis: Any) -> None:
    await redis.rpush("other:list", "x")
    access = RedisAccess(settings)
    try:
        with pytest.raises(RedisAway):
            await access.run(lambda client: client.get("other:list"))
    finally:
        await access.close()
    assert await redis.lrange("other:list", 0, -1) == [b"x"]
    await redis.set("evpower:number", "x")
    with pytest.raises(Exception, match="not an integer"):
        await redis.incr("evpower:number")
    assert await redis.get("evpower:number") == b"x"
