"""To which charge a message of a charger belongs. Pure; Wh, W, aware datetimes (docs/decisions/0014).

No rule here lets the energy of one charge into the bill of another. What could be either's is nobody's: it is kept and
shown to operators.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from evpower.charging import meter
from evpower.charging.models import ZERO, MeterState, Reading, StopTransaction

CLOCK_STEP = timedelta(minutes=1)
"""By which a charger's clock may be corrected while it charges."""
_INSTANT = timedelta(microseconds=1)
NEVER = datetime.min.replace(tzinfo=UTC)
"""Bound of a charge whose every later reading is without effect."""


@dataclass(frozen=True, slots=True)
class Begin:
    """The begin of a transaction: ``at`` by the charger's clock, ``received_at`` by the server's; its register."""

    at: datetime
    received_at: datetime
    register_wh: Decimal


def tells_time(begin: Begin, at: datetime, received_at: datetime) -> bool:
    """Whether ``at``, the charger's time in a message, can be compared with the begin: neither clock is dead."""
    return not (meter.clock_is_dead(at, received_at) or meter.clock_is_dead(begin.at, begin.received_at))


def stop_by_card_is_possible(
    begin: Begin, began_at: datetime, state: MeterState | None, message: StopTransaction, max_power_w: Decimal
) -> bool:
    """Whether a stop that names only the card can be the end of a charge, by time, register and rated power.

    Args:
        began_at: server time before which nothing can have been delivered.
        state: the charge's meter, if it has one.
    """
    if message.meter_stop_wh is None:
        return False
    if message.stopped_at is not None and tells_time(begin, message.stopped_at, message.received_at):
        if message.stopped_at < begin.at:
            return False  # that of an earlier charge with the same card
        seen = state.since_charger if state is not None else None
        if seen is not None and seen - message.stopped_at > CLOCK_STEP:
            return False  # the charge went on after it
    energy = message.meter_stop_wh - begin.register_wh
    if energy < 0 or energy > meter.plausible_wh(message.received_at - began_at, max_power_w):
        return False
    return state is None or message.meter_stop_wh >= state.register_wh - meter.ALLOWANCE_WH


def meter_stop_is_plausible(
    register_wh: Decimal, meter_start_wh: Decimal, counted_wh: Decimal, elapsed: timedelta, max_power_w: Decimal
) -> bool:
    """Whether meterStop (``register_wh``) can be the end of a charge of which the readings counted ``counted_wh``.

    Not when it is below them, nor above what the connector can have delivered.
    """
    energy = register_wh - max(meter_start_wh, ZERO)
    return counted_wh - meter.ALLOWANCE_WH <= energy <= meter.plausible_wh(elapsed, max_power_w)


def counted_until(
    *, stopped_at: datetime | None, stop_is_plausible: bool | None, next_begin: Begin | None
) -> datetime | None:
    """Until when, by the charger's clock, readings of a charge that is over count; None: without bound.

    Args:
        stopped_at: time of its own StopTransaction, if that has come.
        stop_is_plausible: whether that told the end; None: it was not judged.
        next_begin: that of the charge which began next on the connector.
    """
    if stopped_at is not None and stop_is_plausible is not False:
        return NEVER
    before_next = next_begin.at - _INSTANT if next_begin is not None else None
    return min((bound for bound in (stopped_at, before_next) if bound is not None), default=None)


def counting(readings: Iterable[Reading], began_at: datetime | None, until: datetime | None) -> tuple[Reading, ...]:
    """Those of ``readings`` that a charge which is over may count: dated inside it. Without ``until``: all."""
    if until is None:
        return tuple(readings)
    return tuple(
        reading
        for reading in readings
        if reading.sampled_at is not None
        and reading.sampled_at <= until
        and (began_at is None or reading.sampled_at >= began_at - CLOCK_STEP)
    )


def not_before(readings: Iterable[Reading], began_at: datetime | None, received_at: datetime) -> tuple[Reading, ...]:
    """``readings`` without those that are dated before the charge began: they are an earlier one's.

    Use case: readings that name no transaction wait in the charger until the next charge has begun. A clock that fell
    back in the charge, or never knew the time, tells nothing.
    """
    if began_at is None or meter.clock_is_dead(began_at, received_at):
        return tuple(readings)
    return tuple(
        reading
        for reading in readings
        if reading.sampled_at is None
        or reading.sampled_at >= began_at - CLOCK_STEP
        or meter.clock_is_dead(reading.sampled_at, received_at)
    )


def continues(
    state: MeterState, readings: Iterable[Reading], began_at: datetime, received_at: datetime, max_power_w: Decimal
) -> bool:
    """Whether the registers of ``readings`` go on from where the meter stands, as far as rated power allows."""
    bound = meter.plausible_wh(received_at - (state.since or began_at), max_power_w)
    registers = [reading.energy_wh for reading in readings if reading.energy_wh is not None]
    return all(-meter.ALLOWANCE_WH <= register - state.register_wh <= bound for register in registers)


def own_stop_is_possible(message: StopTransaction, next_begin: Begin | None) -> bool:
    """Whether a stop that names a charge which was settled without it can tell its end.

    Not when it is dated after the next charge on the connector began and its register is beyond that begin: the energy
    is the next one's.
    """
    if next_begin is None or message.meter_stop_wh is None or message.meter_stop_wh <= next_begin.register_wh:
        return True
    if message.stopped_at is not None and tells_time(next_begin, message.stopped_at, message.received_at):
        return message.stopped_at <= next_begin.at
    return False
