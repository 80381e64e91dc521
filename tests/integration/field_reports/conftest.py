"""The stage of every field report: one station with two connectors of 150 kW, 10 som/kWh, clients with 500 som."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from evpower.db import PooledDatabase
from socket_tier.tier import SocketTier
from tests.fakes.network import Network, build
from tests.integration.socket_tier.conftest import make_tier, tier

pytest.register_assert_rewrite("tests.integration.field_reports.replay", "tests.integration.field_reports.steps")

from tests.integration.field_reports.replay import Play  # noqa: E402 - its asserts tell what they found

__all__ = ["make_tier", "tier"]


@pytest.fixture
async def network(db: PooledDatabase) -> Network:
    return await build(db, datetime.now(UTC), price="10", power_kw=150)


@pytest.fixture
async def play(tier: SocketTier, db: PooledDatabase, network: Network) -> AsyncIterator[Play]:
    player = Play(tier, db)
    yield player
    await player.leave()
