"""Clients, for admins and superadmins: D8-D11 (mobile-api.md §7.2)."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from fastapi import Header, Query

from evpower.accounts import adjustment
from evpower.accounts.adjustment import Adjustment
from evpower.accounts.models import LedgerEntry
from evpower.admin import clients
from evpower.admin.failures import OwnAccount
from evpower.admin.models import ClientRecord, SessionRecord, Slice
from evpower.db import Conn
from evpower.ids import new_id
from functions.api.routes.admin import PageLimit
from functions.api.routing import Offset
from functions.api.schemas.admin import (
    AdminClient,
    BalanceBody,
    BalanceChangeAnswer,
    BalanceData,
    ClientAnswer,
    ClientsAnswer,
    ClientsData,
    RecentSession,
    SearchIn,
    StatusAnswer,
    StatusData,
)
from functions.api.schemas.base import IdIn
from functions.api.staff import Act, ManagerParam, staff_router

routes = staff_router("/api/v1/admin/clients")

ClientWord = Literal["active", "blocked"]


def _client(record: ClientRecord, recent: Sequence[SessionRecord] | None = None) -> AdminClient:
    sessions = None
    if recent is not None:
        sessions = [
            RecentSession(
                id=session.id,
                station_id=session.station_id,
                status=session.status,
                energy_kwh=session.energy_kwh,
                amount_som=session.amount,
                start_time=session.start_time,
                stop_time=session.stop_time,
            )
            for session in recent
        ]
    return AdminClient(
        id=record.id,
        name=record.name,
        email=record.email,
        phone=record.phone,
        balance=record.balance,
        status=clients.shown_status(record.status),
        sessions_count=record.sessions_count,
        total_energy_kwh=record.total_energy_kwh,
        total_spent_som=record.total_spent,
        created_at=record.created_at,
        updated_at=record.updated_at,
        anonymized=record.anonymized,
        recent_sessions=sessions,
    )


@routes.get("", response_model=ClientsAnswer)
async def list_clients(
    staff: ManagerParam,
    search: Annotated[SearchIn | None, Query()] = None,
    status: ClientWord | None = None,
    limit: Annotated[PageLimit, Query()] = 50,
    offset: Annotated[Offset, Query()] = 0,
) -> ClientsAnswer:
    """D8: clients, newest first. ``search``: a part of name, e-mail or phone, or the id."""
    part = Slice(limit, offset)
    page = await staff.run(lambda conn: clients.page(conn, staff.scope, search or None, status, part))
    items = [_client(record) for record in page.items]
    return ClientsAnswer(data=ClientsData(clients=items, total=page.total, limit=limit, offset=offset))


@routes.get("/{client_id}", response_model=ClientAnswer)
async def client(client_id: IdIn, staff: ManagerParam) -> ClientAnswer:
    """D9: one client with its latest sessions."""
    record, recent = await staff.run(lambda conn: clients.find(conn, staff.scope, client_id))
    return ClientAnswer(data=_client(record, recent))


@routes.put("/{client_id}/balance", response_model=BalanceChangeAnswer)
async def change_balance(
    client_id: IdIn,
    body: BalanceBody,
    staff: ManagerParam,
    idempotency_key: Annotated[str | None, Header(alias="Idempotency-Key", max_length=255)] = None,
) -> BalanceChangeAnswer:
    """D10: add (or with a minus take) som, once per Idempotency-Key; never below zero."""
    wish = Adjustment(
        client_id=client_id,
        amount=body.amount,
        reason=body.reason,
        actor=staff.member.id,
        key=idempotency_key or new_id(),
    )

    async def work(conn: Conn) -> tuple[LedgerEntry, Mapping[str, Any]]:
        if client_id == staff.member.id:  # who gives money gives it to others
            raise OwnAccount("it is your own account: ask somebody else")
        entry = await adjustment.adjust(conn, wish)
        return entry, {"ledger_id": entry.id, "repeated": not entry.created}

    act = Act("admin.balance_adjust", client_id, body.amount, {"reason": body.reason})
    entry = await staff.act(act, work)
    return BalanceChangeAnswer(
        data=BalanceData(
            client_id=entry.client_id,
            old_balance=entry.balance_before,
            new_balance=entry.balance_after,
            adjustment=entry.amount,
            reason=body.reason,
        )
    )


@routes.put("/{client_id}/status", response_model=StatusAnswer)
async def change_status(
    client_id: IdIn,
    status: Annotated[ClientWord, Query(description="in the query; the route reads no body")],
    staff: ManagerParam,
) -> StatusAnswer:
    """D11: block or unblock. A block ends all logins; a running session goes on and can be stopped."""

    async def work(conn: Conn) -> tuple[tuple[str, str], Mapping[str, Any]]:
        old, new = await clients.set_status(conn, staff.member, client_id, status)
        return (old, new), {"old_status": old}

    old, new = await staff.act(Act("admin.client_status", client_id, details={"status": status}), work)
    return StatusAnswer(data=StatusData(client_id=client_id, old_status=old, new_status=new))
