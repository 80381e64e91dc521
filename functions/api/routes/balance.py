"""Balance and top-ups: B1-B5 (mobile-api.md §4.5)."""

from typing import Annotated

from fastapi import Query

from evpower.balance import service as balance
from evpower.balance.models import Balance
from evpower.payments import flows
from evpower.payments.models import NewTopUp
from functions.api.routing import Caller, CallerParam, DepsParam, Limit, Offset, router
from functions.api.schemas.balance import BalanceAnswer, MoneyHistory, MoneyHistoryItem, TopUpAnswer, TopUpBody
from functions.api.schemas.base import IdIn

routes = router("/api/v1/balance", "balance")


@routes.post("/topup-qr", response_model=TopUpAnswer)
async def topup_qr(body: TopUpBody, caller: CallerParam, deps: DepsParam) -> TopUpAnswer:
    """B1: a payable QR invoice for 5 minutes; an earlier unpaid one is superseded."""
    caller.require_self(body.client_id)
    wish = NewTopUp(caller.client_id, body.amount, body.description)
    created = await flows.create_topup(deps.payments, wish, caller.claims)
    topup = created.topup
    return TopUpAnswer(
        invoice_id=topup.invoice_id,
        order_id=topup.order_id,
        # The app takes `qr_code` for a picture when there is no URL, and would show a broken one.
        qr_code=topup.qr_code if topup.qr_code_url else None,
        qr_code_url=topup.qr_code_url,
        app_link=topup.app_link,
        amount=topup.requested_amount,
        client_id=topup.client_id,
        current_balance=created.current_balance,
        qr_expires_at=topup.qr_expires_at,
        invoice_expires_at=topup.invoice_expires_at,
        qr_lifetime_seconds=created.qr_lifetime_s,
        invoice_lifetime_seconds=created.invoice_lifetime_s,
    )


async def _current(caller: Caller) -> BalanceAnswer:
    found: Balance = await caller.run_active(lambda conn, client: balance.current(conn, client.id))
    return BalanceAnswer(
        client_id=found.client_id,
        balance=found.balance,
        current_balance=found.balance,
        currency=found.currency,
        last_topup_at=found.last_topup_at,
        total_spent=found.total_spent,
    )


@routes.get("/current", response_model=BalanceAnswer)
async def current(caller: CallerParam) -> BalanceAnswer:
    """B3: the caller's balance."""
    return await _current(caller)


@routes.get("/history", response_model=MoneyHistory)
async def history(
    caller: CallerParam, limit: Annotated[Limit, Query()] = 50, offset: Annotated[Offset, Query()] = 0
) -> MoneyHistory:
    """B4: every movement of the caller's money, newest first."""
    page = await caller.run_active(lambda conn, client: balance.history(conn, client.id, limit=limit, offset=offset))
    items = [
        MoneyHistoryItem(
            id=item.id,
            transaction_type=item.transaction_type,
            amount=item.amount,
            requested_amount=item.requested_amount,
            balance_before=item.balance_before,
            balance_after=item.balance_after,
            created_at=item.created_at,
            completed_at=item.completed_at,
            status=item.status,
            payment_method=item.payment_method,
            invoice_id=item.invoice_id,
        )
        for item in page.items
    ]
    return MoneyHistory(data=items, total=page.total, limit=page.limit, offset=page.offset)


@routes.get("/{client_id}", response_model=BalanceAnswer)
async def current_by_id(client_id: IdIn, caller: CallerParam) -> BalanceAnswer:
    """B5: as B3; the id must be the caller's own."""
    caller.require_self(client_id)
    return await _current(caller)
