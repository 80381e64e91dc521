"""One charger's socket: frames in, answers out, calls both ways (ocpp.md §2).

Inbound CALLs run one after the other, in order, from a bounded queue, in a task that exists only while there is work.
CALLRESULT and CALLERROR are matched as they arrive, so a handler may call the charger back. One outbound CALL is in
flight; further ones wait with a deadline each.
"""

import asyncio
import dataclasses
import time
from collections import deque
from collections.abc import Awaitable, Mapping
from contextlib import suppress
from typing import Any, Protocol

from msgspec.structs import replace
from websockets.exceptions import ConnectionClosed

from evpower.charging.service import ConnectionLost
from evpower.logging import get_logger
from socket_tier import metrics, rpc
from socket_tier.call_failures import CallRefused, CommandNotSupported
from socket_tier.charger import Charger, Inbound
from socket_tier.dialect import CallFault, Dialect, Durability, Route
from socket_tier.message_log import IN, UNANSWERED, StationLog
from socket_tier.outbound import OutboundCalls
from socket_tier.pacing import Pacer
from socket_tier.repeats import Repeats
from socket_tier.rpc import BadFrame, Call, CallError, CallResult
from socket_tier.unavailable import is_unavailable

log = get_logger(__name__)

TRY_AGAIN_LATER = 1013
REPLACED = 4001
COMMIT_PATIENCE_S = 20.0
# A charger waits about 30 s. In a storm the queue for the database alone takes seconds, and a status that is refused is
# lost: chargers do not repeat it.
RETRY_PATIENCE_S = 20.0
MAX_QUEUED_CALLS = 64
MAX_QUEUED_BYTES = 512 * 1024


class Link(Protocol):
    """The part of a WebSocket that a connection uses."""

    def write(self, frame: bytes) -> bool:
        """Send a frame without waiting; false when the socket is no longer open."""
        ...

    def hold(self) -> None:
        """Stop reading."""
        ...

    def resume(self) -> None:
        """Read again."""
        ...

    async def ping(self) -> Awaitable[float]:
        """Send a WebSocket ping; what is returned ends with its pong."""
        ...

    async def close(self, code: int = 1000, reason: str = "") -> None: ...


class ChargerConnection:
    """RPC over one socket: :meth:`receive` takes its messages, :meth:`finish` follows its end.

    The rest may be used from any task of the loop. ``log`` hears of every exchange.
    """

    def __init__(
        self,
        link: Link,
        dialect: Dialect,
        charger: Charger,
        *,
        call_timeout_s: float = 30.0,
        log: StationLog | None = None,
    ) -> None:
        self.charger = charger
        self.dialect = dialect
        self.last_seen = time.monotonic()
        self._link = link
        self._call_timeout_s = call_timeout_s
        # With the time since when a frame has waited for its answer, where it was handled before.
        self._queue: deque[tuple[Call | BadFrame, bytes, float | None]] = deque()
        self._queued_bytes = 0
        self._holding = False
        self._quick_call: tuple[rpc.MessageId, str, bytes, float] | None = None  # on the quick path at this moment
        self._idle: asyncio.Event | None = None
        self._worker: asyncio.Task[None] | None = None
        self.log = log
        self._calls = OutboundCalls(link.write, log)
        self._repeats = Repeats()
        self._quirks: set[str] = set()
        self._pacer = Pacer()
        self._ready = False
        self._closed = False

    @property
    def station_id(self) -> str:
        return self.charger.station_id

    @property
    def epoch(self) -> int:
        return self.charger.epoch

    @property
    def accepts_commands(self) -> bool:
        """Commands go only to a station whose registration is accepted, and not before it is ready for them."""
        return self.charger.accepted and self._ready and not self._closed

    def become_ready(self) -> None:
        """Let commands through. Use case: a charger that has just started refuses what comes before its boot."""
        if not self._ready and not self._closed:
            self._ready = True
            if not self.charger.boot_drains:
                self.charger.services.drain(self.station_id)

    # --- reading ------------------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Take one message. Never raises and never waits: a full queue stops the reading instead."""
        if self._quickly(data):
            return
        frame = rpc.parse(data)
        if isinstance(frame, Call):
            self._take(rpc.bounded(frame, data), data)
        elif isinstance(frame, CallResult | CallError):
            self._calls.settle(frame, data)
        else:
            self._take(frame, data)

    def _take(self, frame: Call | BadFrame, data: bytes) -> None:
        """Queue what a worker must handle; refuse at once what cannot be handled."""
        if frame.action and frame.action not in self.dialect.routes:
            frame = replace(frame, action=self.dialect.spelled(frame.action))
        if isinstance(frame, BadFrame) and self._route(frame.action) is None:
            metrics.call_errors(frame.code)
            answer = rpc.error_frame(frame.id, frame.code, frame.description)
            self._send(answer)
            self._note(frame, data, answer, None)
        else:
            self._enqueue(frame, data)

    def alive(self) -> None:
        """Note a sign of life."""
        self.last_seen = time.monotonic()

    async def finish(self) -> None:
        """The socket is closed: pending calls fail, what was received is still applied."""
        self._closed = True
        self._calls.close()
        # What was received is true even if the charger is gone; it is applied although nobody hears it.
        with suppress(asyncio.CancelledError):
            await self.drained()

    def _enqueue(self, frame: Call | BadFrame, data: bytes) -> None:
        self._queue.append((frame, data, None))
        self._queued_bytes += len(data)
        if len(self._queue) >= MAX_QUEUED_CALLS or self._queued_bytes > MAX_QUEUED_BYTES:
            self._holding = True
            self._link.hold()
        self._start_worker()

    def _start_worker(self) -> None:
        if self._queue and self._worker is None and self._quick_call is None:
            self._worker = asyncio.get_running_loop().create_task(self._work())

    def _quickly(self, data: bytes) -> bool:
        """Handle the common case at once; false sends the message the usual way."""
        quick = self.dialect.quick
        if quick is None or self._quick_call is not None or self._worker is not None or self._queue:
            return False
        started = time.monotonic()
        try:
            call = quick.read(data)
            if call is None or call.id in self._repeats or not self.charger.accepted:
                return False
            pace = self.dialect.routes[call.action].pace
            if pace is not None and not self._pacer.take(call.action, pace, started):
                return False
            self._quick_call = (call.id, call.action, data, started)
            if quick.take(self.charger, call, self._quickly_done):
                return True
        except Exception:
            log.exception("quick path failed", extra={"station_id": self.station_id})
        self._quick_call = None
        return False

    def _quickly_done(self, result: dict[str, Any] | Exception) -> None:
        assert self._quick_call is not None
        message_id, action, data, started = self._quick_call
        self._quick_call = None
        if isinstance(result, Exception):
            frame = rpc.parse(data)
            assert isinstance(frame, Call)
            self._queue.appendleft((frame, data, started))
            self._queued_bytes += len(data)
        else:
            self._conclude(message_id, action, data, rpc.result_frame(message_id, result), started, is_json=True)
        self._start_worker()
        if self._idle is not None:
            self._idle.set()
            self._idle = None

    # --- handling -----------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        try:
            while self._queue:
                frame, data, since = self._queue.popleft()
                self._queued_bytes -= len(data)
                if self._holding and len(self._queue) < MAX_QUEUED_CALLS // 2:
                    self._holding = False
                    self._link.resume()
                await self._wait_for_turn(frame.action or "")
                await self._handle(frame, data, since)
        except Exception:
            log.exception("connection worker failed", extra={"station_id": self.station_id})
        finally:
            self._worker = None
            self._start_worker()

    async def _wait_for_turn(self, action: str) -> None:
        """Use case: a heartbeat flood. After the charger is gone nothing waits: what was received is applied."""
        route = self.dialect.routes.get(action)
        if route is None or route.pace is None or self._closed:
            return
        delay = self._pacer.delay(action, route.pace, time.monotonic())
        if delay > 0:
            metrics.paced(action)
            await asyncio.sleep(delay)

    def _route(self, action: str | None) -> Route | None:
        """Route of a malformed CALL that must not be refused even so; None for all others."""
        route = self.dialect.routes.get(action) if action else None
        return route if route is not None and (route.is_saved or route.on_fault is not None) else None

    def _is_of_the_moment(self, action: str | None) -> bool:
        route = self.dialect.routes.get(action or "")
        return route is not None and route.of_the_moment

    async def _handle(self, frame: Call | BadFrame, data: bytes, since: float | None) -> None:
        started = since or time.monotonic()
        repeated = None if self._is_of_the_moment(frame.action) else self._repeats.answer_to(frame.id, data)
        if repeated is not None:
            self._send(repeated)
            self._note(frame, data, repeated, started)
            return
        try:
            answer = await self._answer(frame, started)
        except Exception as error:
            # Whatever goes wrong outside the handler: the charger must not wait in vain, nor the messages behind.
            route = self.dialect.routes.get(frame.action or "")
            answer = await self._give_up(route, frame, frame.payload, error, away=False)
        if answer is None:
            self._note(frame, data, None, started)
        else:
            self._conclude(frame.id, frame.action, data, answer, started)

    def _conclude(
        self,
        message_id: rpc.MessageId,
        action: str | None,
        data: bytes,
        answer: bytes,
        started: float,
        *,
        is_json: bool = False,
    ) -> None:
        """Answer, then start what follows from the message."""
        if not self._is_of_the_moment(action):
            self._repeats.remember(message_id, data, answer)
        self._send(answer)
        self.charger.run_deferred()
        if not self._ready:
            self.become_ready()
        took = time.monotonic() - started
        if action and action in self.dialect.routes:
            metrics.handled(action, took)
        if self.log is not None:
            self.log.note(IN, action, message_id, data, answer, None, took, is_json=is_json)

    def _note(self, frame: Call | BadFrame, data: bytes, answer: bytes | None, started: float | None) -> None:
        """Log an exchange other than a handled message."""
        if self.log is not None:
            took = None if started is None else time.monotonic() - started
            error = UNANSWERED if answer is None else None
            self.log.note(IN, frame.action, frame.id, data, answer, error, took)

    async def _answer(self, frame: Call | BadFrame, since: float) -> bytes | None:
        """The frame that answers ``frame``, which has waited ``since`` then; None when there must be no answer."""
        inbound = self.charger.inbound = Inbound(
            str(frame.id).replace("\0", ""),  # may be stored
            frame.payload,
            is_torn=isinstance(frame, BadFrame) and frame.is_torn,
        )
        action = frame.action or ""
        route = self.dialect.routes.get(action)
        if route is None:
            known = action in self.dialect.schemas.actions
            return self._error(frame, rpc.NOT_SUPPORTED if known else rpc.NOT_IMPLEMENTED, f"{action[:50]}")
        if isinstance(frame, BadFrame) and not (route.is_saved and frame.is_torn):
            return await self._on_fault(route, frame, frame.payload, frame.code, frame.description)
        if not (route.before_accepted or self.charger.accepted or await self.charger.accepted_meanwhile()):
            reason = "the registration of this station is not accepted"
            return await self._on_fault(route, frame, frame.payload, rpc.SECURITY_ERROR, reason)
        checked = self.dialect.schemas.check_request(action, frame.payload)
        if checked.quirks:
            self._log_quirks(action, checked.quirks)
        if checked.fault is not None:
            return await self._on_fault(route, frame, frame.payload, checked.fault.code, checked.fault.description)
        self.charger.inbound = dataclasses.replace(inbound, lost=checked.lost)
        return await self._durably(route, frame, checked.payload, since)

    async def _on_fault(
        self, route: Route, frame: Call | BadFrame, payload: Any, code: str, description: str
    ) -> bytes | None:
        if route.on_fault is None:
            return self._error(frame, code, description)
        on_fault = route.on_fault

        async def keep(charger: Charger, raw: Any) -> dict[str, Any]:
            return await on_fault(charger, raw, f"{code}: {description}")

        return await self._durably(Route(keep, route.durability), frame, payload)

    async def _durably(
        self, route: Route, frame: Call | BadFrame, payload: Any, since: float | None = None
    ) -> bytes | None:
        """Run the handler; while the database is away, again and again for as long as the route allows.

        The patience ends also while the handler waits: it is cancelled, and what it did is unknown.
        """
        patience = COMMIT_PATIENCE_S if route.durability is Durability.COMMIT else RETRY_PATIENCE_S
        deadline = (since or time.monotonic()) + patience
        pause = 0.1
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                return await self._give_up(route, frame, payload, TimeoutError("no commit in time"), away=True)
            limit = asyncio.timeout(left)
            try:
                async with limit:
                    result = await route.handler(self.charger, payload)
                self.dialect.schemas.require_response(frame.action or "", result)
                return rpc.result_frame(frame.id, result)
            except CallFault as fault:
                return await self._on_fault(route, frame, payload, fault.code, fault.description)
            except ConnectionLost:
                # The charger sends its message again on its newer socket.
                await self.close(REPLACED, "replaced by a newer connection of this station")
                return None
            except Exception as error:
                away = is_unavailable(error) or limit.expired()
                if away and route.durability is not Durability.NONE and time.monotonic() + pause < deadline:
                    if self._closed:
                        return None
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, 1.0)
                    continue
                return await self._give_up(route, frame, payload, error, away)

    async def _give_up(
        self, route: Route | None, frame: Call | BadFrame, payload: Any, error: Exception, away: bool
    ) -> bytes | None:
        extra = {"station_id": self.station_id, "action": frame.action, "message_id": str(frame.id)}
        if away:
            log.error("the database is away", extra={**extra, "error": str(error)})
        else:
            log.error("handler failed", extra=extra, exc_info=error)
        if route is not None and route.on_fault is not None and not away:
            # Use case: a StopTransaction meets a defect of ours. Kept aside it can be billed by hand; without an answer
            # the charger would send it again and again, and nothing behind it.
            return await self._on_fault(route, frame, payload, rpc.INTERNAL_ERROR, repr(error)[:200])
        if route is not None and route.durability is Durability.COMMIT:
            metrics.unanswered.inc()
            if away:
                # Use case: the charger keeps unanswered transaction messages and sends them after it reconnects.
                await self.close(TRY_AGAIN_LATER, "cannot store messages at the moment, try again later")
            return None
        return self._error(frame, rpc.INTERNAL_ERROR, "the message could not be processed, try again later")

    # --- calling the charger ------------------------------------------------------------------------------------

    async def call(self, action: str, payload: Mapping[str, Any], timeout: float | None = None) -> dict[str, Any]:
        """Send a CALL and wait for its CALLRESULT, at most ``timeout`` seconds in all, waiting for the line included.

        Raises:
            CommandNotSupported: the action is not in the version's command table.
            OutboundInvalid: the payload does not pass the action's schema.
            CallTimedOut, CallRefused, ConnectionGone: no usable answer.
        """
        if action not in self.dialect.commands:
            raise CommandNotSupported(f"{self.dialect.subprotocol} has no command {action} here")
        request = dict(payload)
        self.dialect.schemas.require_request(action, request)
        answer = await self._calls.call(action, request, timeout or self._call_timeout_s)
        checked = self.dialect.schemas.check_response(action, answer)
        if checked.quirks:
            self._log_quirks(f"{action} answer", checked.quirks)
        if checked.fault is not None:
            raise CallRefused(checked.fault.code, checked.fault.description)
        return checked.payload

    # --- ending -------------------------------------------------------------------------------------------------

    async def close(self, code: int, reason: str) -> None:
        """Close the socket; pending calls fail at once."""
        self._closed = True
        self._calls.close()
        await self._link.close(code, reason)

    async def drained(self) -> None:
        """Wait until every CALL that was received has been handled."""
        while self._worker is not None or self._quick_call is not None:
            if self._worker is not None:
                await asyncio.shield(self._worker)
            else:
                # One for all who wait: a shutdown may meet a socket that has just closed.
                idle = self._idle = self._idle or asyncio.Event()
                await idle.wait()

    async def answers_ping(self, timeout_s: float) -> bool:
        """Whether the charger is still there: half-open connections look alive until somebody asks."""
        try:
            async with asyncio.timeout(timeout_s):
                await (await self._link.ping())
        except (TimeoutError, ConnectionClosed):
            return False
        return not self._closed

    def look_up_again(self) -> None:
        """Load running transactions anew with their next message.

        Use case: a command was answered that changed how often the charger samples.
        """
        self.charger.transactions.clear()

    # --- small parts --------------------------------------------------------------------------------------------

    def _send(self, frame: bytes) -> bool:
        return self._link.write(frame)

    def _error(self, frame: Call | BadFrame, code: str, description: str) -> bytes:
        metrics.call_errors(code)
        log.info(
            "call refused",
            extra={"station_id": self.station_id, "action": frame.action, "code": code, "why": description[:200]},
        )
        return rpc.error_frame(frame.id, code, description)

    def _log_quirks(self, action: str, quirks: tuple[str, ...]) -> None:
        """Once per station and oddity, so that a chatty charger does not fill the log."""
        for quirk in quirks:
            key = f"{action}: {quirk}"
            if key not in self._quirks and len(self._quirks) < 100:
                self._quirks.add(key)
                log.warning("tolerated", extra={"station_id": self.station_id, "quirk": key})
