"""Stations for everybody: T1-T3 (mobile-api.md §4.7). A station is addressed by id or serial number."""

from evpower.stations import service as stations
from functions.api import presenters
from functions.api.deps import Deps
from functions.api.routing import PUBLIC_CLAIMS, DepsParam, router
from functions.api.schemas.base import IdIn
from functions.api.schemas.station import StationList, StationStatusAnswer

routes = router("/api/v1", "stations")


async def _status(station_id: str, deps: Deps) -> StationStatusAnswer:
    now = deps.clock.now()
    found = await deps.database.run(lambda conn: stations.station_status(conn, station_id, now), claims=PUBLIC_CLAIMS)
    return presenters.station_status(found)


@routes.get("/station/status/{station_id}", response_model=StationStatusAnswer)
async def status(station_id: IdIn, deps: DepsParam) -> StationStatusAnswer:
    """T3: a station with its connectors and tariff."""
    return await _status(station_id, deps)


@routes.get("/station/{station_id}/status", response_model=StationStatusAnswer)
async def status_by_owner_path(station_id: IdIn, deps: DepsParam) -> StationStatusAnswer:
    """T1: as T3, on the path of the owner's description."""
    return await _status(station_id, deps)


@routes.get("/stations", response_model=StationList)
async def list_stations(deps: DepsParam) -> StationList:
    """T2: all stations that operators have not hidden."""
    now = deps.clock.now()
    found = await deps.database.run(lambda conn: stations.list_stations(conn, now), claims=PUBLIC_CLAIMS)
    return StationList(total=len(found), stations=[presenters.station_list_item(view) for view in found])
