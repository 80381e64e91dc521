"""Redis or SQS is away: the holder of the socket finds its commands in PostgreSQL."""

from collections.abc import Iterator

import pytest

from evpower.commands.models import CommandStatus
from evpower.commands.queue import CommandMessage, SqsCommandQueue
from evpower.config import Settings
from evpower.db import PooledDatabase
from infra.local.queues import SqsEndpoint
from infra.local.services import Valkey
from tests.fakes.stations import until
from tests.integration.socket_tier.command_delivery.instance import (
    MakeInstance,
    queue_command,
    until_status,
)


@pytest.fixture
def own_valkey() -> Iterator[Valkey]:
    server = Valkey()
    yield server.start()
    server.stop()


async def test_redis_away_the_holder_finds_its_commands_in_postgresql(
    make: MakeInstance, db: PooledDatabase, sqs: SqsEndpoint, settings: Settings, own_valkey: Valkey
) -> None:
    settings = Settings.model_validate(settings.model_dump() | {"redis_url": own_valkey.url})
    own_valkey.children[0].stop(timeout_s=5)
    b = make("b", settings)
    make("a", settings, consume=True)
    connection = await b.connect("st-1")
    await until(lambda: b.registry.degraded, "the missing Redis to be noticed")
    command = await queue_command(db)
    await SqsCommandQueue(settings).send(command)
    await until_status(db, command, CommandStatus.ACCEPTED)
    assert len(connection.calls) == 1


async def test_redis_away_the_old_socket_still_learns_that_it_was_replaced(
    make: MakeInstance, db: PooledDatabase, settings: Settings, own_valkey: Valkey
) -> None:
    settings = Settings.model_validate(settings.model_dump() | {"redis_url": own_valkey.url})
    own_valkey.children[0].stop(timeout_s=5)
    a, b = make("a", settings), make("b", settings)
    old = await a.connect("st-1")
    new = await b.connect("st-1")
    await until(lambda: old.closed_with, "the old socket to be closed")
    assert new.closed_with is None


async def test_redis_restarted_empty(
    make: MakeInstance, db: PooledDatabase, sqs: SqsEndpoint, settings: Settings, own_valkey: Valkey
) -> None:
    """The message arrives in the moment in which no owner key exists; the holder claims the row when it writes it."""
    settings = Settings.model_validate(settings.model_dump() | {"redis_url": own_valkey.url})
    a, b = make("a", settings), make("b", settings, poll_degraded_s=60)
    connection = await b.connect("st-1")
    own_valkey.children[0].stop(timeout_s=5)
    await until(lambda: a.registry.degraded and b.registry.degraded, "the outage to be noticed")
    command = await queue_command(db)
    assert await a.consumer.handle(CommandMessage(command.id, "st-1")) is True
    own_valkey.start()
    await until_status(db, command, CommandStatus.ACCEPTED)
    assert len(connection.calls) == 1


async def test_sqs_away_the_holder_finds_its_commands_in_postgresql(
    make: MakeInstance, db: PooledDatabase, settings: Settings
) -> None:
    away = Settings.model_validate(settings.model_dump() | {"aws_endpoint_url": "http://127.0.0.1:9"})
    a = make("a", away, consume=True)
    connection = await a.connect("st-1")
    await until(lambda: a.consumer.degraded, "the missing queue to be noticed")
    command = await queue_command(db)
    await SqsCommandQueue(away).send(command)  # does not raise
    await until_status(db, command, CommandStatus.ACCEPTED)
    assert len(connection.calls) == 1
