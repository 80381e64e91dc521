"""Does every som add up? Pure arithmetic over what the public routes answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from infra.local.demo.driver import Spent

CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Books:
    """Public answers at the end of a story: balance and ledger of one client, what was paid in, what was used."""

    balance: float
    ledger: Sequence[dict[str, Any]]
    paid_in: Sequence[float]
    sessions: Sequence[Spent]


def _money(value: object) -> Decimal:
    return Decimal(str(value)).quantize(CENT)


def differences(books: Books) -> list[str]:
    """Everything that does not add up, as sentences; an empty list is a pass.

    Checked: balance = sum of the ledger; each row starts where the one before ended; top-ups in the ledger are those
    paid; each session's rows sum to its cost; each cost = energy x rate + fee; balance = top-ups - costs.
    """
    found: list[str] = []
    rows = books.ledger
    total = sum((_money(row["amount"]) for row in rows), Decimal(0))
    if total != _money(books.balance):
        found.append(f"the ledger sums to {total}, the balance is {_money(books.balance)}")
    found += _chain(rows)
    topped_up = sorted(_money(row["amount"]) for row in rows if row["transaction_type"] == "balance_topup")
    if topped_up != sorted(_money(amount) for amount in books.paid_in):
        found.append(f"paid in {[float(a) for a in books.paid_in]}, credited {[float(a) for a in topped_up]}")
    for spent in books.sessions:
        found += _cost(spent)
    charged = -sum((_money(r["amount"]) for r in rows if r["transaction_type"].startswith("charge_")), Decimal(0))
    costs = sum((_money(spent.cost) for spent in books.sessions), Decimal(0))
    if charged != costs:
        found.append(f"the sessions cost {costs}, the ledger charged {charged}")
    opening = sum((_money(r["amount"]) for r in rows if r["transaction_type"] == "opening_balance"), Decimal(0))
    expected = opening + sum((_money(amount) for amount in books.paid_in), Decimal(0)) - costs
    if expected != _money(books.balance):
        found.append(f"opening + top-ups - costs = {expected}, the balance is {_money(books.balance)}")
    return found


def _chain(rows: Sequence[dict[str, Any]]) -> list[str]:
    found = []
    before = _money(rows[0]["balance_before"]) if rows else Decimal(0)
    for row in rows:
        after = before + _money(row["amount"])
        if _money(row["balance_before"]) != before or _money(row["balance_after"]) != after:
            found.append(f"ledger row {row['id']} does not continue the row before it: {row}")
        before = _money(row["balance_after"])
    return found


def _cost(spent: Spent) -> list[str]:
    """The status route gives energy with three decimals, so the cost may differ by what half a Wh costs."""
    rate, fee = Decimal(str(spent.rate_per_kwh)), Decimal(str(spent.session_fee))
    energy = Decimal(str(spent.energy_kwh))
    expected = (energy * rate + fee if energy > 0 else Decimal(0)).quantize(CENT, ROUND_HALF_UP)
    tolerance = CENT + rate * Decimal("0.0005")
    if abs(expected - _money(spent.cost)) > tolerance:
        return [f"session {spent.session_id}: {energy} kWh x {rate} + {fee} = {expected}, billed {_money(spent.cost)}"]
    return []
