"""The time, injected: rules take ``now`` as an argument, entries read it from a :class:`Clock`."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

BISHKEK = ZoneInfo("Asia/Bishkek")
_JITTER = timedelta(seconds=0.5)


class Clock(Protocol):
    """Source of the current time."""

    def now(self) -> datetime:
        """Aware datetime in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never step, from an unknown beginning."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


class DatabaseClock:
    """The database's time, kept by the monotonic clock from one look at it to the next.

    Use case: the clock of the machine on which an instance runs is set, or differs from the others'. What it writes is
    compared with the database's time by sweeps and by other instances, and must not move with it.
    """

    def __init__(self, until_set: Clock, monotonic: Callable[[], float] = time.monotonic) -> None:
        """``until_set`` tells the time until the database was asked for the first time."""
        self._until_set = until_set
        self._monotonic = monotonic
        self._moment: datetime | None = None
        self._at = 0.0

    def now(self) -> datetime:
        if self._moment is None:
            return self._until_set.now()
        return self._moment + timedelta(seconds=self._monotonic() - self._at)

    def monotonic(self) -> float:
        return self._monotonic()

    def set(self, moment: datetime, monotonic: float) -> None:
        """The database said ``moment`` when the monotonic clock said ``monotonic``.

        A difference that the way to the database explains changes nothing: times of one instance stay in order.
        """
        if self._moment is None or abs(self._moment + timedelta(seconds=monotonic - self._at) - moment) > _JITTER:
            self._moment, self._at = moment, monotonic


@dataclass(slots=True)
class FrozenClock:
    """A clock that moves only when told to."""

    current: datetime = field(default_factory=lambda: datetime(2026, 1, 15, 6, 0, tzinfo=UTC))

    def now(self) -> datetime:
        return self.current

    def monotonic(self) -> float:
        return self.current.timestamp()

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
