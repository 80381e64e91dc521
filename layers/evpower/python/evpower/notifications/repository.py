"""SQL of the push outbox."""

from typing import Any

from psycopg.types.json import Jsonb

from evpower.db import Conn


async def insert(
    conn: Conn, *, user_type: str, user_id: str, event: str, payload: dict[str, Any], dedup_key: str
) -> None:
    await conn.execute(
        """INSERT INTO push_outbox (user_type, user_id, event, payload, dedup_key) VALUES (%s, %s, %s, %s, %s)
           ON CONFLICT (dedup_key) DO NOTHING""",
        (user_type, user_id, event, Jsonb(payload), dedup_key),
    )


async def delete_addresses(conn: Conn, user_id: str) -> None:
    """Forget every device and web push subscription of a user."""
    await conn.execute("DELETE FROM devices WHERE client_id = %s", (user_id,))
    await conn.execute("DELETE FROM push_subscriptions WHERE user_id = %s", (user_id,))
