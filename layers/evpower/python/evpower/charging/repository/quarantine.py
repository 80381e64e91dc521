"""SQL of ``quarantined_messages``: what no transaction of ours explains."""

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
) -> bool:
    """Keep a message that no transaction explains; True when it was new, False when a repeat was counted."""
    cursor = await conn.execute(
        """INSERT INTO quarantined_messages (station_id, action, reason, payload, fingerprint, received_at,
               last_received_at, resolved_at, resolved_by, resolved_as, resolution)
           VALUES (%(station)s, %(action)s, %(reason)s, %(payload)s, %(fingerprint)s, %(now)s, %(now)s,
               CASE WHEN %(resolution)s::text IS NOT NULL THEN %(now)s::timestamptz END,
               CASE WHEN %(resolution)s::text IS NOT NULL THEN 'system' END,
               CASE WHEN %(resolution)s::text IS NOT NULL THEN 'automatic' END, %(resolution)s)
           ON CONFLICT (station_id, action, fingerprint) DO UPDATE
               SET repeat_count = quarantined_messages.repeat_count + 1, last_received_at = excluded.last_received_at
           RETURNING repeat_count""",
        {
            "station": station_id,
            "action": action,
            "reason": reason,
            "payload": Jsonb(payload),
            "fingerprint": fingerprint,
            "resolution": resolution,
            "now": now,
        },
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row["repeat_count"]) == 0


async def get(conn: Conn, message_id: int, *, lock: bool = False) -> QuarantinedMessage | None:
    cursor = await conn.execute(
        f"SELECT {COLUMNS} FROM quarantined_messages WHERE id = %s{' FOR UPDATE' if lock else ''}",  # noqa: S608 - constant parts
        (message_id,),
    )
    row = await cursor.fetchone()
    return QuarantinedMessage(**row) if row else None


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
