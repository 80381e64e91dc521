"""The edge's memories that must survive Redis, in PostgreSQL. Pure counting rules beside them."""

from datetime import UTC, datetime, timedelta

from evpower.auth import repository
from evpower.db import Conn

WINDOW_S = 60


def windows(now: datetime) -> tuple[datetime, datetime, float]:
    """Start of the present window, start of the previous one, and how much of the previous one still counts (0..1)."""
    seconds = now.timestamp()
    start = seconds - seconds % WINDOW_S
    present = datetime.fromtimestamp(start, UTC)
    return present, present - timedelta(seconds=WINDOW_S), 1 - (seconds - start) / WINDOW_S


async def use_nonce(conn: Conn, nonce: str, *, now: datetime, ttl_s: int) -> bool:
    """True the first time within ``ttl_s`` seconds."""
    return await repository.insert_nonce(conn, nonce, now=now, expires_at=now + timedelta(seconds=ttl_s))


async def count_hit(conn: Conn, bucket: str, *, now: datetime) -> float:
    """Count one hit and return the sliding-window estimate of hits in the last minute, this one included."""
    present, previous, weight = windows(now)
    hits, hits_before = await repository.add_hit(conn, bucket, window=present, previous_window=previous)
    return hits + hits_before * weight
