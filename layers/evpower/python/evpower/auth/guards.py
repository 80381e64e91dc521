"""The edge's memories that survive Redis, in PostgreSQL."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from evpower.auth import repository
from evpower.auth.rate_rules import Bucket, Count, Window
from evpower.db import Conn


async def use_nonce(conn: Conn, nonce: str, *, now: datetime, ttl_s: int) -> bool:
    """True the first time within ``ttl_s`` seconds."""
    return await repository.insert_nonce(conn, nonce, now=now, expires_at=now + timedelta(seconds=ttl_s))


class _SomeAreFull(Exception):
    """Takes back the hits of the buckets that had room."""


async def count_hits(conn: Conn, buckets: Sequence[tuple[Bucket, Window]]) -> list[Count]:
    """Count one hit in every bucket, or in none when one of them is full."""
    counts: list[Count] = []
    try:
        async with conn.transaction():
            for bucket, window in buckets:
                counts.append(await _count_hit(conn, bucket, window))
            if not all(count.has_room for count in counts):
                raise _SomeAreFull
    except _SomeAreFull:
        pass
    return counts


async def _count_hit(conn: Conn, bucket: Bucket, window: Window) -> Count:
    name = _row_of(bucket)
    before = await repository.hits(conn, name, window.previous_start)
    carried = window.weight * before
    present = await repository.add_hit(conn, name, window.start, carried=carried, limit=bucket.limit)
    if present is None:
        return Count(False, await repository.hits(conn, name, window.start), before)
    return Count(True, present, before)


async def give_back(conn: Conn, buckets: Sequence[tuple[Bucket, Window]]) -> None:
    """Take one hit back from each bucket."""
    for bucket, window in buckets:
        await repository.take_hit_back(conn, _row_of(bucket), window.start)


def _row_of(bucket: Bucket) -> str:
    """Name of the counter: a day's must not be an hour's that begins at the same time."""
    return f"{bucket.name}:{bucket.window_s}"
