"""Sessions that need somebody to look at them: R1-R3. The list is D5 with ``needs_review=true``."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Header

from evpower.accounts.models import LedgerEntry
from evpower.admin import desk
from evpower.admin.desk_models import SessionReview
from evpower.charging.service import SessionAdjustment
from evpower.charging.staff_models import ReviewAct
from evpower.db import Conn
from evpower.ids import new_id
from functions.api.deps import Deps
from functions.api.routes.admin import session_item
from functions.api.routing import DepsParam
from functions.api.schemas.base import IdIn
from functions.api.schemas.desk import (
    ActItem,
    AdjustBody,
    AdjustedAnswer,
    AdjustedData,
    ClosedAnswer,
    ClosedData,
    LedgerItem,
    MeterItem,
    MoneyItem,
    NoteBody,
    ReadingsItem,
    ReviewAnswer,
    ReviewData,
    SettlementItem,
    TransactionItem,
)
from functions.api.staff import Act, ManagerParam, StaffParam, staff_router

routes = staff_router("/api/v1/admin/sessions/{session_id}/review")


def _act(act: ReviewAct) -> ActItem:
    return ActItem(**{name: getattr(act, name) for name in ActItem.model_fields})


def _review(found: SessionReview, deps: Deps) -> ReviewData:
    readings = found.readings
    return ReviewData(
        session=session_item(found.session, deps),
        needs_review=found.needs_review,
        reasons=list(found.reasons),
        start_source=found.start_source,
        id_tag=found.id_tag,
        stop_reason=found.stop_reason,
        stop_initiator=found.stop_initiator,
        energy_kwh=found.session.energy_kwh,
        meter=MeterItem(
            start=found.meter_start,
            current=found.meter_current,
            candidate=found.meter_candidate,
            energy_wh=found.energy_wh,
            readings=ReadingsItem(
                count=readings.count,
                flagged=readings.flagged,
                first_at=readings.first_at,
                last_at=readings.last_at,
                lowest_wh=readings.lowest_wh,
                highest_wh=readings.highest_wh,
                flags=list(readings.flags),
            ),
        ),
        money=MoneyItem(reserved=found.reserved, taken=found.taken, written_off=found.written_off),
        transactions=[TransactionItem(**row) for row in found.transactions],
        settlements=[SettlementItem(**row) for row in found.settlements],
        ledger=[LedgerItem(**row) for row in found.ledger],
        acts=[_act(act) for act in found.acts],
    )


@routes.get("", response_model=ReviewAnswer)
async def review(session_id: IdIn, staff: StaffParam, deps: DepsParam) -> ReviewAnswer:
    """R1: why the session wants a look, and all that explains its bill."""
    now = deps.clock.now()
    found = await staff.run(lambda conn: desk.review(conn, staff.scope, session_id, now))
    return ReviewAnswer(data=_review(found, deps))


@routes.post("/adjust", response_model=AdjustedAnswer)
async def adjust(
    session_id: IdIn,
    body: AdjustBody,
    staff: ManagerParam,
    deps: DepsParam,
    idempotency_key: Annotated[str | None, Header(alias="Idempotency-Key", max_length=255)] = None,
) -> AdjustedAnswer:
    """R2: correct what an ended session cost by a manual adjustment of the balance, once per Idempotency-Key."""
    now = deps.clock.now()
    wish = SessionAdjustment(session_id, body.amount, body.reason, staff.member.id, idempotency_key or new_id())

    async def work(conn: Conn) -> tuple[tuple[LedgerEntry, ReviewAct], Mapping[str, Any]]:
        entry, act = await desk.adjust_session(conn, staff.member, wish, now)
        told = {"ledger_id": entry.id, "client_id": entry.client_id, "repeated": not entry.created}
        return (entry, act), told

    details = {"session_id": session_id, "reason": body.reason}
    entry, act = await staff.act(Act("admin.session_adjust", amount=body.amount, details=details), work)
    return AdjustedAnswer(
        data=AdjustedData(
            session_id=session_id,
            client_id=entry.client_id,
            old_balance=entry.balance_before,
            new_balance=entry.balance_after,
            adjustment=entry.amount,
            act=_act(act),
        )
    )


@routes.post("/close", response_model=ClosedAnswer)
async def close(session_id: IdIn, body: NoteBody, staff: StaffParam, deps: DepsParam) -> ClosedAnswer:
    """R3: take the session off the list, with a note. New doubts put it there again."""
    now = deps.clock.now()

    async def work(conn: Conn) -> tuple[bool, Mapping[str, Any]]:
        act = await desk.close_review(conn, staff.member, session_id, body.note, now)
        return act is not None, {"closed": act is not None}

    details = {"session_id": session_id, "note": body.note}
    closed = await staff.act(Act("admin.review_close", details=details), work)
    return ClosedAnswer(data=ClosedData(session_id=session_id, needs_review=False, closed=closed))
