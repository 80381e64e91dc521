"""Commands by operators: send any of OCPP 1.6, follow it, take it back."""

import asyncio
import hashlib
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any

from fastapi import Body, Header, Query, Response

from evpower.admin import service as admin
from evpower.admin.models import Role
from evpower.commands import desk, service
from evpower.commands.desk import Order
from evpower.commands.models import Command, CommandFilter, CommandStatus
from evpower.commands.shown import shown
from evpower.db import Conn
from evpower.errors import Forbidden, NotFound
from evpower.stations import service as stations
from functions.api import cursor as cursors
from functions.api.cursor import CursorIn
from functions.api.deps import Deps
from functions.api.routing import DepsParam, Limit
from functions.api.schemas.admin_commands import (
    CommandAnswer,
    CommandData,
    CommandsAnswer,
    CommandsData,
    CommandView,
)
from functions.api.schemas.base import IdIn
from functions.api.schemas.ocpp_commands import ActionIn, CommandBody
from functions.api.staff import Act, StaffCaller, StaffParam, staff_router

routes = staff_router("/api/v1/admin/stations")

MAX_WAIT_S = 20
_POLL_S = 0.2
KeyHeader = Annotated[str | None, Header(alias="Idempotency-Key", max_length=255)]


def once_id(staff: StaffCaller, station_id: str, key: str | None) -> str | None:
    """The id of what this request makes: the same for a repetition, also when Redis forgot it."""
    if key is None:
        return None
    return hashlib.sha256("\n".join((staff.member.id, station_id, key)).encode()).hexdigest()[:32]


def command_view(command: Command) -> CommandView:
    """A command as staff sees it."""
    return CommandView(
        id=command.id,
        station_id=command.station_id,
        action=command.action,
        payload=shown(command.payload),
        status=command.status.value,
        attempt=command.attempt,
        session_id=command.session_id,
        requested_by=command.requested_by,
        correlation_id=command.correlation_id,
        created_at=command.created_at,
        expires_at=command.expires_at,
        sent_at=command.sent_at,
        finished_at=command.finished_at,
        response=None if command.response is None else shown(command.response),
        error=command.error,
    )


async def _answer(staff: StaffCaller, command: Command) -> CommandAnswer:
    station = await staff.run(lambda conn: stations.resolve(conn, command.station_id))
    connected = station is not None and station.connected
    data = CommandData(command=command_view(command), done=command.status.terminal, connected=connected)
    return CommandAnswer(data=data)


@routes.post(
    "/{station_id}/commands",
    response_model=CommandAnswer,
    summary="Send a command",
    responses={202: {"model": CommandAnswer, "description": "On its way: ask for it by its id."}},
)
async def send_command(
    station_id: IdIn,
    body: Annotated[CommandBody, Body()],
    staff: StaffParam,
    deps: DepsParam,
    response: Response,
    wait: Annotated[int, Query(ge=0, le=MAX_WAIT_S, description="seconds to wait for the charger's answer")] = 0,
    idempotency_key: KeyHeader = None,
) -> CommandAnswer:
    """Queue a command of OCPP 1.6; with ``wait``, answer 200 with the charger's answer if it comes in time, else 202.

    A charger that is not connected gets it when it comes back, until it expires. Operators may not send commands that
    change configuration, firmware, certificates or local lists. RemoteStopTransaction stops the transaction's session;
    RemoteStartTransaction is a start by a client's card.
    """
    payload, now = body.payload(), deps.clock.now()
    order_id = once_id(staff, station_id, idempotency_key)

    async def work(conn: Conn) -> tuple[Command, Mapping[str, Any]]:
        station = await admin.station(conn, staff.scope, station_id)
        if body.action in desk.MANAGED and staff.member.role is Role.OPERATOR:
            raise Forbidden(required_role=Role.ADMIN.value)
        order = Order(
            station_id=station.id,
            action=body.action,
            payload=payload,
            lifetime=timedelta(seconds=body.expires_in_s),
            by=f"staff:{staff.member.id}",
            command_id=order_id,
        )
        command = await desk.send(conn, order, now)
        return command, {"command_id": command.id, "station_id": station.id}

    act = Act("admin.command", details={"station_id": station_id, "action": body.action, "payload": shown(payload)})
    command = await staff.act(act, work)
    await dispatch(deps, command)
    command = await _ended(staff, command, min(wait, deps.settings.command_wait_max_s))
    response.status_code = 200 if command.status.terminal else 202
    return await _answer(staff, command)


async def dispatch(deps: Deps, command: Command) -> None:
    """After the commit: hand the command over. A queue that is away loses nothing, the sweep sends it again."""
    if command.status is CommandStatus.QUEUED:
        await deps.commands.send(command)
    if command.session_id is not None:
        await deps.publisher.stations_changed([command.station_id])


async def _ended(staff: StaffCaller, command: Command, wait_s: float) -> Command:
    """The command when it has ended, or when time is up; looked at in short transactions."""

    async def look(conn: Conn) -> Command:
        return await service.get(conn, command.id) or command

    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait_s
    while not command.status.terminal and loop.time() < deadline:
        await asyncio.sleep(_POLL_S)
        command = await staff.run(look)
    return command


@routes.get("/{station_id}/commands", response_model=CommandsAnswer, summary="Commands of a station")
async def list_commands(
    station_id: IdIn,
    staff: StaffParam,
    status: CommandStatus | None = None,
    action: Annotated[ActionIn | None, Query()] = None,
    is_open: Annotated[bool | None, Query(description="those without an outcome, or those with one")] = None,
    cursor: Annotated[CursorIn | None, Query()] = None,
    limit: Annotated[Limit, Query()] = 50,
) -> CommandsAnswer:
    """Commands of operators, drivers and the system, newest first."""
    wanted = CommandFilter(status, action, is_open, cursors.after_moment(cursor))

    async def work(conn: Conn) -> list[Command]:
        station = await admin.station(conn, staff.scope, station_id)
        return await service.page(conn, station.id, wanted, limit + 1)

    found = await staff.run(work)
    items = found[:limit]
    more = cursors.encode(items[-1].created_at, items[-1].id) if len(found) > limit else None
    return CommandsAnswer(data=CommandsData(commands=[command_view(item) for item in items], next_cursor=more))


@routes.get("/{station_id}/commands/{command_id}", response_model=CommandAnswer, summary="One command")
async def one_command(station_id: IdIn, command_id: IdIn, staff: StaffParam) -> CommandAnswer:
    """A command with its outcome and the charger's answer."""

    async def work(conn: Conn) -> Command:
        station = await admin.station(conn, staff.scope, station_id)
        command = await service.get(conn, command_id)
        if command is None or command.station_id != station.id:
            raise NotFound("no such command")
        return command

    return await _answer(staff, await staff.run(work))


@routes.delete("/{station_id}/commands/{command_id}", response_model=CommandAnswer, summary="Take a command back")
async def cancel_command(station_id: IdIn, command_id: IdIn, staff: StaffParam, deps: DepsParam) -> CommandAnswer:
    """Take back a command that still waits for its charger; 409 when it was written, or belongs to a session."""
    now = deps.clock.now()

    async def work(conn: Conn) -> tuple[Command, Mapping[str, Any]]:
        station = await admin.station(conn, staff.scope, station_id)
        command = await service.cancel(conn, station.id, command_id, f"staff:{staff.member.id}", now)
        return command, {"action": command.action}

    act = Act("admin.command_cancel", details={"station_id": station_id, "command_id": command_id})
    return await _answer(staff, await staff.act(act, work))
