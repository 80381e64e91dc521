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
