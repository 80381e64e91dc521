"""Commands over real SQS, Redis and PostgreSQL; only the charger's socket is not real."""

from collections.abc import AsyncIterator, Callable

import pytest

from evpower.config import Settings
from evpower.db import PooledDatabase
from infra.local.queues import SqsEndpoint
from tests.fakes.rows import add_station
from tests.integration.socket_tier.command_delivery.instance import (
    Instance,
    MakeInstance,
)


@pytest.fixture
def settings(sqs: SqsEndpoint, redis_url: str, make_settings: Callable[..., Settings]) -> Settings:
    environment = {name.lower(): value for name, value in sqs.environment.items()}
    return make_settings(redis_url=redis_url, **environment)


@pytest.fixture
async def make(settings: Settings, db: PooledDatabase) -> AsyncIterator[MakeInstance]:
    made: list[Instance] = []

    def instance(name: str, given: Settings | None = None, *, consume: bool = False, **options: float) -> Instance:
        made.append(Instance(name, given or settings, db, **options))
        made[-1].start(consume=consume)
        return made[-1]

    async with db.transaction() as conn:
        await add_station(conn, "st-1")
    yield instance
    for item in made:
        await item.stop()
