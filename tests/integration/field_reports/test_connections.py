"""Field reports about the WebSocket itself: upgrade requests, frames, pings, sockets that come and go."""

import asyncio
import base64
import os
import struct
from dataclasses import dataclass

import orjson
import pytest

from evpower.db import Conn, PooledDatabase
from evpower.stations.credentials import hash_authorization_key
from socket_tier.tier import SocketTier
from tests.fakes.network import Network
from tests.integration.field_reports.replay import Bill, Play, Report, cases
from tests.integration.field_reports.steps import (
    eair,
    meter,
    reconnects,
    says,
    shows,
    stop,
)

KEY = "4f" * 10 + "3a" + "ff" * 9  # as bytes it holds a colon and no UTF-8
UPGRADE = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
OFFER = "Sec-WebSocket-Protocol: ocpp1.6\r\n"


@dataclass(frozen=True, slots=True)
class Upgrade:
    """A charger's upgrade request; ``answer``: what the first lines of the response must hold."""

    name: str
    source: str
    fault: str
    target: str = "/ocpp/station-1"
    headers: str = UPGRADE + OFFER
    answer: tuple[str, ...] = ("HTTP/1.1 101 ", "Sec-WebSocket-Protocol: ocpp1.6")
    wrong: str = ""


def basic(user: str, password: bytes, scheme: str = "Basic") -> str:
    return f"Authorization: {scheme} {base64.b64encode(user.encode() + b':' + password).decode()}\r\n"


UPGRADES = (
    Upgrade(
        "slashes_before_the_id",
        "lbbrhzn/ocpp#1078",
        "A ZJ Beny connects at ///charger: three slashes before its id.",
        target="/ocpp///station-1",
    ),
    Upgrade(
        "whole_url_as_the_target",
        "matth-x/MicroOcpp#278, OpenEMS/openems#1401",
        "The request line holds the whole URL instead of the path.",
        target="ws://Server.local:8500/ocpp/station-1",
    ),
    Upgrade(
        "id_with_a_bar",
        "citrineos/citrineos-core#1093, c-jimenez/open-ocpp#198",
        "RDAM|123 connects at RDAM%7C123, and logs in as RDAM|123.",
        target="/ocpp/RDAM%7C123",
        headers=UPGRADE + OFFER + basic("RDAM|123", KEY.encode()),
    ),
    Upgrade(
        "key_as_bytes",
        "ChargeTimeEU/Java-OCA-OCPP#163, shiv3/ocpp-cp-simulator#260",
        "The key comes as the bytes that its hexadecimal text stands for: no UTF-8, with a colon among them.",
        target="/ocpp/RDAM%7C123",
        headers=UPGRADE + OFFER + basic("RDAM|123", bytes.fromhex(KEY), "basic"),
    ),
    Upgrade(
        "two_versions_in_one_header",
        "lbbrhzn/ocpp#497",
        "A client offers ocpp1.6, ocpp1.5.",
        headers=UPGRADE + "Sec-WebSocket-Protocol: ocpp1.6, ocpp1.5\r\n",
    ),
    Upgrade(
        "newer_version_first_in_two_headers",
        "lbbrhzn/ocpp#2008",
        "A FoxESS offers ocpp2.0.1 before ocpp1.6, here in headers of their own.",
        headers=UPGRADE + "Sec-WebSocket-Protocol: ocpp2.0.1\r\nsec-websocket-protocol: ocpp1.6\r\n",
    ),
    Upgrade(
        "no_version",
        "dallmann-consulting/OCPP.Core#43, sap-labs-france/ev-server#2761",
        "A charger offers no version: refused by a sentence that its installer understands.",
        headers=UPGRADE,
        answer=("HTTP/1.1 400 ", "offered no WebSocket subprotocol", "ocpp1.6"),
    ),
    Upgrade(
        "no_version_and_no_id",
        "lbbrhzn/ocpp#442",
        "A Grizzl-E asks for / without id and version.",
        target="/",
        headers=UPGRADE,
        answer=("HTTP/1.1 404 ", "/ocpp/{station id}"),
    ),
    Upgrade(
        "no_connection_header",
        "lbbrhzn/ocpp#1984",
        "The header Connection: Upgrade is missing.",
        headers="Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" + OFFER,
    ),
)


def masked(opcode: int, payload: bytes, *, final: bool = True) -> bytes:
    """A client's frame of less than 126 bytes."""
    mask = os.urandom(4)
    body = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
    return struct.pack("!BB", (0x80 if final else 0) | opcode, 0x80 | len(payload)) + mask + body


async def opened(tier: SocketTier, upgrade: Upgrade) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", tier.port)
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    writer.write(f"GET {upgrade.target} HTTP/1.1\r\nHost: localhost\r\n{upgrade.headers}{key}\r\n".encode())
    async with asyncio.timeout(10):
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101 "):
            head += await reader.read()
    return reader, writer, head.decode()


async def answered(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Opcode and payload of the server's next frame."""
    async with asyncio.timeout(10):
        first, size = await reader.readexactly(2)
        if size == 126:
            (size,) = struct.unpack("!H", await reader.readexactly(2))
        return first & 0x0F, await reader.readexactly(size)


@pytest.fixture
async def with_a_key(db: PooledDatabase, network: Network) -> None:
    async def work(conn: Conn) -> None:
        await conn.execute(
            "INSERT INTO stations (id, serial_number, location_id, auth_key_hash) VALUES (%s, 'SN-7', 'place-1', %s)",
            ("RDAM|123", hash_authorization_key(KEY)),
        )

    await db.run(work)


@pytest.mark.usefixtures("with_a_key")
@pytest.mark.parametrize("upgrade", UPGRADES, ids=[upgrade.name for upgrade in UPGRADES])
async def test_upgrade(tier: SocketTier, upgrade: Upgrade) -> None:
    reader, writer, head = await opened(tier, upgrade)
    for text in upgrade.answer:
        assert text in head
    if upgrade.answer[0].startswith("HTTP/1.1 101"):
        writer.write(masked(1, b'[2,"1","Heartbeat",{}]'))
        opcode, payload = await answered(reader)
        assert (opcode, orjson.loads(payload)[:2]) == (1, [3, "1"])
    writer.close()


FRAMES = (
    Report(
        "message_in_fragments",
        "c-jimenez/open-ocpp#104",
        "One message comes in several frames, with a ping between them.",
        (),
    ),
    Report(
        "message_in_a_binary_frame",
        "matth-x/MicroOcpp#269",
        "JSON comes in binary frames.",
        (),
    ),
    Report(
        "pings_of_the_charger",
        "lorenzodonini/ocpp-go#44",
        "The charger pings the server, rarely, and wants its own payload back.",
        (),
    ),
)
BYTES = {
    "message_in_fragments": (
        masked(1, b'[2,"1","Hea', final=False)
        + masked(9, b"?")
        + masked(0, b"rtbe", final=False)
        + masked(0, b'at",{}]'),
        [10, 1],
    ),
    "message_in_a_binary_frame": (masked(2, b'[2,"1","Heartbeat",{}]'), [1]),
    "pings_of_the_charger": (masked(9, b"0123456789") + masked(1, b'[2,"1","Heartbeat",{}]'), [10, 1]),
}


@cases(*FRAMES)
async def test_frames(tier: SocketTier, network: Network, report: Report) -> None:
    reader, writer, _head = await opened(tier, Upgrade("", "", ""))
    data, opcodes = BYTES[report.name]
    writer.write(data)
    found = [await answered(reader) for _ in opcodes]
    assert [opcode for opcode, _payload in found] == opcodes
    assert orjson.loads(found[-1][1])[:2] == [3, "1"]
    if report.name == "pings_of_the_charger":
        assert found[0][1] == b"0123456789"
    writer.close()


SOCKETS = (
    Report(
        "probe_before_the_real_socket",
        "lbbrhzn/ocpp#2012",
        "A FoxESS opens a socket, drops it within seconds, and opens its real one, in the middle of a charge.",
        (
            meter(eair(1500)),
            reconnects(broken=True),
            reconnects(broken=True),
            says("BootNotification", {"status": "Accepted"}, chargePointVendor="FoxESS", chargePointModel="A022KP1"),
            meter(eair(2000)),
            shows(energy_wh=1000),
            stop(2500),
        ),
        bill=Bill(1500, "15.00", review=False),
    ),
)


@cases(*SOCKETS)
async def test_sockets(play: Play, report: Report) -> None:
    await play.perform(report)
