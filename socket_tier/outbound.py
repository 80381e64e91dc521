"""Calls to the charger: one in flight on a connection, further ones wait with a deadline each (OCPP-J 1.6 §4.1.1)."""

import asyncio
import time
import uuid
from collections.abc import Callable
from typing import Any

from evpower.logging import get_logger
from socket_tier import metrics, rpc
from socket_tier.call_failures import CallFailed, CallRefused, CallTimedOut, ConnectionGone
from socket_tier.message_log import OUT, UNANSWERED, UNEXPECTED, StationLog
from socket_tier.rpc import CallError, CallResult

log = get_logger(__name__)

_Answer = tuple[CallResult | CallError, bytes]


class OutboundCalls:
    """The line to one charger. ``send`` writes a frame, and says whether the socket took it."""

    def __init__(self, send: Callable[[bytes], bool], log: StationLog | None) -> None:
        self._send = send
        self._log = log
        self._line = asyncio.Lock()
        self._waiting: tuple[str, asyncio.Future[_Answer]] | None = None
        self._closed = False

    async def call(self, action: str, request: dict[str, Any], timeout: float) -> dict[str, Any]:
        """Send a CALL and wait for its CALLRESULT's payload; ``timeout`` seconds include the waiting for the line.

        Raises:
            CallTimedOut, CallRefused, ConnectionGone: no usable answer.
        """
        written = False
        try:
            async with asyncio.timeout(timeout), self._line:
                if self._closed:
                    raise ConnectionGone(written=False)
                message_id = str(uuid.uuid4())
                frame = rpc.call_frame(message_id, action, request)
                future: asyncio.Future[_Answer] = asyncio.get_running_loop().create_future()
                self._waiting = (message_id, future)
                written = True
                answer = await self._exchange(action, message_id, frame, future)
        except TimeoutError:
            raise CallTimedOut(written) from None
        if isinstance(answer, CallError):
            raise CallRefused(answer.code, answer.description)
        return answer.payload

    async def _exchange(
        self, action: str, message_id: str, frame: bytes, future: "asyncio.Future[_Answer]"
    ) -> CallResult | CallError:
        began = time.perf_counter()
        response: bytes | None = None
        error: str | None = UNANSWERED
        try:
            if not self._send(frame):
                raise ConnectionGone(written=False)
            # With the correlation id of whoever asked for it: the one place where phone and frame meet.
            log.info("frame written", extra={"action": action, "message_id": message_id})
            answer, response = await future
            error = answer.code if isinstance(answer, CallError) else None
        except ConnectionGone:
            error = "ConnectionGone"
            raise
        finally:
            self._waiting = None
            if self._log is not None:
                took = time.perf_counter() - began
                self._log.note(OUT, action, message_id, frame, response, error, took)
        return answer

    def settle(self, frame: CallResult | CallError, data: bytes) -> None:
        """Give an answer to the call that waits for it."""
        waiting = self._waiting
        if waiting is None or str(frame.id) != waiting[0] or waiting[1].done():
            # Late, repeated or invented: nobody waits for it.
            metrics.unexpected_answers.inc()
            if self._log is not None:
                self._log.note(OUT, None, frame.id, None, data, UNEXPECTED)
            return
        waiting[1].set_result((frame, data))

    def close(self) -> None:
        """The socket is closed or about to be: pending calls fail at once."""
        self._closed = True
        self._fail(ConnectionGone())

    def _fail(self, error: CallFailed) -> None:
        if self._waiting is not None and not self._waiting[1].done():
            self._waiting[1].set_exception(error)
