"""When to stop by ourselves (mobile-api.md §0.7, design: Money). Pure.

At each reading the energy at the next reading is projected from the present power; the session is stopped when that
projection would pass the limit. The charger's own limit is not trusted.
"""

from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache

from evpower.charging.meter import seconds
from evpower.charging.models import LimitType, MeterState
from evpower.charging.running import STOP_LATENCY_S, MeterContext
from evpower.money import TYIYN, ZERO
from evpower.pricing import rules
from evpower.records import Record

# A reading is overdue after this many sample intervals.
OVERDUE_INTERVALS = 3
_THOUSANDTH = Decimal("0.001")
# A member of an enumeration takes 0.15 µs to look up in CPython 3.11, and this runs for every reading.
_ENERGY, _NONE = LimitType.ENERGY, LimitType.NONE


class Decision(Record, frozen=True):
    """``stop``: ask the charger to stop now. ``extend``: reserve more (limit ``none``). ``auto_stop_at``: the time at
    which the limit is reached if readings stop coming, and the sweep must stop the session; None leaves it as it was.
    """

    stop: bool
    extend: bool
    cost: Decimal
    auto_stop_at: datetime | None


def cost_so_far(context: MeterContext, now: datetime) -> Decimal:
    """Som for the energy and time so far; nothing for a session that delivered nothing."""
    energy_wh = context.meter.energy_wh
    return (
        rules.cost(context.price, energy_wh / 1000, seconds(now - context.started_at) / 60) if energy_wh > 0 else ZERO
    )


def decide(context: MeterContext, now: datetime) -> Decision:
    """Decide after a reading, with ``context.meter`` where the reading brought it."""
    return judge(context, context.meter, now)


def judge(context: MeterContext, meter: MeterState, now: datetime, *, tells_energy: bool = True) -> Decision:
    """:func:`decide` with the meter where a reading that is not committed yet brings it.

    One that does not tell energy (``tells_energy``) does not put off the stop of a session whose readings are overdue:
    behind power alone, or registers that cannot be read, the limit may be passed unseen.

    Without a power value from the charger the average since the start is used, and the connector's power until there
    is one, so that a charger that hides its power is stopped early rather than late.
    """
    energy_wh, price = meter.energy_wh, context.price
    elapsed = seconds(now - context.started_at) if price.rate_per_minute else ZERO
    gross = rules.gross(price, energy_wh * _THOUSANDTH, elapsed / 60 if elapsed else ZERO)
    cost = rules.net(price, gross) if energy_wh > 0 else ZERO
    clear = context.clear
    passes = extend = False
    if gross >= clear.gross or (clear.energy_wh is not None and energy_wh >= clear.energy_wh):
        elapsed = seconds(now - context.started_at)
        horizon_s = context.sample_interval_s + STOP_LATENCY_S
        passes = _passes(context, meter, _power(context, meter, elapsed), horizon_s, elapsed)
        extend = passes and context.limit_type is _NONE
    return Decision(passes and not extend, extend, cost, overdue_at(context, now) if tells_energy else None)


def overdue_at(context: MeterContext, now: datetime) -> datetime:
    """When the next reading is overdue, after one that came ``now``."""
    return now + _overdue(context.sample_interval_s)


@lru_cache(maxsize=64)
def _overdue(sample_interval_s: int) -> timedelta:
    return timedelta(seconds=OVERDUE_INTERVALS * sample_interval_s)


def _passes(context: MeterContext, meter: MeterState, power_w: Decimal, horizon_s: int, elapsed: Decimal) -> bool:
    energy_kwh = (meter.energy_wh + power_w * horizon_s / 3600) / 1000
    if context.limit_type is _ENERGY and energy_kwh >= context.limit_value:
        return True
    if energy_kwh <= 0:
        return False
    # A free tariff has no reserve to run out of.
    return rules.reaches(max(context.ceiling, TYIYN), context.price, energy_kwh, (elapsed + horizon_s) / 60)


def longest_without_readings(context: MeterContext) -> timedelta:
    """Time in which a charge that has just begun cannot pass its limit, in whole minutes of at most an hour."""
    for minutes in range(1, 61):
        if _passes(context, context.meter, context.max_power_w, minutes * 60 + STOP_LATENCY_S, ZERO):
            return timedelta(minutes=minutes - 1)
    return timedelta(hours=1)


def _power(context: MeterContext, meter: MeterState, elapsed: Decimal) -> Decimal:
    if meter.power_w is not None:
        if meter.power_w >= context.max_power_w:
            return context.max_power_w
        return meter.power_w if meter.power_w > 0 else ZERO
    if meter.energy_wh <= 0 or elapsed < context.sample_interval_s:
        return context.max_power_w if meter.energy_wh > 0 else ZERO
    return min(meter.energy_wh * 3600 / elapsed, context.max_power_w)
