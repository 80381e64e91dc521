"""Messages of chargers that no transaction explains: Q1-Q4 (ocpp.md §3 StopTransaction)."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal

from fastapi import Path, Query

from evpower.admin import desk
from evpower.admin.desk_models import QuarantineDetail, QuarantineFilter
from evpower.admin.models import Slice
from evpower.charging.staff_models import AppliedStop, QuarantinedMessage, StopToApply
from evpower.db import Conn
from functions.api.periods import PeriodBound, period
from functions.api.routes.admin import PageLimit
from functions.api.routing import DepsParam, Offset
from functions.api.schemas.base import IdIn
from functions.api.schemas.desk import (
    AppliedAnswer,
    AppliedData,
    ApplyBody,
    CandidateItem,
    NoteBody,
    QuarantinedAnswer,
    QuarantinedData,
    QuarantinedDetail,
    QuarantinedItem,
    QuarantinedListAnswer,
    ResolvedAnswer,
)
from functions.api.staff import Act, ManagerParam, StaffParam, staff_router

routes = staff_router("/api/v1/admin/quarantined-messages")

MessageId = Annotated[int, Path(ge=1, lt=2**63)]


def _members(message: QuarantinedMessage) -> dict[str, Any]:
    return {name: getattr(message, name) for name in QuarantinedItem.model_fields}


@routes.get("", response_model=QuarantinedListAnswer)
async def list_messages(
    staff: StaffParam,
    station_id: Annotated[IdIn | None, Query()] = None,
    action: Literal["StopTransaction", "MeterValues"] | None = None,
    open: bool | None = None,
    date_from: Annotated[PeriodBound | None, Query()] = None,
    date_to: Annotated[PeriodBound | None, Query()] = None,
    limit: Annotated[PageLimit, Query()] = 50,
    offset: Annotated[Offset, Query()] = 0,
) -> QuarantinedListAnswer:
    """Q1: messages put aside, newest first. ``open=true``: those to decide on, or to look at again."""
    wanted = QuarantineFilter(
        station_id,
        action,
        open,
        *period(("date_from", "date_to"), date_from, date_to),
    )
    page = await staff.run(lambda conn: desk.quarantine_page(conn, staff.scope, wanted, Slice(limit, offset)))
    items = [QuarantinedItem(**_members(message)) for message in page.items]
    return QuarantinedListAnswer(data=QuarantinedData(messages=items, total=page.total, limit=limit, offset=offset))


@routes.get("/{message_id}", response_model=QuarantinedAnswer)
async def message(message_id: MessageId, staff: StaffParam) -> QuarantinedAnswer:
    """Q2: a message as it came, and the transactions that it may be about."""
    found: QuarantineDetail = await staff.run(lambda conn: desk.quarantined(conn, staff.scope, message_id))
    candidates = [
        CandidateItem(**{name: getattr(candidate, name) for name in CandidateItem.model_fields})
        for candidate in found.candidates
    ]
    detail = QuarantinedDetail(**_members(found.message), payload=found.message.payload, candidates=candidates)
    return QuarantinedAnswer(data=detail)


@routes.post("/{message_id}/dismiss", response_model=ResolvedAnswer)
async def dismiss(message_id: MessageId, body: NoteBody, staff: StaffParam, deps: DepsParam) -> ResolvedAnswer:
    """Q3: put the message away with a note. Again is no harm; one that was applied and came again stays applied."""
    now = deps.clock.now()

    async def work(conn: Conn) -> tuple[QuarantinedMessage, Mapping[str, Any]]:
        resolved = await desk.dismiss(conn, staff.member, message_id, body.note, now)
        return resolved, {"station_id": resolved.station_id}

    act = Act("admin.quarantine_dismiss", details={"message_id": message_id, "note": body.note})
    return ResolvedAnswer(data=QuarantinedItem(**_members(await staff.act(act, work))))


@routes.post("/{message_id}/apply", response_model=AppliedAnswer)
async def apply(message_id: MessageId, body: ApplyBody, staff: ManagerParam, deps: DepsParam) -> AppliedAnswer:
    """Q4: end the chosen transaction by this StopTransaction, and settle its session. Once; again is no harm."""
    now = deps.clock.now()
    wish = StopToApply(
        message_id=message_id,
        transaction_id=body.transaction_id,
        session_id=body.session_id,
        meter_stop_wh=None if body.meter_stop is None else Decimal(body.meter_stop),
        note=body.note,
        actor=staff.member.id,
    )

    async def work(conn: Conn) -> tuple[AppliedStop, Mapping[str, Any]]:
        applied = await desk.apply_stop(conn, staff.member, wish, now)
        return applied, {
            "station_id": applied.message.station_id,
            "transaction_id": applied.transaction_id,
            "session_id": applied.session_id,
            "repeated": applied.repeated,
        }

    act = Act("admin.quarantine_apply", details={"message_id": message_id, "note": body.note})
    applied = await staff.act(act, work)
    await deps.publisher.stations_changed([applied.message.station_id])
    return AppliedAnswer(
        data=AppliedData(
            message=QuarantinedItem(**_members(applied.message)),
            transaction_id=applied.transaction_id,
            session_id=applied.session_id,
            settlement_revision=applied.settlement_revision,
            final_amount_som=applied.final_amount,
            repeated=applied.repeated,
        )
    )
