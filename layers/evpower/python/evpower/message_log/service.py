"""Storing and reading the message log."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import orjson

from evpower.db import Conn
from evpower.message_log import repository, rows
from evpower.message_log.models import Direction, Entry, EntryFilter, EntryPage, NewEntry, Place


async def store(conn: Conn, entries: Iterable[NewEntry]) -> None:
    """Store entries by one statement, masked and bounded."""
    await repository.insert(conn, rows.document(entries))


async def page(
    conn: Conn,
    station_id: str,
    wanted: EntryFilter,
    *,
    after: Place | None = None,
    newest_first: bool = True,
    limit: int = 50,
) -> EntryPage:
    """Entries of a station in the order of time; ``after`` is the ``next`` of the page before."""
    rows = await repository.page(conn, station_id, wanted, after, newest_first=newest_first, limit=limit + 1)
    items = tuple(_entry(row) for row in rows[:limit])
    more = len(rows) > limit
    return EntryPage(items, Place(items[-1].at, items[-1].id) if more else None)


async def latest(conn: Conn, station_id: str, limit: int = 20) -> tuple[Entry, ...]:
    """The newest entries of a station, newest first."""
    return (await page(conn, station_id, EntryFilter(), limit=limit)).items


def _entry(row: dict[str, Any]) -> Entry:
    at: datetime = row["received_at"]
    return Entry(
        id=row["id"],
        station_id=row["station_id"],
        at=at,
        direction=Direction(row["direction"]),
        action=row["action"],
        message_id=row["message_id"],
        request=_document(row["request"]),
        response=_document(row["response"]),
        error=row["error"],
        latency_ms=row["latency_ms"],
        is_truncated=row["is_truncated"],
    )


def _document(text: str | None) -> Any:
    """What a frame said; its text where it is not JSON, or only the beginning of it."""
    if text is None:
        return None
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
