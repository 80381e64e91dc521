"""The commands outbox on a real PostgreSQL: who may write a command, and how every command ends."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from evpower.commands import service
from evpower.commands.models import REMOTE_START, REMOTE_STOP, Command, CommandStatus, NewCommand
from evpower.db import Conn, PooledDatabase
from evpower.ids import correlation_id
from tests.fakes.rows import NOW, add_session, add_station, connect_station, one
from tests.fakes.stations import until

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)


async def enqueue(
    conn: Conn, action: str = "Reset", *, session_id: str | None = None, station_id: str = "st-1", **payload: Any
) -> Command:
    new = NewCommand(station_id, action, payload or {"type": "Soft"}, NOW + 10 * MINUTE, "test", session_id=session_id)
    return await service.enqueue(conn, new, NOW)


@pytest.fixture
async def epoch(db: PooledDatabase) -> int:
    """A connected station st-1; its connection epoch."""
    async with db.transaction() as conn:
        await add_station(conn)
        return await connect_station(conn, "st-1", "instance-1")


async def test_a_command_is_queued_with_its_cause(db: PooledDatabase, epoch: int) -> None:
    token = correlation_id.set("corr-1")
    try:
        async with db.transaction() as conn:
            command = await enqueue(conn, "Reset", type="Hard")
    finally:
        correlation_id.reset(token)
    async with db.transaction() as conn:
        stored = await service.get(conn, command.id)
    assert stored == command
    assert (command.status, command.attempt, command.correlation_id) == (CommandStatus.QUEUED, 1, "corr-1")
    assert command.payload == {"type": "Hard"}


async def test_a_rolled_back_cause_leaves_no_command(db: PooledDatabase, epoch: int) -> None:
    commands: list[Command] = []

    async def fail(conn: Conn) -> None:
        commands.append(await enqueue(conn))
        raise LookupError

    with pytest.raises(LookupError):
        await db.run(fail)
    async with db.transaction() as conn:
        assert await service.get(conn, commands[0].id) is None


async def test_the_holder_of_the_connection_claims_once(db: PooledDatabase, epoch: int) -> None:
    async with db.transaction() as conn:
        command = await enqueue(conn)
    claims = await asyncio.gather(
        *(db.run(lambda conn: service.claim(conn, command.id, epoch, "instance-1", NOW + SECOND)) for _ in range(8))
    )
    won = [claim for claim in claims if claim is not None]
    assert len(won) == 1
    assert (won[0].status, won[0].sent_epoch, won[0].sent_instance) == (CommandStatus.SENT, epoch, "instance-1")
    assert won[0].lease_until == NOW + SECOND + service.DEFAULT_LEASE


async def test_an_older_connection_cannot_claim(db: PooledDatabase, epoch: int) -> None:
    async with db.transaction() as conn:
        command = await enqueue(conn)
        newer = await connect_station(conn, "st-1", "instance-2")
    async with db.transaction() as conn:
        assert await service.claim(conn, command.id, epoch, "instance-1", NOW) is None
        assert await service.queued_for(conn, {"st-1": epoch}, NOW) == []
        assert await service.newer_epochs(conn, {"st-1": epoch}) == {"st-1": newer}
        assert [ref.command_id for ref in await service.queued_for(conn, {"st-1": newer}, NOW)] == [command.id]
        assert await service.claim(conn, command.id, newer, "instance-2", NOW) is not None
        assert await service.newer_epochs(conn, {"st-1": newer}) == {}


async def test_an_expired_command_is_not_written(db: PooledDatabase, epoch: int) -> None:
    async with db.transaction() as conn:
        command = await enqueue(conn)
        late = NOW + 10 * MINUTE
        assert await service.claim(conn, command.id, epoch, "instance-1", late) is None
        assert await service.queued_for(conn, {"st-1": epoch}, late) == []
        swept = await service.expire_and_redeliver(conn, late)
        stored = await service.get(conn, command.id)
    assert (swept.expired, swept.to_send) == (1, [])
    assert stored is not None
    assert (stored.status, stored.finished_at) == (CommandStatus.EXPIRED, late)


async def queue_at(db: PooledDatabase, seconds: float, action: str = "Reset", *, lives: timedelta = MINUTE) -> Command:
    made = NOW + seconds * SECOND
    new = NewCommand("st-1", action, {}, made + lives, "test")
    return await db.run(lambda conn: service.enqueue(conn, new, made))


async def test_commands_of_a_station_are_written_in_the_order_of_their_making(db: PooledDatabase, epoch: int) -> None:
    """Whatever becomes of their queue messages; a stop waits for nothing."""
    first = await queue_at(db, 0, "CancelReservation")
    second = await queue_at(db, 1, "GetConfiguration")
    third = await queue_at(db, 2, "ReserveNow")
    stop = await queue_at(db, 3, REMOTE_STOP)
    now = NOW + 4 * SECOND
    async with db.transaction() as conn:
        await add_station(conn, "st-2")
        other_epoch = await connect_station(conn, "st-2", "instance-1")
        other = await enqueue(conn, station_id="st-2")

    async def claim(command: Command, at_epoch: int = epoch, **options: Any) -> Command | None:
        return await db.run(lambda conn: service.claim(conn, command.id, at_epoch, "instance-1", now, **options))

    async def earlier(command: Command, at_epoch: int = epoch, **options: Any) -> list[str]:
        return await db.run(lambda conn: service.earlier(conn, command.id, at_epoch, now, **options))

    assert await claim(third) is None
    assert await earlier(third) == [first.id, second.id]
    assert await earlier(third, limit=1) == [first.id]
    assert await earlier(third, passed=[first.id]) == [second.id]
    assert await earlier(third, epoch - 1) == [], "not ours to write"
    assert await claim(other, other_epoch) is not None, "stations do not wait for each other"
    assert await earlier(stop) == []
    assert await claim(stop) is not None
    assert await claim(third, passed=[first.id]) is None
    assert await claim(second, passed=[first.id]) is not None
    assert await claim(first) is not None
    assert await earlier(third) == []
    assert await claim(third) is not None
    assert await earlier(third) == [], "it waits no more"


async def test_an_earlier_command_that_is_over_or_lost_holds_up_nobody(db: PooledDatabase, epoch: int) -> None:
    short = await queue_at(db, 0, lives=SECOND)
    lost = await queue_at(db, 0.1, "CancelReservation")
    taken_back = await queue_at(db, 0.2)
    later = await queue_at(db, 2, "ReserveNow")
    async with db.transaction() as conn:
        # Written by an instance that died before the answer: nobody knows whether the charger has it.
        claimed = await service.claim(conn, lost.id, epoch, "instance-1", NOW + SECOND / 2, passed=[short.id])
        assert claimed is not None
        await service.cancel(conn, "st-1", taken_back.id, "test", NOW + SECOND)
        newer = await connect_station(conn, "st-1", "instance-2")
    async with db.transaction() as conn:
        assert await service.claim(conn, later.id, newer, "instance-2", NOW + 3 * SECOND) is not None


async def test_of_two_claims_at_once_neither_overtakes(db: PooledDatabase, epoch: int) -> None:
    """Two connections: the later command is claimed while the earlier one is being claimed, and not yet committed."""
    first, second = await queue_at(db, 0, "CancelReservation"), await queue_at(db, 1, "ReserveNow")
    now = NOW + 2 * SECOND
    async with db.transaction() as one_conn:
        assert await service.claim(one_conn, first.id, epoch, "instance-1", now) is not None
        assert await db.run(lambda conn: service.claim(conn, second.id, epoch, "instance-1", now)) is None
    assert await db.run(lambda conn: service.claim(conn, second.id, epoch, "instance-1", now)) is not None


async def test_queued_commands_are_found_oldest_first(db: PooledDatabase, epoch: int) -> None:
    async with db.transaction() as conn:
        await add_station(conn, "st-2")
        commands = []
        for number in range(3):
            new = NewCommand("st-1", "Reset", {}, NOW + 10 * MINUTE, "test")
            commands.append(await service.enqueue(conn, new, NOW + number * SECOND))
        await enqueue(conn, station_id="st-2")
        found = await service.queued_for(conn, {"st-1": epoch, "unknown": 1}, NOW + MINUTE)
    assert [ref.command_id for ref in found] == [command.id for command in commands]


async def test_a_charger_with_many_queued_commands_does_not_hide_those_of_others(
    db: PooledDatabase, epoch: int
) -> None:
    async with db.transaction() as conn:
        await add_station(conn, "st-2")
        other = await connect_station(conn, "st-2", "instance-1")
        for number in range(250):
            new = NewCommand("st-1", "Reset", {}, NOW + 10 * MINUTE, "test")
            await service.enqueue(conn, new, NOW + number * SECOND / 10)
        wanted = await service.enqueue(conn, NewCommand("st-2", "Reset", {}, NOW + 10 * MINUTE, "test"), NOW + MINUTE)
        found = await service.queued_for(conn, {"st-1": epoch, "st-2": other}, NOW + MINUTE)
    assert wanted.id in [ref.command_id for ref in found]
    assert len(found) < 250


@pytest.mark.parametrize(("state", "claimed"), [("pending", True), ("charging", False), ("stopped", False)])
async def test_a_start_is_written_only_for_a_waiting_session(
    db: PooledDatabase, epoch: int, state: str, claimed: bool
) -> None:
    async with db.transaction() as conn:
        session_id = await add_session(conn, "st-1", state=state)
        command = await enqueue(conn, REMOTE_START, session_id=session_id, connectorId=1, idTag="A")
    async with db.transaction() as conn:
        claim = await service.claim(conn, command.id, epoch, "instance-1", NOW)
        stored = await service.get(conn, command.id)
    assert (claim is not None) is claimed
    assert stored is not None
    assert stored.status is (CommandStatus.SENT if claimed else CommandStatus.FAILED)


async def test_a_start_waits_for_the_sessions_lock(db: PooledDatabase, epoch: int) -> None:
    """Use case: the client cancels in the moment in which the frame would be written."""
    async with db.transaction() as conn:
        session_id = await add_session(conn, "st-1", state="pending")
        command = await enqueue(conn, REMOTE_START, session_id=session_id, connectorId=1, idTag="A")
    async with db.transaction() as cancel:
        await cancel.execute("SELECT 1 FROM charging_sessions WHERE id = %s FOR UPDATE", (session_id,))
        claim = asyncio.create_task(db.run(lambda c: service.claim(c, command.id, epoch, "instance-1", NOW)))

        async def blocked() -> bool:
            return bool((await one(cancel, "SELECT count(*) AS n FROM pg_locks WHERE NOT granted"))["n"])

        await until(blocked, "the claim to wait for the session's lock")
        await cancel.execute("UPDATE charging_sessions SET state = 'stopped' WHERE id = %s", (session_id,))
    assert await claim is None


@pytest.mark.parametrize("outcome", ["accepted", "rejected", "failed", "timed_out"])
async def test_an_answer_ends_the_command_once(db: PooledDatabase, epoch: int, outcome: str) -> None:
    async with db.transaction() as conn:
        command = await enqueue(conn)
        sent = await service.claim(conn, command.id, epoch, "instance-1", NOW)
        assert sent is not None
        status = CommandStatus(outcome)
        assert await service.finish(conn, sent, status, NOW + SECOND, response={"status": "x"}, error="e") is True
        assert await service.finish(conn, sent, CommandStatus.ACCEPTED, NOW + 2 * SECOND) is False
        stored = await service.get(conn, command.id)
    assert stored is not None
    assert (stored.status, stored.response, stored.error) == (status, {"status": "x"}, "e")
    assert (stored.finished_at, stored.lease_until) == (NOW + SECOND, None)


async def test_finish_refuses_a_status_that_is_no_outcome(db: PooledDatabase, epoch: int) -> None:
    async with db.transaction() as conn:
        command = await enqueue(conn)
        with pytest.raises(ValueError, match="not an outcome"):
            await service.finish(conn, command, CommandStatus.QUEUED, NOW)


@pytest.mark.parametrize(
    ("action", "written", "after"),
    [
        (REMOTE_STOP, True, CommandStatus.QUEUED),
        ("GetConfiguration", True, CommandStatus.QUEUED),
        ("Reset", True, CommandStatus.FAILED),
        (REMOTE_START, True, CommandStatus.FAILED),
        (REMOTE_START, False, CommandStatus.QUEUED),
    ],
)
async def test_a_broken_connection(
    db: PooledDatabase, epoch: int, action: str, written: bool, after: CommandStatus
) -> None:
    async with db.transaction() as conn:
        command = await enqueue(conn, action)
        sent = await service.claim(conn, command.id, epoch, "instance-1", NOW)
        assert sent is not None
        status = await service.connection_lost(conn, sent, "gone", NOW + SECOND, written=written)
        stored = await service.get(conn, command.id)
    assert stored is not None
    assert status is stored.status is after
    if after is CommandStatus.QUEUED:
        assert stored.attempt == 2
        async with db.transaction() as conn:
            # The answer of the first attempt, should it come after all, changes nothing.
            assert await service.finish(conn, sent, CommandStatus.ACCEPTED, NOW + 2 * SECOND) is False


@pytest.mark.parametrize(
    ("action", "after"),
    [
        (REMOTE_STOP, CommandStatus.QUEUED),
        ("TriggerMessage", CommandStatus.QUEUED),
        (REMOTE_START, CommandStatus.FAILED),
        ("ChangeConfiguration", CommandStatus.FAILED),
    ],
)
async def test_after_a_crash_only_stops_and_reads_are_written_again(
    db: PooledDatabase, epoch: int, action: str, after: CommandStatus
) -> None:
    """The instance died between the commit of `sent` and the answer."""
    async with db.transaction() as conn:
        command = await enqueue(conn, action)
        assert await service.claim(conn, command.id, epoch, "instance-1", NOW) is not None
    async with db.transaction() as conn:
        early = await service.expire_and_redeliver(conn, NOW + service.DEFAULT_LEASE - SECOND)
        assert early.seen == 0
        swept = await service.expire_and_redeliver(conn, NOW + service.DEFAULT_LEASE)
        stored = await service.get(conn, command.id)
    assert stored is not None
    assert stored.status is after
    if after is CommandStatus.QUEUED:
        assert [(c.id, c.attempt) for c in swept.to_send] == [(command.id, 2)]
    else:
        assert (swept.failed, swept.to_send) == (1, [])
        assert "no answer was recorded" in str(stored.error)


async def test_a_queued_command_whose_message_was_lost_is_sent_again(db: PooledDatabase, epoch: int) -> None:
    async with db.transaction() as conn:
        command = await enqueue(conn)
        assert (await service.expire_and_redeliver(conn, NOW + SECOND)).seen == 0
        first = await service.expire_and_redeliver(conn, NOW + service.REDELIVER_AFTER)
        again = await service.expire_and_redeliver(conn, NOW + service.REDELIVER_AFTER + SECOND)
    assert [(c.id, c.attempt) for c in first.to_send] == [(command.id, 2)]
    assert again.seen == 0


async def test_a_command_of_an_absent_station_stays_queued_without_messages(db: PooledDatabase) -> None:
    async with db.transaction() as conn:
        await add_station(conn)
        command = await enqueue(conn)
        swept = await service.expire_and_redeliver(conn, NOW + service.REDELIVER_AFTER)
        assert (swept.seen, swept.to_send) == (1, [])
        epoch = await connect_station(conn, "st-1", "instance-1")
        assert [r.command_id for r in await service.queued_for(conn, {"st-1": epoch}, NOW)] == [command.id]


async def test_two_sweeps_at_once_share_the_work(db: PooledDatabase, epoch: int) -> None:
    async with db.transaction() as conn:
        ids = {(await enqueue(conn)).id for _ in range(20)}
    when = NOW + service.REDELIVER_AFTER
    async with db.transaction() as first, db.transaction() as second:
        one_half = await service.expire_and_redeliver(first, when, limit=10)
        other_half = await service.expire_and_redeliver(second, when, limit=100)
    assert {c.id for c in one_half.to_send} | {c.id for c in other_half.to_send} == ids
    assert len(one_half.to_send) == len(other_half.to_send) == 10


async def test_an_answer_to_an_earlier_attempt_says_nothing_about_the_present_one(
    db: PooledDatabase, epoch: int
) -> None:
    """The lease of a stop lapsed and it was written again; the first attempt's answer comes after all."""
    async with db.transaction() as conn:
        command = await enqueue(conn, REMOTE_STOP, transactionId=1)
        first = await service.claim(conn, command.id, epoch, "instance-1", NOW)
        assert first is not None
        later = NOW + 2 * MINUTE
        assert (await service.expire_and_redeliver(conn, later)).to_send
        second = await service.claim(conn, command.id, epoch, "instance-1", later)
        assert second is not None
        assert not await service.finish(conn, first, CommandStatus.REJECTED, later)
        assert await service.finish(conn, second, CommandStatus.ACCEPTED, later)
