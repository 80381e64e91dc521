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
_FURTHEST_AHEAD = timedelta(hours=24)
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


def fell_back(at: datetime | None, charger_began_at: datetime) -> bool:
    """Whether the charger's clock, which says ``at``, was set back since the transaction began.

    Use case: the power failed in the middle of the charge, and the charger believes that it is 1970.
    """
    return at is not None and charger_began_at - at > _CLOCK_STEP


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
