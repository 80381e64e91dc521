"""Instances that die and sockets that break while a command is under way."""

import asyncio
from collections.abc import Mapping
from typing import Any

import psycopg
import pytest

from evpower.commands import service
from evpower.commands.models import REMOTE_STOP, CommandStatus
from evpower.db import PooledDatabase
from socket_tier.call_failures import CallRefused, CallTimedOut, ConnectionGone
from tests.fakes.rows import connect_station
from tests.fakes.stations import FakeConnection, until
from tests.integration.socket_tier.command_delivery.instance import (
    CLOCK,
    MakeInstance,
    queue_command,
    stored,
    sweep_after_lease,
    until_status,
)


@pytest.mark.parametrize(("action", "after"), [(REMOTE_STOP, CommandStatus.QUEUED), ("Reset", CommandStatus.FAILED)])
async def test_an_instance_dies_between_claim_and_answer(
    make: MakeInstance, db: PooledDatabase, action: str, after: CommandStatus
) -> None:
    never = asyncio.Event()

    async def silent(_action: str, _payload: Mapping[str, Any]) -> dict[str, Any]:
        await never.wait()
        return {}

    a = make("a")
    connection = await a.connect("st-1", silent)
    command = await queue_command(db, action)
    a.dispatcher.submit("st-1", command.id)
    await connection.called.wait()
    await a.stop(patience_s=0)
    assert (await stored(db, command)).status is CommandStatus.SENT
    swept = await sweep_after_lease(db)
    assert (await stored(db, command)).status is after
    if after is CommandStatus.QUEUED:
        assert [item.id for item in swept.to_send] == [command.id]
        again = await make("b").connect("st-1")
        await until_status(db, command, CommandStatus.ACCEPTED)
        assert len(again.calls) == 1


@pytest.mark.parametrize(
    ("action", "error", "after"),
    [
        ("Reset", CallTimedOut(written=True), CommandStatus.TIMED_OUT),
        ("Reset", CallRefused("NotSupported", ""), CommandStatus.FAILED),
        ("Reset", ConnectionGone(), CommandStatus.FAILED),
        ("Reset", ConnectionGone(written=False), CommandStatus.QUEUED),
        ("Reset", CallTimedOut(written=False), CommandStatus.QUEUED),
        (REMOTE_STOP, ConnectionGone(), CommandStatus.QUEUED),
        (REMOTE_STOP, CallTimedOut(written=True), CommandStatus.QUEUED),
        (REMOTE_STOP, CallRefused("InternalError", "x"), CommandStatus.FAILED),
    ],
)
async def test_a_call_without_an_answer(
    make: MakeInstance, db: PooledDatabase, action: str, error: Exception, after: CommandStatus
) -> None:
    async def fail(_action: str, _payload: Mapping[str, Any]) -> dict[str, Any]:
        raise error

    a = make("a")
    await a.connect("st-1", fail)
    command = await queue_command(db, action)
    a.dispatcher.submit("st-1", command.id)
    await until(lambda: not a.dispatcher._lines, "the dispatcher to be done")
    ended = await stored(db, command)
    assert ended.status is after
    assert ended.error == str(error)


async def test_a_stop_lost_with_its_socket_is_written_on_the_next_one(make: MakeInstance, db: PooledDatabase) -> None:
    async def gone(_action: str, _payload: Mapping[str, Any]) -> dict[str, Any]:
        raise ConnectionGone

    await make("a").connect("st-1", gone)
    command = await queue_command(db, REMOTE_STOP, transactionId=7)
    a = make("a2")
    first = await a.connect("st-1", gone)
    await until(lambda: first.calls and not a.dispatcher._lines, "the first try")
    second = await make("b").connect("st-1")
    await until_status(db, command, CommandStatus.ACCEPTED)
    assert second.calls == [(REMOTE_STOP, {"transactionId": 7})]


@pytest.mark.parametrize("home", ["same", "other"])
async def test_the_charger_is_back_before_its_lost_stop_is_queued_again(
    make: MakeInstance, db: PooledDatabase, home: str
) -> None:
    """Its new holder has already looked for queued commands; the stop follows it without waiting for a poll."""
    dead = asyncio.Event()

    async def lost(_action: str, _payload: Mapping[str, Any]) -> dict[str, Any]:
        await dead.wait()
        raise ConnectionGone

    a, b = make("a"), make("b")
    old = await a.connect("st-1", lost)
    command = await queue_command(db, REMOTE_STOP, transactionId=7)
    a.dispatcher.submit("st-1", command.id)
    await old.called.wait()
    new = await (a if home == "same" else b).connect("st-1")
    await until(lambda: old.closed_with, "the old socket to be closed")
    dead.set()
    await until_status(db, command, CommandStatus.ACCEPTED)
    assert len(new.calls) == 1


async def test_a_command_claimed_for_a_socket_that_was_just_replaced_goes_to_the_new_one(
    make: MakeInstance, db: PooledDatabase
) -> None:
    a = make("a")
    old = await a.connect("st-1")
    epoch = await db.run(lambda conn: connect_station(conn, "st-1", "a", CLOCK.now()))
    command = await queue_command(db)
    async with db.transaction() as blocker:
        # The claim waits for this lock; meanwhile the new socket takes its place.
        await blocker.execute("SELECT 1 FROM station_commands WHERE id = %s FOR UPDATE", (command.id,))
        a.dispatcher.submit("st-1", command.id)
        new = FakeConnection("st-1", epoch)
        await a.registry.register("st-1", new)
    await until_status(db, command, CommandStatus.ACCEPTED)
    assert old.calls == []
    assert len(new.calls) == 1


async def test_the_answer_is_recorded_although_the_database_was_away_for_a_moment(
    make: MakeInstance, db: PooledDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = make("a")
    failures = 3
    finish = service.finish

    async def flaky(*args: Any, **kwargs: Any) -> bool:
        nonlocal failures
        if failures:
            failures -= 1
            raise psycopg.OperationalError("the connection is lost")
        return await finish(*args, **kwargs)

    monkeypatch.setattr(service, "finish", flaky)
    await a.connect("st-1")
    command = await queue_command(db)
    a.dispatcher.submit("st-1", command.id)
    await until_status(db, command, CommandStatus.ACCEPTED)
    assert failures == 0
