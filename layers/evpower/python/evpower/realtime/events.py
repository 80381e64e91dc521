"""Events of the locations stream (mobile-api.md §5), built from what the lists show. Pure; public data only."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from evpower.clock import iso_z
from evpower.stations.models import LocationView, StationView

LOCATION_UPDATE = "location_status_update"
STATION_UPDATE = "station_status_update"


@dataclass(frozen=True, slots=True)
class Event:
    """One message to the app. ``key`` names its subject, ``body`` has everything but the timestamp."""

    key: str
    channels: frozenset[str]
    body: dict[str, Any] = field(hash=False)

    def message(self, now: datetime) -> dict[str, Any]:
        """The JSON object to send."""
        return {**self.body, "timestamp": iso_z(now)}


def location_event(view: LocationView) -> Event:
    """``location_status_update``: members at top level, as the app reads them."""
    location, stations, counts = view.location, view.station_counts, view.counts
    return Event(
        key=f"location:{location.id}",
        channels=frozenset({"all", f"location:{location.id}"}),
        body={
            "type": LOCATION_UPDATE,
            "location_id": location.id,
            "location_name": location.name,
            "status": view.status.value,
            "stations_summary": {
                "total": stations.total,
                "available": stations.available,
                "occupied": stations.occupied,
                "offline": stations.offline,
                "maintenance": stations.maintenance,
            },
            "connectors_summary": {
                "total": counts.total,
                "available": counts.available,
                "occupied": counts.occupied,
                "faulted": counts.faulted,
            },
        },
    )


def station_event(view: StationView) -> Event:
    """``station_status_update`` with the ``connectors`` that the app requires and the counts of older clients.

    Subscribers may name the station by id or by serial number (mobile-api.md §0.10).
    """
    station, counts = view.station, view.counts
    channels = {"all", f"station:{station.id}", f"station:{station.serial_number}"}
    body: dict[str, Any] = {
        "type": STATION_UPDATE,
        "station_id": station.id,
        "serial_number": station.serial_number,
        "status": view.status.value,
        "connectors": [
            {"id": connector.number, "status": connector.status.value, "available": connector.available}
            for connector in view.connectors
        ],
        "available_connectors": counts.available,
        "occupied_connectors": counts.occupied,
    }
    if station.location_id is not None:
        body["location_id"] = station.location_id
        channels.add(f"location_stations:{station.location_id}")
    return Event(key=f"station:{station.id}", channels=frozenset(channels), body=body)


def events_of(view: LocationView) -> list[Event]:
    """The location's event and those of its stations."""
    return [location_event(view), *(station_event(station) for station in view.stations)]
