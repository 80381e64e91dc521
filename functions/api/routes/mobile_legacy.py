"""The routes of the earlier mobile client below ``/api`` (mobile-api.md §4.10, G1-G17): names for what v1 does.

Only the differences have code here. ``error`` carries the machine code (§0.1), which the envelope sees to. G7, the
webhook, is a function of its own.
"""

from decimal import Decimal
from typing import Annotated

from fastapi import Query

from evpower.errors import CannotCancel, InsufficientBalance, PaymentCompleted, PaymentExpired, PaymentNotCancellable
from evpower.payments.models import NewTopUp, TopUpStatus
from functions.api.routes import balance, cards, charging, payment, station
from functions.api.routing import CallerParam, ContextParam, DepsParam, router
from functions.api.schemas.balance import BalanceAnswer, TopUpAnswer
from functions.api.schemas.base import IdIn
from functions.api.schemas.cards import CardPaymentAnswer, CardToken, CardTokenAnswer, CreateTokenBody
from functions.api.schemas.charging import FlatSessionAnswer, LegacyStartAnswer, StopAnswer
from functions.api.schemas.mobile_legacy import (
    CardStep,
    LegacyCardPayment,
    LegacyCardPaymentBody,
    LegacyCardStatus,
    LegacyPaymentCanceled,
    LegacyPaymentChecked,
    LegacyStartBody,
    LegacyTokenPaymentBody,
    LegacyTopUpBody,
)
from functions.api.schemas.payment import PaymentStatusAnswer
from functions.api.schemas.station import LegacyStationStatus

routes = router("/api", "legacy")

# Another path, and at most members of the answer left out. G2, G3, G4, G5, G8.
routes.add_api_route("/charging/stop", charging.stop, methods=["POST"], response_model=StopAnswer)
routes.add_api_route("/charging/status/{session_id}", charging.status, response_model=FlatSessionAnswer)
routes.add_api_route("/station/status/{station_id}", station.status, response_model=LegacyStationStatus)
routes.add_api_route("/payment/status/{invoice_id}", payment.status, response_model=PaymentStatusAnswer)
routes.add_api_route("/balance/{client_id}", balance.current_by_id, response_model=BalanceAnswer)


@routes.post("/charging/start", response_model=LegacyStartAnswer)
async def start(
    body: LegacyStartBody, caller: CallerParam, deps: DepsParam, context: ContextParam
) -> LegacyStartAnswer:
    """G1: as C1, for the named client; too little money tells how much is missing."""
    try:
        return await charging.start(body, caller, deps, context)
    except InsufficientBalance as error:
        required, current = error.details.get("required_amount"), error.details.get("current_balance")
        if required is not None and current is not None:
            error.details["missing_amount"] = round(max(0, required - current), 2)
        raise


@routes.post("/balance/topup-qr", response_model=TopUpAnswer)
async def topup_qr(body: LegacyTopUpBody, caller: CallerParam, deps: DepsParam) -> TopUpAnswer:
    """G9: as B1, for the named client."""
    return await balance.topup_qr(body, caller, deps)


@routes.post("/payment/status-check/{invoice_id}", response_model=LegacyPaymentChecked)
async def status_check(
    invoice_id: IdIn, caller: CallerParam, deps: DepsParam, context: ContextParam
) -> LegacyPaymentChecked:
    """G6: as Y7; a payment that has ended is told apart as paid or expired."""
    topup = await payment.find(caller, deps, invoice_id)
    if topup.status is TopUpStatus.APPROVED:
        raise PaymentCompleted(current_status=topup.status.value)
    if topup.status is not TopUpStatus.PROCESSING:
        raise PaymentExpired(current_status=topup.status.value)
    checked = await payment.status_check(invoice_id, caller, deps, context)
    return LegacyPaymentChecked(message=checked.message, invoice_id=checked.invoice_id)


@routes.post("/payment/cancel/{invoice_id}", response_model=LegacyPaymentCanceled)
async def cancel(
    invoice_id: IdIn, caller: CallerParam, deps: DepsParam, context: ContextParam
) -> LegacyPaymentCanceled:
    """G17: as Y12, with the payment around it."""
    topup = await payment.find(caller, deps, invoice_id)
    try:
        canceled = await payment.cancel(invoice_id, caller, deps, context)
    except PaymentNotCancellable as error:
        raise CannotCancel(current_status=(await payment.find(caller, deps, invoice_id)).status.value) from error
    return LegacyPaymentCanceled(
        message=canceled.message,
        invoice_id=canceled.invoice_id,
        status=canceled.status,
        client_id=topup.client_id,
        amount=topup.requested_amount,
        previous_status=topup.status.value,
        new_status=canceled.status,
        provider=topup.payment_provider,
    )


# --- Cards --------------------------------------------------------------------------------------------------------


@routes.post("/balance/topup-card", response_model=CardPaymentAnswer, dependencies=cards.CARDS_OPEN)
@routes.post("/balance/h2h-payment", response_model=CardPaymentAnswer, dependencies=cards.CARDS_OPEN)
async def pay_by_card(
    body: LegacyCardPaymentBody, caller: CallerParam, deps: DepsParam, context: ContextParam
) -> CardPaymentAnswer:
    """G10, G11: as B2, for the named client."""
    return await cards.pay_by_card(body, caller, deps, context)


@routes.post("/payment/h2h-payment", response_model=LegacyCardPayment, dependencies=cards.CARDS_OPEN)
async def pay_by_card_in_detail(
    body: LegacyCardPaymentBody, caller: CallerParam, deps: DepsParam, context: ContextParam
) -> LegacyCardPayment:
    """G14: as Y8, with the bank's step in ``detail``."""
    made = await cards.pay_by_card(body, caller, deps, context)
    step = CardStep(amount=made.amount, acs_url=made.acs_url, md=made.md, pa_req=made.pa_req, term_url=made.term_url)
    members = {name: getattr(made, name) for name in CardPaymentAnswer.model_fields}
    return LegacyCardPayment(**members, payment_id=made.order_id, final=made.status != "pending", detail=step)


@routes.get("/payment/h2h-status/{transaction_id}", response_model=LegacyCardStatus, dependencies=cards.CARDS_OPEN)
async def card_status(transaction_id: IdIn, caller: CallerParam, deps: DepsParam) -> LegacyCardStatus:
    """G16: as Y11, with ``detail``."""
    found = await cards.card_status(transaction_id, caller, deps)
    return LegacyCardStatus(
        transaction_id=found.transaction_id,
        invoice_id=found.invoice_id,
        status=found.status,
        client_id=found.client_id,
        amount=found.amount,
        payment_id=found.invoice_id,
        final=found.status != "pending",
        detail=CardStep(amount=found.amount),
    )


@routes.post("/balance/token-payment", response_model=CardPaymentAnswer, dependencies=cards.TOKENS_OPEN)
async def pay_by_token(
    body: LegacyTokenPaymentBody, caller: CallerParam, deps: DepsParam, context: ContextParam
) -> CardPaymentAnswer:
    """G12: as B8, for the named client."""
    return await cards.pay_by_token(body, caller, deps, context)


@routes.post("/payment/token-payment", response_model=CardPaymentAnswer, dependencies=cards.TOKENS_OPEN)
async def pay_by_token_of_the_query(
    caller: CallerParam,
    deps: DepsParam,
    context: ContextParam,
    client_id: Annotated[IdIn, Query()],
    amount: Annotated[Decimal, Query()],
    card_token: Annotated[CardToken, Query()],
) -> CardPaymentAnswer:
    """G15: as Y9, with its arguments in the query string."""
    caller.require_self(client_id)
    wish = NewTopUp(caller.client_id, amount)
    return await cards.charge_token(caller, deps, wish, "", card_token, context.language)


@routes.post("/payment/create-token", response_model=CardTokenAnswer, dependencies=cards.TOKENS_OPEN)
async def create_token(
    caller: CallerParam,
    deps: DepsParam,
    context: ContextParam,
    body: CreateTokenBody | None = None,
    days: Annotated[int | None, Query(ge=1, le=14)] = None,
) -> CardTokenAnswer:
    """G13: as Y10; ``days`` in the body, or in the query."""
    asked = body.days if body is not None and "days" in body.model_fields_set else days
    return await cards.new_token(caller, deps, asked or CreateTokenBody().days, context.language)
