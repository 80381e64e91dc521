"""Pure rules of top-ups: bounds, when to ask the provider again, what the wire shows. The time is an argument."""

from datetime import datetime, timedelta
from decimal import Decimal

from evpower.config import Settings
from evpower.errors import InvalidAmount, MaximumAmountExceeded, MinimumAmountRequired
from evpower.money import number, som
from evpower.payments.models import InvoiceState, PaymentView, TopUp, TopUpStatus, WireStatus

# Every top-up is asked about once more at these ages (payments.md §2.4), a paid one for a second payment.
LATE_CHECKS = (timedelta(hours=1), timedelta(hours=24))
# Use case: the provider is down for hours. Overdue questions repeat at this pace until one is answered.
_RETRY_LATE = timedelta(minutes=5)
_RETRY_OLD = timedelta(hours=1)
_DESCRIPTION_CHARS = 200

_STATUS_TEXTS = {
    "ru": ("Ожидает оплаты", "Оплачено", "Отменено", "Возвращено", "Возвращено частично"),
    "ky": ("Төлөм күтүлүүдө", "Төлөндү", "Жокко чыгарылды", "Кайтарылды", "Жарым-жартылай кайтарылды"),
    "en": ("Waiting for payment", "Paid", "Canceled", "Refunded", "Partly refunded"),
}


def topup_amount(amount: Decimal, settings: Settings) -> Decimal:
    """The amount in som with two places, if a top-up of it is allowed.

    Raises:
        InvalidAmount: not a positive number of whole tyiyn.
        MinimumAmountRequired, MaximumAmountExceeded: outside TOPUP_MIN_SOM..TOPUP_MAX_SOM.
    """
    if not amount.is_finite() or amount <= 0:
        raise InvalidAmount
    if amount > settings.topup_max_som:
        raise MaximumAmountExceeded(maximum_amount=number(settings.topup_max_som))
    if som(amount) != amount:
        raise InvalidAmount
    if amount < settings.topup_min_som:
        raise MinimumAmountRequired(minimum_amount=number(settings.topup_min_som))
    return som(amount)


def topup_description(text: str | None) -> str | None:
    """The client's text as it is stored and shown by the provider: without control characters, bounded."""
    cleaned = "".join(character for character in text or "" if character.isprintable()).strip()
    return cleaned[:_DESCRIPTION_CHARS] or None


def next_check(
    topup: TopUp, now: datetime, settings: Settings, *, answered: bool, refused: bool = False
) -> datetime | None:
    """When to ask the provider about this top-up again; None when there is nothing left to ask.

    Args:
        topup: the row as it is after the check that was just made.
        answered: whether the provider answered that check. An unanswered one is repeated and never counts.
        refused: whether it was unanswered because the provider answered with an error.
    """
    if topup.invoice_state is InvoiceState.REFUSED and topup.status is not TopUpStatus.APPROVED:
        return None
    interval = timedelta(seconds=settings.payment_check_interval_s)
    live_until = topup.closes_at + timedelta(seconds=settings.invoice_grace_s)
    base = topup.canceled_at or topup.closes_at
    if not answered:
        if now < live_until:
            return now + interval
        if now < base + LATE_CHECKS[-1]:
            return now + _RETRY_LATE
        # Use case: createInvoice had no answer and the provider never heard of the order: after a day that is certain.
        never_made = refused and topup.invoice_state is not InvoiceState.CREATED
        return None if never_made else now + _RETRY_OLD
    if now < live_until:
        # Use case of asking about a paid one at all: the order is paid a second time and that callback is lost.
        closed = topup.status is TopUpStatus.CANCELED and not topup.cancel_requested
        return live_until if closed or topup.status is TopUpStatus.APPROVED else now + interval
    return next((base + age for age in LATE_CHECKS if base + age > now), None)


def late_checks_made(topup: TopUp, now: datetime) -> int:
    """How many of the late questions an answer at ``now`` covers."""
    base = topup.canceled_at or topup.closes_at
    return sum(base + age <= now for age in LATE_CHECKS)


def wire_status(topup: TopUp) -> WireStatus:
    """Number of the app's payment status."""
    if topup.status is TopUpStatus.PROCESSING:
        return WireStatus.PROCESSING
    if topup.status is not TopUpStatus.APPROVED:
        return WireStatus.CANCELED
    if topup.refunded_amount <= 0:
        return WireStatus.APPROVED
    whole = topup.refunded_amount >= (topup.paid_amount or Decimal(0))
    return WireStatus.REFUNDED if whole else WireStatus.PARTIAL_REFUND


def payment_view(topup: TopUp, now: datetime, settings: Settings, language: str = "ru") -> PaymentView:
    """What the payment routes show.

    ``invoice_expired`` waits for the answer after the end of the invoice's life (or the end of the grace time): the
    app treats it as a failure, and a payment of the last second must not be shown as one.
    """
    status = wire_status(topup)
    paid = status in (WireStatus.APPROVED, WireStatus.PARTIAL_REFUND)
    over = now >= topup.closes_at
    grace_over = now >= topup.closes_at + timedelta(seconds=settings.invoice_grace_s)
    texts = _STATUS_TEXTS.get(language, _STATUS_TEXTS["ru"])
    return PaymentView(
        status=status,
        status_text=texts[status],
        amount=topup.requested_amount,
        paid_amount=topup.paid_amount,
        order_id=topup.order_id,
        invoice_id=topup.invoice_id,
        can_proceed=paid,
        can_start_charging=paid,
        qr_expired=over and not paid,
        invoice_expired=topup.status is TopUpStatus.EXPIRED or (topup.status is TopUpStatus.PROCESSING and grace_over),
        qr_expires_at=topup.qr_expires_at,
        invoice_expires_at=topup.invoice_expires_at,
        last_status_check_at=topup.last_status_check_at,
        needs_callback_check=topup.status is TopUpStatus.PROCESSING and topup.needs_status_check,
    )
