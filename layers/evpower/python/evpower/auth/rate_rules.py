"""Sliding-window counting, pure: the previous window counts by the share of it that is still within reach.

At second 15 of a minute, three quarters of the previous minute's hits count. Refused calls are not counted, so a
client that asks a little too often is slowed down to the limit and not locked out.
"""

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

WINDOW_S = 60


@dataclass(frozen=True, slots=True)
class Bucket:
    """Who does what, and how often it may be done in ``window_s`` seconds."""

    name: str
    limit: int
    window_s: int = WINDOW_S


@dataclass(frozen=True, slots=True)
class Count:
    """A bucket after a call: hits of its present window and of the one before, and whether there was room."""

    has_room: bool
    present: int
    before: int


@dataclass(frozen=True, slots=True)
class Window:
    """The present window. ``weight`` (0..1) is how much of the previous one still counts."""

    start: datetime
    weight: float
    length_s: int = WINDOW_S

    @property
    def previous_start(self) -> datetime:
        return self.start - timedelta(seconds=self.length_s)

    @property
    def number(self) -> int:
        """Windows since the epoch."""
        return int(self.start.timestamp()) // self.length_s

    @classmethod
    def at(cls, now: datetime, length_s: int = WINDOW_S) -> "Window":
        elapsed = now.timestamp() % length_s
        start = datetime.fromtimestamp(round(now.timestamp() - elapsed), UTC)
        return cls(start, 1 - elapsed / length_s, length_s)


def allows(present: int, before: int, weight: float, limit: int) -> bool:
    """Whether one more hit stays within ``limit`` hits a window."""
    return present + 1 + before * weight <= limit


def retry_after_s(present: int, before: int, weight: float, limit: int, length_s: int = WINDOW_S) -> int:
    """Whole seconds until :func:`allows` says yes again, if nothing else is counted meanwhile (at least 1)."""
    if present + 1 <= limit and before > 0:
        wait = (weight - (limit - 1 - present) / before) * length_s
    else:
        # Only when this window has become the previous one do its hits begin to fade.
        fade = 1 - (limit - 1) / present if present else 0.0
        wait = (weight + max(0.0, fade)) * length_s
    return max(1, math.ceil(wait))
