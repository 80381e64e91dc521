"""The locations stream over real WebSockets, PostgreSQL and Valkey."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from evpower.clock import SystemClock
from evpower.config import Settings
from evpower.db import PooledDatabase
from evpower.realtime.service import Publisher
from evpower.redis_client import open_redis
from evpower.stations import service as stations
from evpower.stations.models import StatusReport
from infra.local.services import Valkey
from socket_tier.location_stream import STREAM_PATHS, LocationStream, is_stream_path
from tests.fakes.rows import add_station, connect_station, insert
from tests.fakes.stations import until

CLOCK = SystemClock()
ORIGIN = "capacitor://localhost"


class Stream:
    """A locations stream on a port, with its publisher."""

    def __init__(self, settings: Settings, db: PooledDatabase, **options: float) -> None:
        self.settings = settings
        self.db = db
        redis = open_redis(settings, socket_timeout_s=7)
        self.stream = LocationStream(settings, db, redis, CLOCK, **options)  # type: ignore[arg-type]
        self.publisher = Publisher(settings)
        self.server: Server | None = None
        self.port = 0

    async def start(self) -> None:
        async def handle(socket: ServerConnection) -> None:
            await self.stream.handle_stream(socket, "203.0.113.7")

        self.server = await serve(handle, "127.0.0.1", 0, compression=None)
        self.port = self.server.sockets[0].getsockname()[1]
        self.stream.start()

    async def stop(self) -> None:
        await self.stream.stop()
        assert self.server is not None
        self.server.close()
        await self.server.wait_closed()
        await self.publisher.close()

    def connect(self, path: str = "/api/v1/locations/stream", **options: Any) -> connect:
        return connect(f"ws://127.0.0.1:{self.port}{path}", **options)

    async def status(self, station: str, connector: int, word: str) -> None:
        """The charger reports a status; the tier publishes the change after the commit."""
        now = CLOCK.now()

        async def work(conn: Any) -> bool:
            found = await stations.resolve(conn, station)
            assert found is not None
            report = StatusReport(connector, word, found.connection_epoch)
            return (await stations.record_status(conn, station, report, now)).changed

        assert await self.db.run(work)
        await self.publisher.stations_changed([station])


MakeStream = Callable[..., Any]


@pytest.fixture
def settings(redis_url: str, make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(redis_url=redis_url)


@pytest.fixture
async def make(settings: Settings, db: PooledDatabase) -> AsyncIterator[MakeStream]:
    """Two places: p-1 with st-1 and st-2 (two connectors each), p-2 with st-3; all seen just now."""
    async with db.transaction() as conn:
        for place in ("p-1", "p-2"):
            await insert(conn, "locations", id=place, name=f"Place {place}", address="Street 1")
        for station, place in (("st-1", "p-1"), ("st-2", "p-1"), ("st-3", "p-2")):
            await add_station(
                conn, station, location_id=place, is_available=True, last_heartbeat_at=CLOCK.now(), price_per_kwh=14
            )
            await connect_station(conn, station, "a", CLOCK.now())
    made: list[Stream] = []

    async def start(given: Settings | None = None, **options: float) -> Stream:
        made.append(Stream(given or settings, db, **options))
        await made[-1].start()
        return made[-1]

    yield start
    for item in made:
        await item.stop()


@pytest.fixture
async def stream(make: MakeStream) -> Stream:
    found: Stream = await make()
    await until(lambda: not found.stream.degraded, "the subscription")
    return found


async def receive(socket: ClientConnection, timeout_s: float = 10) -> dict[str, Any]:
    async with asyncio.timeout(timeout_s):
        message: dict[str, Any] = json.loads(await socket.recv())
    return message


async def collect(socket: ClientConnection, count: int) -> list[dict[str, Any]]:
    return [await receive(socket) for _ in range(count)]


async def greeted(socket: ClientConnection, events: int = 5) -> list[dict[str, Any]]:
    """The snapshot: two locations and three stations after the greeting."""
    hello, *snapshot = await collect(socket, 1 + events)
    assert (hello["type"], hello["status"]) == ("connection", "connected")
    return snapshot


def by_subject(messages: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {message.get("station_id") or message["location_id"]: message for message in messages}


async def test_a_snapshot_comes_first(stream: Stream) -> None:
    async with stream.connect("/api/v1/ws/locations?client_id=phone-1") as socket:
        hello, *messages = await collect(socket, 6)
    assert hello["client_id"] == "phone-1"
    found = by_subject(messages)
    place = found["p-1"]
    assert {name: place[name] for name in place if name != "timestamp"} == {
        "type": "location_status_update",
        "location_id": "p-1",
        "location_name": "Place p-1",
        "status": "available",
        "stations_summary": {"total": 2, "available": 2, "occupied": 0, "offline": 0, "maintenance": 0},
        "connectors_summary": {"total": 4, "available": 4, "occupied": 0, "faulted": 0},
    }
    station = found["st-1"]
    assert {name: station[name] for name in station if name != "timestamp"} == {
        "type": "station_status_update",
        "station_id": "st-1",
        "serial_number": "SN-st-1",
        "location_id": "p-1",
        "status": "available",
        "connectors": [
            {"id": 1, "status": "available", "available": True},
            {"id": 2, "status": "available", "available": True},
        ],
        "available_connectors": 2,
        "occupied_connectors": 0,
    }
    assert all(message["timestamp"].endswith("Z") for message in messages)
    assert set(found) == {"p-1", "p-2", "st-1", "st-2", "st-3"}


async def test_a_change_is_sent_to_every_app_and_nothing_else_is(stream: Stream) -> None:
    async with stream.connect() as one, stream.connect() as other:
        await greeted(one)
        await greeted(other)
        await stream.status("st-1", 1, "Charging")
        for socket in (one, other):
            found = by_subject(await collect(socket, 2))
            assert found["st-1"]["connectors"][0] == {"id": 1, "status": "occupied", "available": False}
            assert found["st-1"]["occupied_connectors"] == 1
            assert found["p-1"]["connectors_summary"]["available"] == 3
            with pytest.raises(TimeoutError):
                await receive(socket, timeout_s=0.3)


async def test_a_second_app_gets_the_present_state_at_once(stream: Stream) -> None:
    async with stream.connect() as one:
        await greeted(one)
        await stream.status("st-3", 1, "Faulted")
        await collect(one, 2)
        async with stream.connect() as other:
            found = by_subject(await greeted(other))
    assert found["st-3"]["connectors"][0]["status"] == "faulted"


async def test_only_what_was_subscribed(stream: Stream) -> None:
    async with stream.connect("/api/v1/locations/ws/locations") as socket:
        await greeted(socket)
        await socket.send('{"action":"unsubscribe","channel":"all"}')
        await socket.send('{"type":"subscribe","data":{"channel":"station:SN-st-2"}}')
        messages = await collect(socket, 3)
        assert [m["type"] for m in messages] == ["subscription", "subscription", "station_status_update"]
        assert messages[2]["station_id"] == "st-2"
        await stream.status("st-1", 1, "Charging")
        await stream.status("st-2", 1, "Charging")
        changed = await receive(socket)
        assert (changed["station_id"], changed["occupied_connectors"]) == ("st-2", 1)
        await socket.send('{"action":"subscribe","channel":"location_stations:p-2"}')
        assert [m.get("station_id") for m in await collect(socket, 2)] == [None, "st-3"]


async def test_a_change_published_on_another_instance_arrives(stream: Stream, make: MakeStream) -> None:
    other = await make()
    await until(lambda: not other.stream.degraded, "the other subscription")
    async with other.connect() as socket:
        await greeted(socket)
        await stream.status("st-2", 2, "Unavailable")
        found = by_subject(await collect(socket, 2))
        assert found["st-2"]["connectors"][1]["status"] == "unavailable"


async def test_a_new_station_appears(stream: Stream, db: PooledDatabase) -> None:
    async with stream.connect() as socket:
        await greeted(socket)
        async with db.transaction() as conn:
            await add_station(conn, "st-9", location_id="p-2", last_heartbeat_at=CLOCK.now(), is_available=True)
        await stream.publisher.stations_changed(["st-9"])
        found = by_subject(await collect(socket, 2))
    assert found["p-2"]["stations_summary"]["total"] == 2
    assert found["st-9"]["status"] == "available"


async def test_a_station_that_falls_silent_is_shown_offline_without_an_event(
    make: MakeStream, db: PooledDatabase
) -> None:
    stream: Stream = await make(reread_s=0.2, reread_degraded_s=0.2)
    async with stream.connect() as socket:
        await greeted(socket)
        async with db.transaction() as conn:
            await conn.execute(
                "UPDATE stations SET last_heartbeat_at = %s WHERE id = 'st-3'", (CLOCK.now() - timedelta(hours=1),)
            )
        found = by_subject(await collect(socket, 2))
    assert found["st-3"]["status"] == "offline"
    assert found["st-3"]["available_connectors"] == 0
    assert found["p-2"]["status"] == "offline"


async def test_pings_come_by_themselves(make: MakeStream) -> None:
    stream: Stream = await make(ping_s=0.1)
    async with stream.connect() as socket:
        await greeted(socket)
        assert (await receive(socket))["type"] == "ping"


async def closed_with(connection: connect) -> int | None:
    async with connection as socket, asyncio.timeout(5):
        await socket.wait_closed()
        return socket.close_code


async def test_foreign_origins_are_refused_and_known_ones_and_none_are_not(stream: Stream) -> None:
    assert await closed_with(stream.connect(origin="https://evil.example")) == 1008
    for origin in (ORIGIN, None):
        async with stream.connect(origin=origin) as socket:
            await greeted(socket)


async def test_sockets_of_one_address_are_bounded(make: MakeStream) -> None:
    stream: Stream = await make(sockets_per_address=2)
    async with stream.connect() as one, stream.connect() as two:
        await greeted(one)
        await greeted(two)
        assert await closed_with(stream.connect()) == 1013
    await until(lambda: not len(stream.stream), "the sockets to be gone")
    async with stream.connect() as again:
        await greeted(again)


async def test_an_app_that_does_not_read_is_cut_off_and_blocks_nobody(make: MakeStream, db: PooledDatabase) -> None:
    stream: Stream = await make(send_timeout_s=0.3)
    await until(lambda: not stream.stream.degraded, "the subscription")
    names = "x" * 200
    async with db.transaction() as conn:
        await conn.execute(
            "INSERT INTO locations (id, name, address) SELECT 'big-' || n, %s, '' FROM generate_series(1, 3000) n",
            (names,),
        )
    async with stream.connect() as good:
        await greeted(good, events=3005)
        reader, writer = await asyncio.open_connection("127.0.0.1", stream.port, limit=1024)
        writer.get_extra_info("socket").setsockopt(1, 8, 4096)  # SOL_SOCKET, SO_RCVBUF: a small window
        handshake = (
            "GET /api/v1/locations/stream HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        writer.write(handshake.encode())
        await reader.readline()
        await until(lambda: len(stream.stream) == 2, "the silent app to be served")
        word = 0
        while len(stream.stream) == 2:  # it never reads; what is sent to it fills the buffers between
            word += 1
            async with db.transaction() as conn:
                await conn.execute("UPDATE locations SET name = %s WHERE id LIKE 'big-%%'", (f"{word}{names}",))
            stream.stream.changed(None)
            assert by_subject(await collect(good, 3000))["big-1"]["location_name"].startswith(str(word))
        await stream.status("st-1", 1, "Charging")
        assert "st-1" in by_subject(await collect(good, 2))
        writer.close()


async def test_the_server_closes_with_restart(stream: Stream) -> None:
    async with stream.connect() as socket:
        await greeted(socket)
        stopping = asyncio.create_task(stream.stream.stop())
        with pytest.raises(ConnectionClosed):
            await receive(socket)
        assert socket.close_code == 1012
        await stopping


@pytest.fixture
def own_valkey() -> Iterator[Valkey]:
    server = Valkey()
    yield server.start()
    server.stop()


async def test_redis_away_changes_are_found_by_reading_and_it_recovers(
    make: MakeStream, settings: Settings, own_valkey: Valkey
) -> None:
    settings = Settings.model_validate(settings.model_dump() | {"redis_url": own_valkey.url})
    stream: Stream = await make(settings, reread_degraded_s=0.2, reread_s=60)
    await until(lambda: not stream.stream.degraded, "the subscription")
    async with stream.connect() as socket:
        await greeted(socket)
        own_valkey.children[0].stop(timeout_s=5)
        await until(lambda: stream.stream.degraded, "the outage to be noticed")
        await stream.status("st-1", 1, "Charging")
        assert "st-1" in by_subject(await collect(socket, 2))
        own_valkey.start()
        await until(lambda: not stream.stream.degraded, "the subscription to be back")
        fresh = Publisher(settings)
        stream.publisher = fresh
        await stream.status("st-1", 1, "Available")
        assert "st-1" in by_subject(await collect(socket, 2))


async def test_valkey_in_cluster_mode(make: MakeStream, settings: Settings, redis_cluster_url: str) -> None:
    settings = Settings.model_validate(settings.model_dump() | {"redis_url": redis_cluster_url, "redis_cluster": True})
    one, other = await make(settings), await make(settings)
    for item in (one, other):
        await until(lambda item=item: not item.stream.degraded, "the subscription")
    async with one.connect() as here, other.connect() as there:
        await greeted(here)
        await greeted(there)
        await one.status("st-1", 1, "Charging")
        for socket in (here, there):
            assert "st-1" in by_subject(await collect(socket, 2))


async def test_the_publisher_never_raises(make_settings: Callable[..., Settings]) -> None:
    publisher = Publisher(make_settings(redis_url="redis://127.0.0.1:9/0"))
    await publisher.stations_changed(["st-1"])
    await publisher.stations_changed(["st-1"])
    await publisher.close()


def test_paths() -> None:
    assert all(is_stream_path(path) and is_stream_path(path + "/") for path in STREAM_PATHS)
    assert not is_stream_path("/api/v1/locations")
