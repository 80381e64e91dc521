"""Favourite locations: F1-F5 (mobile-api.md §4.9)."""

from evpower.favorites import service as favorites
from functions.api.routing import CallerParam, router
from functions.api.schemas.base import IdIn
from functions.api.schemas.favorites import (
    FavoriteAdded,
    FavoriteBody,
    FavoriteCheck,
    FavoriteList,
    FavoriteRemoved,
    FavoriteToggled,
)

routes = router("/api/v1/favorites", "favorites")


@routes.get("", response_model=FavoriteList)
async def list_favorites(caller: CallerParam) -> FavoriteList:
    """F1: the caller's favourite locations, newest first."""
    return FavoriteList(favorites=await caller.run_active(lambda conn, client: favorites.location_ids(conn, client.id)))


@routes.post("", response_model=FavoriteAdded)
async def add(body: FavoriteBody, caller: CallerParam) -> FavoriteAdded:
    """F2: add a location; adding it again changes nothing."""
    added = await caller.run_active(lambda conn, client: favorites.add(conn, client.id, body.location_id))
    return FavoriteAdded(already_exists=not added)


@routes.delete("/{location_id}", response_model=FavoriteRemoved)
async def remove(location_id: IdIn, caller: CallerParam) -> FavoriteRemoved:
    """F3: remove a location; removing it again changes nothing."""
    await caller.run_active(lambda conn, client: favorites.remove(conn, client.id, location_id))
    return FavoriteRemoved()


@routes.get("/{location_id}/check", response_model=FavoriteCheck)
async def check(location_id: IdIn, caller: CallerParam) -> FavoriteCheck:
    """F4: whether the location is a favourite."""
    found = await caller.run_active(lambda conn, client: favorites.contains(conn, client.id, location_id))
    return FavoriteCheck(is_favorite=found)


@routes.post("/{location_id}/toggle", response_model=FavoriteToggled)
async def toggle(location_id: IdIn, caller: CallerParam) -> FavoriteToggled:
    """F5: add the location, or remove it if it is a favourite."""
    is_favorite = await caller.run_active(lambda conn, client: favorites.toggle(conn, client.id, location_id))
    return FavoriteToggled(is_favorite=is_favorite, action="added" if is_favorite else "removed")
