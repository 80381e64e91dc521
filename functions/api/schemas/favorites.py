"""Favourites (mobile-api.md §4.9 F1-F5)."""

from typing import Literal

from functions.api.schemas.base import Answer, IdIn, RequestModel


class FavoriteList(Answer):
    """F1: ids of locations, newest first."""

    favorites: list[str]


class FavoriteBody(RequestModel):
    """F2."""

    location_id: IdIn


class FavoriteAdded(Answer):
    """F2."""

    already_exists: bool


class FavoriteRemoved(Answer):
    """F3."""


class FavoriteCheck(Answer):
    """F4."""

    is_favorite: bool


class FavoriteToggled(FavoriteCheck):
    """F5."""

    action: Literal["added", "removed"]
