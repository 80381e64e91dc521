"""What operators look up of one station: its connection, connectors, configuration and events."""

from datetime import datetime

from evpower.db import Conn
from evpower.stations.inspected import (
    ConfigurationKey,
    ConnectionState,
    ConnectorState,
    EventFilter,
    StationEvent,
)

_CONNECTION = ", ".join(f"s.{name}" for name in ConnectionState.__slots__)
_CONNECTOR = ", ".join(f"c.{name}" for name in ConnectorState.__slots__)
_EVENT = ", ".join(f"e.{name}" for name in StationEvent.__slots__)


async def connection(conn: Conn, station_id: str) -> ConnectionState | None:
    cursor = await conn.execute(f"SELECT {_CONNECTION} FROM stations s WHERE s.id = %s", (station_id,))  # noqa: S608 - constant column list
    row = await cursor.fetchone()
    return None if row is None else ConnectionState(**row)


async def connectors(conn: Conn, station_id: str) -> list[ConnectorState]:
    cursor = await conn.execute(
        f"SELECT {_CONNECTOR} FROM connectors c WHERE c.station_id = %s ORDER BY c.connector_number",  # noqa: S608 - constant column list
        (station_id,),
    )
    return [ConnectorState(**row) for row in await cursor.fetchall()]


async def configuration(conn: Conn, station_id: str, after: str | None, limit: int) -> list[ConfigurationKey]:
    cursor = await conn.execute(
        """SELECT key, value, is_readonly, is_unknown, read_at FROM ocpp_configuration
            WHERE station_id = %(station)s AND (%(after)s::text IS NULL OR key > %(after)s)
            ORDER BY key LIMIT %(limit)s""",
        {"station": station_id, "after": after, "limit": limit},
    )
    return [ConfigurationKey(**row) for row in await cursor.fetchall()]


async def events(
    conn: Conn, station_id: str, wanted: EventFilter, before: int | None, limit: int
) -> list[StationEvent]:
    cursor = await conn.execute(
        f"""SELECT {_EVENT} FROM station_events e
             WHERE e.station_id = %(station)s
               AND (%(before)s::bigint IS NULL OR e.id < %(before)s)
               AND (%(type)s::text IS NULL OR e.type = %(type)s)
               AND (%(severity)s::text IS NULL OR e.severity = %(severity)s)
               AND (%(connector)s::integer IS NULL OR e.connector_id = %(connector)s)
               AND (%(since)s::timestamptz IS NULL OR e.received_at >= %(since)s)
               AND (%(until)s::timestamptz IS NULL OR e.received_at < %(until)s)
             ORDER BY e.id DESC LIMIT %(limit)s""",  # noqa: S608 - constant column list
        {
            "station": station_id,
            "before": before,
            "type": wanted.type,
            "severity": wanted.severity,
            "connector": wanted.connector,
            "since": wanted.since,
            "until": wanted.until,
            "limit": limit,
        },
    )
    return [StationEvent(**row) for row in await cursor.fetchall()]


async def configuration_read_at(conn: Conn, station_id: str) -> datetime | None:
    cursor = await conn.execute(
        "SELECT max(read_at) AS read_at FROM ocpp_configuration WHERE station_id = %s", (station_id,)
    )
    row = await cursor.fetchone()
    return None if row is None else row["read_at"]
