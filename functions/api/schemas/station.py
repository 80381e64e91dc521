"""Stations (mobile-api.md §4.7: T1-T3 and the station item of L1)."""

from functions.api.schemas.base import Answer, Moment, Number, Omit, ResponseModel, Som


class ConnectorItem(ResponseModel):
    """A connector of T1/T3; ``id`` is the number that start takes."""

    id: int
    type: str
    status: str
    available: bool
    power_kw: Omit[Number] = None
    error: str | None = None


class LegacyStationStatus(Answer):
    """G4. ``tariff_rub_kwh`` is som per kWh despite its name."""

    station_id: str
    serial_number: str
    model: str
    manufacturer: str
    online: bool
    station_status: str
    location_status: str
    available_for_charging: bool
    location_name: str
    location_address: str
    connectors: list[ConnectorItem]
    total_connectors: int
    available_connectors: int
    occupied_connectors: int
    faulted_connectors: int
    tariff_rub_kwh: Number
    session_fee: Som
    currency: str
    working_hours: str
    message: str | None = None


class StationStatusAnswer(LegacyStationStatus):
    """T1, T3."""

    location_id: str
    last_heartbeat_at: Moment | None = None


class Tariff(ResponseModel):
    """What a kWh and a session cost."""

    price_per_kwh: Number
    session_fee: Som
    currency: str


class ConnectorsSummary(ResponseModel):
    """Connectors by word; unavailable ones count as faulted."""

    total: int
    available: int
    occupied: int
    faulted: int


class StationItem(ResponseModel):
    """A station in the lists of L1 and L2. ``status``: available, occupied, offline, maintenance."""

    id: str
    serial_number: str
    model: str
    manufacturer: str
    status: str
    power_capacity: Number
    connectors_count: int
    tariff: Tariff
    connectors_summary: ConnectorsSummary
    location_id: Omit[str] = None


class StationListItem(StationItem):
    """A station in T2."""

    connector_types: list[str]
    is_available: bool
    last_heartbeat_at: Moment | None


class StationList(Answer):
    """T2."""

    total: int
    stations: list[StationListItem]
