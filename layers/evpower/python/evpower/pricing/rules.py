"""Pricing rules without I/O: which price holds now, and what a session costs at a price (mobile-api.md §9).

All arithmetic is decimal. Nothing is rounded on the way; :func:`cost` rounds once, half up, to 0.01 som.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_DOWN, Decimal
from typing import Any

from evpower.clock import BISHKEK
from evpower.money import TYIYN, som
from evpower.pricing.models import (
    Bill,
    ClientTariff,
    Component,
    DiscountType,
    Offer,
    Price,
    Promo,
    PromoCode,
    StationTerms,
    TariffRule,
)

ZERO = Decimal(0)
WATT_HOUR = Decimal("0.001")
RESERVE_MINUTES = Decimal(60)
# One week shows every change that the clock alone can bring; the eighth day closes the week that began mid-day.
_HORIZON_DAYS = 8
# How far ahead the start of a rule's validity is looked at.
_FORESIGHT = timedelta(days=366)
_WEEKEND = (6, 7)


# --- Cost -------------------------------------------------------------------------------------------------------


def bill(
    price: Price,
    energy_kwh: Decimal,
    minutes: Decimal = ZERO,
    promo: Promo | None = None,
    *,
    parking_minutes: Decimal = ZERO,
) -> Bill:
    """What to book for a session: ``energy x rate + minutes x rate + fee + parking - discount``.

    Args:
        price: the session's frozen price.
        energy_kwh: delivered energy; a negative value (a register that went backwards) counts as 0.
        minutes: duration of the session; negative (a clock that lies) counts as 0.
        promo: a promo code; by default the one frozen with the price.
        parking_minutes: minutes on the connector after charging ended.
    """
    full = gross(price, energy_kwh, minutes, parking_minutes)
    base = som(full)
    amount = som(full - discount(promo or price.promo, full))
    return Bill(base_amount=base, discount_amount=base - amount, amount=amount)


def cost(
    price: Price,
    energy_kwh: Decimal,
    minutes: Decimal = ZERO,
    promo: Promo | None = None,
    *,
    parking_minutes: Decimal = ZERO,
) -> Decimal:
    """Som to book for a session, rounded once: the ``amount`` of :func:`bill` (asked for at every reading)."""
    return net(price, gross(price, energy_kwh, minutes, parking_minutes), promo)


def net(price: Price, full: Decimal, promo: Promo | None = None) -> Decimal:
    """Som to book for :func:`gross` som: less the discount, rounded once."""
    code = promo or price.promo
    return som(full if code is None else full - discount(code, full))


def reaches(amount: Decimal, price: Price, energy_kwh: Decimal, minutes: Decimal = ZERO) -> bool:
    """Whether a session costs ``amount`` som or more: ``cost(...) >= amount``, without rounding where it is clear."""
    full = gross(price, energy_kwh, minutes)
    if full < amount - TYIYN:
        return False  # a discount only takes off, and rounding adds half a tyiyn at most
    return net(price, full) >= amount


def gross(price: Price, energy_kwh: Decimal, minutes: Decimal = ZERO, parking_minutes: Decimal = ZERO) -> Decimal:
    """Energy, time, fee and parking before any discount, unrounded; what is free costs no multiplication."""
    full = price.session_fee
    if energy_kwh > 0:
        full += energy_kwh * price.rate_per_kwh
    if minutes > 0 and price.rate_per_minute:
        full += minutes * price.rate_per_minute
    if parking_minutes > 0 and price.parking_fee_per_minute:
        full += parking_minutes * price.parking_fee_per_minute
    return full


def discount(promo: Promo | None, gross: Decimal) -> Decimal:
    """Som that ``promo`` takes off an amount: never below 0, never more than the amount (§9.5). Not rounded."""
    if promo is None or gross <= 0 or (promo.min_charge_amount is not None and gross < promo.min_charge_amount):
        return ZERO
    if promo.discount_type is DiscountType.PERCENT:
        off = gross * _percent(promo.discount_value) / 100
        if promo.max_discount_amount is not None:
            off = min(off, promo.max_discount_amount)
    else:
        off = promo.discount_value
    return min(max(off, ZERO), gross)


def energy_for_amount(price: Price, amount: Decimal, minutes: Decimal = ZERO) -> Decimal | None:
    """Largest whole-Wh energy (kWh) up to which a session of ``minutes`` never costs more than ``amount`` som.

    Returns:
        0 when the fees alone reach the amount; ``None`` when energy is free, so that no energy reaches it.
    """
    if price.rate_per_kwh <= 0:
        return None
    gross = _gross_for(price.promo, amount)
    if gross is None:
        return None
    left = gross - price.session_fee - max(minutes, ZERO) * price.rate_per_minute
    return max(left / price.rate_per_kwh, ZERO).quantize(WATT_HOUR, rounding=ROUND_DOWN)


def reserve_for_energy(price: Price, energy_kwh: Decimal) -> Decimal:
    """Som to reserve for an energy limit: with an hour of time where time is billed, too (mobile-api.md §10.1)."""
    return cost(price, energy_kwh, RESERVE_MINUTES)


def _gross_for(promo: Promo | None, amount: Decimal) -> Decimal | None:
    """Largest amount before discount that stays within ``amount`` after it; ``None``: any."""
    if promo is None:
        return amount
    if promo.min_charge_amount is not None and amount < promo.min_charge_amount:
        # Below its minimum the code takes nothing off: the bill passes ``amount`` before the code begins to help.
        return amount
    if promo.discount_type is DiscountType.FIXED:
        return amount + max(promo.discount_value, ZERO)
    share = 1 - _percent(promo.discount_value) / 100
    uncapped = amount / share if share > 0 else None
    if promo.max_discount_amount is None:
        return uncapped
    capped = amount + max(promo.max_discount_amount, ZERO)
    return capped if uncapped is None else min(uncapped, capped)


def _percent(value: Decimal) -> Decimal:
    return min(max(value, ZERO), Decimal(100))


def promo_usable(promo: PromoCode, now: datetime) -> bool:
    """Whether the code may be frozen with a new session: active, valid now, below both usage limits (§9.5)."""
    return (
        promo.is_active
        and (promo.valid_from is None or promo.valid_from <= now)
        and (promo.valid_until is None or now <= promo.valid_until)
        and (promo.usage_limit is None or promo.used < promo.usage_limit)
        and (promo.client_usage_limit is None or promo.used_by_client < promo.client_usage_limit)
    )


# --- Matching ---------------------------------------------------------------------------------------------------


def matches(rule: TariffRule, terms: StationTerms, now: datetime) -> bool:
    """Whether ``rule`` holds for this connector at ``now`` (§9.3), on the clock and calendar of Asia/Bishkek.

    ``min_duration_minutes`` and ``max_duration_minutes`` are not looked at: the price is frozen before the session
    has a duration.
    """
    local = now.astimezone(BISHKEK)
    return (
        fits(rule, terms)
        and _valid_at(rule, now)
        and _on_weekday(rule, local.isoweekday())
        and in_window(rule.time_start, rule.time_end, local.time())
    )


def fits(rule: TariffRule, terms: StationTerms) -> bool:
    """Connector type and power alone; what is unknown on either side matches anything."""
    wanted = (rule.connector_type or "ALL").strip().casefold()
    actual = (terms.connector_type or "").strip().casefold()
    if wanted not in ("", "all") and actual and wanted != actual:
        return False
    if terms.power_kw is None:
        return True
    return (rule.power_min is None or rule.power_min <= terms.power_kw) and (
        rule.power_max is None or terms.power_kw <= rule.power_max
    )


def in_window(start: time | None, end: time | None, local: time) -> bool:
    """Inclusive window of the day; ``start > end`` goes over midnight, equal bounds are the whole day.

    "Inclusive" means the whole last minute (or second, where the bound has seconds): a day rule to 21:59 and a night
    rule from 22:00 leave no gap.
    """
    if start is not None and start == end:
        return True
    after = start is None or local >= start
    before = end is None or _floor(local, end) <= end
    if start is not None and end is not None and start > end:
        return after or before
    return after and before


def _floor(local: time, bound: time) -> time:
    return local.replace(microsecond=0) if bound.second else local.replace(second=0, microsecond=0)


def begins(valid_from: datetime) -> datetime:
    """First moment of a validity. A bound without a time of day is a date: it begins at midnight in Bishkek."""
    day = _plain_date(valid_from)
    return valid_from if day is None else _at(day, time.min)


def ends(valid_until: datetime) -> datetime:
    """First moment after a validity, whose end is inclusive: a date lasts until its midnight in Bishkek."""
    day = _plain_date(valid_until)
    return valid_until + timedelta(microseconds=1) if day is None else _at(day + timedelta(days=1), time.min)


def _plain_date(moment: datetime) -> date | None:
    """The date that somebody entered as a date: midnight there, or in UTC, where a database console puts it."""
    for zone in (UTC, BISHKEK):
        there = moment.astimezone(zone)
        if there.time() == time.min:
            return there.date()
    return None


def _valid_at(rule: TariffRule, now: datetime) -> bool:
    return (rule.valid_from is None or begins(rule.valid_from) <= now) and (
        rule.valid_until is None or now < ends(rule.valid_until)
    )


def _on_weekday(rule: TariffRule, weekday: int) -> bool:
    if rule.days_of_week:
        return weekday in rule.days_of_week
    return rule.is_weekend is None or rule.is_weekend == (weekday in _WEEKEND)


def best_rules(rules: tuple[TariffRule, ...], terms: StationTerms, now: datetime) -> dict[Component, TariffRule]:
    """The best matching rule of each component: highest priority, then the newest."""
    best: dict[Component, TariffRule] = {}
    for rule in rules:
        if matches(rule, terms, now):
            rival = best.get(rule.component)
            if rival is None or _rank(rule) > _rank(rival):
                best[rule.component] = rule
    return best


def _rank(rule: TariffRule) -> tuple[int, datetime, str]:
    # The id last: rows of one INSERT share their creation time, and the choice must not depend on the read order.
    return (rule.priority, rule.created_at, rule.id)


# --- Selection --------------------------------------------------------------------------------------------------


def select(offer: Offer, now: datetime) -> Price:
    """The price that holds at ``now``: client tariff, station price, plan of the station, default (§9.2)."""
    price = current(offer, now)
    return replace(price, next_rate_change=_next_change(offer, price, now))


def current(offer: Offer, now: datetime) -> Price:
    """As :func:`select`, without looking for the next change: for lists of many stations."""
    return (
        _client_price(offer, now)
        or _station_price(offer.station)
        or _plan_price(offer, offer.station.tariff_plan_id, now)
        or Price(rate_per_kwh=offer.default_per_kwh, currency=offer.station.currency, active_rule="default")
    )


def _client_price(offer: Offer, now: datetime) -> Price | None:
    running = [tariff for tariff in offer.client_tariffs if _running(tariff, now)]
    for tariff in sorted(running, key=lambda tariff: (tariff.created_at, tariff.id), reverse=True):
        if tariff.fixed_rate_per_kwh is not None:
            return Price(
                rate_per_kwh=tariff.fixed_rate_per_kwh,
                rate_per_minute=tariff.fixed_rate_per_minute or ZERO,
                session_fee=tariff.session_fee or ZERO,
                currency=offer.station.currency,
                active_rule="client_tariff",
                rule_details={"client_tariff_id": tariff.id},
                is_client_tariff=True,
            )
        price = _plan_price(offer, tariff.tariff_plan_id, now)
        if price is not None:
            return _discounted(price, tariff)
    return None


def _running(tariff: ClientTariff, now: datetime) -> bool:
    return (tariff.valid_from is None or tariff.valid_from <= now) and (
        tariff.valid_until is None or tariff.valid_until > now
    )


def _discounted(price: Price, tariff: ClientTariff) -> Price:
    """The plan's price for this client: per-kWh and per-minute lowered, fees as they are."""
    percent = _percent(tariff.discount_percent or ZERO)
    share = 1 - percent / 100
    label = f"{price.active_rule} (-{percent.normalize():f}%)" if percent else price.active_rule
    return replace(
        price,
        rate_per_kwh=price.rate_per_kwh * share,
        rate_per_minute=price.rate_per_minute * share,
        active_rule=label,
        rule_details={**price.rule_details, "client_tariff_id": tariff.id, "discount_percent": str(percent)},
        is_client_tariff=True,
    )


def _station_price(station: StationTerms) -> Price | None:
    if station.price_per_kwh is None or station.price_per_kwh <= 0:
        return None
    return Price(
        rate_per_kwh=station.price_per_kwh,
        session_fee=station.session_fee or ZERO,
        currency=station.currency,
        active_rule="station_price",
    )


def _plan_price(offer: Offer, plan_id: str | None, now: datetime) -> Price | None:
    rules = offer.rules.get(plan_id, ()) if plan_id else ()
    chosen = best_rules(rules, offer.station, now)
    if not plan_id or not chosen:
        return None
    leading = next(chosen[component] for component in Component if component in chosen)
    rates = {component: rule.price for component, rule in chosen.items()}
    if Component.PER_KWH not in rates and Component.PER_MINUTE not in rates:
        # A plan that names fees only must not make the energy free (§9.3, last point).
        rates[Component.PER_KWH] = offer.default_per_kwh
    return Price(
        rate_per_kwh=rates.get(Component.PER_KWH, ZERO),
        rate_per_minute=rates.get(Component.PER_MINUTE, ZERO),
        session_fee=rates.get(Component.SESSION_FEE, ZERO),
        parking_fee_per_minute=rates.get(Component.PARKING_FEE, ZERO),
        currency=leading.currency,
        active_rule=leading.name,
        rule_details={component.value: _describe(rule) for component, rule in chosen.items()},
        time_based=any(rule.by_the_clock and fits(rule, offer.station) for rule in rules),
        tariff_plan_id=plan_id,
        rule_id=leading.id,
    )


def _describe(rule: TariffRule) -> dict[str, Any]:
    """The rule as plain JSON (dates and decimals as text), without members that say nothing."""
    details = {
        "rule_id": rule.id,
        "name": rule.name,
        "price": str(rule.price),
        "priority": rule.priority,
        "time_start": rule.time_start.isoformat() if rule.time_start else None,
        "time_end": rule.time_end.isoformat() if rule.time_end else None,
        "days_of_week": list(rule.days_of_week) or None,
        "is_weekend": rule.is_weekend,
        "valid_from": rule.valid_from.isoformat() if rule.valid_from else None,
        "valid_until": rule.valid_until.isoformat() if rule.valid_until else None,
    }
    return {name: value for name, value in details.items() if value is not None}


# --- The next change ----------------------------------------------------------------------------------------------


def _next_change(offer: Offer, price: Price, now: datetime) -> datetime | None:
    """First moment after ``now`` at which another price would hold, by the rows known now; UTC."""
    rates = _rates(price)
    for moment in sorted(set(_moments(offer, now))):
        if moment > now and _rates(current(offer, moment)) != rates:
            return moment
    return None


def _rates(price: Price) -> tuple[Decimal, Decimal, Decimal, Decimal]:
    return (price.rate_per_kwh, price.rate_per_minute, price.session_fee, price.parking_fee_per_minute)


def _moments(offer: Offer, now: datetime) -> Iterator[datetime]:
    """Every moment at which a condition of the offer can turn."""
    for tariff in offer.client_tariffs:
        yield from (bound for bound in (tariff.valid_from, tariff.valid_until) if bound is not None)
    rules = [rule for plan in offer.rules.values() for rule in plan if fits(rule, offer.station)]
    if not rules:
        return
    today = now.astimezone(BISHKEK).date()
    first_days = {today}
    for rule in rules:
        if rule.valid_until is not None:
            yield ends(rule.valid_until)
        if rule.valid_from is not None and now < rule.valid_from < now + _FORESIGHT:
            start = begins(rule.valid_from)
            yield start
            first_days.add(start.astimezone(BISHKEK).date())
    for day in {first + timedelta(days=ahead) for first in first_days for ahead in range(_HORIZON_DAYS + 1)}:
        yield _at(day, time.min)
        for rule in rules:
            if rule.time_start is not None:
                yield _at(day, rule.time_start)
            if rule.time_end is not None:
                yield _at(day, rule.time_end) + timedelta(seconds=1 if rule.time_end.second else 60)


def _at(day: date, moment: time) -> datetime:
    return datetime.combine(day, moment, BISHKEK).astimezone(UTC)
