"""Keys on their way to chargers, and the security profile of stations."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from evpower.db import Conn
from evpower.stations.models import KeyCandidate, KeyDelivery, StationSecurity


@dataclass(frozen=True, slots=True)
class NewCandidate:
    """A row to be made."""

    id: str
    station_id: str
    key_hash: str
    delivery: KeyDelivery
    command_id: str | None
    created_by: str
    created_at: datetime


async def lock(conn: Conn, station_id: str) -> StationSecurity | None:
    """The station's credentials, locked to the end of the transaction."""
    # By a statement of its own: one that waits for a lock joins the row as it is then with the commands as they were
    # before, so a profile that another transaction has just asked for looks unasked.
    await conn.execute("SELECT FROM stations WHERE id = %s FOR UPDATE", (station_id,))
    return await find(conn, station_id)


async def find(conn: Conn, station_id: str) -> StationSecurity | None:
    cursor = await conn.execute(
        """SELECT s.security_profile, s.requested_security_profile, m.status AS request_status,
                   s.security_profile_command_id AS request_command_id, s.connection_security,
                   s.auth_key_hash IS NOT NULL AS has_key, s.auth_key_changed_at AS key_changed_at
              FROM stations s LEFT JOIN station_commands m ON m.id = s.security_profile_command_id
             WHERE s.id = %s""",
        (station_id,),
    )
    row = await cursor.fetchone()
    return None if row is None else StationSecurity(**row)


async def candidates(conn: Conn, station_id: str) -> list[KeyCandidate]:
    """All that are kept, oldest first, with what became of their command."""
    cursor = await conn.execute(
        """SELECT c.id, c.delivery, c.command_id, c.needs_reboot, c.created_by, c.created_at,
                  m.status AS command_status
             FROM station_key_candidates c LEFT JOIN station_commands m ON m.id = c.command_id
            WHERE c.station_id = %s ORDER BY c.ordinal""",
        (station_id,),
    )
    return [KeyCandidate(**{**row, "delivery": KeyDelivery(row["delivery"])}) async for row in cursor]


async def add(conn: Conn, new: NewCandidate) -> None:
    await conn.execute(
        """INSERT INTO station_key_candidates (id, station_id, key_hash, delivery, command_id, created_by, created_at)
           VALUES (%s, %s, %s, %s, %s, %s, %s)""",
        (new.id, new.station_id, new.key_hash, new.delivery, new.command_id, new.created_by, new.created_at),
    )


async def promote(conn: Conn, station_id: str, candidate_id: str, now: datetime) -> bool:
    """Make the candidate the station's key; it and all older candidates are gone. False when there is none.

    An older one that is still on its way stays. Use case: a key was typed in because the charger was away; then the
    charger gets the one that waited for it, takes it over, and must be let in with it.
    """
    cursor = await conn.execute(
        """WITH used AS (
                SELECT ordinal, key_hash FROM station_key_candidates WHERE id = %(id)s AND station_id = %(station)s),
                changed AS (
                UPDATE stations s
                   SET auth_key_hash = used.key_hash, auth_key_changed_at = %(now)s, updated_at = now()
                  FROM used WHERE s.id = %(station)s RETURNING s.id)
           DELETE FROM station_key_candidates c USING used
            WHERE c.station_id = %(station)s
              AND (c.ordinal = used.ordinal
                   OR c.ordinal < used.ordinal
                      AND NOT EXISTS (SELECT FROM station_commands m
                                       WHERE m.id = c.command_id AND m.status IN ('queued', 'sent')))""",
        {"id": candidate_id, "station": station_id, "now": now},
    )
    return cursor.rowcount > 0


async def uses_hash(conn: Conn, station_id: str, key_hash: str) -> bool:
    cursor = await conn.execute("SELECT 1 FROM stations WHERE id = %s AND auth_key_hash = %s", (station_id, key_hash))
    return await cursor.fetchone() is not None


async def of_command(conn: Conn, command_id: str, station_id: str) -> str | None:
    """Id of the candidate that a command carries."""
    cursor = await conn.execute(
        "SELECT id FROM station_key_candidates WHERE station_id = %s AND command_id = %s", (station_id, command_id)
    )
    row = await cursor.fetchone()
    return None if row is None else str(row["id"])


async def command_of(conn: Conn, candidate_id: str) -> str | None:
    """Id of the command that carries a candidate; None for one that is typed in."""
    cursor = await conn.execute("SELECT command_id FROM station_key_candidates WHERE id = %s", (candidate_id,))
    row = await cursor.fetchone()
    return None if row is None else row["command_id"]


async def mark_reboot(conn: Conn, candidate_id: str) -> None:
    await conn.execute("UPDATE station_key_candidates SET needs_reboot = true WHERE id = %s", (candidate_id,))


async def drop(conn: Conn, station_id: str, candidate_id: str) -> bool:
    cursor = await conn.execute(
        "DELETE FROM station_key_candidates WHERE station_id = %s AND id = %s", (station_id, candidate_id)
    )
    return cursor.rowcount == 1


async def drop_undelivered(conn: Conn, limit: int) -> list[str]:
    """Candidates whose command never reached the charger, or was refused; ids of their commands."""
    cursor = await conn.execute(
        """DELETE FROM station_key_candidates WHERE id IN (
                SELECT c.id FROM station_key_candidates c
                 WHERE (SELECT m.status FROM station_commands m WHERE m.id = c.command_id)
                       IN ('rejected', 'expired', 'cancelled') LIMIT %s)
            RETURNING command_id""",
        (limit,),
    )
    return [row["command_id"] async for row in cursor]


async def revoke(conn: Conn, station_id: str) -> None:
    """No key opens the station any more; its present socket is fenced out by a newer epoch."""
    await conn.execute("DELETE FROM station_key_candidates WHERE station_id = %s", (station_id,))
    await conn.execute(
        "UPDATE stations SET auth_key_hash = NULL, auth_key_changed_at = NULL WHERE id = %s", (station_id,)
    )


async def fence(conn: Conn, station_id: str) -> None:
    """End the station's present connection, and refuse upgrades that were decided before."""
    await conn.execute(
        """UPDATE stations SET credentials_version = credentials_version + 1, connected_instance = NULL,
                  connected_at = NULL, connection_epoch = nextval('station_epoch_seq'), updated_at = now()
            WHERE id = %s""",
        (station_id,),
    )


async def set_profile(conn: Conn, station_id: str, profile: int) -> None:
    await conn.execute(
        """UPDATE stations SET security_profile = %s, requested_security_profile = NULL,
                  security_profile_command_id = NULL, credentials_version = credentials_version + 1, updated_at = now()
            WHERE id = %s""",
        (profile, station_id),
    )


async def request_profile(conn: Conn, station_id: str, profile: int, command_id: str) -> None:
    await conn.execute(
        """UPDATE stations SET requested_security_profile = %s, security_profile_command_id = %s, updated_at = now()
            WHERE id = %s""",
        (profile, command_id, station_id),
    )


async def forget_profile_request(conn: Conn, station_id: str, command_id: str) -> bool:
    cursor = await conn.execute(
        """UPDATE stations SET requested_security_profile = NULL, security_profile_command_id = NULL, updated_at = now()
            WHERE id = %s AND security_profile_command_id = %s""",
        (station_id, command_id),
    )
    return cursor.rowcount == 1


async def raise_profile(conn: Conn, station_id: str, proven: int) -> int | None:
    """Demand the profile that was asked for, now that a connection has proven it; ``None`` when nothing changed."""
    cursor = await conn.execute(
        """UPDATE stations SET security_profile = requested_security_profile, requested_security_profile = NULL,
                  security_profile_command_id = NULL, updated_at = now()
            WHERE id = %s AND requested_security_profile > security_profile AND requested_security_profile <= %s
            RETURNING security_profile""",
        (station_id, proven),
    )
    row: dict[str, Any] | None = await cursor.fetchone()
    return None if row is None else int(row["security_profile"])
