"""The one client over real sockets: who is called, at which address, for how long, and how much is read."""

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path

import httpcore
import httpx
import pytest

from evpower.outside.http import authorities, client
from evpower.outside.plain import PlainHttp
from evpower.outside.transport import CheckedNetwork, GuardedTransport
from infra.local.push_standin.server import PushStandin

PUBLIC, ANOTHER = "93.184.216.34", "93.184.216.35"


class Host:
    """A server that answers every connection with the same bytes, or as a test wants it."""

    def __init__(self) -> None:
        self.connections = 0
        self.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        self.drip_s: float | None = None
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            await reader.readuntil(b"\r\n\r\n")
            if self.drip_s is None:
                writer.write(self.answer)
                await writer.drain()
            else:
                for byte in self.answer:
                    writer.write(bytes([byte]))
                    await writer.drain()
                    await asyncio.sleep(self.drip_s)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    served = Host()
    async with await asyncio.start_server(served.serve, "127.0.0.1", 0) as server:
        served.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        yield served


def ok(body: bytes, *headers: bytes) -> bytes:
    lines = [b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


async def test_a_fixed_host_is_called_and_no_other(host: Host) -> None:
    async with client(timeout_s=5, fixed=[host.url]) as http:
        assert (await http.get(f"{host.url}any/path?x=1")).text == "ok"
        port = httpx.URL(host.url).port
        for other in (f"http://localhost:{port}/", f"https://127.0.0.1:{port}/", "https://example.com/", "", "x",
                      f"http://user@127.0.0.1:{port}/"):  # fmt: skip
            with pytest.raises(httpx.UnsupportedProtocol):
                await http.get(other)
    assert host.connections == 1


async def test_a_redirect_is_an_answer_and_leads_nowhere(host: Host) -> None:
    host.answer = b"HTTP/1.1 302 Found\r\nLocation: " + host.url.encode() + b"x\r\nContent-Length: 0\r\n\r\n"
    async with client(timeout_s=5, fixed=[host.url]) as http:
        answer = await http.post(host.url, json={})
    assert (answer.status_code, host.connections) == (302, 1)


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "[::1]", "127.1", "0"])
async def test_a_given_url_never_reaches_our_own_network(host: Host, name: str) -> None:
    port = httpx.URL(host.url).port
    async with client(timeout_s=5, given=True) as http:
        with pytest.raises(httpx.ConnectError):
            await http.get(f"https://{name}:{port}/")
        with pytest.raises(httpx.UnsupportedProtocol):
            await http.get(f"http://{name}:{port}/")
    assert host.connections == 0


async def test_a_fixed_host_of_a_client_for_given_urls_may_be_our_own(push_folder: Path, tmp_path: Path) -> None:
    async with PushStandin(push_folder) as standin:
        environment = standin.environment
        url = f"https://{environment['WEB_PUSH_HOSTS']}/nothing"
        tls = authorities(environment["PUSH_CA_FILE"])
        async with client(timeout_s=5, fixed=[url], given=True, tls=tls, http2=True) as http:
            assert (await http.post(url, content=b"")).status_code in (404, 405)
        async with client(timeout_s=5, given=True, tls=tls, http2=True) as http:
            with pytest.raises(httpx.ConnectError, match="public"):
                await http.post(url, content=b"")


@pytest.fixture(scope="module")
def push_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("push")


class Network(httpcore.AsyncMockBackend):
    """Connects to nothing, and notes where to; the first ``dead`` addresses do not answer."""

    def __init__(self, dead: int = 0) -> None:
        super().__init__([b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"])
        self.connected: list[str] = []
        self._dead = dead

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        self.connected.append(host)
        if len(self.connected) <= self._dead:
            raise httpcore.ConnectError("nobody there")
        return await super().connect_tcp(host, port, timeout, local_address, socket_options)


def answers(*of_each_time: list[str]) -> tuple[Callable[[str, int], Awaitable[list[str]]], list[str]]:
    """A name server that answers differently each time, and the names that it was asked for."""
    asked: list[str] = []

    async def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        return of_each_time[min(len(asked), len(of_each_time)) - 1]

    return resolve, asked


async def test_the_connection_goes_to_the_address_that_was_looked_at() -> None:
    """A name that becomes a private one a moment later (DNS rebinding) is not asked again."""
    resolve, asked = answers([PUBLIC], ["127.0.0.1"])
    network = Network()
    await CheckedNetwork(frozenset(), resolve, network).connect_tcp("rebinding.example", 443)
    assert (network.connected, asked) == ([PUBLIC], ["rebinding.example"])


@pytest.mark.parametrize("found", [[], ["127.0.0.1"], [PUBLIC, "10.0.0.1"], ["169.254.169.254"], ["::ffff:10.0.0.1"]])
async def test_a_name_with_any_private_address_is_not_called(found: list[str]) -> None:
    resolve, _ = answers(found)
    network = Network()
    with pytest.raises(httpcore.ConnectError, match="public"):
        await CheckedNetwork(frozenset(), resolve, network).connect_tcp("inner.example", 443)
    assert network.connected == []


async def test_the_next_address_is_tried() -> None:
    resolve, _ = answers([PUBLIC, ANOTHER])
    network = Network(dead=1)
    await CheckedNetwork(frozenset(), resolve, network).connect_tcp("two.example", 443)
    assert network.connected == [PUBLIC, ANOTHER]
    with pytest.raises(httpcore.ConnectError, match="nobody"):
        await CheckedNetwork(frozenset(), resolve, Network(dead=9)).connect_tcp("two.example", 443)


async def test_a_name_that_does_not_resolve_was_not_called() -> None:
    async def nowhere(host: str, port: int) -> list[str]:
        raise OSError("no such name")

    transport = GuardedTransport(
        fixed=frozenset(), given=True, tls=ssl.create_default_context(), http2=False, timeout_s=5,
        max_answer_bytes=100, idle_s=1, resolve=nowhere,
    )  # fmt: skip
    async with httpx.AsyncClient(transport=transport) as http:
        with pytest.raises(httpx.ConnectError, match="resolved"):
            await http.get("https://nowhere.example/")
    with pytest.raises(httpcore.ConnectError):
        await CheckedNetwork(frozenset(), nowhere).connect_unix_socket("/run/some.sock")


async def test_the_whole_answer_has_one_time(host: Host) -> None:
    """Each byte comes quickly, and the answer never ends: time-outs by read would wait for ever."""
    host.answer, host.drip_s = ok(b"x" * 100_000), 0.01
    async with client(timeout_s=0.3, fixed=[host.url]) as http:
        with pytest.raises(httpx.ReadTimeout):
            await http.get(host.url)


async def test_a_large_answer_is_not_read(host: Host) -> None:
    host.answer = ok(b"x" * 1001)
    async with client(timeout_s=5, fixed=[host.url], max_answer_bytes=1000) as http:
        with pytest.raises(httpx.DecodingError, match="too large"):
            await http.get(host.url)
        host.answer = ok(b"x" * 1000)
        assert len((await http.get(host.url)).content) == 1000


async def test_a_small_answer_does_not_become_a_large_one(host: Host) -> None:
    async with client(timeout_s=5, fixed=[host.url], max_answer_bytes=10_000) as http:
        host.answer = ok(gzip.compress(b"x" * 10_000), b"Content-Encoding: gzip")
        assert (await http.get(host.url)).text == "x" * 10_000
        host.answer = ok(gzip.compress(b"x" * 10_001), b"Content-Encoding: gzip")
        with pytest.raises(httpx.DecodingError, match="too large"):
            await http.get(host.url)
        for encoding, body in ((b"br", b"x"), (b"gzip", b"no gzip"), (b"gzip, br", b"x")):
            host.answer = ok(body, b"Content-Encoding: " + encoding)
            with pytest.raises(httpx.DecodingError):
                await http.get(host.url)


async def test_nothing_of_the_environment_turns_requests_elsewhere(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with client(timeout_s=5, fixed=[host.url]) as http:
        assert (await http.get(host.url)).text == "ok"
    assert await asyncio.to_thread(PlainHttp(host.url, 5).post, b"", {}) == (200, b"ok")


async def test_the_plain_connection_is_bounded_too(host: Host) -> None:
    host.answer = ok(b"x" * (1024 * 1024 + 1))
    plain = PlainHttp(host.url, 5)
    with pytest.raises(OSError, match="too large"):
        await asyncio.to_thread(plain.post, b"", {})
    assert not plain.is_open
    host.answer = b"no HTTP at all\r\n\r\n"
    with pytest.raises(OSError, match="no HTTP"):
        await asyncio.to_thread(plain.post, b"", {})
