"""SQL of ``charging_profiles``. Its rows are locked before the command's row; the station's lock goes before both."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from psycopg.types.json import Jsonb

from evpower.db import Conn
from evpower.smart_charging.models import NewProfile, Profile, ProfileState, Purpose, Running, StoredProfile

# What has ended before anybody wrote it down: a profile's transaction, a question without an answer.
_ENDED = "p.purpose = 'TxProfile' AND t.status <> 'active'"
_UNANSWERED = "p.state = 'requested' AND (asked.id IS NULL OR asked.status NOT IN ('queued', 'sent', 'accepted'))"
_STATE = f"""CASE WHEN p.state IN ('requested', 'active') AND {_ENDED} THEN 'ended'
                  WHEN {_UNANSWERED} THEN 'failed' ELSE p.state END"""
_COLUMNS = f"""p.station_id, p.charging_profile_id AS number, p.connector_id, p.purpose, p.stack_level,
    p.transaction_id, p.profile, p.wanted, p.command_id, p.clear_command_id, p.requested_by, p.created_at,
    p.updated_at, p.ended_at,
    {_STATE} AS state,
    CASE WHEN p.wanted IS NOT NULL AND asked.status NOT IN ('queued', 'sent') THEN coalesce(asked.error, asked.status)
         ELSE p.refusal END AS refusal,
    p.wanted IS NOT NULL AND coalesce(asked.status IN ('queued', 'sent'), false) AS asking,
    coalesce(cleared.status IN ('queued', 'sent'), false) AS clearing"""
_FROM = """charging_profiles p LEFT JOIN station_commands asked ON asked.id = p.command_id
    LEFT JOIN station_commands cleared ON cleared.id = p.clear_command_id
    LEFT JOIN ocpp_transactions t ON t.id = p.transaction_id"""
_LIVE = "('requested', 'active')"


def _stored(row: Mapping[str, Any]) -> StoredProfile:
    values = dict(row)
    values |= {name: None if row[name] is None else Profile.from_wire(row[name]) for name in ("profile", "wanted")}
    return StoredProfile(**{**values, "state": ProfileState(row["state"]), "purpose": Purpose(row["purpose"])})


async def lock_station(conn: Conn, station_id: str) -> None:
    """Changes of one station's profiles happen one after the other, to the end of the transaction."""
    await conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('charging_profiles:' || %s, 0))", (station_id,))


async def next_number(conn: Conn, station_id: str) -> int:
    """A chargingProfileId from the sequence; one that an operator has used by hand is passed over."""
    while True:
        row = await (await conn.execute("SELECT nextval('charging_profile_id_seq')::integer AS number")).fetchone()
        assert row is not None
        taken = await conn.execute(
            "SELECT 1 FROM charging_profiles WHERE station_id = %s AND charging_profile_id = %s",
            (station_id, row["number"]),
        )
        if await taken.fetchone() is None:
            return int(row["number"])


async def insert(conn: Conn, new: NewProfile, now: datetime) -> None:
    profile = new.profile
    await conn.execute(
        """INSERT INTO charging_profiles (station_id, charging_profile_id, connector_id, purpose, stack_level,
               transaction_id, requested_by, created_at, updated_at)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)""",
        (
            new.station_id,
            profile.number,
            new.connector_id,
            profile.purpose,
            profile.stack_level,
            profile.transaction_id,
            new.requested_by,
            now,
            now,
        ),
    )


async def ask(conn: Conn, station_id: str, profile: Profile, command_id: str, now: datetime) -> None:
    """The charger is being asked to take ``profile``."""
    await conn.execute(
        """UPDATE charging_profiles
              SET wanted = %s, command_id = %s, refusal = NULL, updated_at = %s, ended_at = NULL,
                  state = CASE state WHEN 'failed' THEN 'requested' ELSE state END
            WHERE station_id = %s AND charging_profile_id = %s""",
        (Jsonb(profile.to_wire()), command_id, now, station_id, profile.number),
    )


async def set_clear_command(conn: Conn, station_id: str, number: int, command_id: str, now: datetime) -> None:
    await conn.execute(
        """UPDATE charging_profiles SET clear_command_id = %s, updated_at = %s
            WHERE station_id = %s AND charging_profile_id = %s""",
        (command_id, now, station_id, number),
    )


async def find(conn: Conn, station_id: str, number: int, *, lock: bool = False) -> StoredProfile | None:
    if lock:
        # By a statement of its own: one that waits for a lock joins the row as it is then with the commands as they
        # were before, so a profile that another transaction has just asked for looks unanswered.
        await conn.execute(
            "SELECT FROM charging_profiles WHERE station_id = %s AND charging_profile_id = %s FOR UPDATE",
            (station_id, number),
        )
    cursor = await conn.execute(
        f"SELECT {_COLUMNS} FROM {_FROM} WHERE p.station_id = %s AND p.charging_profile_id = %s",  # noqa: S608 - constant parts
        (station_id, number),
    )
    row = await cursor.fetchone()
    return None if row is None else _stored(row)


async def live(conn: Conn, station_id: str) -> list[StoredProfile]:
    """Profiles that are installed or asked for, by connector, purpose and stack level."""
    cursor = await conn.execute(
        f"""SELECT * FROM (SELECT {_COLUMNS} FROM {_FROM} WHERE p.station_id = %s AND p.state IN {_LIVE}) f
             WHERE f.state IN {_LIVE} ORDER BY connector_id, purpose, stack_level, number""",  # noqa: S608 - constant parts
        (station_id,),
    )
    return [_stored(row) for row in await cursor.fetchall()]


async def page(
    conn: Conn, station_id: str, state: ProfileState | None, limit: int, offset: int
) -> tuple[list[StoredProfile], int]:
    """Profiles of the station, newest first, and how many there are of this state (None: of all)."""
    values = {"station": station_id, "state": state, "limit": limit, "offset": offset}
    found = f"SELECT {_COLUMNS} FROM {_FROM} WHERE p.station_id = %(station)s"  # noqa: S608 - constant parts
    condition = "%(state)s::text IS NULL OR f.state = %(state)s"
    cursor = await conn.execute(
        f"""SELECT * FROM ({found}) f WHERE {condition}
             ORDER BY created_at DESC, number DESC LIMIT %(limit)s OFFSET %(offset)s""",  # noqa: S608 - constant parts
        values,
    )
    rows = [_stored(row) for row in await cursor.fetchall()]
    counted = await (
        await conn.execute(f"SELECT count(*) AS total FROM ({found}) f WHERE {condition}", values)  # noqa: S608 - constant parts
    ).fetchone()
    assert counted is not None
    return rows, int(counted["total"])


async def running(conn: Conn, station_id: str) -> list[Running]:
    """The newest running transaction of each connector, and when its charging began by our clock."""
    cursor = await conn.execute(
        """SELECT DISTINCT ON (t.connector_id) t.connector_id, t.id AS transaction_id,
                  coalesce(s.charging_started_at, t.received_at) AS began_at
             FROM ocpp_transactions t LEFT JOIN charging_sessions s ON s.id = t.session_id
            WHERE t.station_id = %s AND t.status = 'active'
            ORDER BY t.connector_id, t.id DESC""",
        (station_id,),
    )
    return [Running(**row) for row in await cursor.fetchall()]


async def powers(conn: Conn, station_id: str) -> dict[int, Decimal | None]:
    """W that each connector can give, as configured."""
    cursor = await conn.execute(
        "SELECT connector_number, power_kw * 1000 AS power_w FROM connectors WHERE station_id = %s ORDER BY 1",
        (station_id,),
    )
    return {row["connector_number"]: row["power_w"] for row in await cursor.fetchall()}


# --- Outcomes -----------------------------------------------------------------------------------------------------


async def installed(
    conn: Conn, station_id: str, connector_id: int, profile: Profile, command_id: str, requested_by: str, now: datetime
) -> None:
    """The charger has taken ``profile``: it is in force from now on, in place of what had its number or its place.

    A profile that was made past these routes gets a row. What was asked for meanwhile by a later command stays asked.
    """
    values = {
        "station": station_id,
        "number": profile.number,
        "connector": connector_id,
        "purpose": profile.purpose,
        "level": profile.stack_level,
        "transaction": profile.transaction_id,
        "profile": Jsonb(profile.to_wire()),
        "command": command_id,
        "by": requested_by,
        "now": now,
        "why": f"replaced by profile {profile.number}",
    }
    await conn.execute(
        """INSERT INTO charging_profiles AS p (station_id, charging_profile_id, connector_id, purpose, stack_level,
               transaction_id, state, profile, command_id, requested_by, created_at, updated_at)
           VALUES (%(station)s, %(number)s, %(connector)s, %(purpose)s, %(level)s, %(transaction)s, 'active',
                   %(profile)s, %(command)s, %(by)s, %(now)s, %(now)s)
           ON CONFLICT (station_id, charging_profile_id) DO UPDATE
           SET connector_id = excluded.connector_id, purpose = excluded.purpose, stack_level = excluded.stack_level,
               transaction_id = excluded.transaction_id, state = 'active', profile = excluded.profile,
               wanted = CASE WHEN p.command_id = excluded.command_id THEN NULL ELSE p.wanted END,
               refusal = NULL, updated_at = excluded.updated_at, ended_at = NULL""",
        values,
    )
    await conn.execute(
        """UPDATE charging_profiles SET state = 'cleared', refusal = %(why)s, updated_at = %(now)s, ended_at = %(now)s
            WHERE station_id = %(station)s AND charging_profile_id <> %(number)s AND state = 'active'
              AND connector_id = %(connector)s AND purpose = %(purpose)s AND stack_level = %(level)s""",
        values,
    )


async def refused(conn: Conn, station_id: str, number: int, command_id: str, word: str, now: datetime) -> None:
    """The charger has not taken what ``command_id`` asked for; what was in force before stays."""
    await conn.execute(
        """UPDATE charging_profiles
              SET wanted = NULL, refusal = %(word)s, updated_at = %(now)s,
                  state = CASE state WHEN 'requested' THEN 'rejected' ELSE state END,
                  ended_at = CASE state WHEN 'requested' THEN %(now)s ELSE ended_at END
            WHERE station_id = %(station)s AND charging_profile_id = %(number)s AND command_id = %(command)s
              AND wanted IS NOT NULL""",
        {"word": word, "now": now, "station": station_id, "number": number, "command": command_id},
    )


async def cleared(
    conn: Conn,
    station_id: str,
    *,
    number: int | None,
    connector_id: int | None,
    purpose: str | None,
    stack_level: int | None,
    why: str | None,
    now: datetime,
) -> None:
    """End the profiles that the number, else all criteria, name; not those that the charger is yet to be asked for."""
    await conn.execute(
        """UPDATE charging_profiles p
              SET state = 'cleared', refusal = %(why)s, updated_at = %(now)s, ended_at = %(now)s
            WHERE p.station_id = %(station)s AND p.state IN ('requested', 'active', 'failed')
              AND CASE WHEN %(number)s::integer IS NOT NULL THEN p.charging_profile_id = %(number)s
                       ELSE (%(connector)s::integer IS NULL OR p.connector_id = %(connector)s)
                            AND (%(purpose)s::text IS NULL OR p.purpose = %(purpose)s)
                            AND (%(level)s::integer IS NULL OR p.stack_level = %(level)s) END
              AND (p.state <> 'requested' OR NOT EXISTS (
                   SELECT FROM station_commands c WHERE c.id = p.command_id AND c.status IN ('queued', 'sent')))""",
        {
            "station": station_id,
            "number": number,
            "connector": connector_id,
            "purpose": purpose,
            "level": stack_level,
            "why": why,
            "now": now,
        },
    )


async def end(conn: Conn, now: datetime, limit: int) -> int:
    """Write down up to ``limit`` profiles that have ended by themselves; how many."""
    cursor = await conn.execute(
        f"""WITH due AS (
                SELECT p.station_id, p.charging_profile_id, {_STATE} AS state,
                       coalesce(asked.error, asked.status) AS why
                  FROM {_FROM}
                 WHERE p.state IN {_LIVE} AND {_STATE} NOT IN {_LIVE}
                 LIMIT %(limit)s FOR UPDATE OF p SKIP LOCKED)
            UPDATE charging_profiles p
               SET state = due.state, updated_at = %(now)s, ended_at = %(now)s,
                   refusal = CASE due.state WHEN 'failed' THEN due.why ELSE p.refusal END
              FROM due WHERE p.station_id = due.station_id AND p.charging_profile_id = due.charging_profile_id""",  # noqa: S608 - constant parts
        {"now": now, "limit": limit},
    )
    return cursor.rowcount
