"""Dashboard, stations and sessions of the staff: D1-D7, L6 (mobile-api.md §7.2). A foreign station is not there."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import Query
from pydantic import Field

from evpower.admin import service as admin
from evpower.admin.models import SessionFilter, SessionRecord, Slice, StationChange, StationFilter, StationRecord
from evpower.db import Conn
from evpower.stations import service as stations
from evpower.stations.models import LocationView
from functions.api import presenters
from functions.api.deps import Deps
from functions.api.periods import PeriodBound, period
from functions.api.routing import ContextParam, DepsParam, Offset
from functions.api.schemas.admin import (
    AdminConnector,
    AdminSession,
    AdminStation,
    Period,
    RefreshedLocation,
    SessionAnswer,
    SessionNumbers,
    SessionsAnswer,
    SessionsData,
    StationAnswer,
    StationChangeAnswer,
    StationChangeBody,
    StationChangeData,
    StationNumbers,
    StationsAnswer,
    StationsData,
    StatsAnswer,
    StatsData,
    TodayNumbers,
)
from functions.api.schemas.base import IdIn
from functions.api.staff import Act, StaffCaller, StaffParam, staff_router
from functions.api.texts import sentence

routes = staff_router("/api/v1")

PageLimit = Annotated[int, Field(ge=1, le=500)]


# --- Dashboard ----------------------------------------------------------------------------------------------------


@routes.get("/admin/stats", response_model=StatsAnswer)
async def stats(
    staff: StaffParam, deps: DepsParam, period_days: Annotated[int, Query(ge=1, le=366)] = 1
) -> StatsAnswer:
    """D1: stations now, and the sessions of the period; with ``period_days=1`` of today."""
    now = deps.clock.now()
    found = await staff.run(lambda conn: admin.stats(conn, staff.scope, period_days, now))
    data = StatsData(
        stations=StationNumbers(
            total=found.stations, online=found.online, offline=found.stations - found.online, error=found.faulted
        ),
        sessions=SessionNumbers(active=found.active_sessions, today=found.sessions),
        today=TodayNumbers(energy_kwh=found.energy_kwh, revenue_som=found.revenue),
        period=Period(from_=found.since, to=found.until),
    )
    return StatsAnswer(data=data)


# --- Stations -----------------------------------------------------------------------------------------------------


def station_item(record: StationRecord) -> AdminStation:
    """A station as D2 and D3 show it."""
    return AdminStation(
        id=record.id,
        serial_number=record.serial_number,
        model=record.model,
        manufacturer=record.manufacturer,
        location_id=record.location_id,
        location_name=record.location_name,
        location_address=record.location_address,
        status=record.status,
        is_available=record.is_offered,
        power_capacity=record.power_capacity,
        price_per_kwh=record.price_per_kwh,
        session_fee=record.session_fee,
        currency=record.currency,
        connectors_count=record.connectors_count,
        connectors=[
            AdminConnector(
                id=str(connector.id),
                connector_number=connector.connector_number,
                connector_type=connector.connector_type,
                power_kw=connector.power_kw,
                status=connector.label,
                error_code=connector.error_code,
            )
            for connector in record.connectors
        ],
        last_heartbeat_at=record.last_heartbeat_at,
        firmware_version=record.firmware_version,
        created_at=record.created_at,
        updated_at=record.updated_at,
    )


@routes.get("/admin/stations", response_model=StationsAnswer)
async def list_stations(
    staff: StaffParam,
    deps: DepsParam,
    status: Literal["active", "inactive", "maintenance", "error"] | None = None,
    location_id: Annotated[IdIn | None, Query()] = None,
    is_online: bool | None = None,
    limit: Annotated[PageLimit, Query()] = 50,
    offset: Annotated[Offset, Query()] = 0,
) -> StationsAnswer:
    """D2: stations by serial number, hidden ones too. ``status=error``: those with a fault."""
    wanted = StationFilter(status, location_id, is_online)
    now = deps.clock.now()
    page = await staff.run(lambda conn: admin.station_page(conn, staff.scope, wanted, Slice(limit, offset), now))
    items = [station_item(record) for record in page.items]
    return StationsAnswer(data=StationsData(stations=items, total=page.total, limit=limit, offset=offset))


@routes.get("/admin/stations/{station_id}", response_model=StationAnswer)
async def station(station_id: IdIn, staff: StaffParam) -> StationAnswer:
    """D3: a station by id or serial number."""
    return StationAnswer(data=station_item(await staff.run(lambda conn: admin.station(conn, staff.scope, station_id))))


@routes.put("/admin/stations/{station_id}", response_model=StationChangeAnswer)
async def change_station(
    station_id: IdIn, body: StationChangeBody, staff: StaffParam, deps: DepsParam
) -> StationChangeAnswer:
    """D4: change what is sent. Running sessions keep their price."""
    change = StationChange(body.status, body.is_available, body.price_per_kwh, body.session_fee, body.register_factor)
    now = deps.clock.now()

    async def work(conn: Conn) -> tuple[StationRecord, Mapping[str, Any]]:
        if change.register_factor is not None:
            staff.require_manager()
        before, after = await admin.change_station(conn, staff.scope, station_id, change)
        if after.register_factor != before.register_factor:
            factors = {"before": before.register_factor, "after": after.register_factor, "actor": staff.member.id}
            await stations.add_event(conn, after.id, "register_factor_changed", now, payload=factors)
        return after, {"station_id": after.id, "changes": _changes(before, after)}

    after = await staff.act(Act("admin.station_change", details={"station_id": station_id}), work)
    await deps.publisher.stations_changed([after.id])
    return StationChangeAnswer(
        data=StationChangeData(
            id=after.id,
            status=after.status,
            is_available=after.is_offered,
            price_per_kwh=after.price_per_kwh,
            session_fee=after.session_fee,
            register_factor=after.register_factor,
        )
    )


_CHANGEABLE = ("status", "price_per_kwh", "session_fee", "register_factor")


def _changes(before: StationRecord, after: StationRecord) -> dict[str, list[str | None]]:
    """Old and new value of every member that changed."""
    pairs = {name: (getattr(before, name), getattr(after, name)) for name in _CHANGEABLE}
    return {
        name: [None if value is None else str(value) for value in pair]
        for name, pair in pairs.items()
        if pair[0] != pair[1]
    }


@routes.post("/locations/{location_id}/refresh-status", response_model=RefreshedLocation)
async def refresh_location(
    location_id: IdIn, staff: StaffParam, deps: DepsParam, context: ContextParam
) -> RefreshedLocation:
    """L6: the location's status now; the live stream sends it to everybody anew."""
    now = deps.clock.now()

    async def look(conn: Conn) -> tuple[list[str], LocationView]:
        found = await admin.stations_at(conn, staff.scope, location_id)
        return found, await stations.get_location(conn, location_id, now)

    ids, view = await staff.run(look)
    await deps.publisher.stations_changed(ids)
    return RefreshedLocation(
        message=sentence("location_refreshed", context.language),
        location=presenters.location_item(view, with_stations=True),
    )


# --- Sessions -----------------------------------------------------------------------------------------------------


async def _sessions(
    staff: StaffCaller, deps: DepsParam, wanted: SessionFilter, limit: int, offset: int
) -> SessionsAnswer:
    page = await staff.run(lambda conn: admin.session_page(conn, staff.scope, wanted, Slice(limit, offset)))
    items = [session_item(record, deps) for record in page.items]
    return SessionsAnswer(data=SessionsData(sessions=items, total=page.total, limit=limit, offset=offset))


def session_item(record: SessionRecord, deps: Deps) -> AdminSession:
    """A session as D5-D7 show it."""
    return AdminSession(
        id=record.id,
        station_id=record.station_id,
        station_name=record.station_name,
        location_name=record.location_name,
        location_address=record.location_address,
        client_id=record.client_id,
        client_email=record.client_email,
        client_phone=record.client_phone,
        status=record.status,
        energy_kwh=record.energy_kwh,
        amount_som=record.amount,
        duration_minutes=record.minutes(deps.clock.now()),
        limit_type=record.limit_type,
        limit_value=None if record.limit_type == "none" else record.limit_value,
        start_time=record.start_time,
        stop_time=record.stop_time,
        created_at=record.created_at,
    )


@routes.get("/admin/sessions", response_model=SessionsAnswer)
async def active_sessions(
    staff: StaffParam,
    deps: DepsParam,
    station_id: Annotated[IdIn | None, Query()] = None,
    needs_review: bool = False,
    limit: Annotated[PageLimit, Query()] = 50,
    offset: Annotated[Offset, Query()] = 0,
) -> SessionsAnswer:
    """D5: sessions that are going on, newest first. ``needs_review=true``: those that somebody must look at instead."""
    wanted = SessionFilter(station_id, None if needs_review else "started", needs_review=needs_review)
    return await _sessions(staff, deps, wanted, limit, offset)


@routes.get("/admin/sessions/history", response_model=SessionsAnswer)
async def session_history(
    staff: StaffParam,
    deps: DepsParam,
    station_id: Annotated[IdIn | None, Query()] = None,
    status: Literal["started", "stopped", "error"] | None = None,
    date_from: Annotated[PeriodBound | None, Query()] = None,
    date_to: Annotated[PeriodBound | None, Query()] = None,
    limit: Annotated[PageLimit, Query()] = 50,
    offset: Annotated[Offset, Query()] = 0,
) -> SessionsAnswer:
    """D6: all sessions, newest first. Days count whole, the last one included."""
    wanted = SessionFilter(
        station_id,
        status,
        *period(("date_from", "date_to"), date_from, date_to),
    )
    return await _sessions(staff, deps, wanted, limit, offset)


@routes.get("/admin/sessions/{session_id}", response_model=SessionAnswer)
async def session(session_id: IdIn, staff: StaffParam, deps: DepsParam) -> SessionAnswer:
    """D7: one session."""
    found = await staff.run(lambda conn: admin.session(conn, staff.scope, session_id))
    return SessionAnswer(data=session_item(found, deps))
