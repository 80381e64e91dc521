"""Profiles that the specification or the charger does not allow are refused by the member that is wrong."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from evpower.errors import ValidationFailed
from evpower.smart_charging.models import Kind, Limits, Period, Profile, Purpose, RateUnit, Recurrency, Schedule
from evpower.smart_charging.rules import check, limits

NOW = datetime(2026, 6, 1, tzinfo=UTC)
PERIOD = Period(0, Decimal("16.5"))
SCHEDULE = Schedule(RateUnit.AMPERE, (PERIOD, Period(60, Decimal(6))), duration_s=120)
GOOD = Profile(1, 1, Purpose.TX_DEFAULT, Kind.RELATIVE, SCHEDULE)
DAILY = replace(
    GOOD, kind=Kind.RECURRING, recurrency=Recurrency.DAILY, schedule=replace(SCHEDULE, starts_at=NOW), valid_to=None
)
TOLD = Limits(max_stack_level=3, max_installed=5, max_periods=2, units=frozenset({RateUnit.AMPERE}))


def periods(*starts: int, limit: str = "1") -> dict[str, Any]:
    return {"schedule": replace(SCHEDULE, periods=tuple(Period(s, Decimal(limit)) for s in starts), duration_s=None)}


@pytest.mark.parametrize(
    ("profile", "connector"),
    [
        (GOOD, 1),
        (GOOD, 0),
        (DAILY, 2),
        (replace(GOOD, purpose=Purpose.CHARGE_POINT_MAX, kind=Kind.ABSOLUTE), 0),
        (replace(GOOD, purpose=Purpose.TX, transaction_id=7), 1),
        (replace(GOOD, valid_from=NOW, valid_to=NOW + timedelta(days=1), stack_level=3), 1),
        (replace(GOOD, schedule=replace(SCHEDULE, min_rate=Decimal("6.5"))), 1),
    ],
)
def test_what_is_right_passes(profile: Profile, connector: int) -> None:
    check(profile, connector, TOLD, NOW)
    check(profile, connector, Limits(), NOW)


@pytest.mark.parametrize(
    ("field", "change", "connector"),
    [
        ("connector_id", {"purpose": Purpose.CHARGE_POINT_MAX, "kind": Kind.ABSOLUTE}, 1),
        ("connector_id", {"purpose": Purpose.TX}, 0),
        ("transaction_id", {"transaction_id": 7}, 1),
        ("recurrency_kind", {"kind": Kind.RECURRING, "schedule": replace(SCHEDULE, starts_at=NOW)}, 1),
        ("recurrency_kind", {"recurrency": Recurrency.DAILY}, 1),
        ("schedule.starts_at", {"kind": Kind.RECURRING, "recurrency": Recurrency.DAILY}, 1),
        ("schedule.starts_at", {"schedule": replace(SCHEDULE, starts_at=NOW)}, 1),
        ("kind", {"purpose": Purpose.CHARGE_POINT_MAX}, 0),
        ("schedule.periods", periods(1), 1),
        ("schedule.periods", periods(0, 0), 1),
        ("schedule.periods", periods(0, 9, 5), 1),
        ("schedule.periods", periods(0, 1, 2), 1),
        ("schedule.periods", periods(), 1),
        ("schedule.periods", periods(0, limit="-0.1"), 1),
        ("schedule.periods", periods(0, limit="1.25"), 1),
        ("schedule.periods", {"schedule": replace(SCHEDULE, duration_s=60)}, 1),
        ("schedule.periods", {"schedule": replace(SCHEDULE, min_rate=Decimal("0.25"))}, 1),
        ("schedule.unit", {"schedule": replace(SCHEDULE, unit=RateUnit.WATT)}, 1),
        ("stack_level", {"stack_level": 4}, 1),
        ("valid_to", {"valid_to": NOW}, 1),
        ("valid_to", {"valid_from": NOW + timedelta(days=2), "valid_to": NOW + timedelta(days=1)}, 1),
    ],
)
def test_what_is_wrong_is_named(field: str, change: dict[str, Any], connector: int) -> None:
    with pytest.raises(ValidationFailed) as refused:
        check(replace(GOOD, **change), connector, TOLD, NOW)
    assert refused.value.details["field"] == field


@pytest.mark.parametrize("schedule", [{"duration_s": 86_401}, {"periods": (PERIOD, Period(86_400, Decimal(1)))}])
def test_a_daily_schedule_fits_into_a_day(schedule: dict[str, Any]) -> None:
    long = replace(DAILY.schedule, **{"duration_s": None, **schedule})
    with pytest.raises(ValidationFailed):
        check(replace(DAILY, schedule=long), 1, TOLD, NOW)
    check(replace(DAILY, schedule=long, recurrency=Recurrency.WEEKLY), 1, TOLD, NOW)


def test_bounds_come_from_the_chargers_configuration() -> None:
    told = {
        "chargeprofilemaxstacklevel": "3",
        "maxchargingprofilesinstalled": "5",
        "chargingschedulemaxperiods": " 2",
        "chargingscheduleallowedchargingrateunit": "Current",
    }
    assert limits(told) == TOLD
    assert limits({"chargingscheduleallowedchargingrateunit": "Current, Power"}).units == frozenset(RateUnit)
    assert limits({"chargeprofilemaxstacklevel": "high", "chargingscheduleallowedchargingrateunit": ""}) == Limits()
