"""What a command's outcome changes in stored state is committed together with the outcome, or not at all."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from evpower.commands import service
from evpower.commands.models import Command, CommandStatus, NewCommand
from evpower.db import Conn, PooledDatabase
from evpower.stations import service as stations
from socket_tier.dialect import CommandSpec
from socket_tier.dispatcher import NOT_STORED
from socket_tier.ocpp16.commands import COMMANDS
from socket_tier.tier import SocketTier
from tests.fakes.network import Network
from tests.fakes.raw_charger import RawCharger
from tests.fakes.stations import until
from tests.integration.socket_tier.conftest import MakeTier, url

Seen = list[tuple[Command, CommandStatus, Mapping[str, Any] | None]]


async def run(
    tier: SocketTier, db: PooledDatabase, charger: RawCharger, answer: Callable[[str], Awaitable[None]] | None
) -> Command:
    """A Reset from its row to its recorded end."""
    now = datetime.now(UTC)
    new = NewCommand("station-1", "Reset", {"type": "Soft"}, now + timedelta(minutes=5), "test")
    command = await db.run(lambda conn: service.enqueue(conn, new, now))
    assert tier.dispatcher.submit("station-1", command.id)
    frame = await charger.command("Reset")
    if answer is not None:
        await answer(frame[1])
    await until(lambda: not tier.dispatcher._lines, "the dispatcher to be done")
    found = await db.run(lambda conn: service.get(conn, command.id))
    assert found is not None
    return found


async def events(db: PooledDatabase) -> list[tuple[str, str]]:
    async def read(conn: Conn) -> list[tuple[str, str]]:
        rows = await (await conn.execute("SELECT type, severity FROM station_events ORDER BY id")).fetchall()
        return [(row["type"], row["severity"]) for row in rows]

    return await db.run(read)


async def note(conn: Conn, command: Command) -> None:
    assert command.finished_at is not None
    await stations.add_event(conn, command.station_id, "hook", command.finished_at)


@pytest.fixture
async def charger(tier: SocketTier, network: Network) -> AsyncIterator[RawCharger]:
    async with RawCharger.open(url(tier)) as charger:
        await charger.call("Heartbeat")  # a charger that has said something takes commands
        yield charger


@pytest.mark.parametrize(
    ("frame", "status", "answer"),
    [
        ([3, None, {"status": "Accepted"}], CommandStatus.ACCEPTED, {"status": "Accepted"}),
        ([3, None, {"status": "Rejected"}], CommandStatus.REJECTED, {"status": "Rejected"}),
        ([4, None, "NotSupported", "not in this firmware", {}], CommandStatus.FAILED, None),
    ],
    ids=["accepted", "rejected", "error"],
)
async def test_the_hook_is_given_the_outcome_and_commits_with_it(
    tier: SocketTier,
    db: PooledDatabase,
    charger: RawCharger,
    monkeypatch: pytest.MonkeyPatch,
    frame: list[Any],
    status: CommandStatus,
    answer: dict[str, Any] | None,
) -> None:
    seen: Seen = []

    async def hook(conn: Conn, command: Command, outcome: CommandStatus, response: Mapping[str, Any] | None) -> None:
        seen.append((command, outcome, response))
        await note(conn, command)

    monkeypatch.setitem(COMMANDS, "Reset", CommandSpec(on_outcome=hook))  # type: ignore[arg-type] - a dict
    ended = await run(tier, db, charger, lambda number: charger.send([frame[0], number, *frame[2:]]))
    [(given, outcome, response)] = seen
    assert (outcome, response) == (status, answer)
    assert (given.id, given.status, given.finished_at, given.response) == (
        ended.id,
        ended.status,
        ended.finished_at,
        ended.response,
    )
    assert ended.status is status
    assert await events(db) == [("hook", "info")]


async def test_the_hook_hears_of_a_silent_charger(
    make_tier: MakeTier, db: PooledDatabase, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[CommandStatus] = []

    async def hook(_conn: Conn, _command: Command, outcome: CommandStatus, response: object) -> None:
        assert response is None
        seen.append(outcome)

    monkeypatch.setitem(COMMANDS, "Reset", CommandSpec(on_outcome=hook))  # type: ignore[arg-type] - a dict
    tier = await make_tier(ocpp_call_timeout_s=0.1)
    async with RawCharger.open(url(tier)) as charger:
        await charger.call("Heartbeat")
        ended = await run(tier, db, charger, None)
    assert seen == [ended.status] == [CommandStatus.TIMED_OUT]


async def test_a_hook_that_fails_loses_its_own_changes_and_not_the_outcome(
    tier: SocketTier, db: PooledDatabase, charger: RawCharger, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hook(conn: Conn, command: Command, _outcome: CommandStatus, _response: object) -> None:
        await note(conn, command)
        await conn.execute("SELECT 1 / 0")

    monkeypatch.setitem(COMMANDS, "Reset", CommandSpec(on_outcome=hook))  # type: ignore[arg-type] - a dict
    ended = await run(tier, db, charger, lambda number: charger.send([3, number, {"status": "Accepted"}]))
    assert (ended.status, ended.response, ended.error) == (
        CommandStatus.ACCEPTED,
        {"status": "Accepted"},
        NOT_STORED,
    )
    assert await events(db) == [("command_outcome_not_stored", "error")]


async def test_an_outcome_that_came_after_the_sweeps_judgement_changes_nothing(
    tier: SocketTier, db: PooledDatabase, charger: RawCharger, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hook(conn: Conn, command: Command, _outcome: CommandStatus, _response: object) -> None:
        await note(conn, command)

    async def late(number: str) -> None:
        far = datetime.now(UTC) + timedelta(hours=1)
        await db.run(lambda conn: service.expire_and_redeliver(conn, far))
        await charger.send([3, number, {"status": "Accepted"}])

    monkeypatch.setitem(COMMANDS, "Reset", CommandSpec(on_outcome=hook))  # type: ignore[arg-type] - a dict
    ended = await run(tier, db, charger, late)
    assert ended.status is CommandStatus.FAILED
    assert await events(db) == []
