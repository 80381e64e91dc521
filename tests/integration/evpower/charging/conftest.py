"""A driver over a small network."""

import pytest

from evpower.clock import FrozenClock
from evpower.db import PooledDatabase
from tests.fakes.network import build
from tests.integration.evpower.charging.driver import Driver


@pytest.fixture
async def driver(db: PooledDatabase) -> Driver:
    clock = FrozenClock()
    return Driver(db, await build(db, clock.now()), clock)
