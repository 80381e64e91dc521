"""What a session costs, and the inverse that limits use (mobile-api.md §9.4, §9.5)."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from evpower.pricing import rules
from evpower.pricing.models import DiscountType, Price, Promo, PromoCode
from tests.unit.evpower.pricing.builders import CREATED

D = Decimal
CENT = D("0.01")


def percent(value: str, **limits: Decimal) -> Promo:
    return Promo("p", "CODE", DiscountType.PERCENT, D(value), **limits)


def fixed(value: str, **limits: Decimal) -> Promo:
    return Promo("p", "CODE", DiscountType.FIXED, D(value), **limits)


@pytest.mark.parametrize(
    ("price", "energy", "minutes", "parking", "amount"),
    [
        (Price(D("13.5")), "10", "0", "0", "135.00"),
        (Price(D("13.5")), "0", "0", "0", "0.00"),
        (Price(D("13.5")), "-1", "-5", "-5", "0.00"),
        (Price(D("13.5"), session_fee=D(5)), "0", "0", "0", "5.00"),
        (Price(D(10), D("1.5"), D(5), D(2)), "10", "30", "4", "158.00"),
        (Price(D("13.5")), "0.001", "0", "0", "0.01"),  # 0.0135
        (Price(D(1)), "0.005", "0", "0", "0.01"),  # a half goes up
        (Price(D(1)), "0.0049", "0", "0", "0.00"),
        (Price(D("0.004"), D("0.004")), "1", "1", "0", "0.01"),  # 0.004 + 0.004: one rounding of the sum, not two
    ],
)
def test_cost(price: Price, energy: str, minutes: str, parking: str, amount: str) -> None:
    assert rules.cost(price, D(energy), D(minutes), parking_minutes=D(parking)) == D(amount)


@pytest.mark.parametrize(
    ("promo", "gross", "off"),
    [
        (None, "100", "0"),
        (percent("10"), "100", "10"),
        (percent("10", max_discount_amount=D(5)), "100", "5"),
        (percent("10", min_charge_amount=D(100)), "100", "10"),
        (percent("10", min_charge_amount=D(100)), "99.99", "0"),
        (percent("150"), "100", "100"),
        (percent("-10"), "100", "0"),
        (fixed("30"), "100", "30"),
        (fixed("30"), "20", "20"),
        (fixed("-30"), "20", "0"),
        (fixed("30"), "0", "0"),
    ],
)
def test_discount(promo: Promo | None, gross: str, off: str) -> None:
    assert rules.discount(promo, D(gross)) == D(off)


def test_a_bill_adds_up() -> None:
    bill = rules.bill(Price(D("13.5"), promo=percent("33")), D("1.111"))
    assert (bill.base_amount, bill.discount_amount, bill.amount) == (D("15.00"), D("4.95"), D("10.05"))
    assert bill.amount == rules.cost(Price(D("13.5"), promo=percent("33")), D("1.111"))


def test_the_frozen_promo_counts_without_being_named() -> None:
    assert rules.cost(Price(D(10), promo=percent("50")), D(10)) == D("50.00")


@pytest.mark.parametrize(
    ("price", "amount", "energy"),
    [
        (Price(D("13.5")), "100", "7.407"),
        (Price(D(10), session_fee=D(20)), "100", "8.000"),
        (Price(D(10), session_fee=D(20)), "10", "0.000"),
        (Price(D(0), D(2)), "100", None),
        (Price(D(10), promo=percent("50")), "100", "20.000"),
        (Price(D(10), promo=percent("50", max_discount_amount=D(20))), "100", "12.000"),
        (Price(D(10), promo=percent("100")), "100", None),
        (Price(D(10), promo=percent("100", max_discount_amount=D(20))), "100", "12.000"),
        (Price(D(10), promo=percent("50", min_charge_amount=D(200))), "100", "10.000"),
        (Price(D(10), promo=fixed("30")), "100", "13.000"),
    ],
)
def test_energy_for_amount(price: Price, amount: str, energy: str | None) -> None:
    assert rules.energy_for_amount(price, D(amount)) == (None if energy is None else D(energy))


def test_minutes_leave_less_for_energy() -> None:
    assert rules.energy_for_amount(Price(D(10), D(2)), D(100), D(30)) == D("4.000")


def test_reserve_for_an_energy_limit_includes_an_hour_and_the_fee() -> None:
    assert rules.reserve_for_energy(Price(D(10), D("0.5"), D(5)), D(20)) == D("235.00")


@pytest.mark.parametrize(
    ("changes", "usable"),
    [
        ({}, True),
        ({"is_active": False}, False),
        ({"valid_from": CREATED}, True),
        ({"valid_from": CREATED + timedelta(seconds=1)}, False),
        ({"valid_until": CREATED}, True),
        ({"valid_until": CREATED - timedelta(seconds=1)}, False),
        ({"usage_limit": 5, "used": 4}, True),
        ({"usage_limit": 5, "used": 5}, False),
        ({"client_usage_limit": 1, "used_by_client": 0}, True),
        ({"client_usage_limit": 1, "used_by_client": 1}, False),
    ],
)
def test_when_a_promo_code_may_be_used(changes: dict[str, object], usable: bool) -> None:
    code = PromoCode(percent("10"), True, None, None, None, None, 0, 0)
    assert rules.promo_usable(replace(code, **changes), CREATED) is usable


# --- Properties -----------------------------------------------------------------------------------------------------

rates = st.decimals(min_value=0, max_value=100, places=4)
energies = st.decimals(min_value=-10, max_value=1000, places=3)
durations = st.decimals(min_value=-10, max_value=2000, places=2)
prices = st.builds(Price, rates, rates, st.decimals(min_value=0, max_value=500, places=2), rates)
limits = st.none() | st.decimals(min_value=0, max_value=500, places=2)
promos = st.builds(
    Promo,
    st.just("p"),
    st.just("CODE"),
    st.sampled_from(DiscountType),
    st.decimals(min_value=0, max_value=120, places=2),
    limits,
    limits,
)


@given(prices, energies, energies, durations)
def test_more_energy_never_costs_less(price: Price, one: Decimal, other: Decimal, minutes: Decimal) -> None:
    low, high = sorted((one, other))
    assert rules.cost(price, low, minutes) <= rules.cost(price, high, minutes)


@given(prices, energies, durations, durations, st.none() | promos)
def test_cost_is_in_whole_tyiyn_never_negative_and_rounded_once(
    price: Price, energy: Decimal, minutes: Decimal, parking: Decimal, promo: Promo | None
) -> None:
    amount = rules.cost(price, energy, minutes, promo, parking_minutes=parking)
    exact = (
        max(energy, D(0)) * price.rate_per_kwh
        + max(minutes, D(0)) * price.rate_per_minute
        + price.session_fee
        + max(parking, D(0)) * price.parking_fee_per_minute
    )
    assert amount == amount.quantize(CENT)
    assert amount >= 0
    assert abs(amount - (exact - rules.discount(promo, exact))) <= CENT / 2


@given(prices, energies, durations, st.none() | promos, st.sampled_from([D("-0.01"), D("-0.001"), D(0), CENT, D(7)]))
def test_an_amount_is_reached_when_the_cost_is_that_much(
    price: Price, energy: Decimal, minutes: Decimal, promo: Promo | None, above: Decimal
) -> None:
    price = replace(price, promo=promo)
    amount = rules.cost(price, energy, minutes) + above
    assert rules.reaches(amount, price, energy, minutes) == (above <= 0)


@given(promos, st.decimals(min_value=0, max_value=5000, places=4))
def test_discount_is_bounded(promo: Promo, gross: Decimal) -> None:
    off = rules.discount(promo, gross)
    assert 0 <= off <= gross
    if promo.discount_type is DiscountType.PERCENT and promo.max_discount_amount is not None:
        assert off <= promo.max_discount_amount
    if promo.min_charge_amount is not None and gross < promo.min_charge_amount:
        assert off == 0


@given(
    prices,
    st.none() | promos,
    st.decimals(min_value=0, max_value=5000, places=2),
    durations,
    st.decimals(min_value=0, max_value=1, places=3),
)
def test_energy_for_amount_is_within_the_amount_and_the_next_step_is_not(
    price: Price, promo: Promo | None, amount: Decimal, minutes: Decimal, share: Decimal
) -> None:
    price = replace(price, promo=promo)
    energy = rules.energy_for_amount(price, amount, minutes)
    assume(energy is not None and rules.cost(price, D(0), minutes) <= amount)
    assert energy is not None
    assert rules.cost(price, energy * share, minutes) <= amount
    assert rules.cost(price, energy, minutes) <= amount
    # One more Wh costs more than the amount, unless the promo begins to help exactly there.
    gross = (energy + D("0.001")) * price.rate_per_kwh + max(minutes, D(0)) * price.rate_per_minute + price.session_fee
    assert gross - rules.discount(promo, gross) > amount or (
        promo is not None and promo.min_charge_amount is not None and gross >= promo.min_charge_amount
    )
