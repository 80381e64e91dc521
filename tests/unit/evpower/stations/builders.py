"""Stations and connectors for unit tests, with defaults that say nothing."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from evpower.pricing.models import Price
from evpower.stations.models import (
    AdminStatus,
    Connector,
    ConnectorStatus,
    RegistrationStatus,
    Station,
    StationView,
)
from evpower.stations.views import station_view

NOW = datetime(2026, 3, 11, 6, 0, tzinfo=UTC)


def station(**changes: Any) -> Station:
    values: dict[str, Any] = {
        "id": "st-1",
        "serial_number": "SN-1",
        "model": None,
        "manufacturer": None,
        "location_id": None,
        "power_capacity": None,
        "connectors_count": 0,
        "status": AdminStatus.ACTIVE,
        "is_available": True,
        "price_per_kwh": None,
        "session_fee": None,
        "currency": "KGS",
        "tariff_plan_id": None,
        "firmware_version": None,
        "last_heartbeat_at": NOW,
        "registration_status": RegistrationStatus.ACCEPTED,
        "heartbeat_interval_s": None,
        "meter_interval_s": None,
        "sample_interval_s": None,
        "observed_interval_s": None,
        "connection_epoch": 0,
        "connected_instance": None,
        "connected_at": None,
        "ocpp_status": "Available",
        "error_code": None,
    }
    return Station(**{**values, **changes})


def connector(number: int, status: ConnectorStatus, **changes: Any) -> Connector:
    values: dict[str, Any] = {
        "id": number,
        "station_id": "st-1",
        "connector_number": number,
        "connector_type": "CCS2",
        "power_kw": Decimal(60),
        "ocpp_status": "Available",
        "status": status,
        "live_session_id": None,
        "error_code": None,
        "error_info": None,
        "status_received_at": None,
    }
    return Connector(**{**values, **changes})


def view(*words: str, online: bool = True, **changes: Any) -> StationView:
    connectors = [connector(number, ConnectorStatus(word)) for number, word in enumerate(words, 1)]
    return station_view(station(**changes), connectors, Price(Decimal("13.5")), location=None, online=online)
