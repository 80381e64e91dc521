"""Tell the locations stream, after a commit, which stations changed.

Only the ids travel through Redis. Each socket tier instance then reads the present state, many changes at once:
events can therefore not overtake each other, and a caller needs no query to publish.
"""

import asyncio
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

import orjson

from evpower.config import Settings
from evpower.logging import get_logger
from evpower.stations.models import StationRef

if TYPE_CHECKING:
    from evpower.redis_client import RedisClient

log = get_logger(__name__)

CHANNEL = "evpower:stations-changed"
_MAX_IDS = 500
_PAUSE_AFTER_FAILURE_S = 5.0
_WITHIN_S = 3.0


class Publisher:
    """Publishes changed stations. Redis is opened at the first use; nothing here raises.

    A lost message is not repeated: the stream reads everything anew from time to time.
    """

    def __init__(self, settings: Settings, redis: "RedisClient | None" = None) -> None:
        """``redis`` is an open client to share; without it one is opened and closed here."""
        self._settings = settings
        self._shared = redis is not None
        self._redis = redis
        self._skip_until = 0.0

    async def stations_changed(self, stations: Iterable[str | StationRef]) -> None:
        """Call after the commit, with station ids (``stations.id``) or references."""
        ids = sorted({item if isinstance(item, str) else item.station_id for item in stations})
        if not ids or time.monotonic() < self._skip_until:
            return
        try:
            redis = self._open()
            async with asyncio.timeout(_WITHIN_S):
                for start in range(0, len(ids), _MAX_IDS):
                    await redis.publish(CHANNEL, orjson.dumps({"stations": ids[start : start + _MAX_IDS]}))
        except Exception as error:
            # Use case: Redis is away. A route must not fail or wait for the sake of a live update.
            self._skip_until = time.monotonic() + _PAUSE_AFTER_FAILURE_S
            log.warning("live update not published", extra={"error": str(error)})

    async def close(self) -> None:
        """Close the connection that this publisher opened."""
        if self._redis is not None and not self._shared:
            await self._redis.aclose()
            self._redis = None

    def _open(self) -> "RedisClient":
        if self._redis is None:
            from evpower.redis_client import open_redis

            self._redis = open_redis(self._settings, socket_timeout_s=0.5)
        return self._redis


def changed_stations(message: bytes | str) -> set[str] | None:
    """Station ids of a message on ``CHANNEL``; None (= anything may have changed) when it cannot be read."""
    try:
        ids = orjson.loads(message)["stations"]
        return {item for item in ids if isinstance(item, str)}
    except (ValueError, KeyError, TypeError):
        return None
