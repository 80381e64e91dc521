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
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from evpower.config import Settings
from evpower.logging import get_logger
from socket_tier import metrics
from socket_tier.admission import Refusal, station_reference
from socket_tier.gate import SERIAL_SUFFIX, SUBJECT_SUFFIX, Gate, Pass, UpgradeRequest
from socket_tier.handshakes import Handshakes
from socket_tier.http_edge import complete, joined, offered, peer_of, plain_answer, single
from socket_tier.large_messages import ORDINARY_BYTES, LargeMessages
from socket_tier.message_log import MessageLog
from socket_tier.tier_socket import CLOSE_TIMEOUT_S, TierSocket

log = get_logger(__name__)

OPEN_TIMEOUT_S = 20.0
RECEIVE_QUEUE_FRAMES = 8
_MAX_NAME = 128

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
        self.large = LargeMessages()

    async def start(self) -> int:
        """Listen; returns the port (of interest when the configured one is 0)."""
        self._server = await serve(
            self._handle,
            self._settings.socket_tier_host,
            self._settings.socket_tier_port,
            process_request=self._process_request,
            select_subprotocol=self._select_subprotocol,
            # A class of its own for each server, so that its sockets are counted together.
            create_connection=type(
                "CountedTierSocket", (TierSocket,), {"handshakes": Handshakes(), "large": self.large}
            ),
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
            connection.protocol.max_message_size = min(self._settings.ocpp_max_frame_bytes, ORDINARY_BYTES)
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
