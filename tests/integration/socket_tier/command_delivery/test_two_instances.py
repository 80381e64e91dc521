"""Commands from the outbox to the charger over SQS, Redis and two instances of the socket tier."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from evpower.commands.models import CommandStatus
from evpower.commands.queue import CommandMessage, SqsCommandQueue
from evpower.config import Settings
from evpower.db import PooledDatabase
from infra.local.queues import SqsEndpoint
from tests.fakes.rows import connect_station
from tests.fakes.stations import FakeConnection, until
from tests.integration.socket_tier.command_delivery.instance import (
    CLOCK,
    MakeInstance,
    queue_command,
    stored,
    until_queue_empty,
    until_status,
)


@pytest.mark.parametrize("cluster", [False, True], ids=["single", "cluster"])
async def test_a_command_received_by_one_instance_reaches_the_other_exactly_once(
    make: MakeInstance,
    db: PooledDatabase,
    sqs: SqsEndpoint,
    settings: Settings,
    cluster: bool,
    request: pytest.FixtureRequest,
) -> None:
    if cluster:
        url = request.getfixturevalue("redis_cluster_url")
        settings = Settings.model_validate(settings.model_dump() | {"redis_url": url, "redis_cluster": True})
    a, b = make("a", settings, consume=True), make("b", settings)
    connection = await b.connect("st-1")
    command = await queue_command(db, "Reset", type="Hard")
    await SqsCommandQueue(settings).send(command)
    ended = await until_status(db, command, CommandStatus.ACCEPTED)
    assert connection.calls == [("Reset", {"type": "Hard"})]
    assert (ended.sent_instance, ended.response) == ("b", {"status": "Accepted"})
    await until_queue_empty(sqs)
    assert len(a.registry) == 0


async def test_a_message_is_deleted_without_waiting_for_the_charger(
    make: MakeInstance, db: PooledDatabase, sqs: SqsEndpoint, settings: Settings
) -> None:
    released = asyncio.Event()

    async def slow(_action: str, _payload: Mapping[str, Any]) -> dict[str, Any]:
        await released.wait()
        return {"status": "Accepted"}

    make("a", consume=True)
    connection = await make("b").connect("st-1", slow)
    command = await queue_command(db)
    await SqsCommandQueue(settings).send(command)
    await connection.called.wait()
    await until_queue_empty(sqs)
    assert (await stored(db, command)).status is CommandStatus.SENT
    released.set()
    await until_status(db, command, CommandStatus.ACCEPTED)


async def test_the_charger_moves_while_the_message_is_under_way(
    make: MakeInstance, db: PooledDatabase, sqs: SqsEndpoint, settings: Settings
) -> None:
    """Sent while the charger is on a, received when it is on b: b's connection gets it, a's does not."""
    a, b = make("a"), make("b")
    old = await a.connect("st-1")
    command = await queue_command(db)
    new = FakeConnection("st-1", await db.run(lambda c: connect_station(c, "st-1", "b", CLOCK.now())))
    await b.registry.register("st-1", new)
    await until(lambda: old.closed_with, "the old socket to be closed")
    await SqsCommandQueue(settings).send(command)
    a.consumer.start()
    await until_status(db, command, CommandStatus.ACCEPTED)
    assert old.calls == []
    assert len(new.calls) == 1


async def test_an_old_holder_that_was_not_told_cannot_write_the_frame(make: MakeInstance, db: PooledDatabase) -> None:
    """Fencing is PostgreSQL's: a still believes that it holds the charger, b holds it."""
    a = make("a")
    old = await a.connect("st-1")
    await db.run(lambda conn: connect_station(conn, "st-1", "b", CLOCK.now()))
    command = await queue_command(db)
    assert a.dispatcher.submit("st-1", command.id) is True
    await until(lambda: not a.dispatcher._lines, "the dispatcher to be done")
    assert old.calls == []
    assert (await stored(db, command)).status is CommandStatus.QUEUED


async def test_a_message_delivered_twice_writes_one_frame(
    make: MakeInstance, db: PooledDatabase, sqs: SqsEndpoint, settings: Settings
) -> None:
    a = make("a")
    connection = await a.connect("st-1")
    command = await queue_command(db)
    queue = SqsCommandQueue(settings)
    for attempt in (1, 2, 3):  # different attempts are different messages to SQS
        await queue.send(CommandMessage(command.id, "st-1", attempt))
    a.consumer.start()
    await until_queue_empty(sqs)
    await until_status(db, command, CommandStatus.ACCEPTED)
    assert len(connection.calls) == 1


async def test_a_repeated_send_of_one_attempt_is_one_message(
    db: PooledDatabase, sqs: SqsEndpoint, settings: Settings, make: MakeInstance
) -> None:
    command = await queue_command(db)
    queue = SqsCommandQueue(settings)
    await queue.send_all([command, command, CommandMessage(command.id, "st-1")])
    answer = sqs.client().get_queue_attributes(
        QueueUrl=sqs.urls["commands.fifo"], AttributeNames=["ApproximateNumberOfMessages"]
    )
    assert answer["Attributes"]["ApproximateNumberOfMessages"] == "1"


async def test_an_unreadable_message_does_not_block_its_station(
    make: MakeInstance, db: PooledDatabase, sqs: SqsEndpoint, settings: Settings
) -> None:
    sqs.client().send_message(
        QueueUrl=sqs.urls["commands.fifo"], MessageBody="{", MessageGroupId="st-1", MessageDeduplicationId="x"
    )
    a = make("a")
    connection = await a.connect("st-1")
    command = await queue_command(db)
    await SqsCommandQueue(settings).send(command)
    a.consumer.start()
    await until_status(db, command, CommandStatus.ACCEPTED)
    assert len(connection.calls) == 1


async def test_a_command_of_an_absent_charger_waits_for_its_return(
    make: MakeInstance, db: PooledDatabase, sqs: SqsEndpoint, settings: Settings
) -> None:
    a = make("a", consume=True)
    command = await queue_command(db)
    await SqsCommandQueue(settings).send(command)
    await until_queue_empty(sqs)
    assert (await stored(db, command)).status is CommandStatus.QUEUED
    connection = await a.connect("st-1")
    await until_status(db, command, CommandStatus.ACCEPTED)
    assert len(connection.calls) == 1


async def test_a_station_that_is_not_accepted_gets_no_command(make: MakeInstance, db: PooledDatabase) -> None:
    a = make("a")
    connection = await a.connect("st-1", accepts_commands=False)
    command = await queue_command(db)
    assert a.dispatcher.submit("st-1", command.id) is True
    await a.dispatcher.drain("st-1")
    assert connection.calls == []
    connection.accepts_commands = True
    await a.dispatcher.drain("st-1")
    await until_status(db, command, CommandStatus.ACCEPTED)


async def test_commands_of_one_station_run_one_after_the_other(make: MakeInstance, db: PooledDatabase) -> None:
    running, most, first = 0, 0, asyncio.Event()

    async def slow(_action: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if payload["number"] == 0:
            await first.wait()
        running -= 1
        return {"status": "Accepted"}

    a = make("a")
    connection = await a.connect("st-1", slow)
    commands = [await queue_command(db, number=number) for number in range(5)]
    for command in commands:
        a.dispatcher.submit("st-1", command.id)
    await connection.called.wait()
    # What waits in line has not been claimed: `sent` is said of no frame that may still not leave.
    assert [(await stored(db, command)).status for command in commands] == ["sent"] + ["queued"] * 4
    first.set()
    await until_status(db, commands[-1], CommandStatus.ACCEPTED)
    assert [payload["number"] for _, payload in connection.calls] == [0, 1, 2, 3, 4]
    assert most == 1


async def test_a_defect_while_a_message_is_handled_does_not_end_the_receiving(
    make: MakeInstance, settings: Settings, db: PooledDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RuntimeError is also what a library raises in a state that it did not expect, not only a loop that is gone."""
    a = make("a", consume=True)
    connection = await a.connect("st-1")
    handle, calls = a.consumer.handle, []

    async def broken_once(message: CommandMessage) -> bool:
        calls.append(message)
        if len(calls) == 1:
            raise RuntimeError("not expected")
        return await handle(message)

    monkeypatch.setattr(a.consumer, "handle", broken_once)
    command = await queue_command(db)
    await SqsCommandQueue(settings).send(command)
    await until(lambda: calls, "the message to be received")
    await until(lambda: not a.consumer._failing and len(calls) > 1, "the message to come again", 30)
    await until_status(db, command, CommandStatus.ACCEPTED)
    assert len(connection.calls) == 1
