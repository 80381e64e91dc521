"""Clients and ledger entries."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum


class ClientStatus(StrEnum):
    ACTIVE = "active"
    INACTIVE = "inactive"
    BLOCKED = "blocked"
    PENDING_DELETION = "pending_deletion"
    DELETED = "deleted"


class LedgerType(StrEnum):
    """Reasons for a balance movement. Reserves, payments and refunds of top-ups are negative amounts."""

    OPENING_BALANCE = "opening_balance"
    BALANCE_TOPUP = "balance_topup"
    CHARGE_RESERVE = "charge_reserve"
    CHARGE_REFUND = "charge_refund"
    CHARGE_PAYMENT = "charge_payment"
    TOPUP_REFUND = "topup_refund"
    MANUAL_ADJUSTMENT = "manual_adjustment"
    UNCLAIMED = "unclaimed"


@dataclass(frozen=True, slots=True)
class Client:
    """A driver. ``balance`` is som."""

    id: str
    phone: str | None
    email: str | None
    name: str | None
    balance: Decimal
    status: ClientStatus
    created_at: datetime
    deleted_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Staff:
    """A member of staff (table ``users``). ``role``: operator, admin, superadmin; ``admin_id``: of an operator."""

    id: str
    phone: str | None
    email: str | None
    name: str | None
    role: str
    is_active: bool
    admin_id: str | None
    created_at: datetime

    @property
    def owner_id(self) -> str | None:
        """Whose stations this person sees (mobile-api.md §7.1): operators their admin's; None: everybody's."""
        if self.role == "superadmin":
            return None
        return self.admin_id or self.id if self.role == "operator" else self.id


@dataclass(frozen=True, slots=True)
class Movement:
    """One wish to change a balance.

    ``amount`` is signed som; ``source_key`` names the cause (``topup:{order_id}:{trans_id}``,
    ``reserve:{session}:{n}``, ``settle:{session}:{revision}``, ...) and is unique in the ledger: the same cause
    never moves money twice.
    """

    client_id: str
    type: LedgerType
    amount: Decimal
    source_key: str
    topup_id: int | None = None
    session_id: str | None = None
    description: str | None = None
    actor: str | None = None


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """A booked movement. ``created`` is False when the same source key had been booked before."""

    id: int
    client_id: str
    type: LedgerType
    amount: Decimal
    balance_before: Decimal
    balance_after: Decimal
    source_key: str
    created_at: datetime
    created: bool = True
