"""Passes a connection through to the socket tier byte by byte, as CloudFront and a load balancer do.

Nothing is interpreted, so subprotocols, refusals before the upgrade, pings, close codes and broken connections arrive
on the other side as they were sent. Only the request's head is rewritten: forwarding headers are added.
"""

import asyncio
import contextlib
from collections.abc import Callable

from aiohttp import web

from infra.local.processes import LOOPBACK

_CHUNK = 64 * 1024
_CONNECT_TIMEOUT_S = 5.0


class _Inbound:
    """Takes over aiohttp's connection after the head: every byte from the client goes upstream."""

    def __init__(self, writer: asyncio.StreamWriter, on_eof: Callable[[], None]) -> None:
        self._writer = writer
        self._on_eof = on_eof

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        if not self._writer.is_closing():
            self._writer.write(data)
        return False, b""

    def feed_eof(self) -> None:
        self._on_eof()


class _Finished(web.StreamResponse):
    """Tells aiohttp that the answer has been written already."""

    async def prepare(self, request: web.BaseRequest) -> None:
        """Write nothing."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Write nothing."""

    @property
    def keep_alive(self) -> bool | None:
        return False


def _head(request: web.Request) -> bytes:
    upgrade = request.headers.get("Upgrade", "").lower() == "websocket"
    forwarded = [value for name, value in request.headers.items() if name.lower() == "x-forwarded-for"]
    lines = [f"{request.method} {request.raw_path} HTTP/1.1".encode(errors="surrogateescape")]
    replaced = {b"x-forwarded-for", b"x-forwarded-proto"} | (set() if upgrade else {b"connection"})
    lines += [name + b": " + value for name, value in request.raw_headers if name.lower() not in replaced]
    lines.append(f"X-Forwarded-For: {', '.join([*forwarded, request.remote or LOOPBACK])}".encode())
    lines.append(b"X-Forwarded-Proto: http")
    if not upgrade:
        lines.append(b"Connection: close")
    return b"\r\n".join(lines) + b"\r\n\r\n"


async def tunnel(request: web.Request, port: int) -> web.StreamResponse:
    """Connect ``request``'s client with the socket tier on ``port`` until one side is gone.

    Raises `OSError` (or `TimeoutError`) while nothing has been sent when the socket tier cannot be reached.
    """
    async with asyncio.timeout(_CONNECT_TIMEOUT_S):
        upstream, writer = await asyncio.open_connection(LOOPBACK, port, limit=_CHUNK)
    client = request.transport
    if client is None:
        writer.close()
        return _Finished()
    gone = asyncio.Event()
    writer.write(_head(request))
    # aiohttp hands a connection over in the same way to its own WebSocketResponse.
    request.protocol.set_parser(_Inbound(writer, gone.set))  # type: ignore[arg-type]
    try:
        await _pump(upstream, client, request, gone)
    finally:
        if gone.is_set():
            writer.transport.abort()  # the client dropped; so does this side
        else:
            writer.close()
        request.protocol.force_close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    return _Finished()


async def _pump(
    upstream: asyncio.StreamReader, client: asyncio.Transport, request: web.Request, gone: asyncio.Event
) -> None:
    leaving = asyncio.ensure_future(gone.wait())
    try:
        while not gone.is_set():
            reading = asyncio.ensure_future(upstream.read(_CHUNK))
            await asyncio.wait({reading, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                reading.cancel()
                return
            try:
                data = reading.result()
            except ConnectionError:
                client.abort()
                return
            if not data:
                return
            client.write(data)
            await request.writer.drain()  # a slow client slows the socket tier down, nothing piles up here
    except ConnectionError:
        gone.set()
    finally:
        leaving.cancel()
