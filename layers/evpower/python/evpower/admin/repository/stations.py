"""Stations of somebody's scope, and the numbers of the dashboard."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from evpower.admin.models import Page, Scope, Slice, StationConnector, StationFilter, StationRecord
from evpower.db import Conn

IN_SCOPE = "(%(everything)s OR s.user_id = %(owner)s OR l.user_id = %(owner)s OR l.admin_id = %(owner)s)"
PLACES = "stations s LEFT JOIN locations l ON l.id = s.location_id"
_COLUMNS = """s.id, s.serial_number, s.model, s.manufacturer, s.location_id, l.name AS location_name,
    l.address AS location_address, s.status, s.power_capacity, s.price_per_kwh, s.session_fee, s.currency,
    s.connectors_count, s.last_heartbeat_at, s.firmware_version, s.created_at, s.updated_at, s.register_factor"""
_FAULTED = """(s.ocpp_status = 'Faulted'
    OR EXISTS (SELECT FROM connectors c WHERE c.station_id = s.id AND c.status = 'faulted'))"""


LIVE = "c.state IN ('pending', 'charging', 'stopping')"


def sessions_in(scope: Scope) -> str:
    """Condition on ``charging_sessions c``. The stations are found first, so that their index finds the sessions."""
    return "true" if scope.everything else f"c.station_id = ANY (ARRAY (SELECT s.id FROM {PLACES} WHERE {IN_SCOPE}))"  # noqa: S608 - constant parts


def scope_values(scope: Scope) -> dict[str, Any]:
    """Parameters of ``IN_SCOPE``. No station has the owner '', so an empty owner sees nothing."""
    return {"everything": scope.everything, "owner": scope.owner_id or None}


async def page(
    conn: Conn, scope: Scope, wanted: StationFilter, seen_after: datetime, part: Slice
) -> Page[StationRecord]:
    condition = f"""{IN_SCOPE}
        AND (%(status)s::text IS NULL OR s.status = %(status)s OR (%(status)s = 'error' AND {_FAULTED}))
        AND (%(location)s::text IS NULL OR s.location_id = %(location)s)
        AND (%(online)s::boolean IS NULL OR coalesce(s.last_heartbeat_at > %(seen_after)s, false) = %(online)s)"""
    values = {
        **scope_values(scope),
        "status": wanted.status,
        "location": wanted.location_id,
        "online": wanted.is_online,
        "seen_after": seen_after,
        "limit": part.limit,
        "offset": part.offset,
    }
    cursor = await conn.execute(
        f"""SELECT {_COLUMNS} FROM {PLACES} WHERE {condition}
             ORDER BY s.serial_number LIMIT %(limit)s OFFSET %(offset)s""",  # noqa: S608 - constant parts
        values,
    )
    rows = await cursor.fetchall()
    counted = await (
        await conn.execute(f"SELECT count(*) AS total FROM {PLACES} WHERE {condition}", values)  # noqa: S608 - constant parts
    ).fetchone()
    assert counted is not None
    connectors = await _connectors(conn, [row["id"] for row in rows])
    records = (StationRecord(**row, connectors=tuple(connectors.get(row["id"], ()))) for row in rows)
    return Page(tuple(records), int(counted["total"]))


async def find(conn: Conn, scope: Scope, ref: str, *, lock: bool = False) -> StationRecord | None:
    """The station with this id, else serial number, if it is in the scope."""
    cursor = await conn.execute(
        f"""SELECT {_COLUMNS} FROM {PLACES}
             WHERE (s.id = %(ref)s OR s.serial_number = %(ref)s) AND {IN_SCOPE}
             ORDER BY (s.id = %(ref)s) DESC LIMIT 1{" FOR UPDATE OF s" if lock else ""}""",  # noqa: S608 - constant parts
        {**scope_values(scope), "ref": ref},
    )
    row = await cursor.fetchone()
    if row is None:
        return None
    connectors = await _connectors(conn, [row["id"]])
    return StationRecord(**row, connectors=tuple(connectors.get(row["id"], ())))


async def _connectors(conn: Conn, station_ids: Sequence[str]) -> dict[str, list[StationConnector]]:
    cursor = await conn.execute(
        """SELECT station_id, id, connector_number, connector_type, power_kw, status, ocpp_status, error_code
             FROM connectors WHERE station_id = ANY(%s) ORDER BY station_id, connector_number""",
        (list(station_ids),),
    )
    found: dict[str, list[StationConnector]] = {}
    async for row in cursor:
        found.setdefault(row.pop("station_id"), []).append(StationConnector(**row))
    return found


async def change(
    conn: Conn,
    station_id: str,
    *,
    status: str,
    price_per_kwh: Decimal | None,
    session_fee: Decimal | None,
    register_factor: int,
) -> None:
    await conn.execute(
        """UPDATE stations
              SET status = %s, price_per_kwh = %s, session_fee = %s, register_factor = %s, updated_at = now()
            WHERE id = %s""",
        (status, price_per_kwh, session_fee, register_factor, station_id),
    )


async def at_location(conn: Conn, scope: Scope, location_id: str) -> list[str] | None:
    """Ids of all stations of a location of the scope; ``None`` when the location is not in it."""
    cursor = await conn.execute(
        """SELECT array_remove(array_agg(s.id), NULL) AS stations
             FROM locations l LEFT JOIN stations s ON s.location_id = l.id
            WHERE l.id = %(id)s
              AND (%(everything)s OR l.user_id = %(owner)s OR l.admin_id = %(owner)s
                   OR EXISTS (SELECT FROM stations o WHERE o.location_id = l.id AND o.user_id = %(owner)s))
            GROUP BY l.id""",
        {**scope_values(scope), "id": location_id},
    )
    row = await cursor.fetchone()
    return None if row is None else list(row["stations"] or ())


async def station_counts(conn: Conn, scope: Scope, seen_after: datetime) -> tuple[int, int, int]:
    """All stations, those seen since, those with a fault."""
    cursor = await conn.execute(
        f"""SELECT count(*) AS total, count(*) FILTER (WHERE s.last_heartbeat_at > %(seen_after)s) AS online,
                   count(*) FILTER (WHERE {_FAULTED}) AS faulted
              FROM {PLACES} WHERE {IN_SCOPE}""",  # noqa: S608 - constant parts
        {**scope_values(scope), "seen_after": seen_after},
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row["total"]), int(row["online"]), int(row["faulted"])


async def session_sums(conn: Conn, scope: Scope, since: datetime) -> tuple[int, int, Decimal, Decimal]:
    """Live sessions; sessions begun since, their energy, and what was collected for the ended ones of them."""
    values = {**scope_values(scope), "since": since}
    live = await (
        await conn.execute(
            f"SELECT count(*) AS live FROM charging_sessions c WHERE {LIVE} AND {sessions_in(scope)}",  # noqa: S608 - constant parts
            values,
        )
    ).fetchone()
    begun = await (
        await conn.execute(
            f"""SELECT count(*) AS sessions, coalesce(sum(c.energy), 0) AS energy,
                       coalesce(sum(c.taken_amount) FILTER (WHERE c.status <> 'started'), 0) AS revenue
                  FROM charging_sessions c WHERE c.created_at >= %(since)s AND {sessions_in(scope)}""",  # noqa: S608 - constant parts
            values,
        )
    ).fetchone()
    assert live is not None
    assert begun is not None
    return int(live["live"]), int(begun["sessions"]), begun["energy"], begun["revenue"]
