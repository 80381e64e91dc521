"""Amount bounds, the plan of questions and what the wire shows."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from evpower.config import Settings
from evpower.errors import EvPowerError, InvalidAmount, MaximumAmountExceeded, MinimumAmountRequired
from evpower.payments.models import InvoiceState, TopUp, TopUpStatus, WireStatus
from evpower.payments.rules import (
    late_checks_made,
    next_check,
    payment_view,
    topup_amount,
    topup_description,
    wire_status,
)

SETTINGS = Settings()
CREATED = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
EXPIRES = CREATED + timedelta(minutes=5)
TOPUP = TopUp(
    id=1,
    client_id="client-a",
    order_id="evp-1",
    invoice_id="000000000017",
    payment_provider="ODENGI",
    requested_amount=Decimal(500),
    paid_amount=None,
    refunded_amount=Decimal(0),
    status=TopUpStatus.PROCESSING,
    status_reason=None,
    invoice_state=InvoiceState.CREATED,
    description=None,
    qr_code=None,
    qr_code_url=None,
    app_link=None,
    qr_expires_at=EXPIRES,
    invoice_expires_at=EXPIRES,
    paid_at=None,
    canceled_at=None,
    cancel_requested=False,
    needs_status_check=True,
    next_check_at=None,
    last_status_check_at=None,
    status_check_count=0,
    correlation_id=None,
    created_at=CREATED,
)


@pytest.mark.parametrize("amount", ["10", "10.00", "10.01", "99999.99", "100000", "1E+2"])
def test_allowed_amounts(amount: str) -> None:
    allowed = topup_amount(Decimal(amount), SETTINGS)
    assert allowed == Decimal(amount)
    assert allowed.as_tuple().exponent == -2


@pytest.mark.parametrize(
    ("amount", "error"),
    [
        ("0", InvalidAmount),
        ("-10", InvalidAmount),
        ("Infinity", InvalidAmount),
        ("-Infinity", InvalidAmount),
        ("NaN", InvalidAmount),
        ("sNaN", InvalidAmount),
        ("10.001", InvalidAmount),
        ("9.99", MinimumAmountRequired),
        ("0.01", MinimumAmountRequired),
        ("100000.01", MaximumAmountExceeded),
        ("1E+400", MaximumAmountExceeded),
    ],
)
def test_refused_amounts(amount: str, error: type[EvPowerError]) -> None:
    with pytest.raises(error):
        topup_amount(Decimal(amount), SETTINGS)


@pytest.mark.parametrize(
    ("text", "stored"),
    [(None, None), ("", None), (" \n", None), ("Зарядка\x00 🔌\n", "Зарядка 🔌"), ("x" * 500, "x" * 200)],
)
def test_descriptions(text: str | None, stored: str | None) -> None:
    assert topup_description(text) == stored


def ask(topup: TopUp, after: timedelta, *, answered: bool = True, refused: bool = False) -> timedelta | None:
    """When the next question is asked, as time after the creation."""
    following = next_check(topup, CREATED + after, SETTINGS, answered=answered, refused=refused)
    return None if following is None else following - CREATED


S, M, H = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


def test_a_live_topup_is_asked_about_every_15_s_until_the_grace_is_over() -> None:
    assert ask(TOPUP, 1 * M) == 1 * M + 15 * S
    assert ask(replace(TOPUP, status=TopUpStatus.EXPIRED), 6 * M) == 6 * M + 15 * S
    assert ask(replace(TOPUP, status=TopUpStatus.EXPIRED), 10 * M) == 5 * M + 1 * H
    assert ask(replace(TOPUP, status=TopUpStatus.EXPIRED), 10 * M + 1 * H) == 5 * M + 24 * H
    assert ask(replace(TOPUP, status=TopUpStatus.EXPIRED), 24 * H + 6 * M) is None


def test_a_canceled_topup_is_asked_about_until_its_invoice_is_cancelled_then_late() -> None:
    canceled = replace(TOPUP, status=TopUpStatus.CANCELED, canceled_at=CREATED + 2 * M)
    assert ask(replace(canceled, cancel_requested=True), 2 * M) == 2 * M + 15 * S
    assert ask(canceled, 3 * M) == 10 * M
    assert ask(canceled, 10 * M) == 2 * M + 1 * H
    assert ask(canceled, 2 * M + 1 * H) == 2 * M + 24 * H
    assert late_checks_made(canceled, CREATED + 2 * M + 1 * H) == 1
    assert ask(canceled, 2 * M + 24 * H) is None
    assert late_checks_made(canceled, CREATED + 2 * M + 24 * H) == 2


def test_a_paid_topup_is_asked_about_for_a_second_payment() -> None:
    paid = replace(TOPUP, status=TopUpStatus.APPROVED)
    assert ask(paid, 1 * M) == 10 * M
    assert ask(paid, 10 * M) == 5 * M + 1 * H
    assert ask(paid, 2 * H) == 5 * M + 24 * H
    assert ask(paid, 25 * H) is None


def test_an_unanswered_question_is_never_dropped() -> None:
    for status in TopUpStatus:
        topup = replace(TOPUP, status=status)
        assert ask(topup, 1 * M, answered=False) == 1 * M + 15 * S
        assert ask(topup, 1 * H, answered=False) == 1 * H + 5 * M
        assert ask(topup, 40 * H, answered=False, refused=True) == 41 * H


def test_an_order_that_the_provider_never_heard_of_ends_after_a_day() -> None:
    unknown = replace(TOPUP, status=TopUpStatus.EXPIRED, invoice_state=InvoiceState.UNKNOWN)
    assert ask(unknown, 20 * H, answered=False, refused=True) == 20 * H + 5 * M
    assert ask(unknown, 25 * H, answered=False, refused=True) is None
    assert ask(unknown, 25 * H, answered=False) == 26 * H


def test_a_refused_invoice_is_not_asked_about() -> None:
    assert ask(replace(TOPUP, status=TopUpStatus.FAILED, invoice_state=InvoiceState.REFUSED), 1 * M) is None


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, WireStatus.PROCESSING),
        ({"status": TopUpStatus.CANCELED}, WireStatus.CANCELED),
        ({"status": TopUpStatus.EXPIRED}, WireStatus.CANCELED),
        ({"status": TopUpStatus.FAILED}, WireStatus.CANCELED),
        ({"status": TopUpStatus.APPROVED, "paid_amount": Decimal(500)}, WireStatus.APPROVED),
        (
            {"status": TopUpStatus.APPROVED, "paid_amount": Decimal(500), "refunded_amount": Decimal(500)},
            WireStatus.REFUNDED,
        ),
        (
            {"status": TopUpStatus.APPROVED, "paid_amount": Decimal(500), "refunded_amount": Decimal("0.01")},
            WireStatus.PARTIAL_REFUND,
        ),
    ],
)
def test_wire_status(changes: dict[str, object], expected: WireStatus) -> None:
    assert wire_status(replace(TOPUP, **changes)) is expected  # type: ignore[arg-type]


def test_a_payment_of_the_last_second_is_not_shown_as_a_failure() -> None:
    view = payment_view(TOPUP, EXPIRES + 2 * S, SETTINGS)
    assert (view.status, view.qr_expired, view.invoice_expired) == (WireStatus.PROCESSING, True, False)
    assert view.needs_callback_check
    over = payment_view(TOPUP, EXPIRES + timedelta(seconds=SETTINGS.invoice_grace_s), SETTINGS, "en")
    assert (over.invoice_expired, over.status_text) == (True, "Waiting for payment")
    paid = payment_view(replace(TOPUP, status=TopUpStatus.APPROVED), EXPIRES + 1 * H, SETTINGS, "ky")
    assert (paid.can_start_charging, paid.qr_expired, paid.invoice_expired) == (True, False, False)
    assert paid.status_text == "Төлөндү"
