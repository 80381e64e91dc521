"""The edge's memories that survive Redis, in PostgreSQL."""

from datetime import datetime, timedelta

from evpower.auth import repository
from evpower.auth.rate_rules import Window
from evpower.db import Conn


async def use_nonce(conn: Conn, nonce: str, *, now: datetime, ttl_s: int) -> bool:
    """True the first time within ``ttl_s`` seconds."""
    return await repository.insert_nonce(conn, nonce, now=now, expires_at=now + timedelta(seconds=ttl_s))


async def count_hit(conn: Conn, bucket: str, window: Window, limit: int) -> tuple[bool, int, int]:
    """Count one hit unless the limit is reached: whether it was counted, hits of this window, of the one before."""
    before = await repository.hits(conn, bucket, window.previous_start)
    present = await repository.add_hit(conn, bucket, window.start, carried=window.weight * before, limit=limit)
    if present is None:
        return False, await repository.hits(conn, bucket, window.start), before
    return True, present, before
