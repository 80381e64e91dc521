"""Stations for everybody: T1-T3 (mobile-api.md §4.7). A station is addressed by id or serial number."""

from fastapi import Response

from evpower.db import Conn
from evpower.stations import service as stations
from evpower.stations.views import Kept
from functions.api import presenters
from functions.api.deps import Deps
from functions.api.routing import DepsParam, router
from functions.api.schemas.base import IdIn
from functions.api.schemas.station import StationList, StationStatusAnswer
from functions.api.viewing import NOT_MODIFIED, Viewer, ViewerParam

routes = router("/api/v1", "stations")


async def _status(station_id: str, viewer: Viewer, deps: Deps) -> StationStatusAnswer:
    now = deps.clock.now()
    found = await viewer.run(now, lambda conn, kept: stations.station_status(conn, station_id, now, kept))
    return presenters.station_status(found)


@routes.get("/station/status/{station_id}", response_model=StationStatusAnswer)
async def status(station_id: IdIn, viewer: ViewerParam, deps: DepsParam) -> StationStatusAnswer:
    """T3: a station with its connectors and tariff. A connector that is reserved for the caller is free to it."""
    return await _status(station_id, viewer, deps)


@routes.get("/station/{station_id}/status", response_model=StationStatusAnswer)
async def status_by_owner_path(station_id: IdIn, viewer: ViewerParam, deps: DepsParam) -> StationStatusAnswer:
    """T1: as T3, on the path of the owner's description."""
    return await _status(station_id, viewer, deps)


@routes.get("/stations", response_model=StationList, responses=NOT_MODIFIED)
async def list_stations(viewer: ViewerParam, deps: DepsParam) -> Response:
    """T2: all stations that operators have not hidden. `If-None-Match` as for the locations."""
    now = deps.clock.now()

    async def answer(conn: Conn, kept: Kept) -> StationList:
        found = await stations.list_stations(conn, now, kept)
        return StationList(total=len(found), stations=[presenters.station_list_item(view) for view in found])

    return await viewer.shared("stations", now, answer)
