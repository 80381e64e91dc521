"""Station rows: addressing, the connection, liveness, boot, credentials."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime

from psycopg.types.json import Jsonb

from evpower.db import Conn
from evpower.stations.hearing import CLOCK_AHEAD, Silence
from evpower.stations.models import (
    AdminStatus,
    Admission,
    BootInfo,
    CandidateKey,
    RegistrationStatus,
    Station,
    StationRef,
)
from evpower.stations.repository.rows import STATION, station_of


async def find(conn: Conn, ref: str) -> Station | None:
    """The station with this id, else the one with this serial number."""
    cursor = await conn.execute(
        f"SELECT {STATION} FROM stations s WHERE s.id = %(ref)s OR s.serial_number = %(ref)s"  # noqa: S608 - constant column list
        " ORDER BY (s.id = %(ref)s) DESC LIMIT 1",
        {"ref": ref},
    )
    row = await cursor.fetchone()
    return station_of(row) if row else None


async def admission(conn: Conn, ref: str) -> Admission | None:
    """Everything that the upgrade needs, in one query."""
    cursor = await conn.execute(
        """
        SELECT s.id AS station_id, s.serial_number, s.status, s.registration_status, s.auth_key_hash,
               s.allow_missing_subprotocol, s.answers_pings, s.heartbeat_interval_s, s.meter_interval_s,
               s.connection_epoch, s.location_id, s.security_profile, s.requested_security_profile,
               s.credentials_version, k.keys
          FROM stations s
          LEFT JOIN LATERAL (
                SELECT array_agg(ARRAY[c.id, c.key_hash] ORDER BY c.ordinal) AS keys
                  FROM station_key_candidates c LEFT JOIN station_commands m ON m.id = c.command_id
                 WHERE c.station_id = s.id
                   AND coalesce(m.status, '') NOT IN ('rejected', 'expired')) k ON true
         WHERE s.id = %(ref)s OR s.serial_number = %(ref)s
         ORDER BY (s.id = %(ref)s) DESC LIMIT 1""",
        {"ref": ref},
    )
    row = await cursor.fetchone()
    if row is None:
        return None
    status, registration = AdminStatus(row["status"]), RegistrationStatus(row["registration_status"])
    candidates = tuple(CandidateKey(*pair) for pair in row.pop("keys") or ())
    return Admission(**{**row, "status": status, "registration_status": registration, "candidate_keys": candidates})


async def count_connected(conn: Conn, seen_after: datetime) -> int:
    cursor = await conn.execute(
        "SELECT count(*) AS n FROM stations WHERE connected_instance IS NOT NULL AND last_heartbeat_at > %s",
        (seen_after,),
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row["n"])


async def count_owned(conn: Conn, owner_id: str | None) -> tuple[int, int]:
    cursor = await conn.execute(
        """
        WITH places AS (SELECT id FROM locations
                         WHERE %(owner)s::text IS NULL OR user_id = %(owner)s OR admin_id = %(owner)s)
        SELECT (SELECT count(*) FROM stations s WHERE %(owner)s::text IS NULL OR s.user_id = %(owner)s
                    OR s.location_id IN (SELECT id FROM places)) AS stations,
               (SELECT count(*) FROM places) AS locations""",
        {"owner": owner_id},
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row["stations"]), int(row["locations"])


async def claim_connection(
    conn: Conn,
    station_id: str,
    instance: str,
    protocol: str | None,
    now: datetime,
    *,
    security: int | None,
    credentials_version: int | None,
) -> int | None:
    """Take the station for a new socket; its epoch. The row lock orders concurrent claims, the sequence names them.

    None also when credentials were revoked since ``credentials_version``.
    """
    cursor = await conn.execute(
        """
        WITH locked AS (
                SELECT id FROM stations
                 WHERE id = %(id)s AND credentials_version = coalesce(%(version)s, credentials_version) FOR UPDATE),
             claimed AS (SELECT id, nextval('station_epoch_seq') AS epoch FROM locked)
        UPDATE stations s
           SET connection_epoch = c.epoch, connected_instance = %(instance)s, connected_at = %(now)s,
               ocpp_protocol = coalesce(%(protocol)s, s.ocpp_protocol),
               connection_security = coalesce(%(security)s, s.connection_security),
               last_heartbeat_at = CASE WHEN s.last_heartbeat_at > %(ahead)s THEN %(now)s
                                        ELSE greatest(s.last_heartbeat_at, %(now)s) END,
               is_available = (s.registration_status = 'accepted'), updated_at = now()
          FROM claimed c WHERE s.id = c.id
        RETURNING s.connection_epoch""",
        {
            "id": station_id,
            "instance": instance,
            "protocol": protocol,
            "now": now,
            "ahead": now + CLOCK_AHEAD,
            "security": security,
            "version": credentials_version,
        },
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


async def resume_connections(conn: Conn, epochs: Mapping[str, int], instance: str, now: datetime) -> None:
    """Note again which instance holds these sockets (station -> epoch), where that was forgotten."""
    await conn.execute(
        """
        UPDATE stations s SET connected_instance = %s, connected_at = %s, updated_at = now()
          FROM unnest(%s::text[], %s::bigint[]) AS held (station_id, epoch)
         WHERE s.id = held.station_id AND s.connection_epoch = held.epoch AND s.connected_instance IS NULL""",
        (instance, now, list(epochs), list(epochs.values())),
    )


async def touch(conn: Conn, seen: Mapping[str, datetime], ahead: datetime) -> list[StationRef]:
    """Flush the last signs of life of many stations; those that come back as available are returned.

    What is stored after ``ahead`` was written before the clock stepped back, and is replaced. Rows are locked in the
    order of their ids, so that two instances flushing the same stations cannot deadlock.
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
                   SET last_heartbeat_at = CASE WHEN s.last_heartbeat_at > %s THEN b.seen_at
                                                ELSE greatest(s.last_heartbeat_at, b.seen_at) END,
                       is_available = s.registration_status = 'accepted'
                  FROM beat b JOIN locked l ON l.id = b.id WHERE s.id = b.id
                RETURNING s.id, s.location_id, s.is_available)
        SELECT c.id AS station_id, c.location_id
          FROM changed c JOIN locked l ON l.id = c.id WHERE c.is_available AND NOT l.is_available ORDER BY c.id""",
        (names, [seen[name] for name in names], ahead),
    )
    return [StationRef(**row) async for row in cursor]


async def mark_silent(conn: Conn, silent: Silence, limit: int) -> list[StationRef]:
    """Make up to ``limit`` stations unavailable that nobody has heard of although they could have been heard.

    A last sign of life from before the clock stepped back becomes one that is just too old.
    """
    cursor = await conn.execute(
        """
        WITH silent AS (
                SELECT id FROM stations
                 WHERE is_available
                   AND (last_heartbeat_at IS NULL OR last_heartbeat_at <= %(since)s OR last_heartbeat_at > %(ahead)s)
                   AND coalesce(evpower_holder_since(connected_instance, %(hears_at)s, %(ahead)s) <= %(since)s, true)
                 ORDER BY last_heartbeat_at NULLS FIRST LIMIT %(limit)s FOR UPDATE SKIP LOCKED),
             changed AS (
                UPDATE stations s SET is_available = false, connected_instance = NULL, connected_at = NULL,
                       last_heartbeat_at = CASE WHEN last_heartbeat_at > %(since)s THEN %(since)s
                                                ELSE last_heartbeat_at END,
                       updated_at = now()
                  FROM silent WHERE s.id = silent.id
                RETURNING s.id, s.location_id, s.last_heartbeat_at),
             noted AS (
                INSERT INTO station_events (station_id, type, severity, payload)
                SELECT id, 'offline', 'warning', jsonb_build_object('last_seen', last_heartbeat_at) FROM changed)
        SELECT id AS station_id, location_id FROM changed ORDER BY id""",
        {**asdict(silent), "limit": limit},
    )
    return [StationRef(**row) async for row in cursor]


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


async def set_auth_key_hash(conn: Conn, station_id: str, key_hash: str | None) -> bool:
    cursor = await conn.execute(
        "UPDATE stations SET auth_key_hash = %s, updated_at = now() WHERE id = %s", (key_hash, station_id)
    )
    return cursor.rowcount == 1
