"""The time, injected: rules take ``now`` as an argument, entries read it from a :class:`Clock`."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

BISHKEK = ZoneInfo("Asia/Bishkek")


class Clock(Protocol):
    """Source of the current time."""

    def now(self) -> datetime:
        """Aware datetime in UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)


@dataclass(slots=True)
class FrozenClock:
    """A clock that moves only when told to."""

    current: datetime = field(default_factory=lambda: datetime(2026, 1, 15, 6, 0, tzinfo=UTC))

    def now(self) -> datetime:
        return self.current

    def advance(self, delta: timedelta) -> None:
        self.current += delta


def iso_z(moment: datetime) -> str:
    """RFC 3339 in UTC with ``Z`` and milliseconds: the only date-time form on our wires (mobile-api.md §1.6)."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


# Use case: a clock at the end of time ("9999-12-31T23:59:59Z"). A database in Bishkek's time zone shows that moment
# in the year 10000, which Python has not; the session that carries it could never be read again.
_FIRST = datetime(1, 1, 3, tzinfo=UTC)
_LAST = datetime(9999, 12, 29, tzinfo=UTC)


def parse_time(text: str) -> datetime | None:
    """Read a charger's date-time (OCPP 1.6 section 3.2, RFC 3339); None when it cannot be understood.

    Offsets, missing milliseconds and a space instead of ``T`` are read; a time without zone counts as UTC, which is
    what the specification asks chargers to send. Whether the moment is plausible is not judged here: clocks lie.
    """
    try:
        return in_range(datetime.fromisoformat(text))
    except ValueError:
        return None


def in_range(moment: datetime) -> datetime | None:
    """``moment`` in UTC, within what a database in any time zone can show; None when UTC has no such moment."""
    if moment.tzinfo is not UTC:
        try:
            moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        except OverflowError:
            return None
    return moment if 1 < moment.year < 9999 else min(max(moment, _FIRST), _LAST)
