"""Who is told what, and how often: rows of the outbox."""

import asyncio
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from evpower.db import Conn, PooledDatabase
from evpower.notifications import service as notifications
from tests.integration.evpower.stations.rows import NOW, add_station, insert

CLIENT = "client-a"


@pytest.fixture
async def conn(db: PooledDatabase):  # type: ignore[no-untyped-def]
    async with db.transaction() as connection:
        await insert(connection, "clients", id=CLIENT, phone="+996700000001", balance=Decimal("49.99"))
        await insert(connection, "users", id="owner", role="admin")
        await insert(connection, "users", id="landlord", role="admin")
        await insert(connection, "locations", id="loc-1", name="Central", admin_id="landlord")
        await add_station(connection, "owned", user_id="owner", location_id="loc-1")
        await add_station(connection, "placed", location_id="loc-1")
        await add_station(connection, "nobody-s")
        yield connection


async def rows(conn: Conn) -> list[tuple[str, str, str, dict[str, Any]]]:
    cursor = await conn.execute("SELECT user_type, user_id, event, payload FROM push_outbox ORDER BY id")
    return [(row["user_type"], row["user_id"], row["event"], row["payload"]) async for row in cursor]


async def test_a_session_is_told_to_the_driver_and_the_owner_once(conn: Conn) -> None:
    for _ in range(2):
        await notifications.charging_started(
            conn, client_id=CLIENT, session_id="s-1", station_id="owned", connector_id=2
        )
        await notifications.charging_completed(
            conn,
            client_id=CLIENT,
            session_id="s-1",
            station_id="owned",
            energy_kwh=Decimal("12.345"),
            amount=Decimal("166.66"),
        )
    bill = {"session_id": "s-1", "energy_kwh": 12.345, "amount": 166.66}
    station = {"station_id": "owned", "serial_number": "SN-owned", "location_id": "loc-1"}
    assert await rows(conn) == [
        ("client", CLIENT, "charging_started", {"session_id": "s-1", "station_id": "owned", "connector_id": 2}),
        ("owner", "owner", "new_session", {"session_id": "s-1", **station}),
        ("client", CLIENT, "charging_completed", bill),
        ("owner", "owner", "session_completed", {**bill, **station}),
    ]


async def test_a_station_without_an_owner_is_its_place_s(conn: Conn) -> None:
    for station_id in ("placed", "nobody-s"):
        await notifications.charging_started(
            conn, client_id=CLIENT, session_id=station_id, station_id=station_id, connector_id=1
        )
    assert [(user, event) for kind, user, event, _ in await rows(conn) if kind == "owner"] == [
        ("landlord", "new_session")
    ]


async def test_each_silence_of_a_station_is_told_once(conn: Conn) -> None:
    async def silent() -> None:
        await notifications.stations_offline(conn, ["owned", "placed", "nobody-s"], NOW)

    await silent()
    await silent()
    since = {"offline_since": "2026-03-11T06:00:00.000Z"}
    first = [
        ("owner", "owner", "station_offline",
         {"station_id": "owned", "serial_number": "SN-owned", "location_id": "loc-1", **since}),
        ("owner", "landlord", "station_offline",
         {"station_id": "placed", "serial_number": "SN-placed", "location_id": "loc-1", **since}),
    ]  # fmt: skip
    assert await rows(conn) == first
    await conn.execute("UPDATE stations SET last_heartbeat_at = last_heartbeat_at + interval '1 hour'")
    await conn.execute("UPDATE stations SET status = 'maintenance' WHERE id = 'placed'")
    await silent()
    assert [(user, payload["offline_since"]) for _, user, _, payload in (await rows(conn))[2:]] == [
        ("owner", "2026-03-11T07:00:00.000Z")
    ]


async def warned(conn: Conn) -> list[dict[str, Any]]:
    return [payload for _, _, event, payload in await rows(conn) if event == "low_balance_warning"]


async def test_a_low_balance_is_told_once_in_24_hours_whatever_else_is_sent(conn: Conn) -> None:
    await notifications.charging_error(conn, client_id=CLIENT, session_id="s-1", error_code="x")
    await notifications.warn_of_low_balance(conn, CLIENT, NOW)
    assert await warned(conn) == [{"balance": 49.99, "threshold": 50}]
    await conn.execute("UPDATE clients SET balance = 500")
    await notifications.warn_of_low_balance(conn, CLIENT, NOW + timedelta(hours=1))
    await conn.execute("UPDATE clients SET balance = 3")
    await notifications.warn_of_low_balance(conn, CLIENT, NOW + timedelta(hours=23, minutes=59))
    assert len(await warned(conn)) == 1
    await notifications.warn_of_low_balance(conn, CLIENT, NOW + timedelta(hours=24))
    assert [payload["balance"] for payload in await warned(conn)] == [49.99, 3]


@pytest.mark.parametrize(("balance", "status"), [("50.00", "active"), ("1", "blocked"), ("0", "deleted")])
async def test_who_is_not_warned(conn: Conn, balance: str, status: str) -> None:
    await conn.execute("UPDATE clients SET balance = %s, status = %s", (Decimal(balance), status))
    await notifications.warn_of_low_balance(conn, CLIENT, NOW)
    await notifications.warn_of_low_balance(conn, "unknown", NOW)
    assert await warned(conn) == []


async def test_the_threshold_is_a_setting(conn: Conn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOW_BALANCE_THRESHOLD_SOM", "20")
    await notifications.warn_of_low_balance(conn, CLIENT, NOW)
    assert await warned(conn) == []


async def test_settlements_at_once_warn_once(db: PooledDatabase) -> None:
    async def work(conn: Conn) -> None:
        await notifications.warn_of_low_balance(conn, CLIENT, NOW)

    async with db.transaction() as connection:
        await insert(connection, "clients", id=CLIENT, phone="+996700000001", balance=Decimal(1))
    await asyncio.gather(*(db.run(work) for _ in range(8)))
    async with db.transaction() as connection:
        assert len(await warned(connection)) == 1
