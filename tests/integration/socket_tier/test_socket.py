"""The socket itself: fragments, binary frames, early messages, chargers that do not read."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from evpower.db import Conn, PooledDatabase
from evpower.stations import service as stations
from socket_tier import tier_socket
from socket_tier.tier import SocketTier
from tests.fakes.hearing import heard_all_along
from tests.fakes.network import Network, build
from tests.fakes.raw_charger import RawCharger
from tests.fakes.stations import until
from tests.integration.socket_tier.conftest import MakeTier, url


async def test_a_message_in_fragments_is_one_message(tier: SocketTier, network: Network) -> None:
    async with RawCharger.open(url(tier)) as charger:
        await charger.socket.send(['[2,"a",', '"Heart', 'beat",{}]'])
        await charger.send([2, "b", "Heartbeat", {}])
        assert [(await charger.answer())[1] for _ in range(2)] == ["a", "b"]


async def test_fragments_together_are_bounded_too(tier: SocketTier, network: Network) -> None:
    async with RawCharger.open(url(tier)) as charger:
        await charger.socket.send(["x" * 600_000, "y" * 600_000])
        assert (await charger.closed())[0] == 1009


async def test_a_message_of_a_mebibyte_is_taken_whole_and_in_fragments(tier: SocketTier, network: Network) -> None:
    padded = '[2,"a","Heartbeat",{}' + " " * (1024 * 1024 - 22) + "]"
    async with RawCharger.open(url(tier)) as charger:
        await charger.send(padded)
        await charger.socket.send([padded[:700_000].replace('"a"', '"b"'), padded[700_000:]])
        assert [(await charger.answer())[:2] for _ in range(2)] == [[3, "a"], [3, "b"]]
        assert await charger.call("Heartbeat")
    assert tier.server.large.taken == 0


async def test_staff_hear_once_of_a_charger_whose_messages_are_too_large(
    tier: SocketTier, network: Network, db: PooledDatabase
) -> None:
    async def events() -> list[dict[str, Any]]:
        async def work(conn: Conn) -> list[dict[str, Any]]:
            query = "SELECT severity, payload FROM station_events WHERE type = 'message_too_large'"
            return await (await conn.execute(query)).fetchall()

        return await db.run(work)

    for _ in range(3):
        async with RawCharger.open(url(tier)) as charger:
            await charger.send("[" + "1" * 1_500_000)
            assert (await charger.closed())[0] == 1009
        await until(events, "the event")
    assert await events() == [{"severity": "warning", "payload": {"bytes": 1_500_015, "limit_bytes": 1_048_576}}]


async def test_large_messages_share_a_bounded_number_of_places(
    tier: SocketTier, network: Network, db: PooledDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Held together by all sockets they must not fill the memory; who finds no place is told to come again."""
    monkeypatch.setattr(tier.server.large, "places", 1)
    await build(db, datetime.now(UTC), balances=(), station_id="station-2")
    async with RawCharger.open(url(tier, "station-1")) as first:
        text = b'[2,"a","Heartbeat",{}' + b" " * 500_000 + b"]"
        frame = Frame(Opcode.TEXT, text).serialize(mask=True)
        transport = first.socket.transport
        transport.write(frame[:100_000])
        await until(lambda: tier.server.large.taken == 1, "the place to be taken")
        async with RawCharger.open(url(tier, "station-2")) as second:
            second.socket.transport.write(frame[:100_000])
            assert (await second.closed())[0] == 1013
        transport.write(frame[100_000:])
        assert (await first.answer())[:2] == [3, "a"]
        assert tier.server.large.taken == 0


async def test_a_binary_message_is_read_as_text(tier: SocketTier, network: Network) -> None:
    async with RawCharger.open(url(tier)) as charger:
        await charger.send(orjson.dumps([2, "a", "Heartbeat", {}]))
        assert (await charger.answer())[:2] == [3, "a"]


async def test_text_that_is_no_utf8_is_answered_and_the_socket_stays(tier: SocketTier, network: Network) -> None:
    async with RawCharger.open(url(tier)) as charger:
        await charger.socket.send(b'[2,"a","Heartbeat",{"x":"\xff"}', text=True)
        assert (await charger.answer())[:3] == [4, "a", "FormationViolation"]
        await charger.socket.send(b'[2,"b","Heartbeat",{"x":"\xff"}]', text=True)  # Latin-1
        assert (await charger.answer())[:2] == [3, "b"]
        assert await charger.call("Heartbeat")


async def test_messages_sent_at_once_after_the_upgrade_are_not_lost(tier: SocketTier, network: Network) -> None:
    async with RawCharger.open(url(tier)) as charger:
        for number in range(500):
            await charger.send([2, str(number), "Heartbeat", {}])
        assert [(await charger.answer())[1] for _ in range(500)] == [str(number) for number in range(500)]


async def test_a_thousand_outstanding_calls_are_answered_in_order(tier: SocketTier, network: Network) -> None:
    async with RawCharger.open(url(tier)) as charger:
        for number in range(1000):
            await charger.send(
                [2, str(number), "StatusNotification" if number % 50 == 0 else "Heartbeat",
                 {"connectorId": 1, "errorCode": "NoError", "status": "Available"} if number % 50 == 0 else {}]
            )  # fmt: skip
        assert [(await charger.answer())[1] for _ in range(1000)] == [str(number) for number in range(1000)]


async def test_a_charger_that_sends_and_never_reads_is_cut_off(
    tier: SocketTier, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tier_socket, "MAX_UNREAD_BYTES", 50_000)
    async with RawCharger.open(url(tier)) as charger:
        await charger.call("Heartbeat")
        charger.socket.transport.pause_reading()
        frame = orjson.dumps([2, "x" * 200, "DataTransfer", {"vendorId": "v"}]).decode()

        async def flood() -> None:
            number = 0
            while len(tier.registry) == 1:
                number += 1
                await charger.send(frame.replace("x", str(number), 1))

        with suppress(ConnectionClosed):
            async with asyncio.timeout(20):
                await flood()
        await until(lambda: len(tier.registry) == 0, "the station to be gone")


async def test_a_charger_that_answers_pings_is_kept_and_one_that_does_not_is_closed(
    make_tier: MakeTier, network: Network
) -> None:
    tier = await make_tier(ocpp_ping_interval_s=0.3)
    async with RawCharger.open(url(tier)) as charger:
        await charger.call("Heartbeat")
        watched = next(iter(tier.liveness._living()))
        before = watched.last_seen
        for _ in range(2):
            await until(lambda: watched.last_seen > before, "a pong")  # noqa: B023 - awaited before it changes
            before = watched.last_seen
        await charger.call("Heartbeat")  # it is the same socket still
        charger.socket.transport.pause_reading()  # the charger hangs: no pong comes any more
        await until(lambda: len(tier.registry) == 0, "the dead socket to be closed")
        charger.drop()


async def test_a_socket_that_the_sweep_took_for_dead_is_noted_again(
    tier: SocketTier, network: Network, db: PooledDatabase
) -> None:
    """The database was away for long, and the sweep was the first to ask after it."""

    async def holder(conn: Conn) -> str | None:
        station = await stations.resolve(conn, "station-1")
        assert station is not None
        return station.connected_instance

    async def silent(conn: Conn) -> None:
        await conn.execute("UPDATE stations SET last_heartbeat_at = now() - interval '1 hour'")
        assert await stations.mark_offline(conn, datetime.now(UTC), 10)

    async with RawCharger.open(url(tier)) as charger:
        await charger.call("Heartbeat")
        await heard_all_along(db)
        await db.run(silent)
        assert await db.run(holder) is None
        await charger.call("Heartbeat")
        await tier.liveness.flush()
        assert await db.run(holder) == tier.instance_id
    await until(lambda: tier.registry.local("station-1") is None, "the socket to be forgotten")

    async def is_released() -> bool:
        return await db.run(holder) is None

    await until(is_released, "the station to be released")
    await tier.liveness.flush()
    assert await db.run(holder) is None
