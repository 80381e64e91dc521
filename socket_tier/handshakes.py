"""How many sockets may be open that have not said yet what they want, and that every end of a socket is counted."""

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar

from websockets.asyncio.server import ServerConnection

MAX_HANDSHAKES = 4096


class Handshakes:
    """Counts unfinished upgrades; more than :data:`MAX_HANDSHAKES` are not kept waiting.

    Use case: somebody opens connections and sends nothing. Each would hold its place until the time-out.
    """

    def __init__(self) -> None:
        self.open = 0

    def begin(self) -> bool:
        """False: there is no room."""
        if self.open >= MAX_HANDSHAKES:
            return False
        self.open += 1
        return True

    def end(self) -> None:
        self.open -= 1


class CountedSocket(ServerConnection):
    """A socket whose upgrade is counted; cut off at once when there are too many."""

    # Not in the library's dictionary: the first attribute beyond those that all sockets share costs each a kilobyte.
    __slots__ = ("_at_end", "_is_lost", "_shakes_hands")

    handshakes: ClassVar[Handshakes | None] = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._shakes_hands = False
        self._is_lost = False
        self._at_end: Callable[[], None] | None = None

    def at_end(self, work: Callable[[], None]) -> None:
        """Do ``work`` once, when the socket is gone; now, if it is."""
        if self._is_lost:
            work()
        else:
            self._at_end = work

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self.handshakes is not None:
            self._shakes_hands = self.handshakes.begin()
            if not self._shakes_hands:
                self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_lost = True
        self.handshake_ended()
        if self._at_end is not None:
            self._at_end()
            self._at_end = None
        super().connection_lost(exc)

    def forget_upgrade(self) -> None:
        """Let go of the headers of both sides, which the library keeps: a tenth of what an idle charger costs.

        The request itself stays: without one the library takes the next frame for it.
        """
        for message in (self.request, self.response):
            if message is not None:
                message.headers.clear()

    def handshake_ended(self) -> None:
        """It is known what the socket is for, or it is gone."""
        if self._shakes_hands and self.handshakes is not None:
            self._shakes_hands = False
            self.handshakes.end()
