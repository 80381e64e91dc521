"""Locations for everybody: L1, L2 (mobile-api.md §4.7)."""

from fastapi import Response

from evpower.db import Conn
from evpower.stations import service as stations
from evpower.stations.views import Kept
from functions.api import presenters
from functions.api.routing import DepsParam, router
from functions.api.schemas.base import IdIn
from functions.api.schemas.locations import LocationItem, LocationList
from functions.api.viewing import NOT_MODIFIED, ViewerParam

routes = router("/api/v1/locations", "locations")


@routes.get("", response_model=LocationList, responses=NOT_MODIFIED)
async def list_locations(viewer: ViewerParam, deps: DepsParam, include_stations: bool = False) -> Response:
    """L1: all active locations by name. 304 where `If-None-Match` names the present `ETag`."""
    now = deps.clock.now()

    async def answer(conn: Conn, kept: Kept) -> LocationList:
        found = await stations.list_locations(conn, now, include_stations=include_stations, kept=kept)
        items = [presenters.location_item(view, with_stations=include_stations) for view in found]
        return LocationList(total=len(items), locations=items)

    return await viewer.shared("locations-with-stations" if include_stations else "locations", now, answer)


@routes.get("/{location_id}", response_model=LocationItem)
async def location(location_id: IdIn, viewer: ViewerParam, deps: DepsParam) -> LocationItem:
    """L2: one location with its stations, not wrapped."""
    now = deps.clock.now()
    found = await viewer.run(now, lambda conn, kept: stations.get_location(conn, location_id, now, kept))
    return presenters.location_item(found, with_stations=True)
