"""Charging profiles as the wire has them, and as they stand at a charger. Limits in W or A, times in UTC."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from evpower.clock import iso_z
from evpower.money import number


class Purpose(StrEnum):
    """OCPP 1.6 section 7.10."""

    CHARGE_POINT_MAX = "ChargePointMaxProfile"
    TX_DEFAULT = "TxDefaultProfile"
    TX = "TxProfile"


class Kind(StrEnum):
    """OCPP 1.6 section 7.9."""

    ABSOLUTE = "Absolute"
    RECURRING = "Recurring"
    RELATIVE = "Relative"


class Recurrency(StrEnum):
    """OCPP 1.6 section 7.38."""

    DAILY = "Daily"
    WEEKLY = "Weekly"

    @property
    def seconds(self) -> int:
        return 86_400 if self is Recurrency.DAILY else 7 * 86_400


class RateUnit(StrEnum):
    """OCPP 1.6 section 7.12."""

    AMPERE = "A"
    WATT = "W"


@dataclass(frozen=True, slots=True)
class Period:
    """From ``start_s`` seconds after the begin of the schedule on at most ``limit`` (per phase, if it is in A)."""

    start_s: int
    limit: Decimal
    phases: int | None = None


@dataclass(frozen=True, slots=True)
class Schedule:
    """OCPP 1.6 section 7.13. Without ``duration_s`` the last period goes on for good."""

    unit: RateUnit
    periods: tuple[Period, ...]
    duration_s: int | None = None
    starts_at: datetime | None = None
    min_rate: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Profile:
    """OCPP 1.6 section 7.8; ``number`` is its chargingProfileId."""

    number: int
    stack_level: int
    purpose: Purpose
    kind: Kind
    schedule: Schedule
    recurrency: Recurrency | None = None
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    transaction_id: int | None = None

    def to_wire(self) -> dict[str, Any]:
        """csChargingProfiles."""
        schedule: dict[str, Any] = {
            "chargingRateUnit": self.schedule.unit.value,
            "chargingSchedulePeriod": [_period_to_wire(period) for period in self.schedule.periods],
        }
        if self.schedule.duration_s is not None:
            schedule["duration"] = self.schedule.duration_s
        if self.schedule.starts_at is not None:
            schedule["startSchedule"] = iso_z(self.schedule.starts_at)
        if self.schedule.min_rate is not None:
            schedule["minChargingRate"] = number(self.schedule.min_rate)
        wire: dict[str, Any] = {
            "chargingProfileId": self.number,
            "stackLevel": self.stack_level,
            "chargingProfilePurpose": self.purpose.value,
            "chargingProfileKind": self.kind.value,
            "chargingSchedule": schedule,
        }
        if self.recurrency is not None:
            wire["recurrencyKind"] = self.recurrency.value
        if self.valid_from is not None:
            wire["validFrom"] = iso_z(self.valid_from)
        if self.valid_to is not None:
            wire["validTo"] = iso_z(self.valid_to)
        if self.transaction_id is not None:
            wire["transactionId"] = self.transaction_id
        return wire

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> "Profile":
        """Read csChargingProfiles.

        Raises:
            KeyError, TypeError, ValueError, ArithmeticError: it is none.
        """
        schedule = wire["chargingSchedule"]
        recurrency = wire.get("recurrencyKind")
        return cls(
            number=int(wire["chargingProfileId"]),
            stack_level=int(wire["stackLevel"]),
            purpose=Purpose(wire["chargingProfilePurpose"]),
            kind=Kind(wire["chargingProfileKind"]),
            recurrency=None if recurrency is None else Recurrency(recurrency),
            valid_from=_moment(wire.get("validFrom")),
            valid_to=_moment(wire.get("validTo")),
            transaction_id=wire.get("transactionId"),
            schedule=Schedule(
                unit=RateUnit(schedule["chargingRateUnit"]),
                periods=tuple(_period_from_wire(period) for period in schedule["chargingSchedulePeriod"]),
                duration_s=schedule.get("duration"),
                starts_at=_moment(schedule.get("startSchedule")),
                min_rate=_decimal(schedule.get("minChargingRate")),
            ),
        )


def _period_to_wire(period: Period) -> dict[str, Any]:
    wire: dict[str, Any] = {"startPeriod": period.start_s, "limit": number(period.limit)}
    return wire if period.phases is None else {**wire, "numberPhases": period.phases}


def _period_from_wire(wire: Mapping[str, Any]) -> Period:
    limit = _decimal(wire["limit"])
    assert limit is not None
    return Period(int(wire["startPeriod"]), limit, wire.get("numberPhases"))


def _decimal(value: Any) -> Decimal | None:
    return None if value is None else Decimal(str(value))


def _moment(value: Any) -> datetime | None:
    if value is None:
        return None
    moment = datetime.fromisoformat(str(value))
    if moment.tzinfo is None:
        raise ValueError("a time without its zone")
    return moment


@dataclass(frozen=True, slots=True)
class Limits:
    """What the charger said it can take (OCPP 1.6 section 9.4); None: its configuration has not been read."""

    max_stack_level: int | None = None
    max_installed: int | None = None
    max_periods: int | None = None
    units: frozenset[RateUnit] | None = None


class ProfileState(StrEnum):
    """Column ``charging_profiles.state``."""

    REQUESTED = "requested"  # never taken by the charger so far
    ACTIVE = "active"  # installed at the charger
    REJECTED = "rejected"
    FAILED = "failed"  # asked for, and no usable answer came
    CLEARED = "cleared"
    ENDED = "ended"  # a TxProfile whose transaction is over

    @property
    def live(self) -> bool:
        return self in (ProfileState.REQUESTED, ProfileState.ACTIVE)


@dataclass(frozen=True, slots=True)
class StoredProfile:
    """A row of ``charging_profiles`` with its state as of now.

    ``profile``: what is in force; ``wanted``: what the charger was asked to take and has not taken (yet);
    ``refusal``: why not; ``asking``: SetChargingProfile is on its way; ``clearing``: ClearChargingProfile is.
    """

    station_id: str
    number: int
    connector_id: int
    purpose: Purpose
    stack_level: int
    transaction_id: int | None
    state: ProfileState
    profile: Profile | None
    wanted: Profile | None
    refusal: str | None
    asking: bool
    clearing: bool
    command_id: str | None
    clear_command_id: str | None
    requested_by: str
    created_at: datetime
    updated_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class NewProfile:
    """What an operator asks for. The ``number`` of its profile is set when it is stored."""

    station_id: str
    connector_id: int
    profile: Profile
    requested_by: str


@dataclass(frozen=True, slots=True)
class Running:
    """The transaction on a connector; ``began_at`` is when its charging began."""

    connector_id: int
    transaction_id: int
    began_at: datetime


@dataclass(frozen=True, slots=True)
class Segment:
    """From ``start_s`` seconds on at most ``limit``; None: nothing limits it."""

    start_s: int
    limit: Decimal | None


@dataclass(frozen=True, slots=True)
class Difference:
    """Where the charger's schedule is not the expected one."""

    start_s: int
    expected: Decimal | None
    told: Decimal | None
