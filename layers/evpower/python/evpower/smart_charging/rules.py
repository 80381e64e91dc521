"""What a charging profile must look like before it is sent (OCPP 1.6 sections 3.13 and 5.16): pure."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from itertools import pairwise

from evpower.errors import ValidationFailed
from evpower.smart_charging.models import Kind, Limits, Profile, Purpose, RateUnit, Schedule

MAX_PERIODS = 1024
"""Periods of a schedule whose charger has not told ChargingScheduleMaxPeriods."""
_UNITS = {
    "current": RateUnit.AMPERE,
    "a": RateUnit.AMPERE,
    "power": RateUnit.WATT,
    "w": RateUnit.WATT,
}


def check(profile: Profile, connector_id: int, limits: Limits, now: datetime) -> None:
    """Refuse what the specification or this charger does not allow.

    Raises:
        ValidationFailed: ``field`` names the member.
    """
    _check_place(profile, connector_id)
    _check_kind(profile)
    _check_schedule(profile.schedule, limits)
    if limits.max_stack_level is not None and profile.stack_level > limits.max_stack_level:
        raise _wrong("stack_level", f"the charger takes stack levels up to {limits.max_stack_level}")
    if profile.valid_to is not None and profile.valid_to <= max(now, profile.valid_from or now):
        raise _wrong("valid_to", "must be in the future and after valid_from")
    period = profile.recurrency.seconds if profile.recurrency is not None else None
    if period is not None and (profile.schedule.duration_s or 0) > period:
        raise _wrong("schedule.duration_s", "is longer than the time after which the schedule begins again")
    if period is not None and profile.schedule.periods[-1].start_s >= period:
        raise _wrong("schedule.periods", "begin after the schedule has begun again")


def _check_place(profile: Profile, connector_id: int) -> None:
    if profile.purpose is Purpose.CHARGE_POINT_MAX and connector_id != 0:
        raise _wrong("connector_id", "ChargePointMaxProfile is for the whole charger: connector 0")
    if profile.purpose is Purpose.TX and connector_id == 0:
        raise _wrong("connector_id", "TxProfile is for the transaction of a connector")
    if profile.purpose is not Purpose.TX and profile.transaction_id is not None:
        raise _wrong("transaction_id", "only a TxProfile belongs to a transaction")


def _check_kind(profile: Profile) -> None:
    if (profile.kind is Kind.RECURRING) is (profile.recurrency is None):
        raise _wrong("recurrency_kind", "Recurring needs it, and no other kind has it")
    if profile.kind is Kind.RECURRING and profile.schedule.starts_at is None:
        raise _wrong("schedule.starts_at", "a recurring schedule needs its first begin")
    if profile.kind is Kind.RELATIVE and profile.schedule.starts_at is not None:
        raise _wrong("schedule.starts_at", "a relative schedule begins with the charging")
    if profile.kind is Kind.RELATIVE and profile.purpose is Purpose.CHARGE_POINT_MAX:
        raise _wrong("kind", "the limit of the whole charger begins with no transaction: use Absolute or Recurring")


def _check_schedule(schedule: Schedule, limits: Limits) -> None:
    most = limits.max_periods or MAX_PERIODS
    if not 1 <= len(schedule.periods) <= most:
        raise _wrong("schedule.periods", f"the charger takes 1 to {most} of them")
    starts = [period.start_s for period in schedule.periods]
    if starts[0] != 0 or any(later <= earlier for earlier, later in pairwise(starts)):
        raise _wrong("schedule.periods", "must begin at 0 and ascend")
    if schedule.duration_s is not None and starts[-1] >= schedule.duration_s:
        raise _wrong("schedule.periods", "begin after the end of the schedule")
    for value in (*(period.limit for period in schedule.periods), schedule.min_rate or Decimal(0)):
        if value < 0 or value != round(value, 1):
            raise _wrong("schedule.periods", "limits have one decimal place and are not negative")
    if limits.units is not None and schedule.unit not in limits.units:
        allowed = " or ".join(sorted(limits.units))
        raise _wrong("schedule.unit", f"the charger takes limits in {allowed}")


def _wrong(field: str, problem: str) -> ValidationFailed:
    return ValidationFailed(f"{field}: {problem}", field=field)


def limits(configuration: Mapping[str, str]) -> Limits:
    """Bounds from the charger's configuration (keys in lower case)."""
    told = configuration.get("chargingscheduleallowedchargingrateunit")
    words = [word.strip().lower() for word in (told or "").split(",")]
    units = frozenset(_UNITS[word] for word in words if word in _UNITS)
    return Limits(
        max_stack_level=_number(configuration.get("chargeprofilemaxstacklevel")),
        max_installed=_number(configuration.get("maxchargingprofilesinstalled")),
        max_periods=_number(configuration.get("chargingschedulemaxperiods")),
        units=units or None,
    )


def _number(value: str | None) -> int | None:
    text = (value or "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
