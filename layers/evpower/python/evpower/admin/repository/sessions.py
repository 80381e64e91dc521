"""Sessions at the stations of somebody's scope."""

from evpower.admin.models import Page, Scope, SessionFilter, SessionRecord, Slice
from evpower.admin.repository.stations import IN_SCOPE, PLACES, scope_values
from evpower.db import Conn

_FROM = f"""charging_sessions c JOIN ({PLACES}) ON s.id = c.station_id JOIN clients k ON k.id = c.user_id"""
_SESSION = """c.id, c.station_id, s.serial_number AS station_name, l.name AS location_name,
    l.address AS location_address, c.user_id AS client_id, k.email AS client_email, k.phone AS client_phone, c.status,
    c.energy AS energy_kwh, coalesce(c.final_amount, c.amount) AS amount, c.limit_type, c.limit_value,
    c.charging_started_at, c.start_time, c.stop_time, c.created_at"""


async def page(conn: Conn, scope: Scope, wanted: SessionFilter, part: Slice) -> Page[SessionRecord]:
    """Newest first."""
    condition = f"""{IN_SCOPE}
        AND (%(station)s::text IS NULL OR s.id = %(station)s OR s.serial_number = %(station)s)
        AND (%(status)s::text IS NULL OR c.status = %(status)s)
        AND (%(since)s::timestamptz IS NULL OR c.created_at >= %(since)s)
        AND (%(until)s::timestamptz IS NULL OR c.created_at < %(until)s)"""
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
        f"""SELECT {_SESSION} FROM {_FROM} WHERE {condition}
             ORDER BY c.created_at DESC, c.id LIMIT %(limit)s OFFSET %(offset)s""",  # noqa: S608 - constant parts
        values,
    )
    records = tuple([SessionRecord(**row) async for row in cursor])
    counted = await (
        await conn.execute(f"SELECT count(*) AS total FROM {_FROM} WHERE {condition}", values)  # noqa: S608 - constant parts
    ).fetchone()
    assert counted is not None
    return Page(records, int(counted["total"]))


async def find(conn: Conn, scope: Scope, session_id: str) -> SessionRecord | None:
    cursor = await conn.execute(
        f"SELECT {_SESSION} FROM {_FROM} WHERE c.id = %(id)s AND {IN_SCOPE}",  # noqa: S608 - constant parts
        {**scope_values(scope), "id": session_id},
    )
    row = await cursor.fetchone()
    return SessionRecord(**row) if row else None


async def recent_of_client(conn: Conn, scope: Scope, client_id: str, limit: int) -> list[SessionRecord]:
    cursor = await conn.execute(
        f"""SELECT {_SESSION} FROM {_FROM} WHERE c.user_id = %(client)s AND {IN_SCOPE}
             ORDER BY c.created_at DESC, c.id LIMIT %(limit)s""",  # noqa: S608 - constant parts
        {**scope_values(scope), "client": client_id, "limit": limit},
    )
    return [SessionRecord(**row) async for row in cursor]
