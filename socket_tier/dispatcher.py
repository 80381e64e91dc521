"""Commands to the stations of this instance: claim, write the frame, record the answer.

Order of a command: commit ``sent`` (``commands.service.claim``), write the frame, commit the outcome together with
what it causes. Commands of one station run one after the other, and a command is claimed only when the line is free,
so ``sent`` is never said of a frame that waits.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

from evpower.charging import service as charging
from evpower.clock import Clock
from evpower.commands import sealed, service
from evpower.commands.models import REMOTE_START, REMOTE_STOP, REPEATED_BY_BOOT, Command, CommandStatus, QueuedRef
from evpower.commands.sealed import SealBroken
from evpower.db import Conn, Database
from evpower.ids import correlation_id
from evpower.logging import get_logger
from evpower.metrics import emit
from evpower.stations import service as stations
from socket_tier.background import Background, Work
from socket_tier.call_failures import CallFailed, CallRefused, CallTimedOut, ConnectionGone
from socket_tier.dialect import Outcome, OutcomeHook
from socket_tier.registry import Registry, StationConnection
from socket_tier.schemas import OutboundInvalid
from socket_tier.tasks import cancel_all
from socket_tier.unavailable import is_unavailable

log = get_logger(__name__)
T = TypeVar("T")

POLL_S = 10.0
POLL_DEGRADED_S = 1.0
CALL_TIMEOUT_S = 30.0
_LEASE_MARGIN = timedelta(seconds=30)
_RECORD_PATIENCE_S = 25.0  # below the lease's margin: after that the sweep judges the command
NOT_STORED = "what follows from this outcome could not be stored"

Hook = Callable[[Conn, Command, str, datetime], Awaitable[None]]
Changed = Callable[[list[str]], Awaitable[None]]


async def _start_refused(conn: Conn, command: Command, reason: str, now: datetime) -> None:
    if command.session_id is not None and command.requested_by != REPEATED_BY_BOOT:
        await charging.remote_start_rejected(conn, command.session_id, reason, now)


async def _stop_refused(conn: Conn, command: Command, _reason: str, now: datetime) -> None:
    if command.session_id is not None:
        await charging.remote_stop_rejected(conn, command.session_id, now)


# What an outcome causes, in the transaction that records it. A start that the charger answers with an error will not
# begin either; a stop answered with an error says nothing about the transaction, which goes on and is stopped again.
HOOKS: dict[tuple[str, CommandStatus], Hook] = {
    (REMOTE_START, CommandStatus.REJECTED): _start_refused,
    (REMOTE_START, CommandStatus.FAILED): _start_refused,
    (REMOTE_STOP, CommandStatus.REJECTED): _stop_refused,
}


class _MovedOn(Exception):
    """The command was judged by somebody else meanwhile; nothing of ours may be committed."""


class Dispatcher:
    """Runs commands of local stations. ``changed`` is told of stations whose public state a hook may have changed."""

    def __init__(
        self,
        database: Database,
        registry: Registry,
        clock: Clock,
        *,
        changed: Changed,
        call_timeout_s: float = CALL_TIMEOUT_S,
        poll_s: float = POLL_S,
        poll_degraded_s: float = POLL_DEGRADED_S,
        background: Background | None = None,
    ) -> None:
        self._database = database
        self._registry = registry
        self._clock = clock
        self._changed = changed
        self._call_timeout_s = call_timeout_s
        self._poll_s = poll_s
        self._poll_degraded_s = poll_degraded_s
        self._lines: dict[str, list[str]] = {}  # station -> command ids waiting, the running one first
        self._to_drain: set[str] = set()
        self._drainer: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._background = background or Background()
        self._stopping = False
        self.queue_degraded: Callable[[], bool] = lambda: False
        registry.on_hand_off = self.submit
        registry.on_reclaimed = self.drain_soon

    # --- life ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the poll for queued commands."""
        self._background.start("command poll", self._poll_forever)

    async def stop(self, patience_s: float = 5.0) -> None:
        """Take no new command, let running ones end for ``patience_s``; the rest is left to lease and sweep."""
        self._stopping = True
        await self._background.stop("command poll")
        for waiting in self._lines.values():
            del waiting[1:]  # not claimed: stays queued for the instance that the station connects to next
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=patience_s)
        await cancel_all(self._tasks)

    # --- taking commands ----------------------------------------------------------------------------------------

    def submit(self, station_id: str, command_id: str) -> bool:
        """Take a command of a local station; False when this instance does not hold the station.

        A command that is already in line is taken again without effect (duplicate delivery). Commands of a station
        whose registration is not accepted are "taken" too: they stay queued until it is.
        """
        connection = self._registry.local(station_id)
        if connection is None or self._stopping:
            return False
        if connection.accepts_commands:
            line = self._lines.setdefault(station_id, [])
            if command_id not in line:
                line.append(command_id)
                if len(line) == 1:
                    self._spawn(self._work(station_id, line))
        return True

    async def drain(self, *stations: str) -> None:
        """Take what is queued for these local stations: after a connect, an accepted boot, a Redis outage."""
        if not self._registry.epochs_of(stations):
            return
        self._submit_all(await self._database.run(lambda conn: self._queued_for(conn, stations)))

    def drain_soon(self, stations: list[str]) -> None:
        """``drain`` in the background; a failure is repaired by the poll.

        Use case: thousands connect at once. While one transaction looks, those who ask meanwhile gather for the next.
        """
        self._to_drain.update(stations)
        if self._drainer is None:
            self._drainer = self._spawn(self._drain_gathered())

    async def _drain_gathered(self) -> None:
        try:
            while self._to_drain:
                stations, self._to_drain = self._to_drain, set()
                await self._guarded(self.drain(*stations))
        finally:
            self._drainer = None

    def _submit_all(self, queued: Iterable[QueuedRef]) -> None:
        for ref in queued:
            self.submit(ref.station_id, ref.command_id)

    async def _queued_for(self, conn: Conn, stations: Iterable[str]) -> list[QueuedRef]:
        return await service.queued_for(conn, self._registry.epochs_of(stations), self._clock.now())

    # --- one command --------------------------------------------------------------------------------------------

    async def _work(self, station_id: str, line: list[str]) -> None:
        passed: set[str] = set()  # had their turn: what still waits of them holds up nobody
        try:
            while line:
                again = await self._guarded(self._dispatch(station_id, line, passed))
                if not again:
                    passed.add(line.pop(0))
        finally:
            del self._lines[station_id]

    async def _dispatch(self, station_id: str, line: list[str], passed: set[str]) -> bool:
        """Run the first command of the line; True when it stays there.

        Either the charger has a newer socket here, and the command still waits for it, or earlier commands, whose
        messages are lost or late, were put in front of it.
        """
        command_id = line[0]
        connection = self._registry.local(station_id)
        if connection is None or not connection.accepts_commands:
            return False
        epoch, now = connection.epoch, self._clock.now()
        lease = timedelta(seconds=self._call_timeout_s * connection.dialect.patience()) + _LEASE_MARGIN
        instance = self._registry.instance_id

        async def claim(conn: Conn) -> tuple[Command | None, list[str]]:
            claimed = await service.claim(conn, command_id, epoch, instance, now, lease=lease, passed=passed)
            if claimed is not None:
                return claimed, []
            return None, await service.earlier(conn, command_id, epoch, now, passed=passed)

        command, earlier = await self._database.run(claim)
        if earlier and not self._stopping:
            line[:] = [*earlier, *(other for other in line if other not in earlier)]
            return True
        waits = True  # not claimed: it may be queued for a newer connection
        if command is not None:
            token = correlation_id.set(command.correlation_id)
            try:
                waits = await self._call(connection, command) is CommandStatus.QUEUED
            finally:
                correlation_id.reset(token)
        return waits and await self._moved(connection, command_id)

    async def _moved(self, connection: StationConnection, command_id: str) -> bool:
        """Whether the station has a newer socket here; one on another instance is told at once.

        Use case: the charger comes back while a RemoteStop is in flight on its dead socket. Its new holder looked for
        queued commands before this one was queued again, and would find it only by its poll.
        """
        station_id = connection.station_id
        current = self._registry.local(station_id)
        if current is not None:
            return current is not connection and current.accepts_commands
        lookup = await self._registry.owner(station_id)
        if lookup.owner is not None and lookup.owner.instance_id != self._registry.instance_id:
            await self._registry.hand_off(lookup.owner, station_id, command_id)
        return False

    async def _call(self, connection: StationConnection, command: Command) -> CommandStatus:
        """Write the frame, wait for the answer, record it; the status that the command has now."""
        spec = connection.dialect.commands.get(command.action)
        hook = None if spec is None else spec.on_outcome
        try:
            timeout = self._call_timeout_s * connection.dialect.patience(command.action)
            answer = await connection.call(command.action, sealed.opened(command.payload), timeout)
        except CallTimedOut as error:
            if command.repeatable or not error.written:
                # Use case: a busy charger misses a RemoteStop. It is written again until it expires.
                return await self._record_lost(command, str(error), written=error.written)
            return await self._record(command, hook, CommandStatus.TIMED_OUT, error=str(error))
        except ConnectionGone as error:
            # Use case: the socket died after the claim. A start that never left is written on the next one.
            return await self._record_lost(command, str(error), written=error.written)
        except (CallRefused, OutboundInvalid, CallFailed, SealBroken) as error:
            return await self._record(command, hook, CommandStatus.FAILED, error=str(error))
        accepted = spec is not None and spec.outcome(answer) is Outcome.ACCEPTED
        outcome = CommandStatus.ACCEPTED if accepted else CommandStatus.REJECTED
        return await self._record(command, hook, outcome, response=answer)

    async def _record(
        self,
        command: Command,
        on_outcome: OutcomeHook | None,
        outcome: CommandStatus,
        *,
        response: dict[str, Any] | None = None,
        error: str | None = None,
    ) -> CommandStatus:
        now = self._clock.now()
        hook = HOOKS.get((command.action, outcome))
        ended = replace(command, status=outcome, finished_at=now, response=response, error=error)

        async def finish(conn: Conn, error: str | None) -> None:
            if not await service.finish(conn, command, outcome, now, response=response, error=error):
                raise _MovedOn

        async def causes(conn: Conn) -> None:
            if hook is not None:
                await hook(conn, command, outcome.value, now)

        async def whole(conn: Conn) -> list[QueuedRef]:
            # The outcome's consequences first: client and session are locked before the command row.
            await causes(conn)
            if on_outcome is not None:
                await on_outcome(conn, ended, outcome, response)
            await finish(conn, error)
            # What it has just queued; read here, because a transaction of its own would cost as much as the outcome.
            return await self._queued_for(conn, [command.station_id]) if on_outcome is not None else []

        async def without_stored_state(conn: Conn) -> list[QueuedRef]:
            await causes(conn)
            told = {"command_id": command.id, "action": command.action, "outcome": outcome.value}
            await stations.add_event(
                conn, command.station_id, "command_outcome_not_stored", now, payload=told, severity="error"
            )
            await finish(conn, "; ".join(filter(None, (error, NOT_STORED))))
            return []

        instead = without_stored_state if on_outcome is not None else None
        try:
            queued: list[QueuedRef] = await self._persistently(whole, instead)
        except _MovedOn:
            log.warning("answer came after the lease", extra={"command_id": command.id, "outcome": outcome})
            return outcome
        log.info("command ended", extra={"command_id": command.id, "action": command.action, "outcome": outcome})
        self._count(command, outcome, now)
        if hook is not None:
            await self._changed([command.station_id])
        held = self._registry.local(command.station_id)
        if on_outcome is not None and held is not None:
            held.look_up_again()
        self._submit_all(queued)
        return outcome

    async def _record_lost(self, command: Command, error: str, *, written: bool = True) -> CommandStatus:
        now = self._clock.now()
        status: CommandStatus = await self._persistently(
            lambda conn: service.connection_lost(conn, command, error, now, written=written)
        )
        log.info("command unanswered", extra={"command_id": command.id, "action": command.action, "status": status})
        if status.terminal:
            self._count(command, status, now)
        return status

    @staticmethod
    def _count(command: Command, outcome: CommandStatus, now: datetime) -> None:
        emit({"CommandOutcomes": 1}, Action=command.action, Outcome=outcome.value)
        age_ms = round((now - command.created_at).total_seconds() * 1000, 1)
        emit({"CommandDuration": age_ms}, Action=command.action)

    async def _persistently(
        self, work: Callable[[Conn], Awaitable[Any]], instead: Callable[[Conn], Awaitable[Any]] | None = None
    ) -> Any:
        """Commit an outcome even if PostgreSQL is away for a moment: losing it would leave the command to its lease.

        ``instead`` is committed when ``work`` itself cannot be.
        """
        pause = 0.1
        async with asyncio.timeout(_RECORD_PATIENCE_S):
            while True:
                try:
                    return await self._database.run(work)
                except Exception as error:
                    if not is_unavailable(error):
                        if instead is None or isinstance(error, _MovedOn):
                            raise
                        log.exception("an outcome's stored state cannot be changed; the outcome itself is kept")
                        work, instead = instead, None
                        continue
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, 2.0)

    # --- poll ---------------------------------------------------------------------------------------------------

    async def _poll_forever(self, work: Work) -> None:
        """Find queued commands that no message brought: often while Redis or SQS is away, else as a safety net."""
        polled = time.monotonic()
        while True:
            await asyncio.sleep(self._poll_degraded_s)  # an outage is noticed within this, not after a full period
            degraded = self._registry.degraded or self.queue_degraded()
            if degraded or time.monotonic() - polled >= self._poll_s:
                polled = time.monotonic()
                await self._guarded(self._poll(work))

    async def _poll(self, work: Work) -> None:
        async with work.step():
            epochs = self._registry.local_epochs()
            if not epochs:
                return
            if self._registry.degraded:
                newer = await self._database.run(lambda conn: service.newer_epochs(conn, epochs))
                self._registry.drop_stale(newer)
            await self.drain(*epochs)

    def _spawn(self, work: Awaitable[None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _guarded(self, work: Awaitable[T]) -> T | None:
        """One command's failure never stops the others; its row is still open for poll and sweep."""
        try:
            return await work
        except Exception as error:
            if is_unavailable(error) or isinstance(error, TimeoutError):
                log.warning("left to poll and sweep: the database is away", extra={"error": str(error)})
            else:
                log.exception("command failed in an unexpected way")
            return None
