"""Paying a top-up by card or by a stored card: commit the intent, ask the bank, commit the outcome (payments.md §3).

The bank's answer never moves money: an approval in it makes us ask for the status, and that credits, once, by the
same way as every other payment. Card data passes through as arguments and is kept nowhere.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from evpower import metrics
from evpower.accounts import service as accounts
from evpower.config import Settings
from evpower.db import Claims, Conn
from evpower.errors import (
    EvPowerError,
    H2HPaymentFailed,
    PendingPaymentExists,
    ProviderTimeout,
    TokenCreationFailed,
    TokenPaymentFailed,
)
from evpower.ids import new_numeric_order_id
from evpower.logging import get_logger
from evpower.payments import repository, service
from evpower.payments.checks import check_topup
from evpower.payments.deps import PaymentDeps
from evpower.payments.flows import provider_failure
from evpower.payments.models import InvoiceState, NewTopUp, TopUp
from evpower.payments.provider import (
    CardChallenge,
    CardPayment,
    CardToken,
    Done,
    Outcome,
    PaymentState,
    Refused,
    TokenPayment,
    Unknown,
)
from evpower.payments.queue import CheckMessage
from evpower.payments.service import Intent

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class CardData:
    """What the payer typed in; ``repr`` shows none of it."""

    pan: str = field(repr=False)
    holder: str = field(repr=False)
    cvv: str = field(repr=False)
    year: str = field(repr=False)
    month: str = field(repr=False)
    phone: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class CardTopUp:
    """A card payment under way, or already credited; ``challenge`` is the payer's 3-D Secure step."""

    topup: TopUp
    challenge: CardChallenge
    current_balance: Decimal


async def pay_by_card(
    deps: PaymentDeps, wish: NewTopUp, email: str, card: CardData, claims: Claims | None = None
) -> CardTopUp:
    """Top up by a card.

    Raises:
        InvalidAmount, MinimumAmountRequired, MaximumAmountExceeded: the amount.
        ClientNotFound, ClientBlocked, ClientDeleted: the client.
        PendingPaymentExists: an earlier card payment of the client is still open.
        H2HPaymentFailed: the bank refused. H2HNotAvailable, H2HNotSupported: there are no card payments.
        ProviderUnavailable: nothing was sent.
        ProviderTimeout: unknown; the bank is asked until it is over, and a payment is credited.
    """

    async def ask(topup: TopUp) -> Outcome[CardChallenge]:
        payment = CardPayment(
            order_id=topup.order_id,
            amount=topup.requested_amount,
            description=topup.description or "",
            email=email,
            pan=card.pan,
            holder=card.holder,
            cvv=card.cvv,
            year=card.year,
            month=card.month,
            phone=card.phone,
        )
        return await deps.provider.create_card_payment(payment)

    return await _pay(deps, wish, ask, H2HPaymentFailed, claims)


async def pay_by_token(
    deps: PaymentDeps, wish: NewTopUp, email: str, token: str, claims: Claims | None = None
) -> CardTopUp:
    """Top up by a stored card; failures as :func:`pay_by_card`, with ``TokenPaymentFailed`` for a refusal."""

    async def ask(topup: TopUp) -> Outcome[CardChallenge]:
        payment = TokenPayment(topup.order_id, topup.requested_amount, topup.description or "", email, token)
        return await deps.provider.pay_by_token(payment)

    return await _pay(deps, wish, ask, TokenPaymentFailed, claims)


async def create_token(deps: PaymentDeps, days: int) -> CardToken:
    """The bank's page on which the payer stores a card; no money is involved.

    Raises:
        TokenCreationFailed: the bank refused. TokenNotAvailable, TokenNotSupported: there are no stored cards.
        ProviderUnavailable, ProviderTimeout: no answer.
    """
    outcome = await deps.provider.create_card_token(days)
    if isinstance(outcome, Done):
        return outcome.value
    _log.warning("no card token", extra={"outcome": repr(outcome)})
    raise _failure(outcome, TokenCreationFailed)


async def _pay(
    deps: PaymentDeps,
    wish: NewTopUp,
    ask: Callable[[TopUp], Awaitable[Outcome[CardChallenge]]],
    refusal: type[EvPowerError],
    claims: Claims | None,
) -> CardTopUp:
    now = deps.clock.now()
    intent = await deps.db.run(lambda conn: _begin(conn, wish, deps.provider.name, deps.settings, now), claims=claims)
    # Before the bank is asked: a process that dies while it waits has queued the question already.
    interval = timedelta(seconds=deps.settings.payment_check_interval_s)
    await deps.queue.send(CheckMessage(topup_id=intent.topup.id), interval)
    for topup_id in intent.superseded:
        await deps.queue.send(CheckMessage(topup_id=topup_id))
    outcome = await ask(intent.topup)
    after = deps.clock.now()
    topup = await deps.db.run(lambda conn: _finish(conn, intent.topup.id, outcome, after), claims=claims)
    if not isinstance(outcome, Done):
        metrics.emit({"CardPaymentsNotMade": 1}, Provider=deps.provider.name, Outcome=type(outcome).__name__)
        _log.warning("no card payment", extra={"order_id": topup.order_id, "outcome": repr(outcome)})
        if isinstance(outcome, Unknown):
            raise ProviderTimeout(order_id=topup.order_id)
        raise _failure(outcome, refusal)
    balance = intent.current_balance
    if outcome.value.state is PaymentState.APPROVED:
        checked, _ = await check_topup(deps, topup, claims)
        topup, balance = checked.topup, balance + checked.credited
    return CardTopUp(topup, outcome.value, balance)


async def _begin(conn: Conn, wish: NewTopUp, provider: str, settings: Settings, now: datetime) -> Intent:
    """The intent, unless a card of the client is being charged already.

    Use case: the payer taps twice. A second QR replaces the first, but a card would be charged twice.
    """
    client = await accounts.lock_client(conn, wish.client_id)
    for unpaid in await repository.lock_live_topups(conn, client.id):
        if unpaid.payment_provider == provider:
            raise PendingPaymentExists(order_id=unpaid.order_id)
    return await service.begin_topup(conn, wish, provider, settings, now, order_id=new_numeric_order_id())


async def _finish(conn: Conn, topup_id: int, outcome: Outcome[CardChallenge], now: datetime) -> TopUp:
    if isinstance(outcome, Done):
        return await repository.update_topup(conn, topup_id, {"invoice_state": InvoiceState.CREATED})
    return await service.finish_topup(conn, topup_id, outcome, now)


def _failure(outcome: Outcome[object], refusal: type[EvPowerError]) -> EvPowerError:
    if isinstance(outcome, Refused):
        return refusal(provider_code=outcome.code, provider_message=outcome.text)
    return provider_failure(outcome)
