"""Rows for the pricing tests, with defaults that say nothing."""

from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

from evpower.clock import BISHKEK
from evpower.pricing.models import ClientTariff, Component, Offer, StationTerms, TariffRule

CREATED = datetime(2026, 1, 1, tzinfo=UTC)
WEDNESDAY = date(2026, 3, 11)
SATURDAY = date(2026, 3, 14)


def local(day: date, clock: str) -> datetime:
    """UTC moment of a wall-clock time in Bishkek."""
    return datetime.combine(day, time.fromisoformat(clock), BISHKEK).astimezone(UTC)


def rule(price: str = "10", component: Component = Component.PER_KWH, **changes: Any) -> TariffRule:
    values: dict[str, Any] = {
        "id": "rule-1",
        "tariff_plan_id": "plan",
        "name": "base",
        "component": component,
        "price": Decimal(price),
        "created_at": CREATED,
    }
    return TariffRule(**{**values, **changes})


def client_tariff(**changes: Any) -> ClientTariff:
    return ClientTariff(**{"id": "agreed", "created_at": CREATED, **changes})


def offer(*rules: TariffRule, tariffs: tuple[ClientTariff, ...] = (), **station: Any) -> Offer:
    plans: dict[str, tuple[TariffRule, ...]] = {}
    for one in rules:
        plans[one.tariff_plan_id] = (*plans.get(one.tariff_plan_id, ()), one)
    terms = StationTerms(**{"tariff_plan_id": "plan" if rules else None, **station})
    return Offer(station=terms, client_tariffs=tariffs, rules=plans)
