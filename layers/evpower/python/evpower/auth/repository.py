"""SQL of the edge's memories that must survive Redis: used nonces and rate counters."""

from datetime import datetime

from evpower.db import Conn


async def insert_nonce(conn: Conn, nonce: str, *, now: datetime, expires_at: datetime) -> bool:
    """Remember a nonce; False when it is remembered already and not yet expired."""
    cursor = await conn.execute(
        """
        INSERT INTO used_nonces AS known (nonce, expires_at) VALUES (%s, %s)
        ON CONFLICT (nonce) DO UPDATE SET expires_at = excluded.expires_at WHERE known.expires_at <= %s
        RETURNING nonce
        """,
        (nonce, expires_at, now),
    )
    return await cursor.fetchone() is not None


async def add_hit(conn: Conn, bucket: str, *, window: datetime, previous_window: datetime) -> tuple[int, int]:
    """Count one hit in a window; returns the hits of this window (with this one) and of the previous one."""
    cursor = await conn.execute(
        """
        WITH hit AS (
            INSERT INTO rate_counters AS c (bucket, window_start, hits) VALUES (%(bucket)s, %(window)s, 1)
            ON CONFLICT (bucket, window_start) DO UPDATE SET hits = c.hits + 1
            RETURNING hits)
        SELECT hit.hits AS present,
               coalesce((SELECT hits FROM rate_counters
                          WHERE bucket = %(bucket)s AND window_start = %(previous)s), 0) AS previous
          FROM hit
        """,
        {"bucket": bucket, "window": window, "previous": previous_window},
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row["present"]), int(row["previous"])
