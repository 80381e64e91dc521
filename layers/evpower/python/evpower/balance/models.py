"""What the balance routes show. Amounts are som, times aware UTC."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Balance:
    """A client's balance (mobile-api.md §4.5 B5). ``total_spent`` = reserves - refunds + additional charges."""

    client_id: str
    balance: Decimal
    currency: str
    last_topup_at: datetime | None
    total_spent: Decimal


@dataclass(frozen=True, slots=True)
class HistoryItem:
    """One line of the money history (H2). A top-up that brought no money has no balances, and ``amount`` 0."""

    id: str
    transaction_type: str
    amount: Decimal
    requested_amount: Decimal
    balance_before: Decimal | None
    balance_after: Decimal | None
    created_at: datetime
    completed_at: datetime | None
    status: str
    payment_method: str | None
    invoice_id: str | None


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """A page of the history, newest first, and the number of all lines."""

    items: tuple[HistoryItem, ...]
    total: int
    limit: int
    offset: int
