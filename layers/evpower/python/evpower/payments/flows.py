"""The top-up flows of the routes, in steps: commit the intent, call the provider, commit the outcome.

Each flow opens its own short transactions on ``deps.db`` with the caller's ``claims``; no transaction is held over
the provider call. A crash between two steps leaves a row that the checks (checks.py) take further.
"""

from datetime import timedelta

from evpower import metrics
from evpower.db import Claims
from evpower.errors import (
    EvPowerError,
    PaymentNotCancellable,
    ProviderError,
    ProviderTimeout,
    ProviderUnavailable,
)
from evpower.logging import get_logger
from evpower.payments import service
from evpower.payments.checks import check_topup, send_cancel
from evpower.payments.deps import PaymentDeps
from evpower.payments.models import CreatedTopUp, NewTopUp, TopUp, TopUpStatus
from evpower.payments.provider import Done, InvoiceRequest, Outcome, Refused, Unreachable
from evpower.payments.queue import CheckMessage

_log = get_logger(__name__)


def provider_failure(outcome: Outcome[object]) -> EvPowerError:
    """The client's error for an outcome that is not :class:`Done`."""
    if isinstance(outcome, Refused):
        return ProviderError(provider_code=outcome.code, provider_message=outcome.text)
    if isinstance(outcome, Unreachable):
        return ProviderUnavailable()
    return ProviderTimeout()


async def create_topup(deps: PaymentDeps, wish: NewTopUp, claims: Claims | None = None) -> CreatedTopUp:
    """Make a payable invoice; the client's earlier unpaid one is superseded.

    Raises:
        InvalidAmount, MinimumAmountRequired, MaximumAmountExceeded: the amount.
        ClientNotFound, ClientBlocked, ClientDeleted: the client.
        ProviderError, ProviderUnavailable: no invoice was made.
        ProviderTimeout: unknown; the order is asked about until it is over, and a payment of it is credited.
    """
    now = deps.clock.now()
    intent = await deps.db.run(
        lambda conn: service.begin_topup(conn, wish, deps.provider.name, deps.settings, now), claims=claims
    )
    # Before the provider is asked: a process that dies while it waits has queued the question already.
    interval = timedelta(seconds=deps.settings.payment_check_interval_s)
    await deps.queue.send(CheckMessage(topup_id=intent.topup.id), interval)
    for topup_id in intent.superseded:
        await deps.queue.send(CheckMessage(topup_id=topup_id))
    assert intent.topup.invoice_expires_at is not None
    request = InvoiceRequest(
        order_id=intent.topup.order_id,
        amount=intent.topup.requested_amount,
        description=intent.topup.description or f"EvPower {intent.topup.order_id}",
        expires_at=intent.topup.invoice_expires_at,
    )
    outcome = await deps.provider.create_invoice(request)
    after = deps.clock.now()
    topup = await deps.db.run(lambda conn: service.finish_topup(conn, intent.topup.id, outcome, after), claims=claims)
    if not isinstance(outcome, Done):
        metrics.emit({"InvoicesNotCreated": 1}, Provider=deps.provider.name, Outcome=type(outcome).__name__)
        _log.warning("no invoice", extra={"order_id": topup.order_id, "outcome": repr(outcome)})
        raise provider_failure(outcome)
    metrics.emit({"InvoicesCreated": 1}, Provider=deps.provider.name)
    lifetime = deps.settings.invoice_lifetime_s
    return CreatedTopUp(topup, intent.current_balance, qr_lifetime_s=lifetime, invoice_lifetime_s=lifetime)


async def get_payment(
    deps: PaymentDeps, client_id: str, *, invoice_id: str = "", order_id: str = "", claims: Claims | None = None
) -> TopUp:
    """The client's top-up as it is stored; a read never asks the provider and never changes anything.

    Raises:
        PaymentNotFound, Forbidden.
    """
    return await deps.db.run(
        lambda conn: service.get_payment(conn, client_id, invoice_id=invoice_id, order_id=order_id), claims=claims
    )


async def check_payment(
    deps: PaymentDeps, client_id: str, *, invoice_id: str = "", order_id: str = "", claims: Claims | None = None
) -> TopUp:
    """Ask the provider now, credit what was paid, and return the top-up after it.

    Raises:
        PaymentNotFound, Forbidden.
        ProviderError, ProviderUnavailable, ProviderTimeout: the provider did not tell.
    """
    topup = await get_payment(deps, client_id, invoice_id=invoice_id, order_id=order_id, claims=claims)
    if topup.status is TopUpStatus.APPROVED:
        return topup
    checked, outcome = await check_topup(deps, topup, claims)
    if not checked.answered:
        raise provider_failure(outcome)
    return checked.topup


async def cancel_payment(
    deps: PaymentDeps, client_id: str, *, invoice_id: str = "", order_id: str = "", claims: Claims | None = None
) -> TopUp:
    """Cancel an unpaid top-up: at once on our side, then at the provider; without its answer the worker repeats that.

    Raises:
        PaymentNotFound, Forbidden.
        PaymentNotCancellable: it is over, or the provider says that it is paid (then it is credited).
    """
    topup = await get_payment(deps, client_id, invoice_id=invoice_id, order_id=order_id, claims=claims)
    now = deps.clock.now()
    canceled = await deps.db.run(lambda conn: service.begin_cancel(conn, topup, now), claims=claims)
    await deps.queue.send(CheckMessage(topup_id=canceled.id), timedelta(seconds=deps.settings.payment_check_interval_s))
    if canceled.invoice_id and await send_cancel(deps, canceled, canceled.invoice_id, claims):
        await check_topup(deps, canceled, claims)
        raise PaymentNotCancellable
    return await get_payment(deps, client_id, order_id=canceled.order_id, claims=claims)
