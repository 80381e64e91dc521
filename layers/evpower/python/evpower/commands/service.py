"""Rules of the commands outbox (design.md §3 Commands). Every command ends in a terminal state.

Nothing here commits: the caller's transaction carries the command together with the fact that causes it.
"""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

from evpower.commands import repository, sealed
from evpower.commands.models import (
    REMOTE_START,
    Command,
    CommandFilter,
    CommandStatus,
    NewCommand,
    QueuedRef,
    Redelivery,
)
from evpower.db import Conn
from evpower.errors import IdempotencyConflict, NotFound, StateConflict
from evpower.ids import correlation_id, new_id

REDELIVER_AFTER = timedelta(seconds=30)
"""A queued command whose queue message may have been lost is handed to the queue again after this."""
DEFAULT_LEASE = timedelta(seconds=75)
"""A sent command without an answer after this belongs to a dead instance (above every call's own timeout)."""


async def enqueue(conn: Conn, new: NewCommand, now: datetime, *, command_id: str | None = None) -> Command:
    """Insert the command as queued. After the commit the caller hands it to ``CommandQueue`` (or the dispatcher).

    With a ``command_id`` that the caller derived from its request, a repeated request gets the first one's command.

    Raises:
        IdempotencyConflict: the id is another command's.
    """
    asked = new.payload
    new = NewCommand(
        new.station_id,
        new.action,
        sealed.sealed_payload(new.action, asked),
        new.expires_at,
        new.requested_by,
        new.session_id,
        new.correlation_id or correlation_id.get(),
    )
    lease_until = min(now + REDELIVER_AFTER, new.expires_at)
    command = await repository.insert(conn, command_id or new_id(), new, lease_until, now)
    if command is not None:
        return command
    command = None if command_id is None else await repository.get(conn, command_id)
    assert command is not None
    # Opened: the same secret is sealed into another text each time.
    first = (command.station_id, command.action, sealed.opened(command.payload))
    if first != (new.station_id, new.action, dict(asked)):
        raise IdempotencyConflict("The Idempotency-Key was used for another command")
    return command


async def page(conn: Conn, station_id: str, wanted: CommandFilter, limit: int) -> list[Command]:
    """Commands of a station, newest first."""
    return await repository.page(conn, station_id, wanted, limit)


async def cancel(conn: Conn, station_id: str, command_id: str, by: str, now: datetime) -> Command:
    """Take back a command that has not been written to the charger.

    Raises:
        NotFound: the station has no such command.
        StateConflict: it has been written, has ended, or moves a session, which has a stop of its own.
    """
    command = await repository.get(conn, command_id)
    if command is None or command.station_id != station_id:
        raise NotFound("no such command")
    if command.session_id is not None:
        raise StateConflict("the command belongs to a charging session: stop the session instead")
    if not await repository.close(
        conn,
        command_id,
        CommandStatus.CANCELLED,
        only_from=CommandStatus.QUEUED,
        attempt=command.attempt,
        response=None,
        error=f"taken back by {by}",
        now=now,
    ):
        command = await repository.get(conn, command_id) or command
        told = "it has been written to the charger" if command.status is CommandStatus.SENT else "it has ended"
        raise StateConflict(f"only a waiting command can be taken back: {told}", status=command.status.value)
    cancelled = await repository.get(conn, command_id)
    assert cancelled is not None
    return cancelled


async def cancel_waiting(conn: Conn, station_id: str, command_id: str, by: str, now: datetime) -> bool:
    """Take back a command whose purpose is gone; False when it was written already, or has ended."""
    try:
        await cancel(conn, station_id, command_id, by, now)
    except (NotFound, StateConflict):
        return False
    return True


async def get(conn: Conn, command_id: str) -> Command | None:
    """The command as it is now, or None."""
    return await repository.get(conn, command_id)


async def claim(
    conn: Conn,
    command_id: str,
    epoch: int,
    instance: str,
    now: datetime,
    *,
    lease: timedelta = DEFAULT_LEASE,
    passed: Collection[str] = (),
) -> Command | None:
    """Make the command ours to write to the charger (queued -> sent); the caller commits before it writes the frame.

    None when somebody else has it, it expired, the station's connection is no longer ours, earlier commands (but those
    ``passed``) must go first, or a start is not wanted any more. Use case: the client cancels while
    RemoteStartTransaction waits in the queue; the session is no longer `pending`, so the charger must not be started.
    """
    command = await repository.get(conn, command_id)
    if command is None or command.status is not CommandStatus.QUEUED or command.expires_at <= now:
        return None
    if command.action == REMOTE_START and command.session_id is not None:
        import evpower.charging.service as charging  # charging enqueues commands: imported late on purpose

        if not await charging.lock_pending(conn, command.session_id):
            await repository.close(
                conn,
                command_id,
                CommandStatus.FAILED,
                only_from=CommandStatus.QUEUED,
                attempt=command.attempt,
                response=None,
                error="the session no longer waits for a start",
                now=now,
            )
            return None
    return await repository.mark_sent(
        conn, command_id, epoch=epoch, instance=instance, lease_until=now + lease, now=now, passed=passed
    )


async def earlier(
    conn: Conn, command_id: str, epoch: int, now: datetime, *, passed: Collection[str] = (), limit: int = 100
) -> list[str]:
    """Commands of the same station that must be written before this one, oldest first.

    Use case: the queue message of a CancelReservation is lost, that of the ReserveNow after it is not. The charger
    would refuse the new reservation and then drop the old one. Messages are hints; the rows have the order.
    """
    return await repository.earlier(conn, command_id, epoch=epoch, now=now, passed=passed, limit=limit)


async def finish(
    conn: Conn,
    command: Command,
    outcome: CommandStatus,
    now: datetime,
    *,
    response: Mapping[str, Any] | None = None,
    error: str | None = None,
) -> bool:
    """Record the charger's answer. False when the command has moved on meanwhile (its lease lapsed).

    The command row is locked last: run what the outcome causes (client, session) earlier in the same transaction and
    roll back on False.
    """
    if not outcome.terminal:
        raise ValueError(f"{outcome} is not an outcome")
    return await repository.close(
        conn,
        command.id,
        outcome,
        only_from=CommandStatus.SENT,
        attempt=command.attempt,
        response=sealed.shown_answer(command.action, response),
        error=error,
        now=now,
    )


async def forget_secret(conn: Conn, command_id: str, member: str) -> None:
    """Put ``***`` in the place of a sealed member of the command's payload."""
    await repository.replace_member(conn, command_id, member, sealed.SHOWN)


async def connection_lost(
    conn: Conn, command: Command, error: str, now: datetime, *, written: bool = True
) -> CommandStatus:
    """No answer, and none will come: repeatable commands, and frames never ``written``, go back to the queue.

    Returns the new status. Others end `failed`: the charger may have carried them out.
    """
    if (command.repeatable or not written) and command.expires_at > now:
        lease_until = min(now + REDELIVER_AFTER, command.expires_at)
        await repository.requeue(
            conn, command.id, attempt=command.attempt, lease_until=lease_until, error=error, now=now
        )
        return CommandStatus.QUEUED
    await finish(conn, command, CommandStatus.FAILED, now, error=error)
    return CommandStatus.FAILED


async def queued_for(conn: Conn, epochs: Mapping[str, int], now: datetime, per_station: int = 100) -> list[QueuedRef]:
    """Queued commands of the stations held by the caller (station -> epoch), for connect, poll and recovery."""
    return await repository.queued_for(conn, epochs, now, per_station) if epochs else []


async def newer_epochs(conn: Conn, epochs: Mapping[str, int]) -> dict[str, int]:
    """Which of the caller's stations have connected elsewhere since (station -> newer epoch)."""
    return await repository.newer_epochs(conn, epochs) if epochs else {}


async def expire_and_redeliver(conn: Conn, now: datetime, limit: int = 100) -> Redelivery:
    """One batch of the sweep; ``to_send`` goes to the queue after the commit.

    Commands of stations that are connected nowhere stay queued and are not sent: their owner claims them on connect.
    """
    rows = await repository.sweep(conn, lease_until=now + 2 * REDELIVER_AFTER, now=now, limit=limit)
    count = [command.status for command, _ in rows].count
    return Redelivery(
        seen=len(rows),
        expired=count(CommandStatus.EXPIRED),
        failed=count(CommandStatus.FAILED),
        to_send=[command for command, connected in rows if connected and command.status is CommandStatus.QUEUED],
    )
