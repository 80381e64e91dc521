"""One station in full, for operators: connection, boot, connectors, configuration, events, commands, jobs."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import Query
from pydantic import Field

from evpower.admin import service as admin
from evpower.admin.models import StationRecord
from evpower.charging.models import Session
from evpower.charging.service.by_operator import live_sessions
from evpower.commands import service as commands
from evpower.commands.models import Command, CommandFilter
from evpower.db import Conn
from evpower.jobs import service as jobs
from evpower.jobs.models import Job, JobFilter
from evpower.message_log import service as message_log
from evpower.message_log.models import Entry
from evpower.stations import inspection
from evpower.stations import service as stations
from evpower.stations.inspected import (
    ConfigurationKey,
    ConnectionState,
    ConnectorState,
    EventFilter,
    StationEvent,
)
from functions.api import cursor as cursors
from functions.api.cursor import CursorIn
from functions.api.periods import PeriodBound, period
from functions.api.routes.admin import station_item
from functions.api.routes.admin_commands import command_view
from functions.api.routes.admin_jobs import job_view
from functions.api.routes.admin_messages import message_view
from functions.api.routing import DepsParam, Limit
from functions.api.schemas.admin_station import (
    BootView,
    ConfigurationAnswer,
    ConfigurationData,
    ConfigurationView,
    ConnectionView,
    ConnectorView,
    EventsAnswer,
    EventsData,
    EventView,
    LiveSession,
    SeverityWord,
    StationDetail,
    StationDetailAnswer,
)
from functions.api.schemas.base import IdIn
from functions.api.schemas.patterns import asks_for
from functions.api.staff import StaffParam, staff_router

routes = staff_router("/api/v1/admin/stations")

_NEWEST = 20
_MOST_KEYS = 300
EventTypeIn = Annotated[
    str,
    Field(
        min_length=1,
        max_length=60,
        pattern=asks_for(r"^[A-Za-z0-9_.-]+$", "letters, digits, dots, dashes and underscores"),
    ),
]
ConnectorNumber = Annotated[int, Field(ge=0, le=100)]


@dataclass(frozen=True, slots=True)
class _Seen:
    """All rows of a station's detail, read in one transaction."""

    station: StationRecord
    connection: ConnectionState
    online: bool
    connectors: list[ConnectorState]
    sessions: list[Session]
    keys: list[ConfigurationKey]
    read_at: datetime | None
    events: list[StationEvent]
    commands: list[Command]
    jobs: list[Job]
    messages: tuple[Entry, ...]


@routes.get("/{station_id}/detail", response_model=StationDetailAnswer, summary="A station in full")
async def detail(station_id: IdIn, staff: StaffParam, deps: DepsParam) -> StationDetailAnswer:
    """Everything that an operator looks for first. The lists have routes of their own with more of them."""
    now = deps.clock.now()

    async def look(conn: Conn) -> _Seen:
        record = await admin.station(conn, staff.scope, station_id)
        row = await stations.resolve(conn, record.id)
        return _Seen(
            station=record,
            connection=await inspection.connection(conn, record.id),
            online=row is not None and stations.is_online(row, now),
            connectors=await inspection.connectors(conn, record.id),
            sessions=await live_sessions(conn, record.id),
            keys=await inspection.configuration(conn, record.id, None, _MOST_KEYS + 1),
            read_at=await inspection.configuration_read_at(conn, record.id),
            events=await inspection.events(conn, record.id, EventFilter(), None, _NEWEST),
            commands=await commands.page(conn, record.id, CommandFilter(), _NEWEST),
            jobs=await jobs.page(conn, record.id, JobFilter(is_open=True), now, _NEWEST),
            messages=await message_log.latest(conn, record.id, _NEWEST),
        )

    seen = await staff.run(look)
    return StationDetailAnswer(data=_detail(seen, now))


def _detail(seen: _Seen, now: datetime) -> StationDetail:
    held = {session.connector_id: session for session in seen.sessions}
    return StationDetail(
        station=station_item(seen.station),
        ocpp_status=seen.connection.ocpp_status,
        error_code=seen.connection.error_code,
        connection=_connection(seen.connection, online=seen.online),
        boot=_boot(seen.connection),
        connectors=[_connector(item, held.get(item.connector_number)) for item in seen.connectors],
        configuration=_keys(seen.keys, seen.read_at, _MOST_KEYS),
        events=[_event(item) for item in seen.events],
        commands=[command_view(item) for item in seen.commands],
        jobs=[job_view(item, now) for item in seen.jobs],
        messages=[message_view(item) for item in seen.messages],
    )


def _connection(state: ConnectionState, *, online: bool) -> ConnectionView:
    return ConnectionView(
        connected=state.connected_instance is not None,
        online=online,
        connected_since=state.connected_at,
        instance=state.connected_instance,
        epoch=state.connection_epoch,
        protocol=state.ocpp_protocol,
        last_seen_at=state.last_heartbeat_at,
        registration_status=state.registration_status,
        security_profile=state.security_profile,
        security=state.connection_security if state.connected_instance is not None else None,
        heartbeat_interval_s=state.heartbeat_interval_s,
        meter_interval_s=state.meter_interval_s,
    )


def _boot(state: ConnectionState) -> BootView:
    said: Mapping[str, Any] = state.boot_info or {}

    def word(name: str) -> str | None:
        return None if said.get(name) in (None, "") else str(said[name])

    return BootView(
        booted_at=state.last_boot_at,
        vendor=word("chargePointVendor"),
        model=word("chargePointModel"),
        serial_number=word("chargePointSerialNumber"),
        charge_box_serial_number=word("chargeBoxSerialNumber"),
        firmware_version=word("firmwareVersion"),
        iccid=word("iccid"),
        imsi=word("imsi"),
        meter_type=word("meterType"),
        meter_serial_number=word("meterSerialNumber"),
        details=dict(said),
    )


def _connector(state: ConnectorState, session: Session | None) -> ConnectorView:
    return ConnectorView(
        number=state.connector_number,
        type=state.connector_type,
        power_kw=state.power_kw,
        status=state.status,
        ocpp_status=state.ocpp_status,
        error_code=state.error_code,
        info=state.error_info,
        vendor_error_code=state.vendor_error_code,
        charger_at=state.status_charger_at,
        received_at=state.status_received_at,
        session=None if session is None else _session(session),
    )


def _session(session: Session) -> LiveSession:
    return LiveSession(
        id=session.id,
        client_id=session.client_id,
        state=session.state.value,
        id_tag=session.id_tag,
        transaction_id=session.ocpp_transaction_id,
        energy_kwh=session.energy_kwh,
        amount_som=session.amount,
        started_at=session.charging_started_at,
        last_reading_at=session.last_meter_at,
    )


def _keys(found: list[ConfigurationKey], read_at: datetime | None, limit: int) -> ConfigurationData:
    keys = found[:limit]
    return ConfigurationData(
        keys=[
            ConfigurationView(
                key=item.key,
                value=item.value,
                is_readonly=item.is_readonly,
                is_unknown=item.is_unknown,
                read_at=item.read_at,
            )
            for item in keys
        ],
        read_at=read_at,
        next_cursor=cursors.encode(keys[-1].key) if len(found) > limit else None,
    )


def _event(event: StationEvent) -> EventView:
    return EventView(
        id=event.id,
        type=event.type,
        severity=event.severity,
        connector=event.connector_id,
        payload=dict(event.payload),
        charger_at=event.charger_at,
        received_at=event.received_at,
    )


@routes.get("/{station_id}/configuration", response_model=ConfigurationAnswer, summary="Configuration as last read")
async def configuration(
    station_id: IdIn,
    staff: StaffParam,
    cursor: Annotated[CursorIn | None, Query()] = None,
    limit: Annotated[Limit, Query()] = 100,
) -> ConfigurationAnswer:
    """Keys and values by key. Read anew by the command GetConfiguration; the charger is asked after every boot."""
    after = cursors.after_text(cursor)

    async def look(conn: Conn) -> tuple[list[ConfigurationKey], datetime | None]:
        station = await admin.station(conn, staff.scope, station_id)
        found = await inspection.configuration(conn, station.id, after, limit + 1)
        return found, await inspection.configuration_read_at(conn, station.id)

    found, read_at = await staff.run(look)
    return ConfigurationAnswer(data=_keys(found, read_at, limit))


@routes.get("/{station_id}/events", response_model=EventsAnswer, summary="Events of a station")
async def events(
    station_id: IdIn,
    staff: StaffParam,
    type: Annotated[EventTypeIn | None, Query()] = None,
    severity: SeverityWord | None = None,
    connector: Annotated[ConnectorNumber | None, Query()] = None,
    date_from: Annotated[PeriodBound | None, Query()] = None,
    date_to: Annotated[PeriodBound | None, Query()] = None,
    cursor: Annotated[CursorIn | None, Query()] = None,
    limit: Annotated[Limit, Query()] = 50,
) -> EventsAnswer:
    """Boots, status changes, faults, job steps and the like, newest first. Days count whole, the last one included."""
    wanted = EventFilter(
        type,
        severity,
        connector,
        *period(("date_from", "date_to"), date_from, date_to),
    )
    before = cursors.after_number(cursor)

    async def look(conn: Conn) -> list[StationEvent]:
        station = await admin.station(conn, staff.scope, station_id)
        return await inspection.events(conn, station.id, wanted, before, limit + 1)

    found = await staff.run(look)
    items = found[:limit]
    more = cursors.encode(items[-1].id) if len(found) > limit else None
    return EventsAnswer(data=EventsData(events=[_event(item) for item in items], next_cursor=more))
