"""What operators look up of one station. Power kW, times aware UTC."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any


@dataclass(frozen=True, slots=True)
class ConnectionState:
    """A station's connection and the last boot, as operators look them up."""

    connected_instance: str | None
    connected_at: datetime | None
    connection_epoch: int
    ocpp_protocol: str | None
    last_heartbeat_at: datetime | None
    registration_status: str
    security_profile: int
    connection_security: int | None
    heartbeat_interval_s: int | None
    meter_interval_s: int | None
    ocpp_status: str
    error_code: str | None
    status_received_at: datetime | None
    last_boot_at: datetime | None
    boot_info: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class ConnectorState:
    """A connector with all that the charger said of it."""

    connector_number: int
    connector_type: str | None
    power_kw: Decimal | None
    status: str
    ocpp_status: str
    error_code: str | None
    error_info: str | None
    vendor_error_code: str | None
    status_charger_at: datetime | None
    status_received_at: datetime | None
    live_session_id: str | None


@dataclass(frozen=True, slots=True)
class ConfigurationKey:
    """A configuration key as last read. ``is_unknown``: asked for, and the charger does not have it."""

    key: str
    value: str | None
    is_readonly: bool
    is_unknown: bool
    read_at: datetime


@dataclass(frozen=True, slots=True)
class StationEvent:
    """A row of ``station_events``."""

    id: int
    type: str
    severity: str
    connector_id: int | None
    payload: Mapping[str, Any]
    charger_at: datetime | None
    received_at: datetime


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events are wanted; ``until`` is exclusive."""

    type: str | None = None
    severity: str | None = None
    connector: int | None = None
    since: datetime | None = None
    until: datetime | None = None
