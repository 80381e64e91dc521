"""Rule matching, selection and the next change (mobile-api.md §9.2, §9.3)."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pytest

from evpower.pricing import rules
from evpower.pricing.models import Component, Price, Promo, StationTerms, TariffRule
from tests.unit.evpower.pricing.builders import CREATED, SATURDAY, WEDNESDAY, client_tariff, local, offer, rule

NOON = local(WEDNESDAY, "12:00")
NIGHT = {"time_start": time(22), "time_end": time(6)}


@pytest.mark.parametrize(
    ("wanted", "actual", "matches"),
    [
        ("ALL", "CCS2", True),
        ("all", "CCS2", True),
        (None, "CCS2", True),
        ("CCS2", "CCS2", True),
        ("ccs2", "CCS2", True),
        ("CCS2", "Type2", False),
        ("CCS2", None, True),
        ("CCS2", "", True),
    ],
)
def test_connector_type(wanted: str | None, actual: str | None, matches: bool) -> None:
    assert rules.matches(rule(connector_type=wanted), StationTerms(connector_type=actual), NOON) is matches


@pytest.mark.parametrize(
    ("low", "high", "power", "matches"),
    [
        ("22", "60", "22", True),
        ("22", "60", "60", True),
        ("22", "60", "21.9", False),
        ("22", "60", "60.1", False),
        (None, "60", "7", True),
        ("22", None, "350", True),
        ("22", "60", None, True),
        (None, None, "50", True),
    ],
)
def test_power(low: str | None, high: str | None, power: str | None, matches: bool) -> None:
    one = rule(power_min=low and Decimal(low), power_max=high and Decimal(high))
    assert rules.matches(one, StationTerms(power_kw=Decimal(power) if power else None), NOON) is matches


@pytest.mark.parametrize(
    ("start", "end", "clock", "inside"),
    [
        (None, None, "03:00", True),
        ("08:00", "20:00", "08:00", True),
        ("08:00", "20:00", "07:59:59.999999", False),
        ("08:00", "20:00", "20:00", True),
        ("08:00", "20:00", "20:00:59.999999", True),
        ("08:00", "20:00", "20:01", False),
        ("08:00", "20:00:30", "20:00:30.5", True),
        ("08:00", "20:00:30", "20:00:31", False),
        ("22:00", "06:00", "21:59", False),
        ("22:00", "06:00", "22:00", True),
        ("22:00", "06:00", "23:59:59", True),
        ("22:00", "06:00", "00:00", True),
        ("22:00", "06:00", "06:00", True),
        ("22:00", "06:00", "06:01", False),
        ("22:00", "06:00", "12:00", False),
        ("18:00", None, "17:59", False),
        ("18:00", None, "23:59:59.999999", True),
        (None, "06:00", "00:00", True),
        (None, "06:00", "06:01", False),
        ("00:00", "00:00", "15:00", True),
        ("00:00", "23:59", "23:59:59.9", True),
    ],
)
def test_time_window_on_the_clock_of_bishkek(start: str | None, end: str | None, clock: str, inside: bool) -> None:
    one = rule(
        time_start=time.fromisoformat(start) if start else None, time_end=time.fromisoformat(end) if end else None
    )
    # Bishkek keeps UTC+6 the whole year: the same wall clock must give the same answer in January and in July.
    for day in (date(2026, 1, 15), date(2026, 7, 15), date(2026, 3, 29), date(2026, 10, 25)):
        assert rules.matches(one, StationTerms(), local(day, clock)) is inside


@pytest.mark.parametrize(
    ("limits", "day", "matches"),
    [
        ({"days_of_week": (3,)}, WEDNESDAY, True),
        ({"days_of_week": (1, 2)}, WEDNESDAY, False),
        ({"days_of_week": (6, 7)}, SATURDAY, True),
        ({"days_of_week": (3,), "is_weekend": True}, WEDNESDAY, True),
        ({"days_of_week": (6,), "is_weekend": False}, SATURDAY, True),
        ({"is_weekend": True}, SATURDAY, True),
        ({"is_weekend": True}, WEDNESDAY, False),
        ({"is_weekend": False}, SATURDAY, False),
        ({"is_weekend": False}, WEDNESDAY, True),
        ({}, SATURDAY, True),
    ],
)
def test_weekdays(limits: dict[str, Any], day: date, matches: bool) -> None:
    assert rules.matches(rule(**limits), StationTerms(), local(day, "12:00")) is matches


def test_weekday_is_that_of_bishkek_not_of_utc() -> None:
    saturday_at_one = local(SATURDAY, "01:00")
    assert saturday_at_one.date() == SATURDAY - timedelta(days=1), "still Friday in UTC"
    assert rules.matches(rule(days_of_week=(6,)), StationTerms(), saturday_at_one)


def in_utc(day: date) -> datetime:
    """A date as a database console stores it."""
    return datetime.combine(day, time.min, UTC)


@pytest.mark.parametrize("entered", [in_utc, lambda day: local(day, "00:00")])
@pytest.mark.parametrize(
    ("first", "last", "matches"),
    [
        (0, None, True),
        (None, 0, True),
        (0, 0, True),
        (1, None, False),
        (None, -1, False),
    ],
)
def test_validity_dates_are_inclusive(
    entered: Callable[[date], datetime], first: int | None, last: int | None, matches: bool
) -> None:
    def bound(offset: int | None) -> datetime | None:
        return None if offset is None else entered(WEDNESDAY + timedelta(days=offset))

    one = rule(valid_from=bound(first), valid_until=bound(last))
    for clock in ("00:00", "12:00", "23:59:59.999999"):
        assert rules.matches(one, StationTerms(), local(WEDNESDAY, clock)) is matches


def test_validity_with_a_time_of_day_ends_at_that_moment() -> None:
    one = rule(valid_from=local(WEDNESDAY, "10:00"), valid_until=local(WEDNESDAY, "18:30"))
    inside = {
        clock: rules.matches(one, StationTerms(), local(WEDNESDAY, clock))
        for clock in ("09:59:59", "10:00", "18:30", "18:30:00.000001")
    }
    assert list(inside.values()) == [False, True, True, False]


def test_highest_priority_wins_and_ties_go_to_the_newest() -> None:
    old = rule("10", id="old", priority=5)
    new = rule("11", id="new", priority=5, created_at=CREATED + timedelta(days=1))
    low = rule("12", id="low", priority=1, created_at=CREATED + timedelta(days=9))
    for order in ((old, new, low), (low, new, old), (new, low, old)):
        assert rules.best_rules(order, StationTerms(), NOON) == {Component.PER_KWH: new}


def test_rules_of_one_insert_are_chosen_by_id_whatever_the_order() -> None:
    first, second = rule("10", id="a"), rule("11", id="b")
    assert rules.best_rules((first, second), StationTerms(), NOON) == rules.best_rules(
        (second, first), StationTerms(), NOON
    )


def test_each_component_has_its_own_best_rule() -> None:
    """A session fee of high priority does not make the energy free."""
    price = rules.select(
        offer(
            rule("50", Component.SESSION_FEE, id="fee", priority=100),
            rule("12", id="energy"),
            rule("1.5", Component.PER_MINUTE, id="time"),
            rule("3", Component.PARKING_FEE, id="parking"),
        ),
        NOON,
    )
    assert (price.rate_per_kwh, price.rate_per_minute, price.session_fee, price.parking_fee_per_minute) == (
        Decimal(12),
        Decimal("1.5"),
        Decimal(50),
        Decimal(3),
    )
    assert (price.rule_id, price.active_rule, price.tariff_plan_id) == ("energy", "base", "plan")
    assert set(price.rule_details) == {"per_kwh", "per_minute", "session_fee", "parking_fee"}


def test_plan_of_fees_alone_leaves_the_default_energy_rate() -> None:
    price = rules.select(offer(rule("50", Component.SESSION_FEE)), NOON)
    assert (price.rate_per_kwh, price.session_fee) == (Decimal("13.5"), Decimal(50))


def test_plan_by_time_alone_bills_no_energy() -> None:
    price = rules.select(offer(rule("2", Component.PER_MINUTE)), NOON)
    assert (price.rate_per_kwh, price.rate_per_minute) == (Decimal(0), Decimal(2))


# --- Selection order -----------------------------------------------------------------------------------------------


def test_default_when_nothing_is_configured() -> None:
    price = rules.select(offer(), NOON)
    assert price == Price(rate_per_kwh=Decimal("13.5"), active_rule="default")


def test_station_price_goes_before_the_plan() -> None:
    price = rules.select(offer(rule("10"), price_per_kwh=Decimal(14), session_fee=Decimal(5)), NOON)
    assert (price.rate_per_kwh, price.session_fee, price.rate_per_minute) == (Decimal(14), Decimal(5), Decimal(0))
    assert (price.active_rule, price.tariff_plan_id, price.time_based) == ("station_price", None, False)


@pytest.mark.parametrize("unset", [None, Decimal(0)])
def test_station_without_a_price_takes_its_plan(unset: Decimal | None) -> None:
    assert rules.select(offer(rule("10"), price_per_kwh=unset), NOON).rate_per_kwh == Decimal(10)


def test_plan_without_a_matching_rule_gives_the_default() -> None:
    price = rules.select(offer(rule("10", is_weekend=True)), NOON)
    assert (price.rate_per_kwh, price.active_rule) == (Decimal("13.5"), "default")


def test_fixed_client_tariff_goes_before_everything() -> None:
    price = rules.select(
        offer(
            rule("10"),
            tariffs=(
                client_tariff(fixed_rate_per_kwh=Decimal(7), tariff_plan_id="plan", discount_percent=Decimal(50)),
            ),
            price_per_kwh=Decimal(14),
            session_fee=Decimal(5),
        ),
        NOON,
    )
    assert (price.rate_per_kwh, price.session_fee, price.is_client_tariff) == (Decimal(7), Decimal(0), True)
    assert price.rule_details == {"client_tariff_id": "agreed"}


def test_fixed_client_tariff_carries_its_own_time_rate_and_fee() -> None:
    tariff = client_tariff(fixed_rate_per_kwh=Decimal(0), fixed_rate_per_minute=Decimal("0.5"), session_fee=Decimal(20))
    price = rules.select(offer(tariffs=(tariff,)), NOON)
    assert (price.rate_per_kwh, price.rate_per_minute, price.session_fee) == (Decimal(0), Decimal("0.5"), Decimal(20))


def test_discount_lowers_the_plans_rates_but_not_its_fees() -> None:
    discounted = client_tariff(tariff_plan_id="plan", discount_percent=Decimal("7.50"))
    price = rules.select(
        offer(
            rule("13.5"),
            rule("2", Component.PER_MINUTE, id="time"),
            rule("50", Component.SESSION_FEE, id="fee"),
            tariffs=(discounted,),
            price_per_kwh=Decimal(99),
        ),
        NOON,
    )
    assert (price.rate_per_kwh, price.rate_per_minute, price.session_fee) == (
        Decimal("12.4875"),
        Decimal("1.85"),
        Decimal(50),
    )
    assert price.active_rule == "base (-7.5%)"
    assert price.is_client_tariff


@pytest.mark.parametrize(("percent", "rate"), [("0", "10"), ("100", "0"), ("150", "0"), ("-20", "10")])
def test_discount_stays_within_0_and_100_percent(percent: str, rate: str) -> None:
    tariff = client_tariff(tariff_plan_id="plan", discount_percent=Decimal(percent))
    assert rules.select(offer(rule("10"), tariffs=(tariff,)), NOON).rate_per_kwh == Decimal(rate)


def test_discount_without_a_plan_is_ignored() -> None:
    price = rules.select(offer(tariffs=(client_tariff(discount_percent=Decimal(50)),), price_per_kwh=Decimal(14)), NOON)
    assert (price.rate_per_kwh, price.is_client_tariff) == (Decimal(14), False)


def test_newest_client_tariff_wins() -> None:
    old = client_tariff(id="old", fixed_rate_per_kwh=Decimal(7))
    new = client_tariff(id="new", fixed_rate_per_kwh=Decimal(8), created_at=CREATED + timedelta(days=1))
    for tariffs in ((old, new), (new, old)):
        assert rules.select(offer(tariffs=tariffs), NOON).rate_per_kwh == Decimal(8)


@pytest.mark.parametrize(
    ("valid_from", "valid_until", "rate"),
    [
        (NOON, None, "7"),
        (NOON + timedelta(seconds=1), None, "13.5"),
        (None, NOON + timedelta(seconds=1), "7"),
        (None, NOON, "13.5"),
    ],
)
def test_client_tariff_validity(valid_from: datetime | None, valid_until: datetime | None, rate: str) -> None:
    tariff = client_tariff(fixed_rate_per_kwh=Decimal(7), valid_from=valid_from, valid_until=valid_until)
    assert rules.select(offer(tariffs=(tariff,)), NOON).rate_per_kwh == Decimal(rate)


# --- Next change -----------------------------------------------------------------------------------------------------

DAY = rule("14", id="day", name="day")
AUTUMN = local(date(2026, 9, 1), "00:00")
NIGHT_RULE = rule("9", id="night", name="night", priority=10, **NIGHT)


@pytest.mark.parametrize(
    ("at", "rate", "change"),
    [
        (local(WEDNESDAY, "12:00"), "14", local(WEDNESDAY, "22:00")),
        (local(WEDNESDAY, "22:00"), "9", local(WEDNESDAY + timedelta(days=1), "06:01")),
        (local(WEDNESDAY, "03:00"), "9", local(WEDNESDAY, "06:01")),
    ],
)
def test_day_and_night(at: datetime, rate: str, change: datetime) -> None:
    price = rules.select(offer(DAY, NIGHT_RULE), at)
    assert (price.rate_per_kwh, price.next_rate_change, price.time_based) == (Decimal(rate), change, True)


@pytest.mark.parametrize(
    ("rows", "change"),
    [
        ((DAY,), None),
        ((DAY, rule("14", id="same", priority=10, **NIGHT)), None),
        ((DAY, rule("9", id="end", priority=10, is_weekend=True)), local(SATURDAY, "00:00")),
        ((DAY, rule("9", id="later", priority=1, valid_from=AUTUMN)), AUTUMN),
        ((DAY, rule("9", id="later", priority=1, valid_from=in_utc(date(2026, 9, 1)))), AUTUMN),
        (
            (DAY, rule("9", id="later", priority=1, valid_from=AUTUMN, time_start=time(8))),
            local(date(2026, 9, 1), "08:00"),
        ),
        ((rule("9", valid_until=local(WEDNESDAY, "00:00")),), local(WEDNESDAY + timedelta(days=1), "00:00")),
        ((rule("9", valid_until=local(WEDNESDAY, "18:30")),), local(WEDNESDAY, "18:30") + timedelta(microseconds=1)),
        (
            (rule("9", valid_from=datetime(1900, 1, 1, tzinfo=UTC), valid_until=datetime(8999, 12, 31, tzinfo=UTC)),),
            datetime(8999, 12, 31, 18, tzinfo=UTC),
        ),
    ],
)
def test_next_rate_change(rows: tuple[TariffRule, ...], change: datetime | None) -> None:
    assert rules.select(offer(*rows), NOON).next_rate_change == change


def test_rule_for_other_connectors_neither_prices_nor_announces_a_change() -> None:
    other = rule("9", id="other", priority=10, connector_type="CHAdeMO", **NIGHT)
    price = rules.select(offer(DAY, other, connector_type="CCS2"), NOON)
    assert (price.next_rate_change, price.time_based) == (None, False)


def test_client_tariff_that_ends_is_the_next_change() -> None:
    end = NOON + timedelta(hours=1)
    tariff = client_tariff(fixed_rate_per_kwh=Decimal(7), valid_until=end)
    assert rules.select(offer(tariffs=(tariff,)), NOON).next_rate_change == end


def test_client_tariff_that_begins_is_the_next_change() -> None:
    begin = NOON + timedelta(hours=1)
    tariff = client_tariff(fixed_rate_per_kwh=Decimal(7), valid_from=begin)
    price = rules.select(offer(tariffs=(tariff,)), NOON)
    assert (price.rate_per_kwh, price.next_rate_change) == (Decimal("13.5"), begin)


# --- Freezing -------------------------------------------------------------------------------------------------------


def test_a_price_survives_json_exactly() -> None:
    bounded = rule("9.123456", id="night", priority=10, days_of_week=(1, 3), valid_from=NOON, **NIGHT)
    price = rules.select(offer(DAY, bounded), local(WEDNESDAY, "23:00"))
    assert Price.from_json(json.loads(json.dumps(price.to_json()))) == price


def test_a_promo_survives_json_exactly() -> None:
    promo = Promo.from_json(
        {"id": "p", "code": "SPRING", "discount_type": "percent", "discount_value": "12.5", "max_discount_amount": "30"}
    )
    price = Price(rate_per_kwh=Decimal("13.5"), promo=promo)
    assert Price.from_json(json.loads(json.dumps(price.to_json()))) == price


def test_public_form_has_json_numbers() -> None:
    public = rules.select(offer(DAY, NIGHT_RULE), NOON).public()
    assert public["rate_per_kwh"] == 14
    assert public["next_rate_change"] == "2026-03-11T16:00:00.000Z"
    assert all(isinstance(public[name], int | float) for name in ("rate_per_kwh", "rate_per_minute", "session_fee"))
    json.dumps(public)


@pytest.mark.parametrize("broken", [{}, {"rate_per_kwh": "NaN"}, {"rate_per_kwh": "Infinity"}])
def test_what_is_no_price_is_refused(broken: dict[str, str]) -> None:
    with pytest.raises((KeyError, ValueError)):
        Price.from_json(broken)
