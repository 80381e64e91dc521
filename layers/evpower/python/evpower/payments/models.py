"""Top-ups, callbacks in the inbox and refunds. Amounts are som, times aware UTC."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Any


class TopUpStatus(StrEnum):
    """What became of a top-up; everything but ``approved`` can still become it (payments.md §2.4)."""

    PROCESSING = "processing"
    APPROVED = "approved"
    CANCELED = "canceled"
    EXPIRED = "expired"
    FAILED = "failed"


class InvoiceState(StrEnum):
    """What is known of createInvoice: intent committed, made, no answer, refused."""

    CREATING = "creating"
    CREATED = "created"
    UNKNOWN = "unknown"
    REFUSED = "refused"


class RefundState(StrEnum):
    """``debited`` was never sent; ``sent`` and ``unknown`` may have reached the payer and are never sent again."""

    DEBITED = "debited"
    SENT = "sent"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNKNOWN = "unknown"


class WireStatus(IntEnum):
    """``status`` of the payment routes (mobile-api.md §4.6 Y6)."""

    PROCESSING = 0
    APPROVED = 1
    CANCELED = 2
    REFUNDED = 3
    PARTIAL_REFUND = 4


@dataclass(frozen=True, slots=True)
class TopUp:
    """One row of ``balance_topups``. ``qr_code`` is the EMV payload, ``qr_code_url`` the picture."""

    id: int
    client_id: str
    order_id: str
    invoice_id: str | None
    payment_provider: str
    requested_amount: Decimal
    paid_amount: Decimal | None
    refunded_amount: Decimal
    status: TopUpStatus
    status_reason: str | None
    invoice_state: InvoiceState
    description: str | None
    qr_code: str | None
    qr_code_url: str | None
    app_link: str | None
    qr_expires_at: datetime | None
    invoice_expires_at: datetime | None
    paid_at: datetime | None
    canceled_at: datetime | None
    cancel_requested: bool
    needs_status_check: bool
    next_check_at: datetime | None
    last_status_check_at: datetime | None
    status_check_count: int
    correlation_id: str | None
    created_at: datetime
    credited_earlier: bool = False
    """The system before this one credited it: its payments are inside the client's opening balance."""

    @property
    def closes_at(self) -> datetime:
        """End of the invoice's life; rows of the earlier system may have none, they count from their creation."""
        return self.invoice_expires_at or self.created_at


@dataclass(frozen=True, slots=True)
class NewTopUp:
    """A wish to top up. ``amount`` as the client sent it, not yet validated."""

    client_id: str
    amount: Decimal
    description: str | None = None


@dataclass(frozen=True, slots=True)
class CreatedTopUp:
    """A payable top-up, and the balance that the client has now."""

    topup: TopUp
    current_balance: Decimal
    qr_lifetime_s: int
    invoice_lifetime_s: int


@dataclass(frozen=True, slots=True)
class PaymentView:
    """What the payment routes show of a top-up (mobile-api.md §4.6 Y6)."""

    status: WireStatus
    status_text: str
    amount: Decimal
    paid_amount: Decimal | None
    order_id: str
    invoice_id: str | None
    can_proceed: bool
    can_start_charging: bool
    qr_expired: bool
    invoice_expired: bool
    qr_expires_at: datetime | None
    invoice_expires_at: datetime | None
    last_status_check_at: datetime | None
    needs_callback_check: bool


@dataclass(frozen=True, slots=True)
class InboxEntry:
    """A signed callback as it was committed."""

    id: int
    provider: str
    order_id: str
    trans_id: str | None
    status_pay: str | None
    payload: dict[str, Any]
    state: str
    attempts: int
    correlation_id: str | None
    received_at: datetime


@dataclass(frozen=True, slots=True)
class RefundRequest:
    """A wish to give ``amount`` of a top-up back to its payer; None means all that is left of the payment.

    ``request_key`` makes it one refund however often it is asked for; ``trans_id`` picks one payment where an
    order was paid more than once.
    """

    topup_id: int
    request_key: str
    requested_by: str
    amount: Decimal | None = None
    trans_id: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Refund:
    """One row of ``topup_refunds``."""

    id: str
    topup_id: int
    client_id: str
    trans_id: str
    amount: Decimal
    is_full: bool
    request_key: str
    state: RefundState
    requested_by: str
    reason: str | None
    provider_code: str | None
    provider_message: str | None
    next_check_at: datetime | None
    created_at: datetime
