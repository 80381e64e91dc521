"""Screens of the staff: D1-D11, L6 (mobile-api.md §7.2). Nothing of the envelope is ever null."""

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from functions.api.schemas.base import (
    AmountIn,
    Answer,
    Kwh,
    Moment,
    Number,
    Omit,
    RequestModel,
    ResponseModel,
    Som,
    strict_number,
)
from functions.api.schemas.locations import LocationItem
from functions.api.strict_json import is_clean


def _clean_line(value: object) -> object:
    """Text without blanks around it that the database can hold."""
    if isinstance(value, str):
        if not is_clean(value):
            raise PydanticCustomError("string_type", "must not hold control data")
        return value.strip()
    return value


Line = Annotated[str, BeforeValidator(_clean_line)]
SearchIn = Annotated[Line, Field(max_length=100)]


# --- Dashboard ----------------------------------------------------------------------------------------------------


class StationNumbers(ResponseModel):
    """``error``: stations with a fault; they are counted as online or offline too."""

    total: int
    online: int
    offline: int
    error: int


class SessionNumbers(ResponseModel):
    """``today``: begun in the period."""

    active: int
    today: int


class TodayNumbers(ResponseModel):
    """Of the sessions that began in the period."""

    energy_kwh: Kwh
    revenue_som: Som


class Period(ResponseModel):
    """What the numbers are about: whole days of Bishkek, today included."""

    from_: Annotated[Moment, Field(serialization_alias="from")]
    to: Moment


class StatsData(ResponseModel):
    """D1."""

    stations: StationNumbers
    sessions: SessionNumbers
    today: TodayNumbers
    period: Period


class StatsAnswer(Answer):
    """D1."""

    data: StatsData


# --- Stations -----------------------------------------------------------------------------------------------------


class AdminConnector(ResponseModel):
    """``status``: Available, Charging, Occupied, Unavailable, Faulted."""

    id: str
    connector_number: int
    connector_type: str | None
    power_kw: Number | None
    status: str
    error_code: str | None


class AdminStation(ResponseModel):
    """D2, D3. ``is_available``: offered to drivers; whether it is online, the last heartbeat tells."""

    id: str
    serial_number: str | None
    model: str | None
    manufacturer: str | None
    location_id: str | None
    location_name: str | None
    location_address: str | None
    status: str
    is_available: bool
    power_capacity: Number | None
    price_per_kwh: Number | None
    session_fee: Som | None
    currency: str
    connectors_count: int
    connectors: list[AdminConnector]
    last_heartbeat_at: Moment | None
    firmware_version: str | None
    created_at: Moment | None
    updated_at: Moment | None


class StationsData(ResponseModel):
    """D2."""

    stations: list[AdminStation]
    total: int
    limit: int
    offset: int


class StationsAnswer(Answer):
    """D2."""

    data: StationsData


class StationAnswer(Answer):
    """D3."""

    data: AdminStation


def _places(places: int) -> AfterValidator:
    def check(value: Decimal) -> Decimal:
        if value != round(value, places):
            raise PydanticCustomError("decimal_max_places", "has too many decimals")
        return value

    return AfterValidator(check)


class StationChangeBody(RequestModel):
    """D4: all optional. ``is_available`` switches between ``active`` and ``maintenance``; prices are som.

    ``register_factor`` confirms that the station's energy registers count kWh (1000) where they say Wh (event
    ``register_unit_suspected``), or takes that back (1); it holds for transactions that begin later. Admins only.
    """

    status: Literal["active", "inactive", "maintenance"] | None = None
    is_available: Annotated[bool | None, Field(strict=True)] = None
    price_per_kwh: Annotated[Decimal, strict_number, Field(ge=0, le=10_000), _places(4)] | None = None
    session_fee: Annotated[Decimal, strict_number, Field(ge=0, le=100_000), _places(2)] | None = None
    register_factor: (
        Annotated[Literal[1, 1000], BeforeValidator(strict_number.func, json_schema_input_type=Literal[1, 1000])] | None
    ) = None


class StationChangeData(ResponseModel):
    """D4: what holds now."""

    id: str
    status: str
    is_available: bool
    price_per_kwh: Number | None
    session_fee: Som | None
    register_factor: int


class StationChangeAnswer(Answer):
    """D4."""

    data: StationChangeData


class RefreshedLocation(Answer):
    """L6."""

    message: str
    location: LocationItem


# --- Sessions -----------------------------------------------------------------------------------------------------


class AdminSession(ResponseModel):
    """D5-D7. ``amount_som`` is the final cost, or the cost so far."""

    id: str
    station_id: str
    station_name: str | None
    location_name: str | None
    location_address: str | None
    client_id: str
    client_email: str | None
    client_phone: str | None
    status: str
    energy_kwh: Kwh
    amount_som: Som
    duration_minutes: Number | None
    limit_type: str | None
    limit_value: Number | None
    start_time: Moment | None
    stop_time: Moment | None
    created_at: Moment | None


class SessionsData(ResponseModel):
    """D5, D6."""

    sessions: list[AdminSession]
    total: int
    limit: int
    offset: int


class SessionsAnswer(Answer):
    """D5, D6."""

    data: SessionsData


class SessionAnswer(Answer):
    """D7."""

    data: AdminSession


# --- Clients ------------------------------------------------------------------------------------------------------


class RecentSession(ResponseModel):
    """A session in D9."""

    id: str
    station_id: str
    status: str
    energy_kwh: Kwh
    amount_som: Som
    start_time: Moment | None
    stop_time: Moment | None


class AdminClient(ResponseModel):
    """D8, D9. ``status`` is ``active`` or ``blocked``; the sums are over the reader's own stations."""

    id: str
    name: str | None
    email: str | None
    phone: str | None
    balance: Som
    status: str
    sessions_count: int
    total_energy_kwh: Kwh
    total_spent_som: Som
    created_at: Moment | None
    updated_at: Moment | None
    anonymized: bool
    recent_sessions: Omit[list[RecentSession]] = None


class ClientsData(ResponseModel):
    """D8."""

    clients: list[AdminClient]
    total: int
    limit: int
    offset: int


class ClientsAnswer(Answer):
    """D8."""

    data: ClientsData


class ClientAnswer(Answer):
    """D9."""

    data: AdminClient


class BalanceBody(RequestModel):
    """D10: signed som, and why."""

    amount: AmountIn
    reason: Annotated[Line, Field(min_length=3, max_length=500)]


class BalanceData(ResponseModel):
    """D10."""

    client_id: str
    old_balance: Som
    new_balance: Som
    adjustment: Som
    reason: str


class BalanceChangeAnswer(Answer):
    """D10."""

    data: BalanceData


class StatusData(ResponseModel):
    """D11."""

    client_id: str
    old_status: str
    new_status: str


class StatusAnswer(Answer):
    """D11."""

    data: StatusData
