"""Since when chargers could be heard without a gap (docs/decisions/0018). Pure; times are the database's.

Each process of the socket tier writes a sign of life every few seconds. Signs without a gap between them are a run:
time in which that process held sockets and could store what it heard. Silence of a charger means something only inside
such time: after an outage of ours, and after a step of the clock, it is counted anew.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

SIGN_EVERY_S = 5.0
LONGEST_GAP = timedelta(seconds=20)
"""Between two signs; longer than a slow commit and three lost signs, shorter than any charger takes to give up."""
CLOCK_STEP = timedelta(seconds=5)
"""By which the database's clock and the monotonic one may differ between two signs: NTP slews, it does not leap."""
CLOCK_AHEAD = timedelta(minutes=5)
"""More than clocks of different machines differ, and than a sweep runs by the time at which it began."""


@dataclass(frozen=True, slots=True)
class Run:
    """A row of ``hearing_runs``: signs of life of one process without a gap. ``until``: the last of them."""

    id: str
    instance_id: str
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Look:
    """The database's clock as a process saw it: ``moment`` lies between two readings of ``time.monotonic``."""

    moment: datetime
    earliest: float
    latest: float


@dataclass(frozen=True, slots=True)
class Silence:
    """What makes a station silent: it was not heard after ``since`` (None: nothing does at present).

    A process of the socket tier hears if its last sign is not older than ``hears_at``; a time after ``ahead`` was
    written before the clock stepped back and says nothing.
    """

    since: datetime | None
    hears_at: datetime
    ahead: datetime


@dataclass(frozen=True, slots=True)
class Hearing:
    """What a judgement about silence needs. ``since``: chargers could be heard from then on; None: not at present."""

    now: datetime
    since: datetime | None

    @property
    def ahead(self) -> datetime:
        """A stored time after this one was written before the clock stepped back."""
        return self.now + CLOCK_AHEAD

    def lasted(self, seconds: float) -> bool:
        """Whether chargers could be heard for so long without a gap."""
        return self.since is not None and self.since <= self.now - timedelta(seconds=seconds)

    def before(self, seconds: float) -> datetime | None:
        """The moment so long ago, if chargers could be heard all the while."""
        return self.now - timedelta(seconds=seconds) if self.lasted(seconds) else None

    def passed(self, moment: datetime, seconds: float) -> bool:
        """Whether so much time has passed since ``moment`` in which chargers could be heard without a gap."""
        before = self.before(seconds)
        return before is not None and (moment < before or moment > self.ahead)

    def silence(self, seconds: float) -> Silence:
        """What silence for so long is."""
        return Silence(self.before(seconds), self.now - LONGEST_GAP, self.ahead)


def stepped(before: Look, after: Look) -> bool:
    """Whether the database's clock was set between two looks of one process: the monotonic clock says otherwise."""
    passed = after.moment - before.moment
    least = timedelta(seconds=after.earliest - before.latest) - CLOCK_STEP
    most = timedelta(seconds=after.latest - before.earliest) + CLOCK_STEP
    return not least <= passed <= most


def uninterrupted_since(runs: Iterable[Run], now: datetime) -> datetime | None:
    """Begin of the gap-free time that lasts until ``now``, whichever processes heard in it; None: nobody hears now.

    Runs that end after ``now`` were written by another clock than the one that says ``now``.
    """
    since: datetime | None = None
    for run in sorted(runs, key=lambda run: run.until, reverse=True):
        if run.until > now + CLOCK_AHEAD or run.since > run.until:
            continue
        if run.until < (now if since is None else since) - LONGEST_GAP:
            break
        since = run.since if since is None else min(since, run.since)
    return since
