"""A limit on how often one charger may have an action handled: excess waits, nothing is dropped or refused.

While a message waits, those behind it do too, and once the queue is full the socket is no longer read: a flood costs
the charger that causes it, not its neighbours. Generic cell rate algorithm (ITU-T I.371): one number per action.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Pace:
    """``per_s`` messages a second in the long run, ``burst`` of them at once."""

    per_s: float
    burst: int
    interval: float = field(init=False, repr=False)
    tolerance: float = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "interval", 1 / self.per_s)
        object.__setattr__(self, "tolerance", (self.burst - 1) / self.per_s)


class Pacer:
    """The state of one connection's limits."""

    __slots__ = ("_due",)

    def __init__(self) -> None:
        self._due: dict[str, float] = {}  # action -> when all that was taken so far would be paid off

    def take(self, action: str, pace: Pace, now: float) -> bool:
        """Take one message at ``now`` if it need not wait; false takes nothing."""
        due = self._due.get(action, now)
        if due < now:
            due = now
        elif due - now > pace.tolerance:
            return False
        self._due[action] = due + pace.interval
        return True

    def delay(self, action: str, pace: Pace, now: float) -> float:
        """Take one message at ``now`` (monotonic seconds); the seconds that it must wait."""
        due = max(self._due.get(action, now), now)
        self._due[action] = due + pace.interval
        return max(0.0, due - now - pace.tolerance)
