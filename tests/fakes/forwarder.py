"""A TCP forwarder that can fall silent: what a hung pooler, a lost host or a forgotten NAT entry looks like.

Silence is no reset: bytes are taken and go nowhere, until :meth:`Forwarder.speak` lets what was held go on its way.
"""

import asyncio
from contextlib import suppress
from typing import Self
from urllib.parse import urlsplit, urlunsplit


class _Pair:
    """One forwarded connection. A cleared event holds up its direction."""

    def __init__(self) -> None:
        self.requests = asyncio.Event()
        self.answers = asyncio.Event()
        self.requests.set()
        self.answers.set()
        self.tasks: list[asyncio.Task[None]] = []
        self.writers: list[asyncio.StreamWriter] = []


class Forwarder:
    """Forwards a port of its own to ``port`` of this machine."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._pairs: list[_Pair] = []
        self._server: asyncio.Server | None = None
        self._refuses = False
        self.accepted = 0
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for pair in self._pairs:
            for task in pair.tasks:
                task.cancel()
            for writer in pair.writers:
                writer.transport.abort()

    def url(self, original: str) -> str:
        """``original`` by way of this forwarder."""
        parts = urlsplit(original)
        user, at, _ = parts.netloc.rpartition("@")
        return urlunsplit(parts._replace(netloc=f"{user}{at}127.0.0.1:{self.port}"))

    def fall_silent(self, *, requests: bool = True, answers: bool = True) -> None:
        """Hold up the connections that are open now; new ones work. Without ``requests`` only the answers are lost."""
        for pair in self._pairs:
            if requests:
                pair.requests.clear()
            if answers:
                pair.answers.clear()

    def refuse(self) -> None:
        """Nothing can be reached any more: open connections are silent, new ones are cut off."""
        self._refuses = True
        self.fall_silent()

    def speak(self) -> None:
        """Deliver what was held up, however late, and accept connections again."""
        self._refuses = False
        for pair in self._pairs:
            pair.requests.set()
            pair.answers.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refuses:
            writer.transport.abort()
            return
        self.accepted += 1
        pair = _Pair()
        self._pairs.append(pair)
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._to)
        pair.writers = [writer, there_writer]
        loop = asyncio.get_running_loop()
        pair.tasks = [
            loop.create_task(self._pump(reader, there_writer, pair.requests)),
            loop.create_task(self._pump(there_reader, writer, pair.answers)),
        ]

    @staticmethod
    async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter, may: asyncio.Event) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                await may.wait()
                target.write(data)
                await target.drain()
        await may.wait()
        target.transport.abort() if source.exception() else target.close()
