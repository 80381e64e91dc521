"""The WebSocket server: one port for chargers, the locations stream, and the operator's HTTP endpoints.

``/ws/{station}`` and ``/ocpp/{station}`` charger sockets · the locations stream · ``/health`` ``/readyz`` ``/metrics``.
Compression is off; frames are bounded; pings are sent by :mod:`socket_tier.liveness`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Any

import orjson
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.frames import DATA_OPCODES, Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import Event, State
from websockets.typing import Subprotocol

from evpower.config import Settings
from evpower.logging import get_logger
from socket_tier import metrics
from socket_tier.admission import Refusal, station_reference
from socket_tier.frames import frame_size, is_no_frame, is_whole_text, text_frame, whole_text
from socket_tier.gate import SERIAL_SUFFIX, SUBJECT_SUFFIX, Gate, Pass, UpgradeRequest
from socket_tier.handshakes import CountedSocket, Handshakes
from socket_tier.http_edge import complete, joined, offered, peer_of, plain_answer, single
from socket_tier.message_log import MessageLog

log = get_logger(__name__)

OPEN_TIMEOUT_S = 20.0
CLOSE_TIMEOUT_S = 5.0
RECEIVE_QUEUE_FRAMES = 8
EARLY_MESSAGES = 16
MAX_UNREAD_BYTES = 1024 * 1024
_LONGEST_HEADER = 14
_OPEN = State.OPEN  # looking it up costs more than comparing it
_END_OF_REQUEST = b"\r\n\r\n"
_MAX_NAME = 128

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
        "_cuts", "_early", "_fragments", "_held", "_may_cut", "_partial", "address", "admitted", "on_alive", "sink"
    )  # fmt: skip

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
        self._may_cut = asking and 0 <= data.find(_END_OF_REQUEST) == len(data) - len(_END_OF_REQUEST)

    def _cut(self, data: bytes) -> None:
        """Take frame by frame what did not come as one message in one piece."""
        partial = self._partial
        if partial is None:
            partial = self._partial = bytearray()
        partial += data
        others = bytearray()  # a run of frames for the library, which reads many at once with less effort
        while partial:
            if others and is_whole_text(partial):
                self._leave(others)  # it may end the message, or the connection, that the next frame belongs to
                others = bytearray()
            size = frame_size(partial)
            oversized = size is not None and size > self._limit + _LONGEST_HEADER
            if oversized or is_no_frame(partial) or self.protocol.state is not _OPEN:
                # Refused, or discarded after a close: the library knows how. Nothing comes after it.
                self._cuts = self._may_cut = False
                self._partial = None
                self._leave(others + partial)
                return
            if size is None or len(partial) < size:
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
            if event.fin:
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
        if len(self._early) >= EARLY_MESSAGES:
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


ChargerHandler = Callable[[TierSocket, Pass], Awaitable[None]]
StreamHandler = Callable[[ServerConnection, str], Awaitable[None]]
Probe = Callable[[], Awaitable[tuple[bool, dict[str, Any]]]]


class SocketServer:
    """Serves one port until :meth:`stop`.

    Args:
        serve_charger: runs one admitted charger socket until it closes.
        stream_paths: paths of the locations stream, served by ``serve_stream`` (socket, client address).
        health, ready: answers of ``/health`` and ``/readyz``: (fine, body).
    """

    def __init__(
        self,
        settings: Settings,
        gate: Gate,
        *,
        serve_charger: ChargerHandler,
        serve_stream: StreamHandler,
        stream_paths: frozenset[str],
        health: Probe,
        ready: Probe,
        messages: MessageLog | None = None,
    ) -> None:
        self._settings = settings
        self._gate = gate
        self._serve_charger = serve_charger
        self._serve_stream = serve_stream
        self._stream_paths = stream_paths
        self._health = health
        self._ready = ready
        self._messages = messages
        self._server: Server | None = None

    async def start(self) -> int:
        """Listen; returns the port (of interest when the configured one is 0)."""
        self._server = await serve(
            self._handle,
            self._settings.socket_tier_host,
            self._settings.socket_tier_port,
            process_request=self._process_request,
            select_subprotocol=self._select_subprotocol,
            # A class of its own for each server, so that its sockets are counted together.
            create_connection=type("CountedTierSocket", (TierSocket,), {"handshakes": Handshakes()}),
            compression=None,
            ping_interval=None,
            open_timeout=OPEN_TIMEOUT_S,
            close_timeout=CLOSE_TIMEOUT_S,
            max_size=self._settings.ocpp_max_frame_bytes,
            max_queue=RECEIVE_QUEUE_FRAMES,
            server_header=None,
            backlog=4096,
        )
        return int(self._server.sockets[0].getsockname()[1])

    def stop_accepting(self) -> None:
        """Close the listening socket; open sockets go on."""
        self._gate.closed = True
        if self._server is not None:
            self._server.close(close_connections=False)

    async def wait_closed(self) -> None:
        """Wait until every socket's handler has ended."""
        if self._server is not None:
            await self._server.wait_closed()

    # --- before the upgrade -------------------------------------------------------------------------------------

    async def _process_request(self, connection: ServerConnection, request: Request) -> Response | None:
        assert isinstance(connection, TierSocket)
        path = request.path.partition("?")[0]
        if path in ("/health", "/readyz", "/metrics"):
            return await self._endpoint(path, request.headers)
        complete(request.headers)
        peer = peer_of(connection)
        forwarded = joined(request.headers, "X-Forwarded-For")
        if path.rstrip("/") in self._stream_paths:
            connection.address = self._gate.address_of(peer, forwarded)
            refusal = self._gate.room_for(connection.address)
            if refusal is not None:
                return self._refuse(connection, refusal, path)
            self._gate.enter(connection.address)
            self._leave_at_end(connection)
            return None
        certificate = self._settings.client_certificate_header
        verdict = await self._gate.admit(
            UpgradeRequest(
                path=request.path,
                peer=peer,
                offered=offered(request.headers),
                authorization=single(request.headers, "Authorization"),
                forwarded_for=forwarded,
                forwarded_proto=joined(request.headers, "X-Forwarded-Proto"),
                certificate_subject=single(request.headers, certificate + SUBJECT_SUFFIX),
                certificate_serial=single(request.headers, certificate + SERIAL_SUFFIX),
            )
        )
        if isinstance(verdict, Refusal):
            connection.address = self._gate.address_of(peer, forwarded)
            return self._refuse(connection, verdict, path)
        connection.admitted = verdict
        connection.address = verdict.address
        self._leave_at_end(connection)
        return None

    def _leave_at_end(self, connection: TierSocket) -> None:
        connection.at_end(lambda: self._gate.leave(connection.address))

    def _refuse(self, connection: TierSocket, refusal: Refusal, path: str) -> Response:
        metrics.refused.labels(str(int(refusal.status))).inc()
        log.info(
            "upgrade refused",
            extra={"path": path[:200], "status": int(refusal.status), "why": refusal.sentence},
        )
        station = station_reference(path)
        if self._messages is not None and station is not None and refusal.status is not HTTPStatus.NOT_FOUND:
            self._messages.refused(station[:_MAX_NAME], int(refusal.status), refusal.sentence, connection.address)
        response = connection.respond(refusal.status, refusal.sentence + "\n")
        if refusal.retry_after_s is not None:
            response.headers["Retry-After"] = str(refusal.retry_after_s)
        if refusal.status is HTTPStatus.UNAUTHORIZED:
            response.headers["WWW-Authenticate"] = 'Basic realm="ocpp", charset="UTF-8"'
        return response

    def _select_subprotocol(self, connection: ServerConnection, _offered: Sequence[Subprotocol]) -> Subprotocol | None:
        assert isinstance(connection, TierSocket)
        admitted = connection.admitted
        return Subprotocol(admitted.subprotocol) if admitted is not None and admitted.named else None

    async def _endpoint(self, path: str, headers: Headers) -> Response:
        if path == "/metrics":
            if headers.get("X-Forwarded-For") is not None:
                # Numbers are for the network inside; a load balancer in front passes only outside requests.
                return plain_answer(HTTPStatus.NOT_FOUND, b"Not found.\n", "text/plain; charset=utf-8")
            return plain_answer(HTTPStatus.OK, metrics.exposition(), "text/plain; version=0.0.4; charset=utf-8")
        fine, body = await (self._health if path == "/health" else self._ready)()
        status = HTTPStatus.OK if fine else HTTPStatus.SERVICE_UNAVAILABLE
        return plain_answer(status, orjson.dumps(body), "application/json")

    # --- after the upgrade --------------------------------------------------------------------------------------

    async def _handle(self, connection: ServerConnection) -> None:
        assert isinstance(connection, TierSocket)
        connection.handshake_ended()
        try:
            if connection.admitted is None:
                await self._serve_stream(connection, connection.address)
            else:
                metrics.accepted.inc()
                connection.forget_upgrade()
                await self._serve_charger(connection, connection.admitted)
        except ConnectionClosed:
            pass
        except asyncio.CancelledError:
            raise
        except Exception:
            log.exception("socket handler failed")
