"""SQL of the message log."""

from typing import Any

from evpower.db import Conn
from evpower.message_log.models import EntryFilter, Place

# One statement per batch with one JSON document as its parameter, as the readings are stored. COPY would be cheaper
# still, but PostgreSQL refuses it on tables with row level security. A refused charger may have named itself by its
# serial number; operators look by id.
_INSERT = """
INSERT INTO station_messages (station_id, received_at, direction, action, message_id, request, response, error,
                              latency_ms, is_truncated)
SELECT CASE WHEN a = 'ConnectionRefused'
            THEN coalesce((SELECT st.id FROM stations st WHERE st.id = s OR st.serial_number = s
                            ORDER BY st.id = s DESC LIMIT 1), s)
            ELSE s END,
       to_timestamp(t), d, a, i, q #>> '{}', r #>> '{}', e, l, coalesce(x, false)
  FROM json_to_recordset(%s::json)
    AS m (s text, t float8, d text, a text, i text, q json, r json, e text, l real, x boolean)"""

_COLUMNS = (
    "id, station_id, received_at, direction, action, message_id, request, response, error, latency_ms, is_truncated"
)


async def insert(conn: Conn, rows: str) -> None:
    """Add rows: a JSON array of objects with the short names of ``_INSERT``."""
    await conn.execute(_INSERT, (rows,))


async def page(
    conn: Conn, station_id: str, wanted: EntryFilter, after: Place | None, *, newest_first: bool, limit: int
) -> list[dict[str, Any]]:
    """Rows of one station in the order of time, behind ``after``."""
    given: list[tuple[str, Any]] = [
        ("station_id = %s", station_id),
        ("received_at >= %s", wanted.since),
        ("received_at < %s", wanted.until),
        ("direction = %s", wanted.direction),
        ("action ILIKE %s", wanted.action),  # letters alone, so no wildcards
        ("message_id = %s", wanted.message_id),
    ]
    if after is not None:
        # The row comparison gives the place, the plain one the partitions that need not be looked at.
        given.append(("received_at <= %s" if newest_first else "received_at >= %s", after.at))
    conditions = [condition for condition, value in given if value is not None]
    parameters = [value for _, value in given if value is not None]
    if wanted.only_errors:
        conditions.append("error IS NOT NULL")
    if after is not None:
        conditions.append(f"(received_at, id) {'<' if newest_first else '>'} (%s, %s)")
        parameters += [after.at, after.id]
    order = "DESC" if newest_first else "ASC"
    query = (
        f"SELECT {_COLUMNS} FROM station_messages WHERE {' AND '.join(conditions)}"  # noqa: S608 - fixed texts
        f" ORDER BY received_at {order}, id {order} LIMIT %s"
    )
    cursor = await conn.execute(query.encode(), (*parameters, limit))
    return await cursor.fetchall()
