"""HTTP in front of the WebSocket: headers of an upgrade request read safely, plain answers. No I/O."""

from http import HTTPStatus

from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers, MultipleValuesError
from websockets.exceptions import InvalidHeader
from websockets.headers import parse_subprotocol
from websockets.http11 import Response


def peer_of(connection: ServerConnection) -> str:
    """Address of the other end; empty when there is none any more."""
    address = connection.remote_address
    return str(address[0]) if isinstance(address, tuple) else ""


def single(headers: Headers, name: str) -> str | None:
    """A header that must not be repeated; repeated counts as absent, so that nothing is decided by the order."""
    try:
        value: str | None = headers.get(name)
    except MultipleValuesError:
        return None
    return value


def joined(headers: Headers, name: str) -> str | None:
    """A header that may be repeated, as one list."""
    values = headers.get_all(name)
    return ", ".join(values) if values else None


def offered(headers: Headers) -> list[str]:
    """Subprotocols that the client offers; none when they cannot be read."""
    found: list[str] = []
    for value in headers.get_all("Sec-WebSocket-Protocol"):
        try:
            found += parse_subprotocol(value)
        except InvalidHeader:
            return []
    return found


def plain_answer(status: HTTPStatus, body: bytes, content_type: str) -> Response:
    """An HTTP answer that ends the connection."""
    headers = Headers(
        [
            ("Connection", "close"),
            ("Content-Length", str(len(body))),
            ("Content-Type", content_type),
            ("Cache-Control", "no-store"),
        ]
    )
    return Response(status.value, status.phrase, headers, body)
