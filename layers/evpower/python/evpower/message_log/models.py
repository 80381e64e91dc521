"""Entries of the message log: one for each exchange (a CALL and its answer), and one for each event of a connection."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from evpower.records import Record


class Direction(StrEnum):
    """Column ``station_messages.direction``."""

    IN = "in"  # the charger's CALL and our answer
    OUT = "out"  # our CALL and the charger's answer
    EVENT = "event"  # a connection opened, closed or refused


CONNECTION_OPENED = "ConnectionOpened"
CONNECTION_CLOSED = "ConnectionClosed"
CONNECTION_REFUSED = "ConnectionRefused"
MESSAGES_SUPPRESSED = "MessagesSuppressed"
"""Actions of events."""


class NewEntry(Record, frozen=True):
    """One entry as the socket tier saw it; masked and cut by :mod:`evpower.message_log.wire` when it is stored.

    Attributes:
        at: seconds since 1970 (our clock) of the CALL, or of the event.
        request, response: frames as they were on the wire; of an event, its details as JSON.
        error: None when all went well; else a CALLERROR code, or a word of ours.
        latency_s: from the CALL to its answer.
        is_json: both frames are known to be JSON that PostgreSQL takes, without an escape, so that nothing need look.
    """

    station_id: str
    at: float
    direction: Direction
    action: str | None
    message_id: str | int | float | None
    request: bytes | None
    response: bytes | None = None
    error: str | None = None
    latency_s: float | None = None
    is_json: bool = False

    @property
    def size(self) -> int:
        """Bytes of its frames."""
        return len(self.request or b"") + len(self.response or b"")


@dataclass(frozen=True, slots=True)
class Entry:
    """A stored entry. ``request`` and ``response`` are what was sent, or its text where it could not be read."""

    id: int
    station_id: str
    at: datetime
    direction: Direction
    action: str | None
    message_id: str | None
    request: Any
    response: Any
    error: str | None
    latency_ms: float | None
    is_truncated: bool


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the log of one station, between two entries."""

    at: datetime
    id: int


@dataclass(frozen=True, slots=True)
class EntryFilter:
    """Which entries are wanted; ``since`` is included, ``until`` is not."""

    direction: Direction | None = None
    action: str | None = None
    message_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    only_errors: bool = False


@dataclass(frozen=True, slots=True)
class EntryPage:
    """Part of a log; ``next`` is where it goes on, None at its end."""

    items: tuple[Entry, ...]
    next: Place | None
