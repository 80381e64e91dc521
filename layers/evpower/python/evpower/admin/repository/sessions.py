"""Sessions at the stations of somebody's scope."""

from evpower.admin.models import Page, Scope, SessionFilter, SessionRecord, Slice
from evpower.admin.repository.stations import IN_SCOPE, LIVE, PLACES, scope_values, sessions_in
from evpower.db import Conn

_AROUND = f"JOIN ({PLACES}) ON s.id = c.station_id JOIN clients k ON k.id = c.user_id"
_SESSION = """c.id, c.station_id, s.serial_number AS station_name, l.name AS location_name,
    l.address AS location_address, c.user_id AS client_id, k.email AS client_email, k.phone AS client_phone, c.status,
    c.energy AS energy_kwh, coalesce(c.final_amount, c.amount) AS amount, c.limit_type, c.limit_value,
    c.charging_started_at, c.start_time, c.stop_time, c.created_at"""


def _conditions(scope: Scope, wanted: SessionFilter) -> str:
    """Only what is asked for stands in the query, so that the index of each question can be used."""
    conditions = [sessions_in(scope)]
    if wanted.station_ref is not None:
        conditions.append(
            "c.station_id = ANY (ARRAY (SELECT id FROM stations WHERE id = %(station)s OR serial_number = %(station)s))"
        )
    if wanted.status is not None:
        conditions.append(LIVE if wanted.status == "started" else "c.state = %(status)s")
    if wanted.since is not None:
        conditions.append("c.created_at >= %(since)s")
    if wanted.until is not None:
        conditions.append("c.created_at < %(until)s")
    if wanted.needs_review:
        conditions.append("c.needs_review")
    return " AND ".join(conditions)


async def page(conn: Conn, scope: Scope, wanted: SessionFilter, part: Slice) -> Page[SessionRecord]:
    """Newest first."""
    conditions = _conditions(scope, wanted)
    values = {
        **scope_values(scope),
        "station": wanted.station_ref,
        "status": wanted.status,
        "since": wanted.since,
        "until": wanted.until,
        "limit": part.limit,
        "offset": part.offset,
    }
    cursor = await conn.execute(
        f"""SELECT {_SESSION} FROM (
                SELECT * FROM charging_sessions c WHERE {conditions}
                 ORDER BY c.created_at DESC, c.id LIMIT %(limit)s OFFSET %(offset)s) c {_AROUND}
             ORDER BY c.created_at DESC, c.id""",  # noqa: S608 - constant parts
        values,
    )
    records = tuple([SessionRecord(**row) async for row in cursor])
    counted = await (
        await conn.execute(f"SELECT count(*) AS total FROM charging_sessions c WHERE {conditions}", values)  # noqa: S608 - constant parts
    ).fetchone()
    assert counted is not None
    return Page(records, int(counted["total"]))


async def find(conn: Conn, scope: Scope, session_id: str) -> SessionRecord | None:
    cursor = await conn.execute(
        f"SELECT {_SESSION} FROM charging_sessions c {_AROUND} WHERE c.id = %(id)s AND {IN_SCOPE}",  # noqa: S608 - constant parts
        {**scope_values(scope), "id": session_id},
    )
    row = await cursor.fetchone()
    return SessionRecord(**row) if row else None


async def recent_of_client(conn: Conn, scope: Scope, client_id: str, limit: int) -> list[SessionRecord]:
    cursor = await conn.execute(
        f"""SELECT {_SESSION} FROM charging_sessions c {_AROUND} WHERE c.user_id = %(client)s AND {IN_SCOPE}
             ORDER BY c.created_at DESC, c.id LIMIT %(limit)s""",  # noqa: S608 - constant parts
        {**scope_values(scope), "client": client_id, "limit": limit},
    )
    return [SessionRecord(**row) async for row in cursor]
