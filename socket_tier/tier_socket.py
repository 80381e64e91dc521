"""One WebSocket of the server: a charger's messages go from the transport to its connection without a reader task."""

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar

from websockets.frames import DATA_OPCODES, CloseCode, Frame, Opcode
from websockets.protocol import Event, State

from evpower.logging import get_logger
from socket_tier.frames import frame_size, is_no_frame, is_whole_text, text_frame, whole_text
from socket_tier.gate import Pass
from socket_tier.handshakes import CountedSocket
from socket_tier.large_messages import ORDINARY_BYTES, PATIENCE_S, LargeMessages

log = get_logger(__name__)

CLOSE_TIMEOUT_S = 5.0
EARLY_MESSAGES = 16
MAX_UNREAD_BYTES = 1024 * 1024
_LONGEST_HEADER = 14
_OPEN = State.OPEN  # looking it up costs more than comparing it
_END_OF_REQUEST = b"\r\n\r\n"

Sink = Callable[[bytes], None]
"""Takes one message; must not raise."""


class TierSocket(CountedSocket):
    """A server socket that carries what the gate decided and hands charger frames over as they arrive.

    A charger's messages go straight from the transport to :attr:`sink`: a reader task of its own would cost more
    than reading, checking and answering a message. Messages that arrive before :meth:`attach` wait.

    Frames are cut here (:mod:`socket_tier.frames`), and only what is not a plain text message goes to the library, as
    whole frames. That begins once the library has read nothing but the upgrade request; a client that sends frames
    before it is let in is read by the library alone.
    """

    __slots__ = (
        "_cuts", "_early", "_fragments", "_held", "_may_cut", "_partial", "_place", "address", "admitted", "on_alive",
        "oversized", "sink",
    )  # fmt: skip

    large: ClassVar[LargeMessages] = LargeMessages()

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.admitted: Pass | None = None
        self.address = ""
        self.sink: Sink | None = None
        self.on_alive: Callable[[], None] | None = None
        self._fragments: bytearray | None = None
        self._early: list[bytes] | None = None
        self._held = False
        self._cuts = False  # frames are cut here
        self._may_cut = False  # the library stands at the end of the upgrade request
        self._partial: bytearray | None = None
        self._place: asyncio.TimerHandle | None = None  # among the large messages, and until when
        self.oversized = 0  # bytes of a frame that was refused for its size

    def attach(self, sink: Sink, on_alive: Callable[[], None]) -> None:
        """Deliver every message to ``sink`` from now on; ``on_alive`` hears of every frame, pongs included."""
        early, self._early = self._early, None
        self.sink, self.on_alive = sink, on_alive
        for data in early or ():
            sink(data)
        self.resume()

    def data_received(self, data: bytes) -> None:
        if not self._cuts:
            self._receive_upgrade(data)
            return
        if not self._partial and self._fragments is None and self.protocol.state is _OPEN:
            message = whole_text(data)
            if message is not None and len(message) <= self._limit:
                self._take(message)
                return
        self._cut(data)

    def _receive_upgrade(self, data: bytes) -> None:
        if self._may_cut and self.admitted is not None and self.protocol.state is _OPEN:
            self._cuts = True
            self.data_received(data)
            return
        asking = self.protocol.state is State.CONNECTING
        super().data_received(data)
        self._account(len(self.protocol.reader.buffer))
        self._may_cut = asking and 0 <= data.find(_END_OF_REQUEST) == len(data) - len(_END_OF_REQUEST)

    def _cut(self, data: bytes) -> None:
        """Take frame by frame what did not come as one message in one piece."""
        partial = self._partial
        if partial is None:
            partial = self._partial = bytearray()
        partial += data
        others = bytearray()  # a run of frames for the library, which reads many at once with less effort
        awaited = 0
        while partial:
            if others and is_whole_text(partial):
                self._leave(others)  # it may end the message, or the connection, that the next frame belongs to
                others = bytearray()
            size = frame_size(partial)
            oversized = size is not None and size > self._limit + _LONGEST_HEADER
            if oversized or is_no_frame(partial) or self.protocol.state is not _OPEN:
                # Refused, or discarded after a close: the library knows how. Nothing comes after it.
                self.oversized = size if oversized and size is not None else 0
                self._cuts = self._may_cut = False
                self._partial = None
                self._leave(others + partial)
                return
            if size is None or len(partial) < size:
                awaited = size or 0
                break
            frame = bytes(partial[:size])
            del partial[:size]
            message = whole_text(frame) if self._fragments is None else None
            if message is not None and len(message) <= self._limit:
                self._take(message)
            else:
                others += frame
        if not partial:
            self._partial = None
        if others:
            self._leave(others)
        self._account(awaited)

    def _account(self, awaited: int) -> None:
        """Have a place for a large message that is on its way, of ``awaited`` bytes or in fragments, and only then."""
        if max(awaited, len(self._fragments or b"")) <= ORDINARY_BYTES:
            self._leave_place()
        elif self._place is None and self.protocol.state is _OPEN:
            if self.large.begin():
                self._place = self.loop.call_later(PATIENCE_S, self.transport.abort)
                return
            self._cuts = self._may_cut = False
            self._partial = self._fragments = None
            self.protocol.fail(CloseCode.TRY_AGAIN_LATER, "too many large messages at the moment, try again later")
            super().data_received(b"")  # sends it
            self.loop.call_later(CLOSE_TIMEOUT_S, self.transport.abort)

    def _leave_place(self) -> None:
        if self._place is not None:
            self._place.cancel()
            self._place = None
            self.large.end()

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave_place()
        super().connection_lost(exc)

    def _leave(self, frames: bytearray) -> None:
        """Let the library read these."""
        super().data_received(bytes(frames))

    @property
    def _limit(self) -> int:
        limit = self.protocol.max_message_size
        assert limit is not None
        return limit

    def _take(self, message: bytes) -> None:
        if self.on_alive is not None:
            self.on_alive()
        self._deliver(message)

    def process_event(self, event: Event) -> None:
        if self.admitted is None or not isinstance(event, Frame):
            super().process_event(event)
            return
        if self.on_alive is not None:
            self.on_alive()
        opcode = event.opcode
        if opcode in DATA_OPCODES:
            if opcode is not Opcode.CONT:
                self._fragments = None if event.fin else bytearray()
            if self._fragments is None:
                self._deliver(bytes(event.data))
                return
            self._fragments += event.data
            self._account(0)
            if event.fin and self._fragments is not None:
                data, self._fragments = bytes(self._fragments), None
                self._deliver(data)
        elif opcode is Opcode.PONG:
            super().process_event(event)
        elif opcode is Opcode.PING:
            self._require_reader()  # the library answers pings by itself

    def _deliver(self, data: bytes) -> None:
        if self.sink is not None:
            self.sink(data)
            return
        if self._early is None:
            self._early = []
        self._early.append(data)
        if len(self._early) >= EARLY_MESSAGES or len(data) > ORDINARY_BYTES:
            self.hold()

    def hold(self) -> None:
        """Stop reading: what is not read is not acknowledged, and the charger's own TCP window holds it."""
        if not self._held:
            self._held = True
            self.transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        if self._held:
            self._held = False
            if not self.transport.is_closing():
                self.transport.resume_reading()

    def write(self, frame: bytes) -> bool:
        """Send a text frame without waiting; false when the socket is no longer open.

        A charger that sends and does not read is cut off before its answers fill the memory.
        """
        if self.protocol.state is not _OPEN:
            return False
        # Unfragmented, unmasked, without extensions: building the frame here saves a tenth of an answer's cost.
        self.transport.write(text_frame(frame))
        return self._require_reader()

    def _require_reader(self) -> bool:
        if self.transport.get_write_buffer_size() <= MAX_UNREAD_BYTES:
            return True
        log.warning("charger does not read its answers", extra={"address": self.address})
        self.transport.abort()
        return False
