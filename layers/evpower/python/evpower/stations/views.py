"""What the app is shown of stations and locations (T1-T3, L1, L2, the locations stream). Read only.

Each function needs three queries whatever the number of rows: places with stations, connectors, tariff rules.

``kept``: station, connector (0: any of the station) and the charger's word of what is kept for whoever looks: Reserved
by its own reservation, Finishing by its own cable. There that word is no obstacle, so the connector is shown as free;
to everybody else it is taken.
"""

from collections.abc import Iterable, Sequence, Set
from dataclasses import replace
from datetime import datetime

from evpower.config import get_settings
from evpower.db import Conn
from evpower.errors import NotFound, StationNotFound
from evpower.pricing import service as pricing
from evpower.pricing.models import Price
from evpower.stations import status
from evpower.stations.models import (
    AdminStatus,
    Connector,
    ConnectorStatus,
    ConnectorView,
    Counts,
    Location,
    LocationView,
    Station,
    StationStatus,
    StationStatusView,
    StationView,
)
from evpower.stations.repository import map as maps
from evpower.stations.repository import stations as rows
from evpower.stations.repository.map import MapRow
from evpower.stations.text import addressable

Kept = Set[tuple[str, int, str]]
NOTHING_KEPT: Kept = frozenset()
_USABLE = (StationStatus.AVAILABLE, StationStatus.OCCUPIED)


async def list_locations(
    conn: Conn, now: datetime, *, include_stations: bool = False, kept: Kept = NOTHING_KEPT
) -> list[LocationView]:
    """L1: all active locations by name; ``stations`` is empty unless asked for."""
    return await _location_views(conn, await maps.map_of_locations(conn, None), now, include_stations, kept)


async def location_views(
    conn: Conn, location_ids: Sequence[str], now: datetime, kept: Kept = NOTHING_KEPT
) -> list[LocationView]:
    """Those of the locations that are active, with their stations."""
    return await _location_views(conn, await maps.map_of_locations(conn, location_ids), now, True, kept)


async def get_location(conn: Conn, location_id: str, now: datetime, kept: Kept = NOTHING_KEPT) -> LocationView:
    """L2: one active location with its stations.

    Raises:
        NotFound: unknown, or hidden by operators.
    """
    found = await location_views(conn, [location_id], now, kept) if addressable(location_id) else []
    if not found:
        raise NotFound
    return found[0]


async def list_stations(conn: Conn, now: datetime, kept: Kept = NOTHING_KEPT) -> list[StationView]:
    """T2: all stations that operators have not hidden, by serial number."""
    return await _station_views(conn, await maps.map_of_stations(conn), now, kept)


async def station_status(conn: Conn, ref: str, now: datetime, kept: Kept = NOTHING_KEPT) -> StationStatusView:
    """T1/T3: one station by id or serial number, with the status of its location.

    A hidden station answers too (``station_status`` inactive), for somebody may stand in front of it.

    Raises:
        StationNotFound: no such station.
    """
    station = await rows.find(conn, ref) if addressable(ref) else None
    if station is None:
        raise StationNotFound
    around = await _station_views(conn, await maps.map_around(conn, station.id, station.location_id), now, kept)
    own = next((view for view in around if view.station.id == station.id), None)
    if own is None:
        raise StationNotFound
    # A hidden station does not count for its location.
    shown = [view for view in around if view.station.status is not AdminStatus.INACTIVE]
    return StationStatusView(own, status.location_status(shown))


async def shown_state(conn: Conn) -> str:
    """A word that is another one after every committed change of what the lists are made of, and the same without."""
    return await maps.state(conn)


async def _location_views(
    conn: Conn, rows: list[MapRow], now: datetime, include_stations: bool, kept: Kept
) -> list[LocationView]:
    by_location: dict[str, tuple[Location, list[StationView]]] = {
        location.id: (location, []) for location, _ in rows if location is not None
    }
    for view in await _station_views(conn, rows, now, kept):
        if view.location is not None:
            by_location[view.location.id][1].append(view)
    return [_location_view(location, views, include_stations) for location, views in by_location.values()]


def _location_view(location: Location, stations: list[StationView], include_stations: bool) -> LocationView:
    return LocationView(
        location=location,
        status=status.location_status(stations),
        station_counts=status.count_stations(stations),
        counts=sum((view.counts for view in stations), Counts()),
        stations=tuple(stations) if include_stations else (),
    )


async def _station_views(conn: Conn, rows: Iterable[MapRow], now: datetime, kept: Kept) -> list[StationView]:
    shown = [(location, station) for location, station in rows if station is not None]
    stations = [station for _, station in shown]
    if not stations:
        return []
    connectors = await maps.connectors_by_station(conn, [station.id for station in stations])
    prices = await pricing.public_prices(conn, stations, now)
    offline_after_s = get_settings().station_offline_after_s
    return [
        station_view(
            station,
            [_as_seen(connector, kept) for connector in connectors.get(station.id, [])],
            prices[station.id],
            location=location,
            online=status.is_online(station.last_heartbeat_at, now, offline_after_s),
        )
        for location, station in shown
    ]


def _as_seen(connector: Connector, kept: Kept) -> Connector:
    """The connector for whoever ``kept`` is for, who may start where only what is its own is in the way."""
    if not kept:
        return connector
    places = {(connector.station_id, number, connector.ocpp_status) for number in (0, connector.connector_number)}
    if (connector.only_reserved or connector.only_finishing) and not kept.isdisjoint(places):
        return replace(connector, status=ConnectorStatus.AVAILABLE)
    return connector


def station_view(
    station: Station, connectors: Sequence[Connector], price: Price, *, location: Location | None, online: bool
) -> StationView:
    """Put together what is shown of one station. Pure."""
    counts = status.count(connector.status for connector in connectors)
    word = status.station_status(station, counts, online=online)
    usable = word in _USABLE
    return StationView(
        station=station,
        location=location,
        status=word,
        online=online,
        connectors=tuple(_connector_view(connector, usable=usable) for connector in connectors),
        counts=counts if usable else Counts(counts.total, 0, counts.occupied, counts.faulted),
        price_per_kwh=price.rate_per_kwh,
        session_fee=price.session_fee,
        currency=price.currency,
    )


def _connector_view(connector: Connector, *, usable: bool) -> ConnectorView:
    available = usable and connector.startable
    word = connector.status
    if connector.startable and not usable:
        word = ConnectorStatus.UNAVAILABLE
    return ConnectorView(
        number=connector.connector_number,
        type=connector.connector_type,
        status=word,
        available=available,
        power_kw=connector.power_kw,
        error=connector.error_code,
    )
