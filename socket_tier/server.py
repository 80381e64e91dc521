"""The WebSocket server: one port for chargers, the locations stream, and the operator's HTTP endpoints.

``/ws/{station}`` and ``/ocpp/{station}`` charger sockets · the locations stream · ``/health`` ``/readyz`` ``/metrics``.
Compression is off; frames are bounded; pings are sent by :mod:`socket_tier.liveness`.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Any

import orjson
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers, MultipleValuesError
from websockets.exceptions import ConnectionClosed, InvalidHeader
from websockets.headers import parse_subprotocol
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.typing import Subprotocol

from evpower.config import Settings
from evpower.logging import get_logger
from socket_tier import metrics
from socket_tier.admission import Refusal
from socket_tier.gate import CERTIFICATE_HEADER, Gate, Pass, UpgradeRequest

log = get_logger(__name__)

OPEN_TIMEOUT_S = 20.0
CLOSE_TIMEOUT_S = 5.0
RECEIVE_QUEUE_FRAMES = 8


class TierSocket(ServerConnection):
    """A server socket that carries what the gate decided."""

    admitted: Pass | None = None
    address: str = ""


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
    ) -> None:
        self._settings = settings
        self._gate = gate
        self._serve_charger = serve_charger
        self._serve_stream = serve_stream
        self._stream_paths = stream_paths
        self._health = health
        self._ready = ready
        self._server: Server | None = None

    async def start(self) -> int:
        """Listen; returns the port (of interest when the configured one is 0)."""
        self._server = await serve(
            self._handle,
            self._settings.socket_tier_host,
            self._settings.socket_tier_port,
            process_request=self._process_request,
            select_subprotocol=self._select_subprotocol,
            create_connection=TierSocket,
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
        peer = _peer(connection)
        forwarded = _joined(request.headers, "X-Forwarded-For")
        if path.rstrip("/") in self._stream_paths:
            connection.address = self._gate.address_of(peer, forwarded)
            refusal = self._gate.room_for(connection.address)
            return None if refusal is None else self._refuse(connection, refusal, path)
        verdict = await self._gate.admit(
            UpgradeRequest(
                path=request.path,
                peer=peer,
                offered=_offered(request.headers),
                authorization=_single(request.headers, "Authorization"),
                forwarded_for=forwarded,
                certificate_subject=_single(request.headers, CERTIFICATE_HEADER),
            )
        )
        if isinstance(verdict, Refusal):
            return self._refuse(connection, verdict, path)
        connection.admitted = verdict
        connection.address = verdict.address
        return None

    def _refuse(self, connection: TierSocket, refusal: Refusal, path: str) -> Response:
        metrics.refused.labels(str(int(refusal.status))).inc()
        log.info(
            "upgrade refused",
            extra={"path": path[:200], "status": int(refusal.status), "why": refusal.sentence},
        )
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
                return _http(HTTPStatus.NOT_FOUND, b"Not found.\n", "text/plain; charset=utf-8")
            return _http(HTTPStatus.OK, metrics.exposition(), "text/plain; version=0.0.4; charset=utf-8")
        fine, body = await (self._health if path == "/health" else self._ready)()
        status = HTTPStatus.OK if fine else HTTPStatus.SERVICE_UNAVAILABLE
        return _http(status, orjson.dumps(body), "application/json")

    # --- after the upgrade --------------------------------------------------------------------------------------

    async def _handle(self, connection: ServerConnection) -> None:
        assert isinstance(connection, TierSocket)
        self._gate.enter(connection.address)
        try:
            if connection.admitted is None:
                await self._serve_stream(connection, connection.address)
            else:
                metrics.accepted.inc()
                await self._serve_charger(connection, connection.admitted)
        except ConnectionClosed:
            pass
        except asyncio.CancelledError:
            raise
        except Exception:
            log.exception("socket handler failed")
        finally:
            self._gate.leave(connection.address)


async def frames(connection: ServerConnection) -> AsyncIterator[bytes]:
    """Messages of a socket as bytes until it closes, however it closes.

    Text is not decoded here: JSON must be UTF-8 anyway, and a frame that is not is answered, not a reason to close.
    """
    with suppress(ConnectionClosed):
        while True:
            yield await connection.recv(decode=False)


def is_open(connection: ServerConnection) -> bool:
    return connection.protocol.state is State.OPEN


def _peer(connection: ServerConnection) -> str:
    address = connection.remote_address
    return str(address[0]) if isinstance(address, tuple) else ""


def _single(headers: Headers, name: str) -> str | None:
    """A header that must not be repeated; repeated counts as absent, so that nothing is decided by the order."""
    try:
        value: str | None = headers.get(name)
    except MultipleValuesError:
        return None
    return value


def _joined(headers: Headers, name: str) -> str | None:
    values = headers.get_all(name)
    return ", ".join(values) if values else None


def _offered(headers: Headers) -> list[str]:
    offered: list[str] = []
    for value in headers.get_all("Sec-WebSocket-Protocol"):
        try:
            offered += parse_subprotocol(value)
        except InvalidHeader:
            return []
    return offered


def _http(status: HTTPStatus, body: bytes, content_type: str) -> Response:
    headers = Headers(
        [
            ("Connection", "close"),
            ("Content-Length", str(len(body))),
            ("Content-Type", content_type),
            ("Cache-Control", "no-store"),
        ]
    )
    return Response(status.value, status.phrase, headers, body)
