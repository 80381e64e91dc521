"""What can be wrong with a charger in the field, as switches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta


@dataclass(slots=True)
class Faults:
    """Switches of one charge point; all off by default. They may be changed while it runs."""

    duplicate: set[str] = field(default_factory=set)
    """Actions that are sent twice: same content, new message id."""
    lose_answers: dict[str, int] = field(default_factory=dict)
    """Action -> how many of the server's answers to it get lost; the charger then repeats the message."""
    repeat_with_same_id: bool = False
    """After a lost answer the repeat carries the same message id (some firmwares) instead of a new one."""
    unsupported: frozenset[str] = frozenset()
    """Commands that this firmware does not know: answered by CALLERROR NotImplemented."""
    reject_remote_start: bool = False
    reject_remote_stop: bool = False
    never_start: bool = False
    """RemoteStart is accepted and nothing follows."""
    boot_on_reconnect: bool = True
    """False: the charger comes back without a BootNotification."""
    act_before_answer: bool = False
    """The CALL that a command causes leaves before the CALLRESULT of that command."""
    key_change: str = "Accepted"
    """Answer to a new AuthorizationKey: Accepted (comes back with it at once), RebootRequired, Rejected."""
    no_preparing: bool = False
    """StartTransaction comes without a StatusNotification Preparing, Charging only after it."""
    meter_stop: int | None = None
    """Lie in StopTransaction.meterStop (Wh): 0, -1 or anything."""
    clock: Callable[[datetime], datetime] | None = None
    """The charger's clock as a function of the true time."""

    def take_lost_answer(self, action: str) -> bool:
        """True when this answer is to be lost (counts down)."""
        left = self.lose_answers.get(action, 0)
        if left > 0:
            self.lose_answers[action] = left - 1
        return left > 0


def clock_ahead(hours: float) -> Callable[[datetime], datetime]:
    """A clock that runs ahead (negative: behind) of the true time."""
    return lambda now: now + timedelta(hours=hours)


def clock_of_1970(now: datetime) -> datetime:
    """A clock that lost its battery: it counts from 1970 again, once per day of the true time."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return datetime(1970, 1, 1, tzinfo=UTC) + (now - midnight)
