"""SQL of authentication: used nonces and rate counters that must survive Redis, login codes, logins."""

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


async def take_hit_back(conn: Conn, bucket: str, window_start: datetime) -> None:
    """One hit less, where there is one."""
    await conn.execute(
        "UPDATE rate_counters SET hits = hits - 1 WHERE bucket = %s AND window_start = %s AND hits > 0",
        (bucket, window_start),
    )


# Login codes --------------------------------------------------------------------------------------------------


async def lock_phone(conn: Conn, phone: str) -> None:
    """One request for a code at a time per phone, to the end of the transaction; works for unknown phones too."""
    await conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('evpower-otp:' || %s, 0))", (phone,))


async def code_times(conn: Conn, phone: str, since: datetime) -> list[datetime]:
    """When codes were sent to the phone, newest first."""
    cursor = await conn.execute(
        "SELECT created_at FROM otp_codes WHERE phone = %s AND created_at > %s ORDER BY id DESC", (phone, since)
    )
    return [row["created_at"] for row in await cursor.fetchall()]


async def insert_code(conn: Conn, phone: str, code_hash: bytes, *, now: datetime, expires_at: datetime) -> int:
    cursor = await conn.execute(
        "INSERT INTO otp_codes (phone, code_hash, created_at, expires_at) VALUES (%s, %s, %s, %s) RETURNING id",
        (phone, code_hash, now, expires_at),
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row["id"])


async def delete_code(conn: Conn, code_id: int) -> None:
    await conn.execute("DELETE FROM otp_codes WHERE id = %s", (code_id,))


async def take_attempt(conn: Conn, phone: str, max_attempts: int, now: datetime) -> tuple[int, bytes] | None:
    """Use up one attempt at the phone's newest code: its id and hash; None when there is nothing to try.

    The row stays locked, so attempts that come at once take different numbers and see a code that was just used.
    """
    cursor = await conn.execute(
        """
        UPDATE otp_codes SET attempts = attempts + 1
         WHERE id = (SELECT max(id) FROM otp_codes WHERE phone = %s)
           AND attempts < %s AND used_at IS NULL AND expires_at > %s
        RETURNING id, code_hash
        """,
        (phone, max_attempts, now),
    )
    row = await cursor.fetchone()
    return (int(row["id"]), bytes(row["code_hash"])) if row else None


async def mark_code_used(conn: Conn, code_id: int, now: datetime) -> None:
    await conn.execute("UPDATE otp_codes SET used_at = %s WHERE id = %s", (now, code_id))


# Logins -------------------------------------------------------------------------------------------------------


async def insert_login(
    conn: Conn,
    *,
    login_id: str,
    client_id: str,
    token_hash: bytes,
    user_agent: str | None,
    now: datetime,
    expires_at: datetime,
) -> None:
    await conn.execute(
        """INSERT INTO refresh_tokens (id, client_id, token_hash, user_agent, created_at, last_used_at, expires_at)
           VALUES (%s, %s, %s, %s, %s, %s, %s)""",
        (login_id, client_id, token_hash, user_agent, now, now, expires_at),
    )


async def use_login(conn: Conn, token_hash: bytes, *, now: datetime, expires_at: datetime) -> tuple[str, str] | None:
    """Move the end of a live login to ``expires_at``: its id and client; None when there is none."""
    cursor = await conn.execute(
        """UPDATE refresh_tokens SET last_used_at = %s, expires_at = %s WHERE token_hash = %s AND expires_at > %s
           RETURNING id, client_id""",
        (now, expires_at, token_hash, now),
    )
    row = await cursor.fetchone()
    return (row["id"], row["client_id"]) if row else None


async def delete_login(conn: Conn, token_hash: bytes) -> str | None:
    """End one login; its client, or None when there was none."""
    cursor = await conn.execute("DELETE FROM refresh_tokens WHERE token_hash = %s RETURNING client_id", (token_hash,))
    row = await cursor.fetchone()
    return row["client_id"] if row else None


async def delete_logins(conn: Conn, client_id: str, *, keep: int = 0) -> int:
    """End the client's logins but the ``keep`` most recently used; how many."""
    cursor = await conn.execute(
        """DELETE FROM refresh_tokens WHERE id IN (
               SELECT id FROM refresh_tokens WHERE client_id = %s ORDER BY last_used_at DESC, id OFFSET %s)""",
        (client_id, keep),
    )
    return cursor.rowcount
