"""What a connector can deliver, and what of a charger's clock can be believed. Pure; Wh, W, aware datetimes."""

from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache

from evpower.charging.models import ZERO

TOLERANCE = Decimal("1.25")  # chargers exceed their rating, clocks of samples jitter
ALLOWANCE_WH = Decimal(200)  # coarse registers step by 100 Wh
_CLOCK_STEP = timedelta(minutes=1)  # by which a clock is corrected while it charges
# A queue that was kept longer than this, or a clock that runs this far ahead, is not believed.
_LONGEST_QUEUE = timedelta(days=30)
_CLOCKS_DIFFER = timedelta(seconds=5)  # those of two instances, at most
_FURTHEST_AHEAD = timedelta(hours=24)
_LONGEST_CHARGE = timedelta(hours=12)
_PER_SECOND = TOLERANCE / 3600
_MICROSECOND = timedelta(microseconds=1)
_MILLIONTH = Decimal("0.000001")
_NO_TIME = timedelta(0)


def plausible_wh(elapsed: timedelta, max_power_w: Decimal) -> Decimal:
    """Most energy (Wh) that a connector of ``max_power_w`` can deliver in ``elapsed``."""
    return max_power_w * seconds(elapsed) * _PER_SECOND + ALLOWANCE_WH


@lru_cache(maxsize=32)
def seconds(span: timedelta) -> Decimal:
    """``span`` in seconds, exact to the microsecond (a decimal made of a float drags fifty digits along); at least 0.

    One reading asks for the same span several times.
    """
    return Decimal(span // _MICROSECOND) * _MILLIONTH if span > _NO_TIME else ZERO


def clock_is_dead(said: datetime, received_at: datetime) -> bool:
    """Whether a charger that said ``said`` in a message received at ``received_at`` cannot know the time."""
    return said < received_at - _LONGEST_QUEUE or said > received_at + _FURTHEST_AHEAD


def tells_time(at: datetime | None, received_at: datetime) -> bool:
    """Whether the charger's clock, which said ``at``, tells how much time passes."""
    return at is not None and not clock_is_dead(at, received_at)


def fell_back(at: datetime | None, charger_began_at: datetime) -> bool:
    """Whether the charger's clock, which says ``at``, was set back since the transaction began.

    Use case: the power failed in the middle of the charge, and the charger believes that it is 1970.
    """
    return at is not None and charger_began_at - at > _CLOCK_STEP


def went_back(since: datetime | None, received_at: datetime) -> bool:
    """Whether the server's clock says less than at the reading before, by more than instances' clocks differ."""
    return since is not None and since - received_at > _CLOCKS_DIFFER


def in_order(
    since: datetime, since_charger: datetime | None, at: datetime | None, received_at: datetime, began_at: datetime
) -> tuple[datetime, datetime]:
    """When the reading before and this one came, if the server's clock :func:`went_back` between them.

    Use case: the server's clock is set back by an hour, and another instance has the charger now. What is delivered in
    that hour must not be refused because it seems to have taken no time. The charger's own difference tells how long it
    took. Where its clock does not tell either, only the time since the begin bounds the energy. A message that is older
    by the charger's clock as well just came late.
    """
    if at is None or since_charger is None or not tells_time(at, received_at):
        return began_at, since + _MICROSECOND
    passed = min(at - since_charger, _LONGEST_CHARGE)
    return since, since + passed if passed > _NO_TIME else received_at


def elapsed(
    since: datetime, since_charger: datetime | None, at: datetime | None, received_at: datetime, began_at: datetime
) -> timedelta:
    """Time in which what came between two readings can have been delivered.

    Use case: after an outage the queued samples of an hour arrive within a second; the charger's own time differences
    count then, but never more than the server's since the session began.

    Args:
        since, since_charger: the reading before, by the server's and by the charger's clock.
        at, received_at: this one, likewise.
        began_at: server time before which nothing of this session can have been delivered.
    """
    server = received_at - since
    if at is None or since_charger is None:
        return server
    return max(server, min(at - since_charger, received_at - began_at))
