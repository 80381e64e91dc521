"""Payments: status, check, cancel (mobile-api.md §4.6)."""

from typing import Annotated

from fastapi import Query

from evpower.db import Conn
from evpower.errors import PaymentNotFound, PaymentNotProcessing, ValidationFailed
from evpower.payments import flows
from evpower.payments import service as payments
from evpower.payments.models import TopUp, TopUpStatus
from evpower.payments.rules import payment_view
from functions.api.deps import Deps
from functions.api.routing import Caller, CallerParam, ContextParam, DepsParam, router
from functions.api.schemas.base import IdIn
from functions.api.schemas.payment import PaymentCanceled, PaymentChecked, PaymentSelector, PaymentStatusAnswer
from functions.api.texts import sentence

routes = router("/api/v1/payment", "payment")


def _answer(topup: TopUp, deps: Deps, language: str) -> PaymentStatusAnswer:
    view = payment_view(topup, deps.clock.now(), deps.settings, language)
    return PaymentStatusAnswer(
        status=int(view.status),
        status_text=view.status_text,
        amount=view.amount,
        paid_amount=view.paid_amount,
        order_id=view.order_id,
        invoice_id=view.invoice_id,
        can_proceed=view.can_proceed,
        can_start_charging=view.can_start_charging,
        qr_expired=view.qr_expired,
        invoice_expired=view.invoice_expired,
        qr_expires_at=view.qr_expires_at,
        invoice_expires_at=view.invoice_expires_at,
        last_status_check_at=view.last_status_check_at,
        needs_callback_check=view.needs_callback_check,
    )


async def find(caller: Caller, deps: Deps, invoice_id: str | None, order_id: str | None = None) -> TopUp:
    """The caller's own top-up.

    Raises:
        PaymentNotFound: unknown.
        Forbidden: another client's (row security hides it, so the question is asked once more without it).
    """

    async def look(conn: Conn) -> TopUp:
        return await payments.get_payment(conn, caller.client_id, invoice_id=invoice_id or "", order_id=order_id or "")

    try:
        return await caller.run_known(look)
    except PaymentNotFound:
        return await deps.database.run(look, claims=caller.wide_claims)


@routes.get("/status", response_model=PaymentStatusAnswer)
async def status_by_query(
    caller: CallerParam,
    deps: DepsParam,
    context: ContextParam,
    invoice_id: Annotated[IdIn | None, Query()] = None,
    order_id: Annotated[IdIn | None, Query()] = None,
) -> PaymentStatusAnswer:
    """Y3: the payment named by ``invoice_id`` or ``order_id``, as it is stored."""
    if not invoice_id and not order_id:
        raise ValidationFailed(field="invoice_id", fields=[{"field": "invoice_id", "problem": "missing"}])
    return _answer(await find(caller, deps, invoice_id, order_id), deps, context.language)


@routes.get("/status/{invoice_id}", response_model=PaymentStatusAnswer)
async def status(invoice_id: IdIn, caller: CallerParam, deps: DepsParam, context: ContextParam) -> PaymentStatusAnswer:
    """Y6: as Y3; the app polls it with the invoice id, or with the order id if its top-up answer had no other."""
    return _answer(await find(caller, deps, invoice_id), deps, context.language)


@routes.post("/check-status", response_model=PaymentStatusAnswer)
async def check_status(
    body: PaymentSelector, caller: CallerParam, deps: DepsParam, context: ContextParam
) -> PaymentStatusAnswer:
    """Y5: ask the provider now, credit what was paid, answer as Y3."""
    topup = await find(caller, deps, body.invoice_id, body.order_id)
    checked = await flows.check_payment(deps.payments, caller.client_id, order_id=topup.order_id, claims=caller.claims)
    return _answer(checked, deps, context.language)


@routes.post("/status-check/{invoice_id}", response_model=PaymentChecked)
async def status_check(invoice_id: IdIn, caller: CallerParam, deps: DepsParam, context: ContextParam) -> PaymentChecked:
    """Y7: ask the provider about a payment that is still in progress."""
    topup = await find(caller, deps, invoice_id)
    if topup.status is not TopUpStatus.PROCESSING:
        raise PaymentNotProcessing
    await flows.check_payment(deps.payments, caller.client_id, order_id=topup.order_id, claims=caller.claims)
    return PaymentChecked(message=sentence("payment_checked", context.language), invoice_id=invoice_id)


@routes.post("/cancel/{invoice_id}", response_model=PaymentCanceled)
async def cancel(invoice_id: IdIn, caller: CallerParam, deps: DepsParam, context: ContextParam) -> PaymentCanceled:
    """Y12: cancel an unpaid top-up; a payment that arrives nevertheless is still credited."""
    topup = await find(caller, deps, invoice_id)
    canceled = await flows.cancel_payment(
        deps.payments, caller.client_id, order_id=topup.order_id, claims=caller.claims
    )
    return PaymentCanceled(
        message=sentence("payment_canceled", context.language), invoice_id=invoice_id, status=canceled.status.value
    )
