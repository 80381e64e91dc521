"""The demo must notice every som that is missing."""

from dataclasses import replace
from typing import Any

from infra.local.demo.books import Books, differences
from infra.local.demo.driver import Spent


def row(number: int, kind: str, before: float, amount: float) -> dict[str, Any]:
    after = round(before + amount, 2)
    return {
        "id": str(number),
        "transaction_type": kind,
        "amount": amount,
        "balance_before": before,
        "balance_after": after,
    }


GOOD = Books(
    balance=432.5,
    ledger=[
        row(1, "balance_topup", 0, 500.0),
        row(2, "charge_reserve", 500.0, -100.0),
        row(3, "charge_refund", 400.0, 32.5),
    ],
    paid_in=[500.0],
    sessions=[Spent("s", energy_kwh=5.0, cost=67.5, rate_per_kwh=13.5, session_fee=0)],
)


def test_good_books_balance() -> None:
    assert differences(GOOD) == []


def test_a_wrong_balance_is_seen() -> None:
    assert any("the ledger sums to 432.50" in text for text in differences(replace(GOOD, balance=432.49)))


def test_a_missing_credit_is_seen() -> None:
    assert any("paid in" in text for text in differences(replace(GOOD, paid_in=[500.0, 100.0])))


def test_a_double_refund_is_seen() -> None:
    doubled = [*GOOD.ledger, row(4, "charge_refund", 432.5, 32.5)]
    found = differences(replace(GOOD, ledger=doubled, balance=465.0))
    assert any("the sessions cost 67.50, the ledger charged 35.00" in text for text in found)


def test_a_cost_that_is_not_energy_times_rate_is_seen() -> None:
    wrong = Spent("s", energy_kwh=4.9, cost=67.5, rate_per_kwh=13.5, session_fee=0)
    assert any("4.9 kWh x 13.5" in text for text in differences(replace(GOOD, sessions=[wrong])))


def test_a_gap_in_the_chain_is_seen() -> None:
    rows = [*GOOD.ledger[:2], row(3, "charge_refund", 400.5, 32.0)]
    assert any("does not continue" in text for text in differences(replace(GOOD, ledger=rows)))


def test_a_session_without_energy_costs_nothing_not_even_its_fee() -> None:
    nothing = Spent("n", energy_kwh=0, cost=0, rate_per_kwh=13.5, session_fee=20)
    assert differences(replace(GOOD, sessions=[*GOOD.sessions, nothing])) == []
