"""Rows that several suites put into a fresh database."""

from datetime import datetime
from decimal import Decimal

from psycopg.types.json import Jsonb

from evpower.db import Conn
from evpower.ids import new_id, new_id_tag
from evpower.pricing.models import Price
from evpower.stations import service as stations
from tests.integration.evpower.stations.rows import NOW, add_station, insert, one

__all__ = ["NOW", "add_client", "add_session", "add_station", "connect_station", "insert", "one"]


async def connect_station(conn: Conn, station_id: str, instance: str, now: datetime = NOW) -> int:
    """Connect the station to an instance; the epoch of the connection."""
    return await stations.claim_connection(conn, station_id, instance, now)


async def add_client(conn: Conn, client_id: str | None = None) -> str:
    client_id = client_id or new_id()
    await insert(conn, "clients", id=client_id, phone=f"test-{client_id[:12]}")
    return client_id


async def add_session(conn: Conn, station_id: str, *, state: str = "pending", connector: int = 1) -> str:
    """A session without money, only to be locked and looked at."""
    session_id = new_id()
    await insert(
        conn,
        "charging_sessions",
        id=session_id,
        user_id=await add_client(conn),
        station_id=station_id,
        connector_id=connector,
        id_tag=new_id_tag(),
        state=state,
        price=Jsonb(Price(Decimal("13.5")).to_json()),
    )
    return session_id
