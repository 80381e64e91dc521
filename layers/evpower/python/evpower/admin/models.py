"""Staff, what they may see, and the rows of their screens. Money som, energy kWh, power kW, times aware UTC."""

from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from typing import Generic, TypeVar

T = TypeVar("T")


class Role(StrEnum):
    """Column ``users.role``."""

    OPERATOR = "operator"
    ADMIN = "admin"
    SUPERADMIN = "superadmin"


@dataclass(frozen=True, slots=True)
class Scope:
    """Which stations, and so which sessions, somebody may see: all, or those of one owner.

    A station is an owner's by ``stations.user_id``, ``locations.user_id`` or ``locations.admin_id``.
    """

    everything: bool
    owner_id: str = ""
    """Empty: nobody's, so nothing."""


@dataclass(frozen=True, slots=True)
class StaffMember:
    """A member of staff who is calling."""

    id: str
    role: Role
    scope: Scope

    @property
    def is_superadmin(self) -> bool:
        return self.role is Role.SUPERADMIN


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A page of a list, and how many items there are on all pages."""

    items: tuple[T, ...]
    total: int


@dataclass(frozen=True, slots=True)
class Slice:
    """Which part of a list is wanted."""

    limit: int
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Stats:
    """Numbers of the dashboard (D1). ``faulted`` stations are among the online and offline ones.

    Sessions are those that began in the period; revenue is what was collected for the ended ones.
    """

    stations: int
    online: int
    faulted: int
    active_sessions: int
    sessions: int
    energy_kwh: Decimal
    revenue: Decimal
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class StationConnector:
    """A connector of a station. ``status`` is the derived word, ``ocpp_status`` the charger's own."""

    id: int
    connector_number: int
    connector_type: str | None
    power_kw: Decimal | None
    status: str
    ocpp_status: str
    error_code: str | None

    @property
    def label(self) -> str:
        """The word that the staff screens count: Available, Charging, Occupied, Unavailable, Faulted."""
        if self.status == "occupied":
            return "Charging" if self.ocpp_status == "Charging" else "Occupied"
        return self.status.capitalize()


@dataclass(frozen=True, slots=True)
class StationRecord:
    """A station as staff see it."""

    id: str
    serial_number: str
    model: str | None
    manufacturer: str | None
    location_id: str | None
    location_name: str | None
    location_address: str | None
    status: str
    power_capacity: Decimal | None
    price_per_kwh: Decimal | None
    session_fee: Decimal | None
    currency: str
    connectors_count: int
    last_heartbeat_at: datetime | None
    firmware_version: str | None
    created_at: datetime
    updated_at: datetime
    connectors: tuple[StationConnector, ...] = ()
    register_factor: int = 1  # Wh that its registers count where they say 1

    @property
    def is_offered(self) -> bool:
        """Whether operators let drivers use it: ``is_available`` of the staff screens.

        Not the column of that name, which says whether the charger is reachable: the screens tell that from the last
        heartbeat, and send ``is_available`` back unchanged with every edit. A charger that happened to be offline
        while its price was edited must not stay switched off for it.
        """
        return self.status == "active"


@dataclass(frozen=True, slots=True)
class StationChange:
    """An edit of a station; ``None`` leaves a member as it is."""

    status: str | None = None
    is_available: bool | None = None
    price_per_kwh: Decimal | None = None
    session_fee: Decimal | None = None
    register_factor: int | None = None

    def status_after(self, station: StationRecord) -> str:
        """The new status. The form sends all members, so the one that differs from what is stored is meant.

        ``is_available`` switches between active and maintenance; ``status`` decides when both differ.
        """
        if self.status is not None and self.status != station.status:
            return self.status
        if self.is_available is None or self.is_available == station.is_offered:
            return station.status
        return "active" if self.is_available else "maintenance"


@dataclass(frozen=True, slots=True)
class StationFilter:
    """D2. ``status`` may be ``error``: faulted stations."""

    status: str | None = None
    location_id: str | None = None
    is_online: bool | None = None


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """A session as staff see it; ``amount`` is the final cost, or the cost so far."""

    id: str
    station_id: str
    station_name: str
    location_name: str | None
    location_address: str | None
    client_id: str
    client_email: str | None
    client_phone: str | None
    status: str
    energy_kwh: Decimal
    amount: Decimal
    limit_type: str
    limit_value: Decimal
    charging_started_at: datetime | None
    start_time: datetime
    stop_time: datetime | None
    created_at: datetime

    def minutes(self, now: datetime) -> Decimal | None:
        """How long the car was charging, to 0.1; ``None`` before the transaction has begun."""
        if self.charging_started_at is None:
            return None
        seconds = max(0.0, ((self.stop_time or now) - self.charging_started_at).total_seconds())
        return (Decimal(seconds) / 60).quantize(Decimal("0.1"), rounding=ROUND_HALF_UP)


@dataclass(frozen=True, slots=True)
class SessionFilter:
    """D5, D6. ``station_ref`` is an id or serial number; times bound the begin of the session."""

    station_ref: str | None = None
    status: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    needs_review: bool = False


@dataclass(frozen=True, slots=True)
class ClientRecord:
    """A client as staff see it. The sums are over sessions at the reader's own stations."""

    id: str
    name: str | None
    email: str | None
    phone: str | None
    balance: Decimal
    status: str
    anonymized: bool
    created_at: datetime
    updated_at: datetime
    sessions_count: int
    total_energy_kwh: Decimal
    total_spent: Decimal


@dataclass(frozen=True, slots=True)
class UserRecord:
    """A staff member as managers see it."""

    id: str
    email: str | None
    phone: str | None
    name: str | None
    role: Role
    is_active: bool
    admin_id: str | None
    created_at: datetime
    stations_count: int
    locations_count: int


@dataclass(frozen=True, slots=True)
class UserFilter:
    """D16."""

    role: Role | None = None
    search: str | None = None
    is_active: bool | None = None


@dataclass(frozen=True, slots=True)
class NewUser:
    """A staff account to be made. ``password_hash`` as :func:`evpower.admin.passwords.hash_password` makes it."""

    role: Role
    email: str | None = None
    phone: str | None = None
    name: str | None = None
    admin_id: str | None = None
    password_hash: str | None = None
