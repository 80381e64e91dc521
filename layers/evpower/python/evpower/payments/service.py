"""Rules of top-ups inside one transaction. What needs several transactions and the provider is in flows.py,
checks.py and refunds.py.

Lock order: client, then top-up. Nothing here calls the provider.
"""

import hashlib
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from evpower import metrics
from evpower.accounts import service as accounts
from evpower.accounts.models import LedgerType, Movement
from evpower.config import Settings
from evpower.db import Conn
from evpower.errors import Forbidden, PaymentNotCancellable, PaymentNotFound
from evpower.ids import correlation_id, new_order_id
from evpower.logging import get_logger
from evpower.money import from_tyiyn
from evpower.notifications import service as notifications
from evpower.payments import repository
from evpower.payments.models import InboxEntry, InvoiceState, NewTopUp, TopUp, TopUpStatus
from evpower.payments.provider import (
    Callback,
    Done,
    Invoice,
    InvoiceStatus,
    Outcome,
    PaymentState,
    ProviderPayment,
    Refused,
    Unreachable,
)
from evpower.payments.rules import late_checks_made, next_check, topup_amount, topup_description

_log = get_logger(__name__)
_CALLBACK_LEASE = timedelta(seconds=30)
_ERROR_CHARS = 500
_TOPUP_MEMBERS = frozenset(member.name for member in fields(TopUp))


@dataclass(frozen=True, slots=True)
class Intent:
    """A committed wish: the row that the provider is about to be asked for."""

    topup: TopUp
    current_balance: Decimal
    superseded: tuple[int, ...]


async def begin_topup(
    conn: Conn, wish: NewTopUp, provider: str, settings: Settings, now: datetime, *, order_id: str | None = None
) -> Intent:
    """Write the intent of a top-up; the client's earlier unpaid one is superseded (payments.md §2.6).

    The row carries its first check time, so that a crash right after this transaction leaves nothing unasked.

    Raises:
        InvalidAmount, MinimumAmountRequired, MaximumAmountExceeded: the amount.
        ClientNotFound, ClientBlocked, ClientDeleted: the client.
    """
    amount = topup_amount(wish.amount, settings)
    client = await accounts.lock_client(conn, wish.client_id)
    accounts.require_active(client)
    earlier = await repository.lock_live_topups(conn, client.id)
    for unpaid in earlier:
        await _close_unpaid(conn, unpaid, "superseded", now)
    topup = await repository.insert_topup(
        conn,
        {
            "client_id": client.id,
            "order_id": order_id or new_order_id(),
            "merchant_id": (settings.obank_point if provider == "OBANK" else settings.odengi_merchant_id) or None,
            "provider": provider,
            "amount": amount,
            "description": topup_description(wish.description),
            "expires_at": now + timedelta(seconds=settings.invoice_lifetime_s),
            "next_check_at": now + timedelta(seconds=settings.payment_check_interval_s),
            "correlation_id": correlation_id.get(),
            "now": now,
        },
    )
    return Intent(topup, client.balance, tuple(unpaid.id for unpaid in earlier))


async def _close_unpaid(conn: Conn, topup: TopUp, reason: str, now: datetime) -> TopUp:
    """Cancel on our side; the invoice is cancelled at the provider later, and late money is still credited."""
    return await repository.update_topup(
        conn,
        topup.id,
        {
            "status": TopUpStatus.CANCELED,
            "status_reason": reason,
            "canceled_at": now,
            "completed_at": now,
            "cancel_requested": True,
            "needs_status_check": True,
            "next_check_at": now,
        },
    )


async def finish_topup(conn: Conn, topup_id: int, outcome: Outcome[Invoice], now: datetime) -> TopUp:
    """Write what createInvoice brought. A refusal closes the top-up; an unknown outcome stays open."""
    changes: dict[str, Any]
    if isinstance(outcome, Done):
        invoice = outcome.value
        changes = {
            "invoice_state": InvoiceState.CREATED,
            "invoice_id": invoice.invoice_id,
            "qr_code": invoice.qr_payload or None,
            "qr_code_url": invoice.qr_image_url or None,
            "app_link": invoice.app_link or invoice.pay_url or None,
        }
        return await repository.update_topup(conn, topup_id, changes)
    changes = {"last_error": _error_text(outcome)}
    if isinstance(outcome, Refused | Unreachable):
        changes |= {
            "invoice_state": InvoiceState.REFUSED,
            "needs_status_check": False,
            "next_check_at": None,
            "cancel_requested": False,
            "completed_at": now,
        }
        topup = await repository.get_topup(conn, topup_id, lock=True)
        if topup is not None and topup.status is TopUpStatus.PROCESSING:
            changes |= {"status": TopUpStatus.FAILED, "status_reason": "rejected"}
    else:
        changes |= {"invoice_state": InvoiceState.UNKNOWN}
    return await repository.update_topup(conn, topup_id, changes)


def _error_text(outcome: Outcome[Any]) -> str | None:
    if isinstance(outcome, Refused):
        return f"{outcome.code}: {outcome.text}"[:_ERROR_CHARS]
    return None if isinstance(outcome, Done) else outcome.reason[:_ERROR_CHARS]


async def get_payment(conn: Conn, client_id: str, *, invoice_id: str = "", order_id: str = "") -> TopUp:
    """The client's own top-up by the provider's invoice id or by our order id; either id fits either argument.

    Use case: the app polls with ``invoice_id`` if the answer to its top-up had one, else with ``order_id``, on the
    same route.

    Raises:
        PaymentNotFound: unknown.
        Forbidden: another client's.
    """
    topup = None
    if wanted := order_id or invoice_id:
        topup = await repository.find_topup(conn, order_id=wanted, invoice_id=invoice_id or wanted)
    if topup is None:
        raise PaymentNotFound
    if topup.client_id != client_id:
        raise Forbidden
    return topup


async def begin_cancel(conn: Conn, topup: TopUp, now: datetime) -> TopUp:
    """Cancel an unpaid top-up at its client's wish.

    Raises:
        PaymentNotCancellable: it is not waiting for a payment any more.
    """
    await accounts.lock_client(conn, topup.client_id)
    locked = await repository.get_topup(conn, topup.id, lock=True)
    if locked is None or locked.status is not TopUpStatus.PROCESSING:
        raise PaymentNotCancellable
    return await _close_unpaid(conn, locked, "client", now)


async def close_for_deletion(conn: Conn, client_id: str, now: datetime) -> tuple[int, ...]:
    """Cancel what a client who leaves has not paid yet; the ids to check. The client is locked.

    A payment that is approved after all is credited and moved to ``unclaimed`` (accounts.move).
    """
    unpaid = await repository.lock_live_topups(conn, client_id)
    for topup in unpaid:
        await _close_unpaid(conn, topup, "account_deleted", now)
    return tuple(topup.id for topup in unpaid)


async def record_cancel(conn: Conn, topup: TopUp, outcome: Outcome[None], *, paid: bool) -> TopUp:
    """Write what invoiceCancel brought; without an answer it stays requested."""
    # A refusal would be repeated for ever; the checks that follow watch for late money.
    settled = paid or isinstance(outcome, Done | Refused)
    changes = {"cancel_requested": not settled, "last_error": _error_text(outcome)}
    return await repository.update_topup(conn, topup.id, changes)


@dataclass(frozen=True, slots=True)
class Checked:
    """Result of one question to the provider: the row after it, whether it answered, what was credited now."""

    topup: TopUp
    answered: bool
    credited: Decimal = Decimal("0.00")


async def apply_status(
    conn: Conn, topup_id: int, outcome: Outcome[InvoiceStatus], settings: Settings, now: datetime
) -> Checked:
    """Write what statusPayment brought: credit every approved payment once, close, schedule the next question.

    An approved payment is credited whatever the top-up's status is (payments.md §2.4).
    """
    found = await repository.get_topup(conn, topup_id)
    if found is None:
        raise LookupError(f"top-up {topup_id} vanished")
    await accounts.lock_client(conn, found.client_id)
    topup = await repository.get_topup(conn, topup_id, lock=True)
    assert topup is not None
    changes: dict[str, Any] = {
        "last_status_check_at": now,
        "status_check_count": topup.status_check_count + 1,
        "last_error": _error_text(outcome),
    }
    answered = isinstance(outcome, Done)
    credited = Decimal("0.00")
    if isinstance(outcome, Done):
        status = outcome.value
        changes["odengi_status"] = status.state.value
        credited = await _credit_approved(conn, topup, status, settings)
        changes |= _closing(topup, status, credited, now)
    elif topup.status is TopUpStatus.PROCESSING and now >= topup.closes_at + timedelta(
        seconds=settings.invoice_grace_s
    ):
        changes |= {"status": TopUpStatus.EXPIRED, "status_reason": "expired", "completed_at": now}
    after = replace(topup, **{name: value for name, value in changes.items() if name in _TOPUP_MEMBERS})
    following = next_check(after, now, settings, answered=answered, refused=isinstance(outcome, Refused))
    changes |= {"needs_status_check": following is not None, "next_check_at": following}
    if answered:
        changes["late_check_count"] = late_checks_made(after, now)
    return Checked(await repository.update_topup(conn, topup_id, changes), answered, credited)


def _closing(topup: TopUp, status: InvoiceStatus, credited: Decimal, now: datetime) -> dict[str, Any]:
    """Changes of the status that follow from an answer."""
    if credited:
        paid_at = max((payment.paid_at for payment in status.approved if payment.paid_at), default=now)
        return {
            "status": TopUpStatus.APPROVED,
            "status_reason": None,
            "paid_amount": (topup.paid_amount or Decimal(0)) + credited,
            "paid_at": topup.paid_at or paid_at,
            "completed_at": now,
            "cancel_requested": False,
        }
    if topup.status is not TopUpStatus.PROCESSING:
        return {}
    if status.state is PaymentState.CANCELED and not status.payments:
        return {"status": TopUpStatus.CANCELED, "status_reason": "provider", "canceled_at": now, "completed_at": now}
    if status.state is not PaymentState.APPROVED and now >= topup.closes_at:
        return {"status": TopUpStatus.EXPIRED, "status_reason": "expired", "completed_at": now}
    return {}


async def _credit_approved(conn: Conn, topup: TopUp, status: InvoiceStatus, settings: Settings) -> Decimal:
    """Book every approved payment of the order that is not booked yet; som that were booked now."""
    credited = Decimal("0.00")
    if topup.credited_earlier:
        return credited
    booked = await repository.credited_amounts(conn, topup) if status.at_most_one else {}
    for payment in status.approved:
        problem = _not_creditable(payment, settings)
        if not problem and booked and payment.trans_id not in booked:
            problem = "second_transaction"
        if problem:
            _log.error("approved payment is not credited", extra={"order_id": topup.order_id, "reason": problem})
            metrics.emit({"PaymentsNotCredited": 1}, Reason=problem)
            continue
        entry = await accounts.move(
            conn,
            Movement(
                client_id=topup.client_id,
                type=LedgerType.BALANCE_TOPUP,
                amount=payment.amount,
                source_key=f"topup:{topup.order_id}:{payment.trans_id}",
                topup_id=topup.id,
                description=topup.description,
            ),
        )
        if entry.created:
            credited += entry.amount
            await notifications.payment_confirmed(
                conn,
                client_id=topup.client_id,
                amount=entry.amount,
                new_balance=entry.balance_after,
                source_key=entry.source_key,
            )
    return credited


def _not_creditable(payment: ProviderPayment, settings: Settings) -> str | None:
    """Why an approved payment must not move money, if so; each reason raises an alarm."""
    if payment.test and settings.environment == "production":
        return "test_payment"
    if not payment.trans_id:
        # Without a transaction id "exactly once" has no key.
        return "no_transaction_id"
    if payment.amount <= 0:
        return "no_amount"
    return None


async def store_callback(conn: Conn, provider: str, callback: Callback, now: datetime) -> tuple[int, bool]:
    """Commit-ready inbox row of a verified callback. Returns its id and whether it still has to be worked on."""
    state = callback.members.get("status_pay") or callback.members.get("status")
    cause = "\x1f".join((provider, callback.order_id, callback.invoice_id, callback.trans_id, state or ""))
    inbox_id, inbox_state = await repository.insert_callback(
        conn,
        {
            "provider": provider,
            "order_id": callback.order_id,
            "trans_id": callback.trans_id or None,
            "status_pay": state,
            "fingerprint": hashlib.sha256(cause.encode()).hexdigest(),
            "payload": dict(callback.members),
            "scheme": callback.scheme,
            "correlation_id": correlation_id.get(),
            "next_attempt_at": now + _CALLBACK_LEASE,  # the queue comes first, the sweep is the backstop
            "now": now,
        },
    )
    return inbox_id, inbox_state == "received"


async def topup_of_callback(conn: Conn, entry: InboxEntry) -> TopUp | None:
    """The top-up that a callback is about."""
    return await repository.find_topup(
        conn, order_id=entry.order_id, invoice_id=str(entry.payload.get("invoice_id") or "")
    )


def callback_amount(entry: InboxEntry) -> Decimal | None:
    """Amount that the callback names, for the alarm of an unknown order; never credited."""
    text = str(entry.payload.get("amount") or "")
    return from_tyiyn(text) if text.isascii() and text.isdigit() else None
