"""Rows that tests put into a fresh database."""

from datetime import UTC, datetime
from typing import Any

from evpower.db import Conn

NOW = datetime(2026, 3, 11, 6, 0, tzinfo=UTC)


async def insert(conn: Conn, table: str, **values: Any) -> None:
    columns, marks = ", ".join(values), ", ".join(["%s"] * len(values))
    await conn.execute(f"INSERT INTO {table} ({columns}) VALUES ({marks})", tuple(values.values()))


async def add_station(conn: Conn, station_id: str = "st-1", *, connectors: int = 2, **values: Any) -> None:
    await insert(
        conn,
        "stations",
        **{"id": station_id, "serial_number": f"SN-{station_id}", "last_heartbeat_at": NOW, **values},
    )
    for number in range(1, connectors + 1):
        await insert(
            conn, "connectors", station_id=station_id, connector_number=number, connector_type="CCS2", power_kw=60
        )


async def one(conn: Conn, query: str, *values: Any) -> dict[str, Any]:
    row = await (await conn.execute(query, values)).fetchone()
    assert row is not None
    return row


async def events(conn: Conn, station_id: str) -> list[tuple[str, str, int | None]]:
    cursor = await conn.execute(
        "SELECT type, severity, connector_id FROM station_events WHERE station_id = %s ORDER BY id", (station_id,)
    )
    return [(row["type"], row["severity"], row["connector_id"]) async for row in cursor]
