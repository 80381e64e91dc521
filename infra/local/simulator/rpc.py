"""OCPP-J 1.6 from the charger's side over one WebSocket.

Own and small on purpose: it must notice what the server does wrong, while the library's client would smooth it over.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import orjson
from websockets.asyncio.client import ClientConnection

from infra.local.simulator.schema import (
    ProtocolViolationError,
    check_answer,
    check_own_answer,
    check_own_call,
    check_server_call,
)

CALL, CALL_RESULT, CALL_ERROR = 2, 3, 4


class CallError(Exception):
    """The server answered with CALLERROR."""

    def __init__(self, action: str, code: str, description: str) -> None:
        super().__init__(f"{action}: {code} {description}")
        self.action = action
        self.code = code
        self.description = description


class AnswerLostError(Exception):
    """The charger did not get the answer: it timed out, or a fault swallowed it. The server may have acted."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command handler wants: the CALLRESULT payload and, optionally, what to do after it was sent."""

    payload: dict[str, Any]
    then: Callable[[], Awaitable[None]] | None = None


class NotImplementedCallError(Exception):
    """The charger does not know this action: answered by CALLERROR NotImplemented."""


CommandHandler = Callable[[str, dict[str, Any]], Awaitable[Answer]]


class RpcClient:
    """One WebSocket's calls in both directions. Not reused after the socket has closed."""

    def __init__(
        self,
        socket: ClientConnection,
        handle: CommandHandler,
        *,
        timeout_s: float,
        loses_answer: Callable[[str], bool],
        act_before_answer: Callable[[], bool] = lambda: False,
    ) -> None:
        self._socket = socket
        self._handle = handle
        self._timeout_s = timeout_s
        self._loses_answer = loses_answer
        self._act_before_answer = act_before_answer
        self._line = asyncio.Lock()  # OCPP-J 4.1.1: one CALL of ours in flight
        self._waiting: dict[str, tuple[str, asyncio.Future[dict[str, Any]]]] = {}
        self._given_up: set[str] = set()
        self._commands: asyncio.Queue[tuple[str, str, dict[str, Any]]] = asyncio.Queue()

    async def call(self, action: str, payload: dict[str, Any], message_id: str | None = None) -> dict[str, Any]:
        """Send a CALL and return the answer's payload.

        Raises `CallError`, `AnswerLostError`, or websockets' `ConnectionClosed`.
        """
        check_own_call(action, payload)
        identifier = message_id or str(uuid.uuid4())
        async with self._line:
            future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
            self._waiting[identifier] = (action, future)
            try:
                await self._send([CALL, identifier, action, payload])
                return await asyncio.wait_for(future, self._timeout_s)
            except TimeoutError:
                self._given_up.add(identifier)
                raise AnswerLostError(f"no answer to {action} within {self._timeout_s} s") from None
            finally:
                self._waiting.pop(identifier, None)

    async def serve(self) -> None:
        """Read until the socket closes (raises `ConnectionClosed`) or the server breaks the protocol."""
        tasks = {asyncio.create_task(self._work()), asyncio.create_task(self._read())}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._fail_waiting()

    async def _read(self) -> None:
        while True:
            self._on_frame(await self._socket.recv())

    def _fail_waiting(self) -> None:
        for action, future in self._waiting.values():
            if not future.done():
                future.set_exception(AnswerLostError(f"the socket closed before {action} was answered"))

    async def _send(self, frame: list[Any]) -> None:
        await self._socket.send(orjson.dumps(frame).decode())

    def _on_frame(self, text: str | bytes) -> None:
        if isinstance(text, bytes):
            raise ProtocolViolationError("a binary frame")
        try:
            frame = orjson.loads(text)
        except orjson.JSONDecodeError:
            raise ProtocolViolationError(f"not JSON: {text[:200]}") from None
        if not isinstance(frame, list) or len(frame) < 3 or not isinstance(frame[1], str) or len(frame[1]) > 36:
            raise ProtocolViolationError(f"not an OCPP-J frame: {text[:200]}")
        kind, identifier = frame[0], frame[1]
        if kind == CALL and len(frame) == 4:
            self._commands.put_nowait((identifier, frame[2], check_server_call(frame[2], frame[3])))
        elif kind == CALL_RESULT and len(frame) == 3:
            self._on_result(identifier, frame[2])
        elif kind == CALL_ERROR and len(frame) == 5:
            self._on_error(identifier, frame)
        else:
            raise ProtocolViolationError(f"not an OCPP-J frame: {text[:200]}")

    def _take(self, identifier: str) -> tuple[str, asyncio.Future[dict[str, Any]]] | None:
        waiting = self._waiting.pop(identifier, None)
        if waiting is None and identifier not in self._given_up:
            raise ProtocolViolationError(f"an answer to message id {identifier!r}, which was never sent or is answered")
        self._given_up.discard(identifier)
        return waiting

    def _on_result(self, identifier: str, payload: object) -> None:
        waiting = self._take(identifier)
        if waiting is None:
            return  # late: the call was given up
        action, future = waiting
        checked = check_answer(action, payload)
        if self._loses_answer(action):
            future.set_exception(AnswerLostError(f"the answer to {action} got lost"))
        else:
            future.set_result(checked)

    def _on_error(self, identifier: str, frame: list[Any]) -> None:
        if not isinstance(frame[2], str) or not isinstance(frame[3], str) or not isinstance(frame[4], dict):
            raise ProtocolViolationError(f"a malformed CALLERROR: {frame}")
        waiting = self._take(identifier)
        if waiting is not None:
            waiting[1].set_exception(CallError(waiting[0], frame[2], frame[3]))

    async def _work(self) -> None:
        """Handle the server's calls in order, so that a handler may itself call the server."""
        while True:
            identifier, action, payload = await self._commands.get()
            try:
                answer = await self._handle(action, payload)
            except NotImplementedCallError:
                await self._send([CALL_ERROR, identifier, "NotImplemented", f"{action} is not simulated", {}])
                continue
            check_own_answer(action, answer.payload)
            if answer.then is not None and self._act_before_answer():
                await answer.then()
                await self._send([CALL_RESULT, identifier, answer.payload])
                continue
            await self._send([CALL_RESULT, identifier, answer.payload])
            if answer.then is not None:
                await answer.then()
