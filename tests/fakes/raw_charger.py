"""A charger made by hand: a bare WebSocket that sends exactly what a test says and shows exactly what comes back."""

import asyncio
import base64
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

WAIT_S = 10.0


class RawCharger:
    """One socket. Answers to our calls and calls of the server are kept apart, in order of arrival."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.answers: asyncio.Queue[list[Any]] = asyncio.Queue()
        self.calls: asyncio.Queue[list[Any]] = asyncio.Queue()
        self._numbers = itertools.count(1)
        self._reader = asyncio.create_task(self._read())

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        url: str,
        *,
        subprotocols: tuple[str, ...] = ("ocpp1.6",),
        user: str | None = None,
        password: str | bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> AsyncIterator[Self]:
        """Connect to ``url`` (with the station id)."""
        extra = dict(headers or {})
        if password is not None:
            secret = password.encode() if isinstance(password, str) else password
            extra["Authorization"] = "Basic " + base64.b64encode(f"{user}:".encode() + secret).decode()
        async with connect(
            url,
            subprotocols=[Subprotocol(name) for name in subprotocols] or None,
            additional_headers=extra,
            compression=None,
            max_size=None,
        ) as socket:
            charger = cls(socket)
            try:
                yield charger
            finally:
                charger._reader.cancel()

    async def _read(self) -> None:
        async for data in self.socket:
            frame = orjson.loads(data)
            await (self.calls if frame[0] == 2 else self.answers).put(frame)

    async def send(self, frame: Any) -> None:
        """Send a frame as JSON, or text and bytes as they are."""
        await self.socket.send(frame if isinstance(frame, str | bytes) else orjson.dumps(frame).decode())

    async def answer(self) -> list[Any]:
        """The next CALLRESULT or CALLERROR."""
        async with asyncio.timeout(WAIT_S):
            return await self.answers.get()

    async def call(self, action: str, **payload: Any) -> Any:
        """Send a CALL and return the payload of its CALLRESULT; a CALLERROR fails the test."""
        message_id = f"m{next(self._numbers)}"
        await self.send([2, message_id, action, payload])
        frame = await self.answer()
        assert frame[:2] == [3, message_id], frame
        return frame[2]

    async def boot(self) -> Any:
        """Boot, and refuse GetConfiguration, which the server asks for after it."""
        answer = await self.call("BootNotification", chargePointVendor="Test", chargePointModel="Raw")
        assert answer["status"] == "Accepted"
        call = await self.command("GetConfiguration")
        await self.send([3, call[1], {"configurationKey": []}])
        return answer

    async def command(self, action: str) -> list[Any]:
        """The next CALL of the server, which must be ``action``."""
        async with asyncio.timeout(WAIT_S):
            frame = await self.calls.get()
        assert frame[2] == action, frame
        return frame

    async def closed(self) -> tuple[int | None, str | None]:
        """Wait until the socket is closed; code and reason."""
        async with asyncio.timeout(WAIT_S):
            await self.socket.wait_closed()
        return self.socket.close_code, self.socket.close_reason

    def drop(self) -> None:
        """Break the TCP connection without a close frame."""
        self.socket.transport.abort()
