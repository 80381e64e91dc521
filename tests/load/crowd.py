"""Thousands of chargers in one process: a WebSocket client of a few hundred bytes each instead of a library's.

Only for load: it speaks to our own server on loopback, sends unfragmented masked text frames, reads unfragmented ones,
answers pings and every command, and measures how long answers take.
"""

import asyncio
import base64
import os
import resource
import struct
import time
from collections.abc import Callable, Mapping
from typing import Any, cast

import orjson

CONNECT_WITHIN_S = 30.0
ANSWER_WITHIN_S = 60.0
ADDRESSES = 20
"""Loopback addresses that the crowd comes from, as from many routers; one address has a limit of its own."""

_TEXT, _CLOSE, _PING, _PONG = 0x1, 0x8, 0x9, 0xA


class Refused(Exception):
    """The server answered the upgrade with another status; ``retry_after_s`` is what it asked for."""

    def __init__(self, status: int, retry_after_s: float) -> None:
        super().__init__(f"upgrade refused: {status}")
        self.status = status
        self.retry_after_s = retry_after_s


class Gone(Exception):
    """The socket closed before the answer; ``code`` is the close code, 1006 without one."""

    def __init__(self, code: int) -> None:
        super().__init__(f"socket closed: {code}")
        self.code = code


def connections_allowed() -> int:
    """How many sockets this process may open, with room for what else it needs."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 200


def masked(opcode: int, payload: bytes) -> bytes:
    """A client's frame (RFC 6455 section 5.2), masked with zeros: the mask hides nothing on loopback."""
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", 0x80 | opcode, 0x80 | size)
    elif size < 65536:
        head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, size)
    return head + b"\0\0\0\0" + payload


class Charger(asyncio.Protocol):
    """One socket. Use :meth:`open`, then :meth:`call`."""

    __slots__ = ("_buffer", "_closed", "_number", "_opened", "_pending", "commands", "name", "transport")

    def __init__(self, name: str) -> None:
        self.name = name
        self.transport: asyncio.Transport | None = None
        self.commands: dict[str, int] = {}
        self._buffer = b""
        self._number = 0
        self._pending: tuple[str, asyncio.Future[Any]] | None = None
        self._opened: asyncio.Future[None] | None = asyncio.get_running_loop().create_future()
        self._closed = 0

    @classmethod
    async def open(cls, port: int, name: str, number: int = 0) -> "Charger":
        """Connect and upgrade.

        Raises:
            Refused: with the server's status.
            OSError: not even a connection.
        """
        loop = asyncio.get_running_loop()
        charger = cls(name)
        source = (f"127.0.1.{1 + number % ADDRESSES}", 0)
        await loop.create_connection(lambda: charger, "127.0.0.1", port, local_addr=source)
        assert charger._opened is not None
        async with asyncio.timeout(CONNECT_WITHIN_S):
            await charger._opened
        charger._opened = None
        return charger

    @property
    def is_open(self) -> bool:
        return not self._closed

    async def call(self, action: str, payload: Mapping[str, Any], message_id: str | None = None) -> tuple[Any, float]:
        """The answer's payload and the seconds that it took.

        Raises:
            Gone: the socket closed first.
            AssertionError: a CALLERROR.
        """
        assert self.transport is not None
        if self._closed:
            raise Gone(self._closed)
        self._number += 1
        message_id = message_id or f"{self.name}-{self._number}"
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._pending = (message_id, future)
        began = time.perf_counter()
        self.transport.write(masked(_TEXT, orjson.dumps([2, message_id, action, payload])))
        async with asyncio.timeout(ANSWER_WITHIN_S):
            return await future, time.perf_counter() - began

    def close(self) -> None:
        """Drop the connection without a word, as chargers do."""
        if self.transport is not None:
            self.transport.abort()

    # --- asyncio.Protocol ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's is one without saying so
        self.transport = transport
        key = base64.b64encode(os.urandom(16)).decode()
        transport.write(
            f"GET /ocpp/{self.name} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: ocpp1.6\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._opened is not None and not self._opened.done() and not self._upgraded(self._opened):
            return
        while (frame := self._next_frame()) is not None:
            self._take(*frame)

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed = self._closed or 1006
        for future in (self._opened, self._pending[1] if self._pending else None):
            if future is not None and not future.done():
                future.set_exception(Gone(self._closed))

    def _upgraded(self, opened: "asyncio.Future[None]") -> bool:
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return False
        self._buffer = rest
        lines = head.decode("latin-1").split("\r\n")
        status = int(lines[0].split()[1])
        if status == 101:
            opened.set_result(None)
            return True
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        opened.set_exception(Refused(status, float(fields.get("retry-after", 1))))
        self.close()
        return False

    def _next_frame(self) -> tuple[int, bytes] | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        size, begin = buffer[1] & 0x7F, 2
        if size == 126:
            size, begin = (struct.unpack("!H", buffer[2:4])[0], 4) if len(buffer) >= 4 else (1 << 32, 4)
        elif size == 127:
            size, begin = (struct.unpack("!Q", buffer[2:10])[0], 10) if len(buffer) >= 10 else (1 << 32, 10)
        if len(buffer) < begin + size:
            return None
        self._buffer = buffer[begin + size :]
        return buffer[0] & 0x0F, buffer[begin : begin + size]

    def _take(self, opcode: int, payload: bytes) -> None:
        assert self.transport is not None
        if opcode == _PING:
            self.transport.write(masked(_PONG, payload))
        elif opcode == _CLOSE:
            self._closed = struct.unpack("!H", payload[:2])[0] if len(payload) >= 2 else 1005
            self.transport.write(masked(_CLOSE, payload[:2]))
            self.transport.close()
        elif opcode == _TEXT:
            self._message(orjson.loads(payload))

    def _message(self, frame: list[Any]) -> None:
        assert self.transport is not None
        if frame[0] == 2:
            self.commands[frame[2]] = self.commands.get(frame[2], 0) + 1
            answer = {"configurationKey": []} if frame[2] == "GetConfiguration" else {"status": "Accepted"}
            self.transport.write(masked(_TEXT, orjson.dumps([3, frame[1], answer])))
            return
        pending, self._pending = self._pending, None
        if pending is None or pending[0] != frame[1]:
            self._pending = pending
        elif frame[0] == 3:
            pending[1].set_result(frame[2])
        else:
            pending[1].set_exception(AssertionError(f"{self.name}: {frame}"))


async def open_patiently(
    port: int, name: str, number: int, *, note: Callable[[int], None] | None = None, tries: int = 200
) -> Charger:
    """Connect as a good charger does: a refusal for want of room is asked again after the time that it names."""
    for _ in range(tries):
        try:
            return await Charger.open(port, name, number)
        except Refused as refusal:
            if refusal.status != 503:
                raise
            if note is not None:
                note(refusal.status)
            await asyncio.sleep(refusal.retry_after_s)
        except (OSError, Gone):
            await asyncio.sleep(1)
    raise TimeoutError(f"{name} found no room in {tries} attempts")
