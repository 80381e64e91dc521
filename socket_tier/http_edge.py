"""HTTP in front of the WebSocket: headers of an upgrade request read safely, plain answers. No I/O."""

from http import HTTPStatus

from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers, MultipleValuesError
from websockets.exceptions import InvalidHeader
from websockets.headers import parse_subprotocol
from websockets.http11 import Response

_SUBPROTOCOL = "Sec-WebSocket-Protocol"


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
    """Subprotocols that the client offers. What is no list of names is told as it stands: it goes into a refusal.

    Use case: a charger whose protocol is not configured sends the header without a value. That offers nothing, and
    such a header is taken out of ``headers``: the library would refuse the upgrade although the station may do so.
    """
    sent = headers.get_all(_SUBPROTOCOL)
    values = [value for value in sent if value.strip(" \t,")]
    if len(values) < len(sent):
        del headers[_SUBPROTOCOL]
        for value in values:
            headers[_SUBPROTOCOL] = value
    found: list[str] = []
    for value in values:
        try:
            found += parse_subprotocol(value)
        except InvalidHeader:
            return [value]
    return found


def complete(headers: Headers) -> None:
    """Add what an upgrade request leaves out although nothing else can be meant.

    Use case: a charger asks for ``Upgrade: websocket`` without ``Connection: Upgrade``, and would never get in.
    """
    if "Connection" not in headers and "websocket" in (joined(headers, "Upgrade") or "").lower():
        headers["Connection"] = "Upgrade"


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
