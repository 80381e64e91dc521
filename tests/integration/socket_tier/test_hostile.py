"""Connections that mean harm: slow, silent, flooding, oversized. The server stays up, and others are served."""

import asyncio
import contextlib
import os
import struct
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import orjson
import pytest

from evpower.db import Conn, PooledDatabase
from socket_tier import connection, handshakes, server, tier_socket
from socket_tier.ocpp16.routes import ROUTES
from socket_tier.tier import SocketTier
from tests.fakes.network import Network
from tests.fakes.raw_charger import RawCharger
from tests.fakes.stations import until
from tests.integration.socket_tier.conftest import MakeTier, url
from tests.integration.socket_tier.test_security_profiles import sql

UPGRADE = (
    "GET /ocpp/{station} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Protocol: ocpp1.6\r\n\r\n"
)


@pytest.fixture
async def others(db: PooledDatabase, network: Network) -> list[str]:
    """More stations, so that one may be hostile and another one healthy."""
    names = [f"other-{number}" for number in range(60)]
    for name in names:
        await sql(db, "INSERT INTO stations (id, serial_number) VALUES (%s, %s)", name, f"SN-{name}")
    return names


async def healthy(tier: SocketTier, station: str = "other-0", within_s: float = 2.0) -> None:
    """A charger that just wants to live gets in and is answered soon."""
    began = time.monotonic()
    async with RawCharger.open(url(tier, station)) as charger:
        assert await charger.call("Heartbeat")
    assert time.monotonic() - began < within_s


@contextlib.asynccontextmanager
async def tcp(tier: SocketTier) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", tier.port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def is_closed(reader: asyncio.StreamReader, within_s: float = 10.0) -> bool:
    """The server ends the connection, whatever it says before."""
    async with asyncio.timeout(within_s):
        with contextlib.suppress(ConnectionResetError):
            while await reader.read(65536):
                pass
        return True


def frame(payload: bytes, opcode: int = 1, *, fin: bool = True) -> bytes:
    """A client's frame (RFC 6455 section 5.2), masked with zeros."""
    head = bytes([(0x80 if fin else 0) | opcode])
    size = len(payload)
    if size < 126:
        head += bytes([0x80 | size])
    elif size < 65536:
        head += bytes([0x80 | 126]) + struct.pack("!H", size)
    else:
        head += bytes([0x80 | 127]) + struct.pack("!Q", size)
    return head + bytes(4) + payload


@contextlib.asynccontextmanager
async def upgraded(
    tier: SocketTier, station: str = "station-1"
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A charger's socket on bare TCP."""
    async with tcp(tier) as (reader, writer):
        writer.write(UPGRADE.format(station=station).encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"101 Switching" in head
        await until(lambda: tier.registry.local(station), "the socket to be registered")
        yield reader, writer


async def test_handshakes_that_never_end_are_ended(
    make_tier: MakeTier, others: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slow-loris: a byte now and then, never a whole request."""
    monkeypatch.setattr(server, "OPEN_TIMEOUT_S", 1.0)
    tier = await make_tier()
    async with contextlib.AsyncExitStack() as stack:
        slow = [await stack.enter_async_context(tcp(tier)) for _ in range(40)]
        for _, writer in slow:
            writer.write(b"GET /ocpp/station-1 HTTP/1.1\r\nX-A: ")
        await healthy(tier)
        dripping = asyncio.create_task(_drip(slow))
        assert all(await asyncio.gather(*(is_closed(reader) for reader, _ in slow)))
        dripping.cancel()
        await healthy(tier)


async def _drip(slow: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]) -> None:
    while True:
        await asyncio.sleep(0.1)
        for _, writer in slow:
            writer.write(b"x")


async def test_the_number_of_unfinished_handshakes_is_bounded(
    make_tier: MakeTier, others: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshakes, "MAX_HANDSHAKES", 20)
    tier = await make_tier()
    async with contextlib.AsyncExitStack() as stack:
        waiting = [await stack.enter_async_context(tcp(tier)) for _ in range(20)]
        async with tcp(tier) as (reader, _):
            assert await is_closed(reader)
        for _, writer in waiting[:5]:
            writer.close()
            await writer.wait_closed()

        async def room() -> bool:
            with contextlib.suppress(Exception):
                await healthy(tier)
                return True
            return False

        await until(room, "room for a healthy charger")


@pytest.mark.parametrize(
    "head",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(200),  # TLS to the plain port
        b"GET " + b"/" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /ocpp/station-1 HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(500)) + b"\r\n",
        b"POST /ocpp/station-1 HTTP/1.1\r\nContent-Length: 1000000000\r\n\r\n",
        b"\r\n" * 1000,
        b"GET /ocpp/station-1 HTTP/1.1\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
    ids=["tls", "long path", "many headers", "body", "blank lines", "long header", "http/2"],
)
async def test_what_is_no_handshake_is_ended(
    make_tier: MakeTier, others: list[str], monkeypatch: pytest.MonkeyPatch, head: bytes
) -> None:
    monkeypatch.setattr(server, "OPEN_TIMEOUT_S", 1.0)
    tier = await make_tier()
    async with tcp(tier) as (reader, writer):
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            writer.write(head)
            await writer.drain()
        assert await is_closed(reader)
    await healthy(tier)


async def test_a_message_in_fragments_is_bounded_as_a_whole(tier: SocketTier, others: list[str]) -> None:
    async with upgraded(tier) as (reader, writer):
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            writer.write(frame(b"[" + b" " * 300_000, fin=False))
            for _ in range(4):
                writer.write(frame(b" " * 300_000, 0, fin=False))
                await writer.drain()
        assert await is_closed(reader)
    await healthy(tier)


async def test_a_frame_that_announces_more_than_is_allowed_is_not_waited_for(
    tier: SocketTier, others: list[str]
) -> None:
    async with upgraded(tier) as (reader, writer):
        writer.write(bytes([0x81, 0x80 | 127]) + struct.pack("!Q", 2**40) + bytes(4))
        assert await is_closed(reader)
    await healthy(tier)


async def test_countless_tiny_fragments_keep_nobody_waiting(tier: SocketTier, others: list[str]) -> None:
    async with upgraded(tier) as (reader, writer):
        writer.write(frame(b"[2,", fin=False) + frame(b"", 0, fin=False) * 20_000)
        await writer.drain()
        await healthy(tier)
        writer.write(frame(b'"1","Heartbeat",{}]', 0))
        answer = await reader.readuntil(b"Z")
        assert b"currentTime" in answer


async def test_pings_that_nobody_reads_the_answers_of_end_the_connection(
    tier: SocketTier, others: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A charger that sends and does not read must not fill the memory, with pongs no more than with answers."""
    monkeypatch.setattr(tier_socket, "MAX_UNREAD_BYTES", 64 * 1024)
    async with upgraded(tier) as (_reader, writer):
        held = tier.registry.local("station-1")
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        batch = frame(b"p" * 125, 9) * 1000
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            async with asyncio.timeout(20):
                while tier.registry.local("station-1") is held:
                    writer.write(batch)
                    await writer.drain()
                    await asyncio.sleep(0)
        await until(lambda: tier.registry.local("station-1") is not held, "the socket to be ended")
    await healthy(tier)


async def test_a_thousand_outstanding_calls_are_all_answered(tier: SocketTier, others: list[str]) -> None:
    async with RawCharger.open(url(tier)) as charger:
        for number in range(1000):
            await charger.send([2, f"m{number}", "Heartbeat", {}])
        await healthy(tier)
        answered = [(await charger.answer())[1] for _ in range(1000)]
        assert answered == [f"m{number}" for number in range(1000)]


async def test_a_thousand_calls_and_then_nothing_leave_nothing_behind(tier: SocketTier, others: list[str]) -> None:
    async with upgraded(tier) as (_, writer):
        data = orjson.dumps([2, "1", "StatusNotification", {"connectorId": 1, "errorCode": "NoError",
                                                             "status": "Available"}])  # fmt: skip
        writer.write(frame(data) * 1000)
        await writer.drain()
    await healthy(tier)
    await until(lambda: tier.registry.local("station-1") is None, "the socket to be forgotten")
    await until(lambda: tier.gate.open_sockets == 0, "the socket to be counted out")


async def test_a_heartbeat_flood_is_slowed_down_and_harms_no_other(
    tier: SocketTier, others: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with upgraded(tier) as (reader, writer):
        flooding = asyncio.create_task(_flood(writer))
        answered = 0
        began = time.monotonic()
        while time.monotonic() - began < 1.5:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.1):
                    answered += (await reader.read(1 << 20)).count(b"currentTime")
        for station in others[:5]:
            await healthy(tier, station)
        flooding.cancel()
        # The burst, then 50 a second (ocpp16/routes.py): the rest waits in the charger's own TCP window.
        assert answered < 1000 + 50 * 4 + connection.MAX_QUEUED_CALLS


async def test_a_flood_of_starts_is_slowed_down(
    tier: SocketTier, others: list[str], db: PooledDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of an unknown card leaves a transaction and a RemoteStop that nobody answers."""
    route = ROUTES["StartTransaction"]
    assert route.pace is not None
    monkeypatch.setitem(ROUTES, "StartTransaction", replace(route, pace=replace(route.pace, burst=10)))
    start = {"connectorId": 1, "idTag": "NOBODY", "timestamp": "2026-01-15T06:00:00Z"}
    async with RawCharger.open(url(tier)) as charger:
        began = time.monotonic()
        for number in range(60):
            await charger.send([2, f"m{number}", "StartTransaction", {**start, "meterStart": number}])
        for _ in range(14):
            await charger.answer()
        allowed = 10 + route.pace.per_s * (time.monotonic() - began) + 1
        assert time.monotonic() - began > 1.5
        stored = await db.run(lambda conn: _count(conn, "ocpp_transactions"))
        assert stored <= allowed
        await healthy(tier)


async def _count(conn: Conn, table: str) -> int:
    row = await (await conn.execute(f"SELECT count(*) AS n FROM {table}".encode())).fetchone()
    assert row is not None
    return int(row["n"])


async def _flood(writer: asyncio.StreamWriter) -> None:
    batch = frame(b'[2,"1","Heartbeat",{}]') + frame(b'[2,"2","Heartbeat",{}]')
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        while True:
            writer.write(batch * 200)
            await writer.drain()
            await asyncio.sleep(0)


async def test_a_flood_of_connections_from_one_address_keeps_room_for_others(
    make_tier: MakeTier, others: list[str]
) -> None:
    tier = await make_tier(ocpp_max_connections_per_address=10, trusted_proxies="127.0.0.0/8")

    async def knock(station: str) -> int:
        async with tcp(tier) as (reader, writer):
            near = UPGRADE.format(station=station).replace("Host:", "X-Forwarded-For: 203.0.113.66\r\nHost:", 1)
            writer.write(near.encode())
            status = int((await reader.readline()).split()[1])
            if status == 101:
                await stay.wait()
            return status

    stay = asyncio.Event()
    knocking = [asyncio.create_task(knock(station)) for station in others]
    await until(lambda: sum(task.done() for task in knocking) >= 40, "most to be refused")
    assert tier.gate.open_sockets == 10
    async with RawCharger.open(url(tier), headers={"X-Forwarded-For": "203.0.113.7"}) as charger:
        assert await charger.call("Heartbeat")
    stay.set()
    statuses = await asyncio.gather(*knocking)
    assert set(statuses) == {101, 503}
    await until(lambda: tier.gate.open_sockets == 0, "all to be counted out")


async def test_guessed_stations_and_keys_are_slowed_down_by_address(make_tier: MakeTier, others: list[str]) -> None:
    tier = await make_tier(allow_unauthenticated_stations=False, trusted_proxies="127.0.0.0/8")
    statuses = []
    for number in range(40):
        async with tcp(tier) as (reader, writer):
            text = UPGRADE.format(station=f"guess-{number}")
            writer.write(text.replace("Host:", "X-Forwarded-For: 203.0.113.66\r\nHost:", 1).encode())
            statuses.append(int((await reader.readline()).split()[1]))
    assert statuses[:30] == [404] * 30
    assert 503 in statuses[30:]


async def test_half_open_sockets_are_given_up(make_tier: MakeTier, others: list[str]) -> None:
    """The other side is gone without a word: no frame, no pong, no FIN."""
    tier = await make_tier(ocpp_ping_interval_s=0.2)
    async with upgraded(tier) as (reader, writer):
        writer.transport.pause_reading()  # type: ignore[attr-defined] - nothing is read, so no pong is sent
        assert reader is not None
        await until(lambda: tier.registry.local("station-1") is None, "the dead socket to be closed")
    await until(lambda: tier.gate.open_sockets == 0, "the dead socket to be counted out")


async def test_garbage_of_every_kind_on_one_socket(tier: SocketTier, others: list[str]) -> None:
    rubbish: list[Any] = [
        b"\x00\xff\xfe", "", "[]", "[2]", "[2,1]", "[9,1,2,3]", "{", "null", '[2,"","Heartbeat",{}]', "[" * 5000,
        '[2,"x","Heartbeat",' + "[" * 4000 + "]" * 4000 + "]", '[2,"\\ud800","Heartbeat",{}]',
        '[3,"never asked",{}]', '[4,"never asked","GenericError","",{}]', "[2,{},[],{}]", "1e999", "[2,1e400,2,3]",
    ]  # fmt: skip
    async with RawCharger.open(url(tier)) as charger:
        for item in rubbish:
            await charger.send(item)
        assert await charger_call_after(charger)
    await healthy(tier)


async def charger_call_after(charger: RawCharger) -> bool:
    """The answer to a good call comes, after whatever the rubbish was answered with."""
    await charger.send([2, "the good one", "Heartbeat", {}])
    while True:
        answer = await charger.answer()
        if answer[1] == "the good one":
            return bool(answer[0] == 3)
