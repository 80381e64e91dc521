"""Who gets a socket, and what everybody else is told before the upgrade (ocpp.md §1)."""

import asyncio
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from evpower.db import Conn, PooledDatabase
from evpower.stations import service as stations
from socket_tier.tier import SocketTier
from tests.fakes.network import Network
from tests.fakes.raw_charger import RawCharger
from tests.fakes.stations import until
from tests.integration.socket_tier.conftest import MakeTier, url

KEY = "00112233445566778899aabbccddeeff00112233"
UPGRADE = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


async def set_station(db: PooledDatabase, assignment: str) -> None:
    async def work(conn: Conn) -> None:
        await conn.execute(f"UPDATE stations SET {assignment} WHERE id = 'station-1'")  # type: ignore[arg-type]

    await db.run(work)


async def refused(address: str, **options: Any) -> tuple[int, str, Any]:
    with pytest.raises(InvalidStatus) as refusal:
        async with RawCharger.open(address, **options):
            pass
    response = refusal.value.response
    return response.status_code, (response.body or b"").decode(), response.headers


@pytest.mark.parametrize("path", ["ocpp/station-1", "ws/station-1", "ocpp/station-1/", "ocpp/SN-station-1",
                                  "ocpp/station%2D1", "ocpp/station-1?token=x", "ocpp//station-1"])  # fmt: skip
async def test_a_station_connects_by_either_path_by_id_or_serial(tier: SocketTier, network: Network, path: str) -> None:
    async with RawCharger.open(f"ws://127.0.0.1:{tier.port}/{path}") as charger:
        assert charger.socket.subprotocol == "ocpp1.6"
        assert "permessage-deflate" not in charger.socket.response.headers.get("Sec-WebSocket-Extensions", "")
        assert (await charger.call("Heartbeat"))["currentTime"].endswith("Z")


@pytest.mark.parametrize(
    ("path", "options", "status", "sentence"),
    [
        ("ocpp/nobody", {}, 404, "not known"),
        ("ocpp/station-1/more", {}, 404, "connect at /ocpp/"),
        ("other/station-1", {}, 404, "connect at /ocpp/"),
        ("ocpp/", {}, 404, "connect at /ocpp/"),
        ("ocpp/%00", {}, 404, "connect at /ocpp/"),
        ("ocpp/station-1", {"subprotocols": ("ocpp2.0.1",)}, 400, "speaks ocpp1.6"),
        ("ocpp/station-1", {"subprotocols": ()}, 400, "no WebSocket subprotocol"),
    ],
)
async def test_refusals_are_plain_sentences(
    tier: SocketTier, network: Network, path: str, options: dict[str, Any], status: int, sentence: str
) -> None:
    code, body, headers = await refused(f"ws://127.0.0.1:{tier.port}/{path}", **options)
    assert code == status
    assert sentence in body
    assert headers["Content-Type"].startswith("text/plain")


async def test_a_station_that_is_switched_off_is_told_so(
    tier: SocketTier, network: Network, db: PooledDatabase
) -> None:
    await set_station(db, "status = 'inactive'")
    assert (await refused(url(tier)))[0] == 403


async def test_a_station_may_be_allowed_to_name_no_subprotocol(
    tier: SocketTier, network: Network, db: PooledDatabase
) -> None:
    await set_station(db, "allow_missing_subprotocol = true")
    async with RawCharger.open(url(tier), subprotocols=()) as charger:
        assert charger.socket.subprotocol is None
        assert await charger.call("Heartbeat")


@pytest.mark.parametrize("values", [("",), (" ",), (",",), ("", "")])
async def test_a_subprotocol_header_without_a_name_offers_none(
    tier: SocketTier, network: Network, db: PooledDatabase, values: tuple[str, ...]
) -> None:
    header = UPGRADE + "".join(f"Sec-WebSocket-Protocol:{value}\r\n" for value in values)
    status, body = await http(tier, "/ocpp/station-1", header)
    assert (status, "no WebSocket subprotocol" in body) == (400, True)
    await set_station(db, "allow_missing_subprotocol = true")
    assert (await http(tier, "/ocpp/station-1", header, body=False))[0] == 101


async def test_a_subprotocol_header_that_is_no_list_is_told(
    tier: SocketTier, network: Network, db: PooledDatabase
) -> None:
    for allowed in ("false", "true"):
        await set_station(db, f"allow_missing_subprotocol = {allowed}")
        for value, told in (('"ocpp1.6"', '"ocpp1.6"'), ("ocpp1.6\xe9", "ocpp1.6\xc3\xa9")):
            status, body = await http(tier, "/ocpp/station-1", f"{UPGRADE}Sec-WebSocket-Protocol: {value}\r\n")
            assert status == 400
            assert f"speaks ocpp1.6; the charger offered {told}." in body


async def test_an_empty_subprotocol_header_beside_a_good_one_harms_nothing(tier: SocketTier, network: Network) -> None:
    header = UPGRADE + "Sec-WebSocket-Protocol:\r\nsec-websocket-protocol: ocpp2.0.1 , ocpp1.6\r\n"
    assert (await http(tier, "/ocpp/station-1", header, body=False))[0] == 101


async def test_a_key_that_is_set_is_asked_for(tier: SocketTier, network: Network, db: PooledDatabase) -> None:
    async def work(conn: Conn) -> None:
        await stations.set_authorization_key(conn, "station-1", KEY)

    await db.run(work)
    code, _body, headers = await refused(url(tier))
    assert code == 401
    assert headers["WWW-Authenticate"].startswith("Basic")
    assert (await refused(url(tier), user="station-1", password="wrong"))[0] == 401
    assert (await refused(url(tier), user="station-2", password=KEY))[0] == 401
    for user, password in (("station-1", KEY), ("SN-station-1", KEY), ("station-1", bytes.fromhex(KEY))):
        async with RawCharger.open(url(tier), user=user, password=password) as charger:
            assert await charger.call("Heartbeat")


async def test_without_a_key_nobody_comes_in_where_keys_are_required(make_tier: MakeTier, network: Network) -> None:
    tier = await make_tier(allow_unauthenticated_stations=False)
    code, body, _headers = await refused(url(tier))
    assert code == 401
    assert "AuthorizationKey" in body


async def test_repeated_failures_are_slowed_down(make_tier: MakeTier, network: Network) -> None:
    tier = await make_tier(allow_unauthenticated_stations=False)
    codes = [(await refused(url(tier)))[0] for _ in range(8)]
    assert codes[:5] == [401] * 5
    assert 503 in codes[5:]


async def test_connections_of_one_address_are_bounded(make_tier: MakeTier, network: Network) -> None:
    tier = await make_tier(ocpp_max_connections_per_address=2, trusted_proxies="127.0.0.1/32")
    near = {"X-Forwarded-For": "203.0.113.7"}
    async with RawCharger.open(url(tier), headers=near), RawCharger.open(url(tier), headers=near):
        code, body, headers = await refused(url(tier), headers=near)
        assert code == 503
        assert "this address" in body
        assert int(headers["Retry-After"]) > 0
        async with RawCharger.open(url(tier), headers={"X-Forwarded-For": "203.0.113.8"}) as other:
            assert await other.call("Heartbeat")


async def test_the_server_has_a_bounded_number_of_sockets(make_tier: MakeTier, network: Network) -> None:
    tier = await make_tier(ocpp_max_connections=1)
    async with RawCharger.open(url(tier)):
        assert (await refused(url(tier)))[0] == 503
    await until(lambda: tier.gate.open_sockets == 0, "the socket to be counted out")
    async with RawCharger.open(url(tier)) as charger:
        assert await charger.call("Heartbeat")


async def test_a_frame_that_is_too_large_closes_with_1009(tier: SocketTier, network: Network) -> None:
    async with RawCharger.open(url(tier)) as charger:
        await charger.send("[" + "1" * 1_100_000)
        assert (await charger.closed())[0] == 1009


async def http(tier: SocketTier, path: str, header: str = "", *, body: bool = True) -> tuple[int, str]:
    """Status and body of a plain request. An upgraded connection stays open: ``body=False`` reads its headers alone."""
    reader, writer = await asyncio.open_connection("127.0.0.1", tier.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{header}\r\n".encode())
    async with asyncio.timeout(10):
        data = await (reader.read() if body else reader.readuntil(b"\r\n\r\n"))
    writer.close()
    head, _, text = data.decode().partition("\r\n\r\n")
    return int(head.split()[1]), text


async def test_the_operators_endpoints(tier: SocketTier, network: Network) -> None:
    async with RawCharger.open(url(tier)) as charger:
        await charger.call("Heartbeat")
        status, body = await http(tier, "/health")
        assert status == 200
        assert '"connected_stations":1' in body
        assert (await http(tier, "/readyz"))[0] == 200
        status, body = await http(tier, "/metrics")
        assert status == 200
        assert 'evpower_message_seconds_count{action="Heartbeat"}' in body
        assert (await http(tier, "/metrics", "X-Forwarded-For: 203.0.113.1\r\n"))[0] == 404


async def test_not_ready_without_the_database(make_tier: MakeTier, network: Network) -> None:
    tier = await make_tier()
    await tier.database.pool.close()
    status, body = await http(tier, "/readyz")
    assert status == 503
    assert '"database":"unavailable"' in body
    assert (await http(tier, "/health"))[0] == 200
    assert (await refused(url(tier)))[0] == 503


async def test_a_plain_request_for_a_charger_path_is_no_crash(tier: SocketTier, network: Network) -> None:
    assert (await http(tier, "/ocpp/station-1"))[0] in (400, 426)
