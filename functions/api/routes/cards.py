"""Cards and stored cards: B2, B7, B8 (mobile-api.md §4.5), Y2, Y4, Y8-Y11 (§4.6).

While OBANK is off, all of them answer that first, whatever the body is.
"""

from fastapi import Depends

from evpower.errors import H2HNotAvailable, H2HNotSupported, TokenNotAvailable, TokenNotSupported, ValidationFailed
from evpower.payments import cards
from evpower.payments.cards import CardData, CardTopUp
from evpower.payments.models import NewTopUp, TopUp, TopUpStatus, WireStatus
from evpower.payments.rules import wire_status
from functions.api.deps import Deps
from functions.api.routes import payment
from functions.api.routing import Caller, CallerParam, ContextParam, DepsParam, router
from functions.api.schemas.base import IdIn
from functions.api.schemas.cards import (
    CardPaymentAnswer,
    CardPaymentBody,
    CardStatusAnswer,
    CardTokenAnswer,
    CreateTokenBody,
    TokenBody,
    TokenPaymentBody,
)
from functions.api.texts import sentence

routes = router("/api/v1", "cards")

_WORDS = {
    WireStatus.PROCESSING: "pending",
    WireStatus.APPROVED: "approved",
    WireStatus.CANCELED: "canceled",
    WireStatus.REFUNDED: "refunded",
    WireStatus.PARTIAL_REFUND: "refunded",
}


def cards_open(deps: DepsParam) -> None:
    """Refuse while there are no card payments: OBANK is off, or the selected provider has none."""
    if not deps.settings.obank_enabled:
        raise H2HNotAvailable
    if deps.settings.payment_provider != "OBANK":
        raise H2HNotSupported


def tokens_open(deps: DepsParam) -> None:
    """The same for stored cards."""
    if not deps.settings.obank_enabled:
        raise TokenNotAvailable
    if deps.settings.payment_provider != "OBANK":
        raise TokenNotSupported


CARDS_OPEN = [Depends(cards_open)]
TOKENS_OPEN = [Depends(tokens_open)]


def payment_word(topup: TopUp) -> str:
    """The state of a card payment in the words of these routes."""
    return _WORDS[wire_status(topup)]


def _answer(made: CardTopUp, language: str) -> CardPaymentAnswer:
    topup, challenge = made.topup, made.challenge
    if topup.status is TopUpStatus.APPROVED:
        text = "card_paid"
    else:
        text = "card_confirm" if challenge.acs_url else "card_processing"
    return CardPaymentAnswer(
        transaction_id=topup.order_id,
        auth_key=topup.order_id,
        order_id=topup.order_id,
        status=payment_word(topup),
        message=sentence(text, language),
        amount=topup.requested_amount,
        client_id=topup.client_id,
        current_balance=made.current_balance,
        acs_url=challenge.acs_url or None,
        md=challenge.md or None,
        pa_req=challenge.pa_req or None,
        term_url=challenge.term_url or None,
    )


@routes.post("/balance/topup-card", response_model=CardPaymentAnswer, dependencies=CARDS_OPEN)
@routes.post("/balance/h2h-payment", response_model=CardPaymentAnswer, dependencies=CARDS_OPEN)
@routes.post("/payment/h2h-create", response_model=CardPaymentAnswer, dependencies=CARDS_OPEN)
@routes.post("/payment/h2h-payment", response_model=CardPaymentAnswer, dependencies=CARDS_OPEN)
async def pay_by_card(
    body: CardPaymentBody, caller: CallerParam, deps: DepsParam, context: ContextParam
) -> CardPaymentAnswer:
    """B2, B7, Y2, Y8: top up by a card; the payer then confirms on the bank's page (``acs_url``)."""
    caller.require_self(body.client_id)
    wish = NewTopUp(caller.client_id, body.amount, body.description)
    card = CardData(
        pan=body.card_pan,
        holder=body.card_name,
        cvv=body.card_cvv,
        year=body.card_year,
        month=body.card_month,
        phone=body.phone_number or "",
    )
    made = await cards.pay_by_card(deps.payments, wish, body.email, card, caller.claims)
    return _answer(made, context.language)


async def charge_token(
    caller: Caller, deps: Deps, wish: NewTopUp, email: str, token: str, language: str
) -> CardPaymentAnswer:
    """Top up by a stored card."""
    made = await cards.pay_by_token(deps.payments, wish, email, token, caller.claims)
    return _answer(made, language)


@routes.post("/balance/token-payment", response_model=CardPaymentAnswer, dependencies=TOKENS_OPEN)
@routes.post("/payment/token-payment", response_model=CardPaymentAnswer, dependencies=TOKENS_OPEN)
async def pay_by_token(
    body: TokenPaymentBody, caller: CallerParam, deps: DepsParam, context: ContextParam
) -> CardPaymentAnswer:
    """B8, Y9: top up by a stored card."""
    caller.require_self(body.client_id)
    wish = NewTopUp(caller.client_id, body.amount, body.description)
    return await charge_token(caller, deps, wish, body.email, body.card_token, context.language)


async def new_token(caller: Caller, deps: Deps, days: int, language: str) -> CardTokenAnswer:
    """A page on which an active client stores a card."""
    await caller.run_active(_nothing_more)
    made = await cards.create_token(deps.payments, days)
    return CardTokenAnswer(
        token_url=made.token_url,
        token_expires_in_days=made.expires_in_days,
        message=sentence("card_token", language),
    )


async def _nothing_more(*_: object) -> None:
    return None


@routes.post("/payment/create-token", response_model=CardTokenAnswer, dependencies=TOKENS_OPEN)
async def create_token(
    caller: CallerParam, deps: DepsParam, context: ContextParam, body: CreateTokenBody | None = None
) -> CardTokenAnswer:
    """Y10: the address of the bank's page; ``days`` is how long the stored card may be used."""
    return await new_token(caller, deps, (body or CreateTokenBody()).days, context.language)


@routes.post("/payment/token", response_model=CardPaymentAnswer | CardTokenAnswer, dependencies=TOKENS_OPEN)
async def token(
    caller: CallerParam, deps: DepsParam, context: ContextParam, body: TokenBody | None = None
) -> CardPaymentAnswer | CardTokenAnswer:
    """Y4: a payment when ``card_token`` and ``amount`` are there, else as Y10."""
    asked = body or TokenBody()
    caller.require_self(asked.client_id)
    if asked.card_token is None or asked.amount is None:
        return await new_token(caller, deps, asked.days, context.language)
    if asked.email is None:
        raise ValidationFailed(field="email", fields=[{"field": "email", "problem": "missing"}])
    wish = NewTopUp(caller.client_id, asked.amount, asked.description)
    return await charge_token(caller, deps, wish, asked.email, asked.card_token, context.language)


@routes.get("/payment/h2h-status/{transaction_id}", response_model=CardStatusAnswer, dependencies=CARDS_OPEN)
async def card_status(transaction_id: IdIn, caller: CallerParam, deps: DepsParam) -> CardStatusAnswer:
    """Y11: a card payment as it is stored; the bank is asked in the background."""
    topup = await payment.find(caller, deps, transaction_id)
    return CardStatusAnswer(
        transaction_id=transaction_id,
        invoice_id=topup.invoice_id or topup.order_id,
        status=payment_word(topup),
        client_id=topup.client_id,
        amount=topup.requested_amount,
    )
