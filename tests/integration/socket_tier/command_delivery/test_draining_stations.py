"""Looking for the queued commands of chargers that connect: as much work for each, however many are connected."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from evpower.commands.models import CommandStatus
from evpower.db import Conn, PooledDatabase
from tests.fakes.rows import add_station
from tests.fakes.stations import FakeConnection
from tests.integration.socket_tier.command_delivery.instance import MakeInstance, queue_command, until_status


class WatchedConnection(FakeConnection):
    """Counts how often it is asked whether it takes commands."""

    looks = 0

    @property
    def accepts_commands(self) -> bool:
        WatchedConnection.looks += 1
        return True

    @accepts_commands.setter
    def accepts_commands(self, value: bool) -> None:
        pass


async def test_a_drain_looks_at_no_socket_but_its_own(make: MakeInstance, db: PooledDatabase) -> None:
    a = make("a")
    looks = []
    for sockets in (3, 60):
        for number in range(sockets):
            await a.registry.register(f"other-{number}", WatchedConnection(f"other-{number}", number))
        WatchedConnection.looks = 0
        await a.dispatcher.drain("other-1")
        looks.append(WatchedConnection.looks)
    assert 0 < looks[1] <= looks[0]


@pytest.fixture
def transactions(db: PooledDatabase, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One entry for each transaction."""
    begun: list[str] = []
    original = db.transaction

    def transaction(**options: Any) -> Any:
        begun.append("begun")
        return original(**options)

    monkeypatch.setattr(db, "transaction", transaction)
    return begun


async def test_stations_that_ask_together_are_looked_up_together(
    make: MakeInstance, db: PooledDatabase, transactions: list[str]
) -> None:
    a = make("a")
    async with db.transaction() as conn:
        for number in range(20):
            await add_station(conn, f"crowd-{number}")
    for number in range(20):
        await a.connect(f"crowd-{number}")
    connection = await a.connect("st-1")
    command = await queue_command(db)
    transactions.clear()
    for number in range(20):
        a.dispatcher.drain_soon([f"crowd-{number}"])
    a.dispatcher.drain_soon(["st-1"])
    async with asyncio.timeout(10):
        await connection.called.wait()
    assert len(transactions) <= 3  # the look-up, and claim and outcome of the one command that it found
    await until_status(db, command, CommandStatus.ACCEPTED)


async def test_who_asks_while_others_are_looked_up_is_looked_up_next(
    make: MakeInstance, db: PooledDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look-up that has begun cannot have seen what is queued during it; the poll comes too late here."""
    a = make("a")
    async with db.transaction() as conn:
        await add_station(conn, "st-2")
    await a.connect("st-2")
    connection = await a.connect("st-1")
    entered, go_on = asyncio.Event(), asyncio.Event()
    original = db.run

    async def run(work: Callable[[Conn], Awaitable[Any]], **options: Any) -> Any:
        result = await original(work, **options)
        entered.set()
        await go_on.wait()
        return result

    monkeypatch.setattr(db, "run", run)
    a.dispatcher.drain_soon(["st-1", "st-2"])
    await entered.wait()
    monkeypatch.setattr(db, "run", original)
    command = await queue_command(db)
    a.dispatcher.drain_soon(["st-1"])
    go_on.set()
    await until_status(db, command, CommandStatus.ACCEPTED)
    assert len(connection.calls) == 1


async def test_a_look_up_that_fails_does_not_end_the_others(
    make: MakeInstance, db: PooledDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = make("a")
    await a.connect("st-1")
    command = await queue_command(db)
    original, failed = db.run, asyncio.Event()

    async def fails(_work: Callable[[Conn], Awaitable[Any]], **_options: Any) -> Any:
        failed.set()
        raise RuntimeError("not this time")

    monkeypatch.setattr(db, "run", fails)
    a.dispatcher.drain_soon(["st-1"])
    await failed.wait()
    monkeypatch.setattr(db, "run", original)
    a.dispatcher.drain_soon(["st-1"])
    await until_status(db, command, CommandStatus.ACCEPTED)
