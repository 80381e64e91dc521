"""The composite schedule of a charger: SC8. What it says it will do, beside what its profiles add up to."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

from fastapi import Query, Response

from evpower.admin import service as admin
from evpower.commands.models import Command, CommandStatus
from evpower.db import Conn
from evpower.smart_charging import service
from evpower.smart_charging.composite import differences
from evpower.smart_charging.models import RateUnit, Segment
from functions.api.asking import WaitIn, ask
from functions.api.routing import DepsParam
from functions.api.schemas.base import IdIn
from functions.api.schemas.charger_state import (
    CompositeAnswer,
    CompositeData,
    CompositeDifference,
    CompositePeriod,
    UnitIn,
)
from functions.api.staff import Act, StaffCaller, StaffParam, staff_router

routes = staff_router("/api/v1/admin/stations")

ConnectorIn = Annotated[int, Query(ge=0, le=100, description="0: the whole charger")]
ON_ITS_WAY: dict[int | str, dict[str, Any]] = {
    202: {"model": CompositeAnswer, "description": "The charger has not answered in time."}
}


def _segments(answer: Mapping[str, Any]) -> list[Segment]:
    periods = answer["chargingSchedule"]["chargingSchedulePeriod"]
    return [Segment(int(period["startPeriod"]), Decimal(str(period["limit"]))) for period in periods]


def _periods(segments: list[Segment]) -> list[CompositePeriod]:
    return [CompositePeriod(start_s=segment.start_s, limit=segment.limit) for segment in segments]


@routes.get(
    "/{station_id}/composite-schedule",
    response_model=CompositeAnswer,
    summary="Composite schedule",
    responses=ON_ITS_WAY,
)
async def composite_schedule(
    station_id: IdIn,
    staff: StaffParam,
    deps: DepsParam,
    response: Response,
    connector: ConnectorIn = 0,
    duration: Annotated[int, Query(ge=1, le=7 * 86400, description="seconds")] = 3600,
    unit: UnitIn | None = None,
    wait: WaitIn = 10,
) -> CompositeAnswer:
    """SC8: ask the charger what it will do, beside what its profiles add up to.

    200 with the charger's schedule, or with the word of its refusal in ``error``; 202 when it has not answered in time.
    """
    now = deps.clock.now()

    async def work(conn: Conn) -> tuple[Command, Mapping[str, Any]]:
        station = await admin.station(conn, staff.scope, station_id)
        command = await service.ask_composite(
            conn,
            station.id,
            connector_id=connector,
            seconds=duration,
            unit=None if unit is None else RateUnit(unit),
            requested_by=f"staff:{staff.member.id}",
            now=now,
        )
        return command, {"command_id": command.id}

    act = Act("admin.composite_schedule", details={"station_id": station_id, "connector": connector})
    command = await staff.act(act, work)
    ended = await ask(staff, deps, command, wait) or command
    response.status_code = 200 if ended.status.terminal else 202
    return CompositeAnswer(data=await _composite(staff, ended, connector, duration, unit, now))


async def _composite(
    staff: StaffCaller, ended: Command, connector: int, duration: int, unit: str | None, now: datetime
) -> CompositeData:
    """The charger's schedule, if it gave one, and the expected one for the same time and in the same unit."""
    answer = ended.response or {}
    told = None
    if ended.status is CommandStatus.ACCEPTED and "chargingSchedule" in answer:
        told = _segments(answer)
        unit = str(answer["chargingSchedule"]["chargingRateUnit"])
        now = datetime.fromisoformat(answer["scheduleStart"]) if "scheduleStart" in answer else now
        now = now if now.tzinfo is not None else ended.finished_at or ended.created_at
    chosen, start = RateUnit(unit or "W"), now
    expected = await staff.run(
        lambda conn: service.expectation(conn, ended.station_id, connector, start, duration, chosen)
    )
    found = [] if told is None else differences(expected, told)
    return CompositeData(
        command_id=ended.id,
        status=ended.status.value,
        error=ended.error or (None if told is not None else answer.get("status")),
        connector_id=connector,
        starts_at=start,
        duration_s=duration,
        unit=chosen.value,
        told=None if told is None else _periods(told),
        expected=_periods(expected),
        agrees=None if told is None else not found,
        differences=[CompositeDifference(start_s=d.start_s, expected=d.expected, told=d.told) for d in found],
    )
