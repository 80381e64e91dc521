"""Connectors, and what chargers report: status, configuration, events."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from evpower.db import Conn
from evpower.stations.models import Connector, StationRef, StatusReport, StoredStatus
from evpower.stations.repository.rows import CONNECTOR, connector_of


async def connectors_of(conn: Conn, station_id: str) -> list[Connector]:
    cursor = await conn.execute(
        f"SELECT {CONNECTOR} FROM connectors c WHERE c.station_id = %s ORDER BY c.connector_number",  # noqa: S608 - constant column list
        (station_id,),
    )
    return [connector_of(row) async for row in cursor]


async def lock_connector(conn: Conn, station_id: str, number: int) -> Connector | None:
    cursor = await conn.execute(
        f"SELECT {CONNECTOR} FROM connectors c WHERE c.station_id = %s AND c.connector_number = %s FOR UPDATE",  # noqa: S608 - constant column list
        (station_id, number),
    )
    row = await cursor.fetchone()
    return connector_of(row) if row else None


async def hold_connector(conn: Conn, station_id: str, number: int, session_id: str) -> bool:
    cursor = await conn.execute(
        """
        UPDATE connectors SET live_session_id = %(session)s, updated_at = now()
         WHERE station_id = %(station)s AND connector_number = %(number)s
           AND coalesce(live_session_id, %(session)s) = %(session)s""",
        {"session": session_id, "station": station_id, "number": number},
    )
    return cursor.rowcount == 1


async def release_connector(conn: Conn, session_id: str) -> StationRef | None:
    cursor = await conn.execute(
        """
        UPDATE connectors c SET live_session_id = NULL, updated_at = now()
          FROM stations s
         WHERE c.live_session_id = %s AND s.id = c.station_id
        RETURNING s.id AS station_id, s.location_id""",
        (session_id,),
    )
    row = await cursor.fetchone()
    return StationRef(**row) if row else None


_STORED_STATUS = """ocpp_status, error_code, status_charger_at AS charger_at, status_received_at AS received_at,
    status_epoch AS epoch"""


async def lock_status(conn: Conn, station_id: str, connector: int) -> StoredStatus | None:
    """What is stored of a connector (0: of the station), locked to the end of the transaction."""
    if connector:
        where = "connectors WHERE station_id = %s AND connector_number = %s"
        values: tuple[str | int, ...] = (station_id, connector)
    else:
        where, values = "stations WHERE id = %s", (station_id,)
    cursor = await conn.execute(f"SELECT {_STORED_STATUS} FROM {where} FOR NO KEY UPDATE", values)  # noqa: S608 - constant parts
    row = await cursor.fetchone()
    return StoredStatus(**row) if row else None


async def add_connector(conn: Conn, station_id: str, number: int) -> bool:
    """Add a connector that the charger reports and nobody configured; false when it is there by now."""
    cursor = await conn.execute(
        """
        INSERT INTO connectors (station_id, connector_number) VALUES (%s, %s)
        ON CONFLICT (station_id, connector_number) DO NOTHING""",
        (station_id, number),
    )
    return cursor.rowcount == 1


async def set_status(conn: Conn, station_id: str, report: StatusReport, now: datetime) -> None:
    """Store the report on its connector, or on the station for connector 0."""
    query = """
        UPDATE connectors
           SET ocpp_status = %(status)s, error_code = %(error)s, error_info = %(info)s,
               vendor_error_code = %(vendor_error)s, status_charger_at = %(charger_at)s,
               status_received_at = %(now)s, status_epoch = %(epoch)s, updated_at = now()
         WHERE station_id = %(station)s AND connector_number = %(connector)s"""
    if report.connector == 0:
        query = """
        UPDATE stations
           SET status_changed_at = CASE WHEN ocpp_status = %(status)s THEN status_changed_at ELSE %(now)s END,
               ocpp_status = %(status)s, error_code = %(error)s, status_charger_at = %(charger_at)s,
               status_received_at = %(now)s, status_epoch = %(epoch)s, updated_at = now()
         WHERE id = %(station)s"""
    values = {
        "station": station_id,
        "connector": report.connector,
        "status": report.status,
        "error": report.error_code,
        "info": report.info,
        "vendor_error": report.vendor_error_code,
        "charger_at": report.charger_at,
        "epoch": report.epoch,
        "now": now,
    }
    await conn.execute(query, values)


async def store_configuration(
    conn: Conn,
    station_id: str,
    keys: Sequence[Mapping[str, Any]],
    unknown: Sequence[str],
    now: datetime,
    *,
    whole: bool,
) -> None:
    """Keep the configuration as last read; the newest of a key that the charger names twice stays."""
    rows = {str(item["key"]): (item["value"], item["readonly"], False) for item in keys}
    rows |= {key: (None, False, True) for key in unknown if key not in rows}
    if whole:
        await conn.execute(
            "DELETE FROM ocpp_configuration WHERE station_id = %s AND key <> ALL(%s)", (station_id, list(rows))
        )
    await conn.execute(
        """
        INSERT INTO ocpp_configuration (station_id, key, value, is_readonly, is_unknown, read_at)
        SELECT %s, key, value, readonly, unknown, %s
          FROM unnest(%s::text[], %s::text[], %s::boolean[], %s::boolean[]) AS u (key, value, readonly, unknown)
            ON CONFLICT (station_id, key) DO UPDATE
           SET value = excluded.value, is_readonly = excluded.is_readonly, is_unknown = excluded.is_unknown,
               read_at = excluded.read_at
        """,
        (station_id, now, list(rows), *(list(column) for column in zip(*rows.values(), strict=True)))
        if rows
        else (station_id, now, [], [], [], []),
    )


async def store_value(conn: Conn, station_id: str, key: str, value: str, now: datetime) -> None:
    """The key's new value; keys are case-insensitive (OCPP 1.6 section 5.3), and one that was never read stays away."""
    await conn.execute(
        """UPDATE ocpp_configuration SET value = %s, read_at = %s, is_unknown = false
            WHERE station_id = %s AND key_folded = lower(%s)""",
        (value, now, station_id, key),
    )


async def configuration(conn: Conn, station_id: str) -> dict[str, str]:
    cursor = await conn.execute(
        "SELECT key_folded AS key, value FROM ocpp_configuration WHERE station_id = %s AND value IS NOT NULL",
        (station_id,),
    )
    return {row["key"]: row["value"] for row in await cursor.fetchall()}


async def add_event(
    conn: Conn,
    station_id: str,
    event: str,
    *,
    severity: str,
    payload: Mapping[str, Any],
    connector: int | None,
    charger_at: datetime | None,
    received_at: datetime,
    same_since: datetime | None,
) -> None:
    """``same_since``: an event that says what the station's last one of its type since then said is not kept."""
    values = {
        "station": station_id,
        "connector": connector,
        "type": event,
        "severity": severity,
        "payload": Jsonb(dict(payload)),
        "charger_at": charger_at,
        "received_at": received_at,
        "since": same_since,
    }
    await conn.execute(
        """
        INSERT INTO station_events (station_id, connector_id, type, severity, payload, charger_at, received_at)
        SELECT %(station)s, %(connector)s::int, %(type)s, %(severity)s, %(payload)s, %(charger_at)s::timestamptz,
               %(received_at)s
         WHERE %(since)s::timestamptz IS NULL
            OR %(payload)s IS DISTINCT FROM (
                   SELECT e.payload FROM station_events e
                    WHERE e.station_id = %(station)s AND e.type = %(type)s AND e.received_at >= %(since)s
                    ORDER BY e.received_at DESC, e.id DESC LIMIT 1)""",
        values,
    )


async def had_event(conn: Conn, station_id: str, event: str, since: datetime) -> bool:
    """Whether the station has an event of this type received after ``since``."""
    cursor = await conn.execute(
        "SELECT FROM station_events WHERE station_id = %s AND type = %s AND received_at > %s LIMIT 1",
        (station_id, event, since),
    )
    return await cursor.fetchone() is not None
