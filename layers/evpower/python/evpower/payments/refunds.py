"""Money back to the payer of a top-up: debit first, then ask the provider, then confirm or return it.

States: ``debited`` (never sent) -> ``sent`` -> ``succeeded`` | ``failed`` (money returned once) | ``unknown``. A refund
that may have reached the provider is never sent again and never returned by a guess: it is asked about, and an
operator decides what the provider's status cannot tell (:func:`resolve_refund`).
"""

from datetime import timedelta
from decimal import Decimal
from typing import Any

from evpower import metrics
from evpower.accounts import service as accounts
from evpower.accounts.models import LedgerType, Movement
from evpower.db import Claims, Conn
from evpower.errors import InvalidAmount, InvalidRequest, MaximumAmountExceeded, PaymentNotFound
from evpower.ids import new_id
from evpower.logging import get_logger
from evpower.money import number, som
from evpower.payments import repository
from evpower.payments.checks import each_guarded
from evpower.payments.deps import PaymentDeps
from evpower.payments.models import Refund, RefundRequest, RefundState, TopUp
from evpower.payments.provider import Done, Outcome, PaymentState, Refused, Unknown, Unreachable

_log = get_logger(__name__)
_LEASE = timedelta(seconds=45)
_ASK_AGAIN = timedelta(minutes=15)
_BATCH = 20
_OPEN = (RefundState.DEBITED, RefundState.SENT, RefundState.UNKNOWN)


class RefundUnderWay(
    InvalidRequest,
    spec={
        "texts": {
            "ru": "Возврат ещё выполняется: решать рано.",
            "ky": "Кайтаруу дагы эле аткарылууда: чечим чыгарууга эрте.",
            "en": "The refund is still under way: there is nothing to decide yet.",
        }
    },
):
    """What may still reach the provider must not be called failed: the money would be paid and returned."""


async def begin_refund(conn: Conn, request: RefundRequest, deps: PaymentDeps) -> Refund:
    """Debit the client and write the intent; the same ``request_key`` gives the same refund.

    Raises:
        PaymentNotFound: no such top-up, or no such credited payment of it.
        InvalidAmount: not a positive number of whole tyiyn.
        MaximumAmountExceeded: more than is left of the payment.
        InsufficientBalance: the client has spent the money.
    """
    found = await repository.get_topup(conn, request.topup_id)
    if found is None:
        raise PaymentNotFound
    await accounts.lock_client(conn, found.client_id)
    topup = await repository.get_topup(conn, request.topup_id, lock=True)
    assert topup is not None
    if earlier := await repository.refund_by_request(conn, request.request_key):
        return earlier
    trans_id, paid, left = await _refundable(conn, topup, request.trans_id)
    amount = left if request.amount is None else request.amount
    if not amount.is_finite() or amount <= 0 or som(amount) != amount:
        raise InvalidAmount
    if amount > left:
        raise MaximumAmountExceeded(maximum_amount=number(left))
    now = deps.clock.now()
    refund = await repository.insert_refund(
        conn,
        {
            "id": new_id(),
            "topup_id": topup.id,
            "client_id": topup.client_id,
            "trans_id": trans_id,
            "amount": amount,
            "is_full": amount == paid,
            "request_key": request.request_key,
            "requested_by": request.requested_by,
            "reason": request.reason,
            "next_check_at": now + _LEASE,
            "now": now,
        },
    )
    await accounts.move(conn, _movement(refund, -amount, f"refund:{refund.id}"))
    return refund


async def _refundable(conn: Conn, topup: TopUp, wanted: str | None) -> tuple[str, Decimal, Decimal]:
    """Transaction id, paid amount and what is left of it, of the payment to refund."""
    credited = await repository.credited_amounts(conn, topup)
    refunds = await repository.refunds_of(conn, topup.id)
    for trans_id, paid in credited.items():
        if wanted in (None, trans_id):
            left = paid - sum((r.amount for r in refunds if r.trans_id == trans_id), Decimal(0))
            if left > 0 or wanted:
                return trans_id, paid, left
    raise PaymentNotFound


def _movement(refund: Refund, amount: Decimal, source_key: str) -> Movement:
    return Movement(
        client_id=refund.client_id,
        type=LedgerType.TOPUP_REFUND,
        amount=amount,
        source_key=source_key,
        topup_id=refund.topup_id,
        description=refund.reason,
        actor=refund.requested_by,
    )


async def _claim_sending(conn: Conn, refund_id: str, deps: PaymentDeps) -> bool:
    """Take the one right to send this refund."""
    refund = await repository.get_refund(conn, refund_id, lock=True)
    if refund is None or refund.state is not RefundState.DEBITED:
        return False
    lease = deps.clock.now() + _LEASE
    await repository.update_refund(conn, refund_id, {"state": RefundState.SENT, "next_check_at": lease})
    return True


async def _finish(
    conn: Conn, refund_id: str, outcome: Outcome[None], deps: PaymentDeps, *, by_hand: bool = False
) -> Refund:
    """Write an outcome, once: a refund that has ended is left as it is."""
    known = await repository.get_refund(conn, refund_id)
    if known is None:
        raise PaymentNotFound
    await accounts.lock_client(conn, known.client_id)
    topup = await repository.get_topup(conn, known.topup_id, lock=True)
    refund = await repository.get_refund(conn, refund_id, lock=True)
    assert topup is not None
    assert refund is not None
    if refund.state not in _OPEN:
        return refund
    if by_hand and refund.state is not RefundState.UNKNOWN:
        raise RefundUnderWay
    changes: dict[str, Any] = {"next_check_at": None}
    match outcome:
        case Done():
            changes |= {"state": RefundState.SUCCEEDED}
            total = topup.refunded_amount + refund.amount
            await repository.update_topup(conn, topup.id, {"refunded_amount": total})
        case Refused(code, text):
            changes |= {"state": RefundState.FAILED, "provider_code": code, "provider_message": text}
        case Unreachable(reason):
            changes |= {"state": RefundState.FAILED, "provider_message": reason}
        case Unknown(reason):
            retry = deps.clock.now() + _ASK_AGAIN
            changes = {"state": RefundState.UNKNOWN, "provider_message": reason, "next_check_at": retry}
    if changes.get("state") is RefundState.FAILED:
        await accounts.move(conn, _movement(refund, refund.amount, f"refund:{refund.id}:returned"))
    return await repository.update_refund(conn, refund_id, changes)


async def _send(deps: PaymentDeps, refund: Refund, claims: Claims | None) -> Refund | None:
    """Send a debited refund once; None when another worker has it."""
    if not await deps.db.run(lambda conn: _claim_sending(conn, refund.id, deps), claims=claims):
        return None
    topup = await deps.db.run(lambda conn: repository.get_topup(conn, refund.topup_id), claims=claims)
    assert topup is not None
    outcome = await deps.provider_of(topup).refund(refund.trans_id, refund.amount, full=refund.is_full)
    if not isinstance(outcome, Done):
        metrics.emit({"RefundsNotDone": 1}, Outcome=type(outcome).__name__)
        _log.error("refund not done", extra={"refund_id": refund.id, "outcome": repr(outcome)})
    return await deps.db.run(lambda conn: _finish(conn, refund.id, outcome, deps), claims=claims)


async def refund_topup(deps: PaymentDeps, request: RefundRequest, claims: Claims | None = None) -> Refund:
    """Refund (a part of) a credited payment. The returned state tells what is known; see the module's text.

    Raises:
        as :func:`begin_refund`.
    """
    refund = await deps.db.run(lambda conn: begin_refund(conn, request, deps), claims=claims)
    if refund.state is not RefundState.DEBITED:
        return refund
    return await _send(deps, refund, claims) or refund


async def resolve_refund(
    deps: PaymentDeps, refund_id: str, *, succeeded: bool, actor: str, claims: Claims | None = None
) -> Refund:
    """An operator's word on a refund of unknown outcome, after looking it up at the provider.

    Raises:
        PaymentNotFound: no such refund.
        RefundUnderWay: it is being sent at this moment, or was not sent yet.
    """
    outcome: Outcome[None] = Done(None) if succeeded else Refused("resolved", f"failed according to {actor}")
    _log.warning("refund resolved by hand", extra={"refund_id": refund_id, "succeeded": succeeded, "actor": actor})
    return await deps.db.run(lambda conn: _finish(conn, refund_id, outcome, deps, by_hand=True), claims=claims)


async def _ask(deps: PaymentDeps, refund: Refund) -> None:
    """Ask about a refund without a known outcome. Only a void shows: its payment is canceled."""
    topup = await deps.db.run(lambda conn: repository.get_topup(conn, refund.topup_id))
    assert topup is not None
    status = await deps.provider_of(topup).payment_status(topup.order_id, topup.invoice_id)
    outcome: Outcome[None] = Unknown("still unknown")
    if refund.is_full and isinstance(status, Done):
        states = {payment.trans_id: payment.state for payment in status.value.payments}
        if states.get(refund.trans_id) is PaymentState.CANCELED:
            outcome = Done(None)
    if isinstance(outcome, Unknown):
        metrics.emit({"RefundsUnknown": 1})
        _log.error("refund is still unknown", extra={"refund_id": refund.id, "order_id": topup.order_id})
    await deps.db.run(lambda conn: _finish(conn, refund.id, outcome, deps))


async def sweep_refunds(deps: PaymentDeps) -> dict[str, int]:
    """Send refunds whose sender died before the call, ask about those without an outcome."""
    now = deps.clock.now()
    due = await deps.db.run(lambda conn: repository.claim_due_refunds(conn, now, now + _LEASE, _BATCH))
    failures = await each_guarded(due, lambda refund: _take_further(deps, refund))
    return {"refunds": len(due), "refund_failures": failures}


async def _take_further(deps: PaymentDeps, refund: Refund) -> None:
    if refund.state is RefundState.DEBITED:
        await _send(deps, refund, None)
    else:
        await _ask(deps, refund)
