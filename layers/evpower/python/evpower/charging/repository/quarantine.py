"""SQL of ``quarantined_messages``: what no transaction of ours explains."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from evpower.charging.staff_models import QuarantinedMessage
from evpower.db import Conn

COLUMNS = ", ".join(QuarantinedMessage.__dataclass_fields__)


async def insert(
    conn: Conn,
    *,
    station_id: str,
    action: str,
    reason: str,
    payload: dict[str, Any],
    fingerprint: str,
    resolution: str | None,
    now: datetime,
    reopens: Collection[str] = (),
) -> bool:
    """Keep a message that no transaction explains; True when somebody has to look at it who had not before.

    A repeat is counted. It opens a message again that was ``resolved_as`` one of ``reopens``: what was decided stays in
    the row, and ``resolved_at`` is empty.
    """
    values = {"station": station_id, "action": action, "fingerprint": fingerprint, "now": now}
    cursor = await conn.execute(
        """INSERT INTO quarantined_messages (station_id, action, reason, payload, fingerprint, received_at,
               last_received_at, resolved_at, resolved_by, resolved_as, resolution)
           VALUES (%(station)s, %(action)s, %(reason)s, %(payload)s, %(fingerprint)s, %(now)s, %(now)s,
               CASE WHEN %(resolution)s::text IS NOT NULL THEN %(now)s::timestamptz END,
               CASE WHEN %(resolution)s::text IS NOT NULL THEN 'system' END,
               CASE WHEN %(resolution)s::text IS NOT NULL THEN 'automatic' END, %(resolution)s)
           ON CONFLICT (station_id, action, fingerprint) DO NOTHING""",
        {**values, "reason": reason, "payload": Jsonb(payload), "resolution": resolution},
    )
    if cursor.rowcount == 1:
        return resolution is None
    # Locked first: a decision that is being made meanwhile is waited for, and counts.
    cursor = await conn.execute(
        """WITH before AS (
               SELECT id, resolved_at IS NOT NULL AND resolved_as = ANY (%(reopens)s) AS opens
                 FROM quarantined_messages
                WHERE station_id = %(station)s AND action = %(action)s AND fingerprint = %(fingerprint)s
                  FOR UPDATE)
           UPDATE quarantined_messages q
              SET repeat_count = q.repeat_count + 1, last_received_at = %(now)s,
                  resolved_at = CASE WHEN before.opens THEN NULL ELSE q.resolved_at END
             FROM before WHERE q.id = before.id
        RETURNING before.opens""",
        {**values, "reopens": list(reopens)},
    )
    row = await cursor.fetchone()
    assert row is not None
    return bool(row["opens"])


async def is_known(conn: Conn, station_id: str, action: str, fingerprint: str) -> bool:
    """Whether this content stands here already, decided on or not."""
    cursor = await conn.execute(
        "SELECT FROM quarantined_messages WHERE station_id = %s AND action = %s AND fingerprint = %s",
        (station_id, action, fingerprint),
    )
    return await cursor.fetchone() is not None


async def id_of(conn: Conn, station_id: str, action: str, fingerprint: str) -> int:
    """Id of a message that stands here."""
    cursor = await conn.execute(
        "SELECT id FROM quarantined_messages WHERE station_id = %s AND action = %s AND fingerprint = %s",
        (station_id, action, fingerprint),
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row["id"])


async def get(conn: Conn, message_id: int, *, lock: bool = False) -> QuarantinedMessage | None:
    cursor = await conn.execute(
        f"SELECT {COLUMNS} FROM quarantined_messages WHERE id = %s{' FOR UPDATE' if lock else ''}",  # noqa: S608 - constant parts
        (message_id,),
    )
    row = await cursor.fetchone()
    return QuarantinedMessage(**row) if row else None


async def open_since(conn: Conn, station_id: str, action: str, since: datetime, limit: int) -> list[QuarantinedMessage]:
    """Messages of the station that came after ``since`` and that nobody has decided on, oldest first; locked."""
    cursor = await conn.execute(
        f"""SELECT {COLUMNS} FROM quarantined_messages
             WHERE station_id = %s AND action = %s AND received_at >= %s AND resolved_as IS NULL
             ORDER BY received_at, id LIMIT %s FOR UPDATE""",  # noqa: S608 - constant column list
        (station_id, action, since, limit),
    )
    return [QuarantinedMessage(**row) for row in await cursor.fetchall()]


async def resolve(
    conn: Conn, message_id: int, *, resolved_as: str, actor: str, note: str, transaction_id: int | None, now: datetime
) -> QuarantinedMessage:
    cursor = await conn.execute(
        f"""UPDATE quarantined_messages SET resolved_at = %s, resolved_by = %s, resolved_as = %s, resolution = %s,
                   resolved_transaction_id = %s
             WHERE id = %s RETURNING {COLUMNS}""",  # noqa: S608 - constant column list
        (now, actor, resolved_as, note, transaction_id, message_id),
    )
    row = await cursor.fetchone()
    assert row is not None
    return QuarantinedMessage(**row)


async def seen_again(conn: Conn, message_id: int, now: datetime) -> QuarantinedMessage:
    """Close a message that came again as what it was resolved as before."""
    cursor = await conn.execute(
        f"UPDATE quarantined_messages SET resolved_at = %s WHERE id = %s RETURNING {COLUMNS}",  # noqa: S608 - constant column list
        (now, message_id),
    )
    row = await cursor.fetchone()
    assert row is not None
    return QuarantinedMessage(**row)
