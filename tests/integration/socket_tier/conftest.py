"""Instances of the socket tier on real PostgreSQL and Valkey."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime

import pytest

from evpower.config import Settings
from evpower.db import PooledDatabase
from socket_tier.tier import SocketTier
from tests.fakes.network import Network, build

MakeTier = Callable[..., Awaitable[SocketTier]]


@pytest.fixture
async def make_tier(make_settings: Callable[..., Settings], redis_url: str) -> AsyncIterator[MakeTier]:
    """Start an instance on a free port; keyword arguments are settings."""
    started: list[SocketTier] = []

    async def make(**overrides: object) -> SocketTier:
        settings = make_settings(
            **{
                "redis_url": redis_url,
                "socket_tier_port": 0,
                "allow_unauthenticated_stations": True,
                "database_pooler": "session",
                "database_pool_size": 4,
                **overrides,
            }
        )
        tier = SocketTier(settings)
        started.append(tier)
        await tier.start()
        return tier

    yield make
    for tier in started:
        await tier.stop()


@pytest.fixture
async def tier(make_tier: MakeTier) -> SocketTier:
    return await make_tier()


@pytest.fixture
async def network(db: PooledDatabase) -> Network:
    """Station ``station-1`` with two connectors, two clients with 500 som."""
    return await build(db, datetime.now(UTC))


def url(tier: SocketTier, station_id: str = "station-1", prefix: str = "ocpp") -> str:
    return f"ws://127.0.0.1:{tier.port}/{prefix}/{station_id}"
