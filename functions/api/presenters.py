"""People, stations and locations as the wire shows them; several routes share these."""

from typing import Any

from evpower.accounts.models import Client, Staff
from evpower.stations.models import Counts, LocationView, StationStatusView, StationView
from functions.api.schemas.locations import Coordinates, LocationItem, StationsSummary
from functions.api.schemas.profile import ClientProfile, ClientUser, StaffProfile, StaffUser
from functions.api.schemas.station import (
    ConnectorItem,
    ConnectorsSummary,
    StationItem,
    StationListItem,
    StationStatusAnswer,
    Tariff,
)

_UNKNOWN_TYPE = "unknown"


def client_user(client: Client) -> ClientUser:
    """A client in the app's form."""
    return ClientUser(
        id=client.id,
        phone=client.phone,
        name=client.name,
        balance=client.balance,
        status=client.status.value,
        created_at=client.created_at,
    )


def staff_user(staff: Staff) -> StaffUser:
    """A member of staff in the app's form."""
    return StaffUser(
        id=staff.id,
        phone=staff.phone,
        email=staff.email,
        role=staff.role,
        is_active=staff.is_active,
        created_at=staff.created_at,
    )


def client_profile(client: Client) -> ClientProfile:
    """A5, P1 of a client."""
    return ClientProfile(
        user=client_user(client),
        client_id=client.id,
        email=client.email,
        phone=client.phone,
        name=client.name,
        balance=client.balance,
        status=client.status.value,
    )


def staff_profile(staff: Staff, client: Client | None, owned: tuple[int, int]) -> StaffProfile:
    """A5, P1 of staff; ``owned``: numbers of stations and locations."""
    return StaffProfile(
        user=staff_user(staff),
        user_id=staff.id,
        role=staff.role,
        is_active=staff.is_active,
        admin_id=staff.admin_id,
        stations_count=owned[0],
        locations_count=owned[1],
        email=staff.email,
        phone=staff.phone,
        name=staff.name,
        client_id=client.id if client else None,
        balance=client.balance if client else None,
        status=client.status.value if client else None,
    )


def station_item(view: StationView) -> StationItem:
    """Station item of L1 and L2."""
    return StationItem(**_station_members(view))


def station_list_item(view: StationView) -> StationListItem:
    """Station item of T2."""
    return StationListItem(
        **_station_members(view),
        connector_types=list(view.connector_types),
        is_available=view.available_for_charging,
        last_heartbeat_at=view.station.last_heartbeat_at,
    )


def _station_members(view: StationView) -> dict[str, Any]:
    station = view.station
    return {
        "id": station.id,
        "serial_number": station.serial_number,
        "model": station.model or "",
        "manufacturer": station.manufacturer or "",
        "status": view.status.value,
        "power_capacity": view.power_kw or 0,
        "connectors_count": view.counts.total,
        "tariff": Tariff(price_per_kwh=view.price_per_kwh, session_fee=view.session_fee, currency=view.currency),
        "connectors_summary": connectors_summary(view.counts),
        "location_id": station.location_id,
    }


def connectors_summary(counts: Counts) -> ConnectorsSummary:
    """Counts of connectors."""
    return ConnectorsSummary(
        total=counts.total, available=counts.available, occupied=counts.occupied, faulted=counts.faulted
    )


def location_item(view: LocationView, *, with_stations: bool) -> LocationItem:
    """Location item of L1 and L2."""
    location, counts = view.location, view.station_counts
    return LocationItem(
        id=location.id,
        name=location.name,
        address=location.address,
        city=location.city,
        country=location.country,
        coordinates=Coordinates(latitude=location.latitude, longitude=location.longitude),
        status=view.status.value,
        stations_summary=StationsSummary(
            total=counts.total,
            available=counts.available,
            occupied=counts.occupied,
            offline=counts.offline,
            maintenance=counts.maintenance,
        ),
        connectors_summary=connectors_summary(view.counts),
        stations=[station_item(station) for station in view.stations] if with_stations else None,
        stations_count=counts.total,
        connectors_count=view.counts.total,
        available_connectors=view.counts.available,
    )


def station_status(found: StationStatusView) -> StationStatusAnswer:
    """T1, T3. The app refuses a station without a location name, so one that stands nowhere shows its own name."""
    view = found.view
    station, location = view.station, view.location
    return StationStatusAnswer(
        station_id=station.id,
        serial_number=station.serial_number,
        model=station.model or "",
        manufacturer=station.manufacturer or "",
        online=view.online,
        station_status=station.status.value,
        location_status=found.location_status.value,
        available_for_charging=view.available_for_charging,
        location_id=location.id if location else "",
        location_name=(location.name if location else "") or station.serial_number,
        location_address=location.address if location else "",
        connectors=[
            ConnectorItem(
                id=connector.number,
                type=connector.type or _UNKNOWN_TYPE,
                status=connector.status.value,
                available=connector.available,
                power_kw=connector.power_kw,
                error=connector.error,
            )
            for connector in view.connectors
        ],
        total_connectors=view.counts.total,
        available_connectors=view.counts.available,
        occupied_connectors=view.counts.occupied,
        faulted_connectors=view.counts.faulted,
        tariff_rub_kwh=view.price_per_kwh,
        session_fee=view.session_fee,
        currency=view.currency,
        working_hours=location.working_hours if location else "24/7",
        last_heartbeat_at=station.last_heartbeat_at,
    )
