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


async def hits(conn: Conn, bucket: str, window_start: datetime) -> int:
    """Hits counted in one window of a bucket."""
    cursor = await conn.execute(
        "SELECT hits FROM rate_counters WHERE bucket = %s AND window_start = %s", (bucket, window_start)
    )
    row = await cursor.fetchone()
    return int(row["hits"]) if row else 0


async def add_hit(conn: Conn, bucket: str, window_start: datetime, *, carried: float, limit: int) -> int | None:
    """Count one hit unless hits + ``carried`` would pass ``limit``; the new number of hits, or None when refused."""
    cursor = await conn.execute(
        """
        INSERT INTO rate_counters AS c (bucket, window_start, hits)
        SELECT %(bucket)s, %(window)s, 1 WHERE 1 + %(carried)s::double precision <= %(limit)s
        ON CONFLICT (bucket, window_start) DO UPDATE SET hits = c.hits + 1
            WHERE c.hits + 1 + %(carried)s::double precision <= %(limit)s
        RETURNING hits
        """,
        {"bucket": bucket, "window": window_start, "carried": carried, "limit": limit},
    )
    row = await cursor.fetchone()
    return int(row["hits"]) if row else None
