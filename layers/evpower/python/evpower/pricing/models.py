"""What charging costs: the frozen price of a session, and the rows that it is chosen from (mobile-api.md §9)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, time
from decimal import Decimal
from enum import StrEnum
from typing import Any, Self

from evpower.clock import iso_z
from evpower.money import CURRENCY, number


class Component(StrEnum):
    """What one tariff rule prices (column ``tariff_rules.tariff_type``)."""

    PER_KWH = "per_kwh"
    PER_MINUTE = "per_minute"
    SESSION_FEE = "session_fee"
    PARKING_FEE = "parking_fee"


class DiscountType(StrEnum):
    """How a promo code lowers the bill."""

    PERCENT = "percent"
    FIXED = "fixed"


@dataclass(frozen=True, slots=True)
class Promo:
    """The terms of a promo code, as frozen with the session's price (mobile-api.md §9.5). Money in som."""

    id: str
    code: str
    discount_type: DiscountType
    discount_value: Decimal
    min_charge_amount: Decimal | None = None
    max_discount_amount: Decimal | None = None

    def to_json(self) -> dict[str, Any]:
        """JSON object; decimals as strings, so that nothing is lost on the way through ``jsonb``."""
        return {
            "id": self.id,
            "code": self.code,
            "discount_type": self.discount_type.value,
            "discount_value": str(self.discount_value),
            "min_charge_amount": _text(self.min_charge_amount),
            "max_discount_amount": _text(self.max_discount_amount),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The promo that :meth:`to_json` wrote."""
        return cls(
            id=str(data["id"]),
            code=str(data["code"]),
            discount_type=DiscountType(data["discount_type"]),
            discount_value=_decimal(data["discount_value"]),
            min_charge_amount=_optional(data.get("min_charge_amount")),
            max_discount_amount=_optional(data.get("max_discount_amount")),
        )


@dataclass(frozen=True, slots=True)
class Price:
    """The price of one session: som per kWh, som per minute, som per session. Unrounded; see ``rules.cost``.

    It is frozen when the session starts and then used for status, auto-stop and settlement alike
    (mobile-api.md §9.7).
    """

    rate_per_kwh: Decimal
    rate_per_minute: Decimal = Decimal(0)
    session_fee: Decimal = Decimal(0)
    parking_fee_per_minute: Decimal = Decimal(0)
    currency: str = CURRENCY
    active_rule: str = ""
    rule_details: Mapping[str, Any] = field(default_factory=dict)
    time_based: bool = False
    next_rate_change: datetime | None = None
    tariff_plan_id: str | None = None
    rule_id: str | None = None
    is_client_tariff: bool = False
    promo: Promo | None = None

    def to_json(self) -> dict[str, Any]:
        """The frozen form (``charging_sessions.price``): decimals as strings, times as ISO 8601 with ``Z``."""
        return {
            "rate_per_kwh": str(self.rate_per_kwh),
            "rate_per_minute": str(self.rate_per_minute),
            "session_fee": str(self.session_fee),
            "parking_fee_per_minute": str(self.parking_fee_per_minute),
            "currency": self.currency,
            "active_rule": self.active_rule,
            "rule_details": dict(self.rule_details),
            "time_based": self.time_based,
            "next_rate_change": iso_z(self.next_rate_change) if self.next_rate_change else None,
            "tariff_plan_id": self.tariff_plan_id,
            "rule_id": self.rule_id,
            "is_client_tariff": self.is_client_tariff,
            "promo": self.promo.to_json() if self.promo else None,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The price that :meth:`to_json` wrote; absent members (older rows) take their defaults.

        Raises:
            KeyError, ValueError: the object is not a frozen price.
        """
        change = data.get("next_rate_change")
        promo = data.get("promo")
        return cls(
            rate_per_kwh=_decimal(data["rate_per_kwh"]),
            rate_per_minute=_decimal(data.get("rate_per_minute") or 0),
            session_fee=_decimal(data.get("session_fee") or 0),
            parking_fee_per_minute=_decimal(data.get("parking_fee_per_minute") or 0),
            currency=str(data.get("currency") or CURRENCY),
            active_rule=str(data.get("active_rule") or ""),
            rule_details=dict(data.get("rule_details") or {}),
            time_based=bool(data.get("time_based")),
            next_rate_change=datetime.fromisoformat(change) if change else None,
            tariff_plan_id=data.get("tariff_plan_id"),
            rule_id=data.get("rule_id"),
            is_client_tariff=bool(data.get("is_client_tariff")),
            promo=Promo.from_json(promo) if promo else None,
        )

    def public(self) -> dict[str, Any]:
        """The ``pricing`` object of the start answer (mobile-api.md §9.1): numbers as JSON numbers."""
        return {
            "rate_per_kwh": number(self.rate_per_kwh),
            "rate_per_minute": number(self.rate_per_minute),
            "session_fee": number(self.session_fee),
            "parking_fee_per_minute": number(self.parking_fee_per_minute),
            "currency": self.currency,
            "active_rule": self.active_rule,
            "rule_details": dict(self.rule_details),
            "time_based": self.time_based,
            "next_rate_change": iso_z(self.next_rate_change) if self.next_rate_change else None,
            "tariff_plan_id": self.tariff_plan_id,
            "rule_id": self.rule_id,
            "is_client_tariff": self.is_client_tariff,
        }


@dataclass(frozen=True, slots=True)
class Bill:
    """Som of a session: ``amount`` is what is booked, ``base_amount`` what it would be without a promo code."""

    base_amount: Decimal
    discount_amount: Decimal
    amount: Decimal


@dataclass(frozen=True, slots=True)
class TariffRule:
    """One row of ``tariff_rules``: one price component and the conditions under which it holds (§9.3).

    Times of day and weekdays are those of Asia/Bishkek; power is in kW.
    """

    id: str
    tariff_plan_id: str
    name: str
    component: Component
    price: Decimal
    created_at: datetime
    currency: str = CURRENCY
    connector_type: str | None = None
    power_min: Decimal | None = None
    power_max: Decimal | None = None
    time_start: time | None = None
    time_end: time | None = None
    is_weekend: bool | None = None
    days_of_week: tuple[int, ...] = ()
    priority: int = 0
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    min_duration_minutes: int | None = None
    max_duration_minutes: int | None = None

    @property
    def by_the_clock(self) -> bool:
        """Whether the rule holds only at some times of the day or week."""
        return (
            self.time_start is not None
            or self.time_end is not None
            or self.is_weekend is not None
            or bool(self.days_of_week)
        )


@dataclass(frozen=True, slots=True)
class ClientTariff:
    """One active row of ``client_tariffs``: a price agreed with one client (§9.2 point 1)."""

    id: str
    created_at: datetime
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    fixed_rate_per_kwh: Decimal | None = None
    fixed_rate_per_minute: Decimal | None = None
    session_fee: Decimal | None = None
    tariff_plan_id: str | None = None
    discount_percent: Decimal | None = None


@dataclass(frozen=True, slots=True)
class StationTerms:
    """What of a station and connector decides the price. Power in kW; ``None`` is unknown and matches any rule."""

    price_per_kwh: Decimal | None = None
    session_fee: Decimal | None = None
    currency: str = CURRENCY
    tariff_plan_id: str | None = None
    connector_type: str | None = None
    power_kw: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Offer:
    """Everything that a price is chosen from: rows only, no time."""

    station: StationTerms
    client_tariffs: tuple[ClientTariff, ...] = ()
    rules: Mapping[str, tuple[TariffRule, ...]] = field(default_factory=dict)
    """Active rules of the active plans that the station or a client tariff names, by plan id."""
    default_per_kwh: Decimal = Decimal("13.5")


@dataclass(frozen=True, slots=True)
class PromoCode:
    """A row of ``promo_codes`` with its uses so far, total and by the asking client."""

    terms: Promo
    is_active: bool
    valid_from: datetime | None
    valid_until: datetime | None
    usage_limit: int | None
    client_usage_limit: int | None
    used: int
    used_by_client: int


def _text(value: Decimal | None) -> str | None:
    return None if value is None else str(value)


def _optional(value: Any) -> Decimal | None:
    return None if value is None else _decimal(value)


def _decimal(value: Any) -> Decimal:
    """Decimal of a frozen member; a float (an older writer) goes through its shortest text, not its binary value."""
    parsed = Decimal(str(value))
    if not parsed.is_finite():
        raise ValueError(f"not a price: {value!r}")
    return parsed
