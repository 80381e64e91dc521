"""Chargers, their connectors and places, and what the app is shown of them. Power kW, money som."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any


class AdminStatus(StrEnum):
    """What operators set (columns ``stations.status``, ``locations.status``)."""

    ACTIVE = "active"
    INACTIVE = "inactive"
    MAINTENANCE = "maintenance"


class RegistrationStatus(StrEnum):
    """Answer to BootNotification."""

    ACCEPTED = "accepted"
    PENDING = "pending"
    REJECTED = "rejected"


class ConnectorStatus(StrEnum):
    """The word that the app reads; derived from the charger's status and the session that holds the connector."""

    AVAILABLE = "available"
    OCCUPIED = "occupied"
    FAULTED = "faulted"
    UNAVAILABLE = "unavailable"


class StationStatus(StrEnum):
    """Derived status of a station on the map."""

    AVAILABLE = "available"
    OCCUPIED = "occupied"
    OFFLINE = "offline"
    MAINTENANCE = "maintenance"


class LocationStatus(StrEnum):
    """Derived status of a location on the map (mobile-api.md §0.2)."""

    AVAILABLE = "available"
    PARTIAL = "partial"
    OCCUPIED = "occupied"
    OFFLINE = "offline"
    MAINTENANCE = "maintenance"


# OCPP 1.6 ChargePointStatus and the one that OCPP 2.0.1 has instead of its finer ones.
OCPP_STATUSES = (
    "Available",
    "Preparing",
    "Charging",
    "SuspendedEVSE",
    "SuspendedEV",
    "Finishing",
    "Reserved",
    "Unavailable",
    "Faulted",
    "Occupied",
)


@dataclass(frozen=True, slots=True)
class Station:
    """A row of ``stations`` without credentials. ``register_factor``: Wh that its registers count where they say 1."""

    id: str
    serial_number: str
    model: str | None
    manufacturer: str | None
    location_id: str | None
    power_capacity: Decimal | None
    connectors_count: int
    status: AdminStatus
    is_available: bool
    price_per_kwh: Decimal | None
    session_fee: Decimal | None
    currency: str
    tariff_plan_id: str | None
    firmware_version: str | None
    last_heartbeat_at: datetime | None
    registration_status: RegistrationStatus
    heartbeat_interval_s: int | None
    meter_interval_s: int | None  # what staff want of it
    sample_interval_s: int | None  # what its configuration says (evpower.stations.sampling)
    observed_interval_s: int | None  # what its readings show
    connection_epoch: int
    connected_instance: str | None
    connected_at: datetime | None
    ocpp_status: str
    error_code: str | None
    register_factor: int = 1

    @property
    def connected(self) -> bool:
        """Whether an instance holds its socket, as far as the database knows."""
        return self.connected_instance is not None

    @property
    def sampling_is_known(self) -> bool:
        """Whether its configuration or its readings have shown how often it samples."""
        return self.sample_interval_s is not None or self.observed_interval_s is not None

    @property
    def has_own_price(self) -> bool:
        """The station's own price goes before its tariff plan (mobile-api.md §9.2)."""
        return self.price_per_kwh is not None and self.price_per_kwh > 0


@dataclass(frozen=True, slots=True)
class Connector:
    """A row of ``connectors``."""

    id: int
    station_id: str
    connector_number: int
    connector_type: str | None
    power_kw: Decimal | None
    ocpp_status: str
    status: ConnectorStatus
    live_session_id: str | None
    error_code: str | None
    error_info: str | None
    status_received_at: datetime | None

    @property
    def startable(self) -> bool:
        """Free, or free with the cable already plugged in (``Preparing``)."""
        return self.status is ConnectorStatus.AVAILABLE

    @property
    def only_reserved(self) -> bool:
        """Nothing but the charger's reservation stands in the way: whom it is kept for may start here."""
        return (
            self.status is ConnectorStatus.OCCUPIED and self.ocpp_status == "Reserved" and self.live_session_id is None
        )

    @property
    def only_finishing(self) -> bool:
        """Nothing but the cable of a charge that has ended stands in the way: whose it is may go on."""
        return (
            self.status is ConnectorStatus.OCCUPIED and self.ocpp_status == "Finishing" and self.live_session_id is None
        )


@dataclass(frozen=True, slots=True)
class Location:
    """A row of ``locations``."""

    id: str
    name: str
    address: str
    city: str | None
    country: str | None
    latitude: float | None
    longitude: float | None
    status: AdminStatus
    working_hours: str


@dataclass(frozen=True, slots=True)
class CandidateKey:
    """An AuthorizationKey that the charger may have taken over; ``hash`` as :mod:`evpower.stations.credentials`."""

    id: str
    hash: str


class KeyDelivery(StrEnum):
    """How a new key reaches its charger."""

    SEND = "send"
    BY_HAND = "by_hand"


@dataclass(frozen=True, slots=True)
class KeyCandidate:
    """A key that has been made and not been used yet. ``command_status``: of the command that carries it."""

    id: str
    delivery: KeyDelivery
    command_id: str | None
    needs_reboot: bool
    created_by: str
    created_at: datetime
    command_status: str | None = None

    @property
    def state(self) -> str:
        """by_hand; waiting (for the charger's answer); accepted, reboot_required; unknown; dead."""
        if self.delivery is KeyDelivery.BY_HAND:
            return "by_hand"
        if self.command_status in ("queued", "sent"):
            return "waiting"
        if self.command_status == "accepted":
            return "reboot_required" if self.needs_reboot else "accepted"
        return "dead" if self.command_status in ("rejected", "expired", "cancelled") else "unknown"


@dataclass(frozen=True, slots=True)
class StationSecurity:
    """How a station must prove itself, and how its newest connection did (0 nothing to 3 client certificate)."""

    security_profile: int
    requested_security_profile: int | None
    request_command_id: str | None
    request_status: str | None
    connection_security: int | None
    has_key: bool
    key_changed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Admission:
    """What the WebSocket upgrade needs to know of a station (ocpp.md §1)."""

    station_id: str
    serial_number: str
    status: AdminStatus
    registration_status: RegistrationStatus
    auth_key_hash: str | None
    allow_missing_subprotocol: bool
    answers_pings: bool
    heartbeat_interval_s: int | None
    meter_interval_s: int | None
    connection_epoch: int
    location_id: str | None
    security_profile: int = 0
    requested_security_profile: int | None = None
    credentials_version: int = 0
    candidate_keys: tuple[CandidateKey, ...] = ()


@dataclass(frozen=True, slots=True)
class BootInfo:
    """What a charger says of itself in BootNotification."""

    vendor: str | None = None
    model: str | None = None
    firmware_version: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    """All members of the message, as they came."""
    ocpp_protocol: str | None = None


@dataclass(frozen=True, slots=True)
class StatusReport:
    """A StatusNotification. Connector 0 is the station as a whole."""

    connector: int
    status: str
    epoch: int
    error_code: str | None = None
    info: str | None = None
    vendor_error_code: str | None = None
    charger_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class StoredStatus:
    """What is known of a connector (or station) when a report arrives."""

    ocpp_status: str
    error_code: str | None
    charger_at: datetime | None
    received_at: datetime | None
    epoch: int | None


@dataclass(frozen=True, slots=True)
class StatusChange:
    """What became of a StatusNotification. ``changed``: publish it to the locations stream after the commit."""

    station_id: str
    connector: int
    applied: bool
    changed: bool
    unexpected_connector: bool = False
    previous: str | None = None  # the charger's status before, where the report was applied


@dataclass(frozen=True, slots=True)
class Counts:
    """Connectors by word. ``faulted`` includes the unavailable ones."""

    total: int = 0
    available: int = 0
    occupied: int = 0
    faulted: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.total + other.total,
            self.available + other.available,
            self.occupied + other.occupied,
            self.faulted + other.faulted,
        )


@dataclass(frozen=True, slots=True)
class StationCounts:
    """Stations of a location by derived status."""

    total: int = 0
    available: int = 0
    occupied: int = 0
    offline: int = 0
    maintenance: int = 0


@dataclass(frozen=True, slots=True)
class ConnectorView:
    """A connector as shown. A free connector of a station that cannot be used is ``unavailable``."""

    number: int
    type: str | None
    status: ConnectorStatus
    available: bool
    power_kw: Decimal | None
    error: str | None


@dataclass(frozen=True, slots=True)
class StationView:
    """A station as shown in lists and on its own (T1-T3, L1, L2).

    ``counts.available`` counts only connectors that can be started now, so it is 0 while the station is offline or in
    maintenance; ``counts.total`` counts all.
    """

    station: Station
    location: Location | None
    status: StationStatus
    online: bool
    connectors: tuple[ConnectorView, ...]
    counts: Counts
    price_per_kwh: Decimal
    session_fee: Decimal
    currency: str

    @property
    def connector_types(self) -> tuple[str, ...]:
        return tuple(sorted({connector.type for connector in self.connectors if connector.type}))

    @property
    def power_kw(self) -> Decimal | None:
        """Rated power: the station's, else that of its strongest connector."""
        known = [connector.power_kw for connector in self.connectors if connector.power_kw is not None]
        return self.station.power_capacity or max(known, default=None)

    @property
    def available_for_charging(self) -> bool:
        return self.online and self.station.status is AdminStatus.ACTIVE and self.counts.available > 0


@dataclass(frozen=True, slots=True)
class LocationView:
    """A location as shown (L1, L2). ``stations`` are those that operators have not hidden."""

    location: Location
    status: LocationStatus
    station_counts: StationCounts
    counts: Counts
    stations: tuple[StationView, ...]


@dataclass(frozen=True, slots=True)
class StationStatusView:
    """Answer of T1/T3: the station and the status of its location."""

    view: StationView
    location_status: LocationStatus


@dataclass(frozen=True, slots=True)
class StationRef:
    """Names of a station for publishing a change."""

    station_id: str
    location_id: str | None
