"""The local authorization list of a station: LL1-LL6. Off by default: what it allows offline is paid afterwards."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any

from fastapi import Query, Response

from evpower.admin import service as admin
from evpower.commands.models import Command
from evpower.db import Conn
from evpower.local_list import service
from evpower.local_list.models import Entry, ListView, Selection
from functions.api.asking import WaitIn, ask
from functions.api.routes.admin import PageLimit
from functions.api.routing import DepsParam, Offset
from functions.api.schemas.base import IdIn
from functions.api.schemas.charger_state import (
    LocalListAnswer,
    LocalListBody,
    LocalListEntriesAnswer,
    LocalListEntriesBody,
    LocalListEntriesData,
    LocalListEntry,
    LocalListItem,
    LocalListPart,
    LocalListSyncBody,
)
from functions.api.staff import Act, ManagerParam, StaffCaller, StaffParam, staff_router

routes = staff_router("/api/v1/admin/stations")

ON_ITS_WAY: dict[int | str, dict[str, Any]] = {
    202: {"model": LocalListAnswer, "description": "The update goes on: ask again."}
}
_DIFFERENCE = LocalListSyncBody()
_Asked = tuple[ListView, Command | None]


def _item(view: ListView) -> LocalListItem:
    found, limits = view.list, view.limits
    return LocalListItem(
        station_id=found.station_id,
        enabled=found.is_enabled,
        selection=found.selection.value,
        state=found.state.value,
        failure=found.failure,
        version=found.version,
        held_version=found.held_version,
        told_version=found.told_version,
        told_at=found.told_at,
        wanted=view.wanted,
        held=view.held,
        differs=view.differs,
        enabled_at_charger=limits.enabled_at_charger,
        max_length=limits.max_length,
        part_length=limits.part_length,
        command_id=found.command_id,
        synced_at=found.synced_at,
        updated_at=found.updated_at,
        parts=[
            LocalListPart(
                list_version=part.list_version,
                update_type=part.update_type.value,
                entries=len(part.entries),
                state=part.state,
                answer=part.answer,
                command_id=part.command_id,
            )
            for part in view.parts
        ],
    )


@routes.get("/{station_id}/local-list", response_model=LocalListAnswer, summary="Local authorization list")
async def local_list(station_id: IdIn, staff: StaffParam, deps: DepsParam) -> LocalListAnswer:
    """LL1: what the list shall hold, what the charger holds, and how the last update went."""
    now = deps.clock.now()

    async def work(conn: Conn) -> ListView:
        station = await admin.station(conn, staff.scope, station_id)
        return await service.view(conn, station.id, now)

    return LocalListAnswer(data=_item(await staff.run(work)))


@routes.put("/{station_id}/local-list", response_model=LocalListAnswer, summary="Set what the list shall hold")
async def set_local_list(
    station_id: IdIn, body: LocalListBody, staff: ManagerParam, deps: DepsParam
) -> LocalListAnswer:
    """LL2: switch the list on or off and choose its cards. Nothing is sent before LL5.

    A start that the charger allows by its list while it is offline is billed when it comes back; what the client
    cannot pay by then is lost.
    """
    now = deps.clock.now()

    async def work(conn: Conn) -> tuple[ListView, Mapping[str, Any]]:
        station = await admin.station(conn, staff.scope, station_id)
        view = await service.configure(
            conn,
            station.id,
            is_enabled=body.enabled,
            selection=Selection(body.selection),
            id_tags=body.id_tags,
            now=now,
        )
        return view, {"wanted": view.wanted}

    details = {"station_id": station_id, "enabled": body.enabled, "selection": body.selection}
    return LocalListAnswer(data=_item(await staff.act(Act("admin.local_list_change", details=details), work)))


@routes.get("/{station_id}/local-list/entries", response_model=LocalListEntriesAnswer, summary="Tags of the local list")
async def local_list_entries(
    station_id: IdIn,
    staff: StaffParam,
    deps: DepsParam,
    limit: Annotated[PageLimit, Query()] = 100,
    offset: Annotated[Offset, Query()] = 0,
) -> LocalListEntriesAnswer:
    """LL3: tags that the list shall hold, or that the charger holds."""
    now = deps.clock.now()

    async def work(conn: Conn) -> tuple[list[Entry], int]:
        station = await admin.station(conn, staff.scope, station_id)
        return await service.entries(conn, station.id, now, limit=limit, offset=offset)

    found, total = await staff.run(work)
    items = [LocalListEntry(id_tag=one.id_tag, chosen=one.is_chosen, wanted=one.wanted, held=one.held) for one in found]
    return LocalListEntriesAnswer(data=LocalListEntriesData(entries=items, total=total, limit=limit, offset=offset))


@routes.post(
    "/{station_id}/local-list/entries", response_model=LocalListAnswer, summary="Add and remove cards of the list"
)
async def change_local_list_entries(
    station_id: IdIn, body: LocalListEntriesBody, staff: ManagerParam, deps: DepsParam
) -> LocalListAnswer:
    """LL4: add cards to the chosen ones and take some from them. Nothing is sent before LL5."""
    now = deps.clock.now()

    async def work(conn: Conn) -> tuple[ListView, Mapping[str, Any]]:
        station = await admin.station(conn, staff.scope, station_id)
        view = await service.change_entries(conn, station.id, body.add, body.remove, now)
        return view, {"added": len(body.add), "removed": len(body.remove), "wanted": view.wanted}

    act = Act("admin.local_list_entries", details={"station_id": station_id})
    return LocalListAnswer(data=_item(await staff.act(act, work)))


@routes.post(
    "/{station_id}/local-list/sync",
    response_model=LocalListAnswer,
    summary="Bring the list to the charger",
    responses=ON_ITS_WAY,
)
async def sync_local_list(
    station_id: IdIn,
    staff: ManagerParam,
    deps: DepsParam,
    response: Response,
    body: LocalListSyncBody = _DIFFERENCE,
    wait: WaitIn = 0,
) -> LocalListAnswer:
    """LL5: send what differs, in parts, and prove it by the charger's version; a refused change is followed by a full
    list. While the list is off, this empties the charger's. ``wait`` is for the first part."""
    now = deps.clock.now()

    async def update(conn: Conn, station: str) -> _Asked:
        return await service.sync(conn, station, f"staff:{staff.member.id}", now, full=body.full)

    act = Act("admin.local_list_sync", details={"station_id": station_id, "full": body.full})
    return await _asked(staff, deps, station_id, act, update, wait, response)


@routes.post(
    "/{station_id}/local-list/verify",
    response_model=LocalListAnswer,
    summary="Ask the charger for its list's version",
    responses=ON_ITS_WAY,
)
async def verify_local_list(
    station_id: IdIn, staff: StaffParam, deps: DepsParam, response: Response, wait: WaitIn = 0
) -> LocalListAnswer:
    """LL6: GetLocalListVersion. Another version than the one it took means that nobody knows what it holds."""
    now = deps.clock.now()

    async def question(conn: Conn, station: str) -> _Asked:
        return await service.verify(conn, station, f"staff:{staff.member.id}", now)

    act = Act("admin.local_list_verify", details={"station_id": station_id})
    return await _asked(staff, deps, station_id, act, question, wait, response)


async def _asked(
    staff: StaffCaller,
    deps: DepsParam,
    ref: str,
    act: Act,
    question: Callable[[Conn, str], Awaitable[_Asked]],
    wait: int,
    response: Response,
) -> LocalListAnswer:
    """Commit the question, send its command, and answer with the list as it is then."""

    async def work(conn: Conn) -> tuple[_Asked, Mapping[str, Any]]:
        station = await admin.station(conn, staff.scope, ref)
        view, command = await question(conn, station.id)
        return (view, command), {"command_id": command.id if command else None}

    view, command = await staff.act(act, work)
    ended = await ask(staff, deps, command, wait)
    after = await staff.run(lambda conn: service.view(conn, view.list.station_id, deps.clock.now()))
    over = ended is None or ended.status.terminal
    response.status_code = 200 if over and not after.list.state.busy else 202
    return LocalListAnswer(data=_item(after))
