"""What carries the requests of `http.client`: looks at the URL, at the address, at the clock and at the size."""

import asyncio
import socket
import ssl
import zlib
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

import httpcore
import httpx

from evpower.outside.addresses import Origin, is_public, origin_of

if TYPE_CHECKING:
    from httpcore import SOCKET_OPTION

_MAX_CONNECTIONS = 20
_MAX_ADDRESSES = 4
_ZLIB_OR_GZIP = 32 + zlib.MAX_WBITS

Resolve: TypeAlias = Callable[[str, int], Awaitable[list[str]]]


async def resolve(host: str, port: int) -> list[str]:
    """Addresses of a host in the order in which they should be tried.

    Raises:
        OSError: it has none.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class CheckedNetwork(httpcore.AsyncNetworkBackend):
    """Connects to fixed hosts by their name, and to others at the public address that was just looked at.

    The name is resolved once and the connection goes to the result: a name that answers differently a moment later
    (DNS rebinding) changes nothing. TLS is still judged by the name.
    """

    def __init__(
        self, fixed: frozenset[Origin], resolve: Resolve, network: httpcore.AsyncNetworkBackend | None = None
    ) -> None:
        self._fixed = frozenset((host, port) for _, host, port in fixed)
        self._resolve = resolve
        self._network = network or httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: "Iterable[SOCKET_OPTION] | None" = None,
    ) -> httpcore.AsyncNetworkStream:
        if (host.lower(), port) in self._fixed:
            return await self._network.connect_tcp(host, port, timeout, local_address, socket_options)
        try:
            addresses = await self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"{host} cannot be resolved") from error
        if not addresses or not all(map(is_public, addresses)):
            raise httpcore.ConnectError(f"{host} is not at a public address")
        failure: Exception = httpcore.ConnectError(f"{host} cannot be reached")
        for address in addresses[:_MAX_ADDRESSES]:
            try:
                return await self._network.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: "Iterable[SOCKET_OPTION] | None" = None,
    ) -> httpcore.AsyncNetworkStream:
        raise httpcore.ConnectError("no request of ours goes to a local socket")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class GuardedTransport(httpx.AsyncBaseTransport):
    """httpx's transport over httpcore's pool. An answer is read to its end here, within its bounds."""

    def __init__(
        self,
        *,
        fixed: frozenset[Origin],
        given: bool,
        tls: ssl.SSLContext,
        http2: bool,
        timeout_s: float,
        max_answer_bytes: int,
        idle_s: float,
        resolve: Resolve = resolve,
    ) -> None:
        self._fixed = fixed
        self._given = given
        self._timeout_s = timeout_s
        self._max_answer_bytes = max_answer_bytes
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls,
            http1=True,
            http2=http2,
            max_connections=_MAX_CONNECTIONS,
            keepalive_expiry=idle_s,
            network_backend=CheckedNetwork(fixed, resolve),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self._check(request.url)
        url = request.url
        asked = httpcore.Request(
            request.method,
            httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        try:
            async with asyncio.timeout(self._timeout_s):
                response = await self._pool.handle_async_request(asked)
                try:
                    body = await self._body(response)
                finally:
                    await response.aclose()
        except TimeoutError as error:
            raise httpx.ReadTimeout("no whole answer in time", request=request) from error
        except tuple(_SAME_IN_HTTPX) as error:
            raise _SAME_IN_HTTPX[type(error)](str(error), request=request) from error
        headers = [
            (name, value)
            for name, value in response.headers
            if name.lower() not in (b"content-encoding", b"content-length", b"transfer-encoding")
        ]
        return httpx.Response(response.status, headers=headers, content=body, request=request)

    def _check(self, url: httpx.URL) -> None:
        origin = origin_of(str(url))
        if origin is None:
            raise httpx.UnsupportedProtocol("not an http or https URL")
        if origin in self._fixed:
            return
        if not self._given:
            raise httpx.UnsupportedProtocol("not a host of this client")
        if origin[0] != "https":
            raise httpx.UnsupportedProtocol("a URL that somebody gave us must be https")

    async def _body(self, response: httpcore.Response) -> bytes:
        received = bytearray()
        async for chunk in response.aiter_stream():
            received += chunk
            if len(received) > self._max_answer_bytes:
                raise httpx.DecodingError("the answer is too large")
        encodings = {value.lower() for name, value in response.headers if name.lower() == b"content-encoding"}
        return self._decoded(bytes(received), encodings - {b"identity", b""})

    def _decoded(self, body: bytes, encodings: set[bytes]) -> bytes:
        """Use case: a server compresses although we did not ask for it. A small answer must not become a large one."""
        if not encodings:
            return body
        if not encodings <= {b"gzip", b"x-gzip", b"deflate"}:
            raise httpx.DecodingError("an encoding that was not asked for")
        inflate = zlib.decompressobj(_ZLIB_OR_GZIP)
        try:
            plain = inflate.decompress(body, self._max_answer_bytes)
        except zlib.error as error:
            raise httpx.DecodingError("the answer cannot be decoded") from error
        if inflate.unconsumed_tail:
            raise httpx.DecodingError("the answer is too large")
        return plain

    async def aclose(self) -> None:
        await self._pool.aclose()


def _names(*names: str) -> dict[type[Exception], Any]:
    return {getattr(httpcore, name): getattr(httpx, name) for name in names}


_SAME_IN_HTTPX = _names(
    "ConnectTimeout", "ReadTimeout", "WriteTimeout", "PoolTimeout", "ConnectError", "ReadError", "WriteError",
    "LocalProtocolError", "RemoteProtocolError", "UnsupportedProtocol",
)  # fmt: skip
