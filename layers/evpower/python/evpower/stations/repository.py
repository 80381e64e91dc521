"""SQL of stations, connectors and locations."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

from psycopg.rows import tuple_row
from psycopg.types.json import Jsonb

from evpower.db import Conn
from evpower.stations.models import (
    AdminStatus,
    Admission,
    BootInfo,
    Connector,
    ConnectorStatus,
    Location,
    RegistrationStatus,
    Station,
    StationRef,
    StatusReport,
    StoredStatus,
)

_STATION_FIELDS = tuple(field.name for field in fields(Station))
_STATION = ", ".join(f"s.{name}" for name in _STATION_FIELDS)
_CONNECTOR = ", ".join(f"c.{field.name}" for field in fields(Connector))


def _station_of(row: Mapping[str, Any]) -> Station:
    return Station(
        **{
            **row,
            "status": AdminStatus(row["status"]),
            "registration_status": RegistrationStatus(row["registration_status"]),
        }
    )


def _connector_of(row: Mapping[str, Any]) -> Connector:
    return Connector(**{**row, "status": ConnectorStatus(row["status"])})


# --- Reading one --------------------------------------------------------------------------------------------------


async def find(conn: Conn, ref: str) -> Station | None:
    """The station with this id, else the one with this serial number."""
    cursor = await conn.execute(
        f"SELECT {_STATION} FROM stations s WHERE s.id = %(ref)s OR s.serial_number = %(ref)s"  # noqa: S608 - constant column list
        " ORDER BY (s.id = %(ref)s) DESC LIMIT 1",
        {"ref": ref},
    )
    row = await cursor.fetchone()
    return _station_of(row) if row else None


async def admission(conn: Conn, ref: str) -> Admission | None:
    """Everything that the upgrade needs, in one query."""
    cursor = await conn.execute(
        """
        SELECT s.id AS station_id, s.serial_number, s.status, s.registration_status, s.auth_key_hash,
               s.allow_missing_subprotocol, s.answers_pings, s.heartbeat_interval_s, s.meter_interval_s,
               s.connection_epoch, s.location_id
          FROM stations s WHERE s.id = %(ref)s OR s.serial_number = %(ref)s
         ORDER BY (s.id = %(ref)s) DESC LIMIT 1""",
        {"ref": ref},
    )
    row = await cursor.fetchone()
    if row is None:
        return None
    status, registration = AdminStatus(row["status"]), RegistrationStatus(row["registration_status"])
    return Admission(**{**row, "status": status, "registration_status": registration})


async def connectors_of(conn: Conn, station_id: str) -> list[Connector]:
    cursor = await conn.execute(
        f"SELECT {_CONNECTOR} FROM connectors c WHERE c.station_id = %s ORDER BY c.connector_number",  # noqa: S608 - constant column list
        (station_id,),
    )
    return [_connector_of(row) async for row in cursor]


async def count_connected(conn: Conn, seen_after: datetime) -> int:
    cursor = await conn.execute(
        "SELECT count(*) AS n FROM stations WHERE connected_instance IS NOT NULL AND last_heartbeat_at > %s",
        (seen_after,),
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row["n"])


# --- Connectors and sessions --------------------------------------------------------------------------------------


async def lock_connector(conn: Conn, station_id: str, number: int) -> Connector | None:
    cursor = await conn.execute(
        f"SELECT {_CONNECTOR} FROM connectors c WHERE c.station_id = %s AND c.connector_number = %s FOR UPDATE",  # noqa: S608 - constant column list
        (station_id, number),
    )
    row = await cursor.fetchone()
    return _connector_of(row) if row else None


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


# --- Connection and liveness --------------------------------------------------------------------------------------


async def claim_connection(
    conn: Conn, station_id: str, instance: str, protocol: str | None, now: datetime
) -> int | None:
    """Take the station for a new socket; its epoch. The row lock orders concurrent claims, the sequence names them."""
    cursor = await conn.execute(
        """
        WITH locked AS (SELECT id FROM stations WHERE id = %(id)s FOR UPDATE),
             claimed AS (SELECT id, nextval('station_epoch_seq') AS epoch FROM locked)
        UPDATE stations s
           SET connection_epoch = c.epoch, connected_instance = %(instance)s, connected_at = %(now)s,
               ocpp_protocol = coalesce(%(protocol)s, s.ocpp_protocol),
               last_heartbeat_at = greatest(s.last_heartbeat_at, %(now)s),
               is_available = (s.registration_status = 'accepted'), updated_at = now()
          FROM claimed c WHERE s.id = c.id
        RETURNING s.connection_epoch""",
        {"id": station_id, "instance": instance, "protocol": protocol, "now": now},
    )
    row = await cursor.fetchone()
    return int(row["connection_epoch"]) if row else None


async def owns_connection(conn: Conn, station_id: str, epoch: int) -> bool:
    cursor = await conn.execute("SELECT 1 FROM stations WHERE id = %s AND connection_epoch = %s", (station_id, epoch))
    return await cursor.fetchone() is not None


async def release_connection(conn: Conn, station_id: str, epoch: int, last_seen: datetime | None) -> bool:
    cursor = await conn.execute(
        """
        UPDATE stations SET connected_instance = NULL, connected_at = NULL, updated_at = now(),
               last_heartbeat_at = greatest(last_heartbeat_at, %s::timestamptz)
         WHERE id = %s AND connection_epoch = %s""",
        (last_seen, station_id, epoch),
    )
    return cursor.rowcount == 1


async def touch(conn: Conn, seen: Mapping[str, datetime]) -> list[StationRef]:
    """Flush the last signs of life of many stations; those that come back as available are returned.

    Rows are locked in the order of their ids, so that two instances flushing the same stations cannot deadlock.
    """
    names = sorted(seen)
    cursor = await conn.execute(
        """
        WITH beat AS (SELECT * FROM unnest(%s::text[], %s::timestamptz[]) AS b(id, seen_at)),
             locked AS (
                SELECT s.id, s.is_available FROM stations s
                 WHERE s.id IN (SELECT id FROM beat) ORDER BY s.id FOR UPDATE),
             changed AS (
                UPDATE stations s
                   SET last_heartbeat_at = greatest(s.last_heartbeat_at, b.seen_at),
                       is_available = s.registration_status = 'accepted'
                  FROM beat b JOIN locked l ON l.id = b.id WHERE s.id = b.id
                RETURNING s.id, s.location_id, s.is_available)
        SELECT c.id AS station_id, c.location_id
          FROM changed c JOIN locked l ON l.id = c.id WHERE c.is_available AND NOT l.is_available ORDER BY c.id""",
        (names, [seen[name] for name in names]),
    )
    return [StationRef(**row) async for row in cursor]


async def mark_silent(conn: Conn, seen_before: datetime, limit: int) -> list[StationRef]:
    """Make up to ``limit`` stations unavailable that nobody has heard of since ``seen_before``."""
    cursor = await conn.execute(
        """
        WITH silent AS (
                SELECT id FROM stations
                 WHERE is_available AND (last_heartbeat_at IS NULL OR last_heartbeat_at <= %s)
                 ORDER BY last_heartbeat_at NULLS FIRST LIMIT %s FOR UPDATE SKIP LOCKED),
             changed AS (
                UPDATE stations s SET is_available = false, connected_instance = NULL, connected_at = NULL,
                       updated_at = now()
                  FROM silent WHERE s.id = silent.id
                RETURNING s.id, s.location_id, s.last_heartbeat_at),
             noted AS (
                INSERT INTO station_events (station_id, type, severity, payload)
                SELECT id, 'offline', 'warning', jsonb_build_object('last_seen', last_heartbeat_at) FROM changed)
        SELECT id AS station_id, location_id FROM changed ORDER BY id""",
        (seen_before, limit),
    )
    return [StationRef(**row) async for row in cursor]


# --- What chargers report -----------------------------------------------------------------------------------------


async def record_boot(conn: Conn, station_id: str, boot: BootInfo, now: datetime) -> None:
    """Remember the boot. Names that operators have given stay; the charger's own are in ``boot_info``."""
    await conn.execute(
        """
        UPDATE stations
           SET last_boot_at = %(now)s, boot_info = %(details)s, updated_at = now(),
               model = coalesce(nullif(model, ''), %(model)s),
               manufacturer = coalesce(nullif(manufacturer, ''), %(vendor)s),
               firmware_version = coalesce(%(firmware)s, firmware_version),
               ocpp_protocol = coalesce(%(protocol)s, ocpp_protocol)
         WHERE id = %(id)s""",
        {
            "id": station_id,
            "now": now,
            "details": Jsonb(dict(boot.details)),
            "model": boot.model,
            "vendor": boot.vendor,
            "firmware": boot.firmware_version,
            "protocol": boot.ocpp_protocol,
        },
    )


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
) -> None:
    await conn.execute(
        """
        INSERT INTO station_events (station_id, connector_id, type, severity, payload, charger_at, received_at)
        VALUES (%s, %s, %s, %s, %s, %s, %s)""",
        (station_id, connector, event, severity, Jsonb(dict(payload)), charger_at, received_at),
    )


async def set_auth_key_hash(conn: Conn, station_id: str, key_hash: str | None) -> bool:
    cursor = await conn.execute(
        "UPDATE stations SET auth_key_hash = %s, updated_at = now() WHERE id = %s", (key_hash, station_id)
    )
    return cursor.rowcount == 1


# --- The map ------------------------------------------------------------------------------------------------------

MapRow = tuple[Location | None, Station | None]

_LOCATION_FIELDS = tuple(field.name for field in fields(Location))
_LOCATION = ", ".join(f"l.{name}" for name in _LOCATION_FIELDS)
_MAP = f"SELECT {_LOCATION}, {_STATION}"


async def map_of_locations(conn: Conn, location_ids: Sequence[str] | None) -> list[MapRow]:
    """Active locations (all, or these) by name, each with its stations that are not hidden, or with ``None``."""
    return await _map(
        conn,
        f"""{_MAP} FROM locations l LEFT JOIN stations s ON s.location_id = l.id AND s.status <> 'inactive'
             WHERE l.status = 'active' AND (%(all)s OR l.id = ANY(%(ids)s))
             ORDER BY l.name, l.id, s.serial_number""",
        {"all": location_ids is None, "ids": list(location_ids or ())},
    )


async def map_of_stations(conn: Conn) -> list[MapRow]:
    """All stations that are not hidden, themselves or with their location."""
    return await _map(
        conn,
        f"""{_MAP} FROM stations s LEFT JOIN locations l ON l.id = s.location_id
             WHERE s.status <> 'inactive' AND (l.id IS NULL OR l.status = 'active')
             ORDER BY s.serial_number""",
        {},
    )


async def map_around(conn: Conn, station_id: str, location_id: str | None) -> list[MapRow]:
    """One station, hidden or not, with its neighbours at the same location."""
    return await _map(
        conn,
        f"""{_MAP} FROM stations s LEFT JOIN locations l ON l.id = s.location_id
             WHERE s.id = %(station)s OR (s.location_id = %(location)s AND s.status <> 'inactive')
             ORDER BY s.serial_number""",
        {"station": station_id, "location": location_id},
    )


async def _map(conn: Conn, query: str, values: Mapping[str, Any]) -> list[MapRow]:
    # Rows as tuples: locations and stations share column names.
    async with conn.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(query, values)
        width = len(_LOCATION_FIELDS)
        return [(_map_location(row[:width]), _map_station(row[width:])) async for row in cursor]


def _map_location(values: Sequence[Any]) -> Location | None:
    if values[0] is None:
        return None
    row = dict(zip(_LOCATION_FIELDS, values, strict=True))
    return Location(**{**row, "status": AdminStatus(row["status"])})


def _map_station(values: Sequence[Any]) -> Station | None:
    return None if values[0] is None else _station_of(dict(zip(_STATION_FIELDS, values, strict=True)))


async def connectors_by_station(conn: Conn, station_ids: Sequence[str]) -> dict[str, list[Connector]]:
    """Connectors of all these stations, each by number, in one query."""
    cursor = await conn.execute(
        f"SELECT {_CONNECTOR} FROM connectors c WHERE c.station_id = ANY(%s) ORDER BY c.station_id, c.connector_number",  # noqa: S608 - constant column list
        (list(station_ids),),
    )
    found: dict[str, list[Connector]] = {}
    async for row in cursor:
        found.setdefault(row["station_id"], []).append(_connector_of(row))
    return found
