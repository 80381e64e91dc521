"""The running system, started once for all end-to-end tests, and a fresh world for each test."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
import pytest_asyncio

from infra.local.configuration import LocalOptions
from infra.local.system import LocalSystem
from tests.e2e.world import World, place_of

NO_RATE_LIMITS = {
    "RATE_LIMIT_DEFAULT_PER_MINUTE": "100000",
    "RATE_LIMIT_PUBLIC_PER_MINUTE": "100000",
    "RATE_LIMIT_FAILURES_PER_MINUTE": "100000",
    "RATE_LIMIT_CRITICAL_PER_MINUTE": "100000",
    "RATE_LIMIT_WEBHOOK_PER_MINUTE": "100000",
}


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """The system lives in one event loop, so its tests run in the same."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def system() -> AsyncIterator[LocalSystem]:
    """Everything but demo data and demo chargers; two instances of the socket tier."""
    options = LocalOptions(demo_data=False, chargers=False, durable=False, socket_tiers=2, environment=NO_RATE_LIMITS)
    async with LocalSystem(options) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def world(system: LocalSystem) -> AsyncIterator[World]:
    """People and stations; at the end every som agrees."""
    opened = await World.open(place_of(system))
    try:
        yield opened
        await opened.check_money()
    finally:
        await opened.close()
