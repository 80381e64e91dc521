"""Reservations of connectors: RV1-RV4. The charger decides; what it said is stored."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import Path, Query, Response

from evpower.admin import service as admin
from evpower.commands.models import Command
from evpower.db import Conn
from evpower.reservations import service
from evpower.reservations.models import NewReservation, Reservation, ReservationState
from functions.api.asking import WaitIn, ask
from functions.api.routes.admin import PageLimit
from functions.api.routing import DepsParam, Offset
from functions.api.schemas.base import IdIn
from functions.api.schemas.charger_state import (
    ReservationAnswer,
    ReservationBody,
    ReservationItem,
    ReservationsAnswer,
    ReservationsData,
    ReservationWord,
)
from functions.api.staff import Act, StaffCaller, StaffParam, staff_router

routes = staff_router("/api/v1/admin/stations")

ReservationId = Annotated[int, Path(ge=-(2**31), lt=2**31)]
ON_ITS_WAY: dict[int | str, dict[str, Any]] = {
    202: {"model": ReservationAnswer, "description": "The charger has not answered yet: ask again."}
}
_Told = tuple[tuple[Reservation, Command | None], Mapping[str, Any]]


def _item(found: Reservation) -> ReservationItem:
    return ReservationItem(**{**asdict(found), "state": found.state.value})


async def _asked(
    staff: StaffCaller, deps: DepsParam, made: tuple[Reservation, Command | None], wait: int, response: Response
) -> ReservationAnswer:
    """The reservation once its command has ended, or when time is up."""
    reservation, command = made
    ended = await ask(staff, deps, command, wait)
    now = deps.clock.now()
    found = await staff.run(lambda conn: service.get(conn, reservation.station_id, reservation.reservation_id, now))
    response.status_code = 200 if ended is None or ended.status.terminal else 202
    return ReservationAnswer(data=_item(found))


@routes.post(
    "/{station_id}/reservations",
    response_model=ReservationAnswer,
    summary="Reserve a connector",
    responses=ON_ITS_WAY,
)
async def reserve(
    station_id: IdIn, body: ReservationBody, staff: StaffParam, deps: DepsParam, response: Response, wait: WaitIn = 0
) -> ReservationAnswer:
    """RV1: ask the charger to keep a connector for a card or for a client's next start from the app.

    Until it ends, no other client can start at the connector. A charger that is not connected is asked when it comes
    back within 15 minutes.
    """
    now = deps.clock.now()

    async def work(conn: Conn) -> _Told:
        station = await admin.station(conn, staff.scope, station_id)
        new = NewReservation(
            station_id=station.id,
            connector_id=body.connector_id,
            expires_at=body.end(now),
            requested_by=f"staff:{staff.member.id}",
            id_tag=body.id_tag,
            client_id=body.client_id,
            parent_id_tag=body.parent_id_tag,
        )
        made = await service.create(conn, new, now)
        return made, {"station_id": station.id, "reservation_id": made[0].reservation_id}

    act = Act("admin.reservation_create", client_id=body.client_id, details={"connector_id": body.connector_id})
    return await _asked(staff, deps, await staff.act(act, work), wait, response)


@routes.get("/{station_id}/reservations", response_model=ReservationsAnswer, summary="Reservations of a station")
async def list_reservations(
    station_id: IdIn,
    staff: StaffParam,
    deps: DepsParam,
    state: ReservationWord | None = None,
    limit: Annotated[PageLimit, Query()] = 50,
    offset: Annotated[Offset, Query()] = 0,
) -> ReservationsAnswer:
    """RV2: reservations, newest first."""
    now, wanted = deps.clock.now(), ReservationState(state) if state else None

    async def work(conn: Conn) -> tuple[list[Reservation], int]:
        station = await admin.station(conn, staff.scope, station_id)
        return await service.listing(conn, station.id, wanted, now, limit=limit, offset=offset)

    found, total = await staff.run(work)
    data = ReservationsData(reservations=[_item(one) for one in found], total=total, limit=limit, offset=offset)
    return ReservationsAnswer(data=data)


@routes.get("/{station_id}/reservations/{reservation_id}", response_model=ReservationAnswer, summary="One reservation")
async def reservation(
    station_id: IdIn, reservation_id: ReservationId, staff: StaffParam, deps: DepsParam
) -> ReservationAnswer:
    """RV3: a reservation, and how it stands."""
    now = deps.clock.now()

    async def work(conn: Conn) -> Reservation:
        station = await admin.station(conn, staff.scope, station_id)
        return await service.get(conn, station.id, reservation_id, now)

    return ReservationAnswer(data=_item(await staff.run(work)))


@routes.delete(
    "/{station_id}/reservations/{reservation_id}",
    response_model=ReservationAnswer,
    summary="Cancel a reservation",
    responses=ON_ITS_WAY,
)
async def cancel_reservation(
    station_id: IdIn,
    reservation_id: ReservationId,
    staff: StaffParam,
    deps: DepsParam,
    response: Response,
    wait: WaitIn = 0,
) -> ReservationAnswer:
    """RV4: ask the charger to let the connector go. From now on it stands in no client's way."""
    now = deps.clock.now()

    async def work(conn: Conn) -> _Told:
        station = await admin.station(conn, staff.scope, station_id)
        return await service.cancel(conn, station.id, reservation_id, f"staff:{staff.member.id}", now), {}

    act = Act("admin.reservation_cancel", details={"station_id": station_id, "reservation_id": reservation_id})
    return await _asked(staff, deps, await staff.act(act, work), wait, response)
