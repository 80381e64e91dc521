"""One formula settles every revision of a bill."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evpower.charging.settlement import bill, settle
from evpower.pricing.models import Price

money = st.decimals(min_value=0, max_value=100_000, places=2)


def test_less_than_the_reserve_is_refunded() -> None:
    outcome = settle(Decimal("67.50"), Decimal("100.00"), Decimal("0.00"))
    assert (outcome.movement, outcome.taken, outcome.written_off) == (Decimal("32.50"), Decimal("67.50"), 0)


def test_more_than_the_reserve_is_taken_from_the_balance() -> None:
    outcome = settle(Decimal("120.00"), Decimal("100.00"), Decimal("50.00"))
    assert (outcome.movement, outcome.taken, outcome.written_off) == (Decimal("-20.00"), Decimal("120.00"), 0)


def test_what_the_balance_cannot_pay_is_written_off() -> None:
    outcome = settle(Decimal("120.00"), Decimal("100.00"), Decimal("5.00"))
    assert outcome.movement == Decimal("-5.00")
    assert outcome.taken == Decimal("105.00")
    assert outcome.written_off == Decimal("15.00")


def test_the_same_bill_again_moves_nothing() -> None:
    assert settle(Decimal("80.00"), Decimal("80.00"), Decimal("1.00")).movement == 0


def test_nothing_delivered_costs_nothing_whatever_the_fees() -> None:
    price = Price(rate_per_kwh=Decimal("13.5"), session_fee=Decimal(20), rate_per_minute=Decimal(1))
    assert bill(price, Decimal(0), Decimal(30)).amount == 0


@pytest.mark.parametrize("wrong", [(-1, 0, 0), (0, -1, 0), (0, 0, -1)])
def test_negative_amounts_are_a_fault_of_the_caller(wrong: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="negative"):
        settle(*map(Decimal, wrong))


@given(money, money, money)
def test_a_settlement_neither_loses_nor_invents_a_tyiyn(due: Decimal, taken: Decimal, balance: Decimal) -> None:
    outcome = settle(due, taken, balance)
    assert balance + outcome.movement >= 0
    assert outcome.taken == taken - outcome.movement
    assert outcome.taken + outcome.written_off == due
    assert outcome.written_off >= 0
    again = settle(due, outcome.taken, balance + outcome.movement)
    assert again.movement == 0 or outcome.written_off > 0
