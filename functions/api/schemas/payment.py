"""Payment routes Y3-Y12 (mobile-api.md §4.6)."""

from pydantic import model_validator

from functions.api.schemas.base import Answer, IdIn, Moment, Omit, RequestModel, Som


class PaymentStatusAnswer(Answer):
    """Y3, Y5, Y6. ``status``: 0 processing, 1 approved, 2 canceled, 3 refunded, 4 partly refunded."""

    status: int
    status_text: str
    amount: Som
    paid_amount: Som | None
    order_id: str
    invoice_id: Omit[str] = None
    can_proceed: bool
    can_start_charging: bool
    qr_expired: bool
    invoice_expired: bool
    qr_expires_at: Moment | None
    invoice_expires_at: Moment | None
    last_status_check_at: Moment | None
    needs_callback_check: bool
    error: str | None = None


class PaymentSelector(RequestModel):
    """Y5: which payment; ``invoice_id`` or ``order_id``."""

    invoice_id: IdIn | None = None
    order_id: IdIn | None = None

    @model_validator(mode="after")
    def _one_is_needed(self) -> "PaymentSelector":
        if not self.invoice_id and not self.order_id:
            raise ValueError("invoice_id or order_id is required")
        return self


class PaymentChecked(Answer):
    """Y7: the provider was asked."""

    message: str
    invoice_id: str


class PaymentCanceled(Answer):
    """Y12."""

    message: str
    invoice_id: str
    status: str
