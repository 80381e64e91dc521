"""Locations (mobile-api.md §4.7: L1, L2)."""

from functions.api.schemas.base import Answer, Omit, ResponseModel
from functions.api.schemas.station import ConnectorsSummary, StationItem


class Coordinates(ResponseModel):
    """Both keys are always there; null when nobody entered them."""

    latitude: float | None
    longitude: float | None


class StationsSummary(ResponseModel):
    """Stations by derived status."""

    total: int
    available: int
    occupied: int
    offline: int
    maintenance: int


class LocationItem(ResponseModel):
    """``status``: available, partial, occupied, maintenance, offline. ``stations`` is left out unless asked for."""

    id: str
    name: str
    address: str
    city: str | None
    country: str | None
    coordinates: Coordinates
    status: str
    stations_summary: StationsSummary
    connectors_summary: ConnectorsSummary
    stations: Omit[list[StationItem]] = None
    stations_count: int
    connectors_count: int
    available_connectors: int


class LocationList(Answer):
    """L1."""

    total: int
    locations: list[LocationItem]
