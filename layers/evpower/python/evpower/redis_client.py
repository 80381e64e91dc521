"""One way to open Redis (or Valkey), single server or cluster. Imported lazily: `import redis` costs 0.2-0.8 s."""

from typing import TYPE_CHECKING, TypeAlias

from evpower.config import Settings

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.asyncio.cluster import RedisCluster

    RedisClient: TypeAlias = Redis | RedisCluster

CONNECT_TIMEOUT_S = 1.0


def open_redis(settings: Settings, *, socket_timeout_s: float = 1.0) -> "RedisClient":
    """A client that fails fast: one immediate retry (a pooled connection may be stale), then the error.

    Nothing is connected yet. Blocking reads need a ``socket_timeout_s`` above their own timeout (redis-py's
    default of 5 s would cut them). Every caller has a rule for Redis being away, so waiting here helps nobody.
    """
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
    from redis.exceptions import ConnectionError as RedisConnectionError

    from evpower.redis_healing import HealingRedis, HealingRedisCluster

    url = settings.redis_url.get_secret_value()
    if settings.redis_cluster:
        return HealingRedisCluster.from_url(
            url,
            socket_timeout=socket_timeout_s,
            socket_connect_timeout=CONNECT_TIMEOUT_S,
            socket_keepalive=True,
            retry=Retry(NoBackoff(), 2),
            require_full_coverage=False,
        )
    return HealingRedis.from_url(
        url,
        socket_timeout=socket_timeout_s,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        socket_keepalive=True,
        retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
        health_check_interval=15,
    )


def redis_errors() -> tuple[type[Exception], ...]:
    """What a Redis operation raises when Redis, or its cluster, cannot be used.

    redis-py's cluster errors ("no node reachable", "slot not covered") are not RedisErrors.
    """
    from redis.exceptions import RedisClusterException, RedisError

    return (RedisError, RedisClusterException, OSError, TimeoutError)
