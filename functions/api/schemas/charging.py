"""Charging (mobile-api.md §4.8: C1-C5; §4.9: H1)."""

from typing import Annotated, Any

from pydantic import Field

from functions.api.schemas.base import (
    AmountIn,
    Answer,
    EnergyIn,
    IdIn,
    Kwh,
    Moment,
    Number,
    Omit,
    RequestModel,
    ResponseModel,
    Som,
    strict_integer,
)


class StartBody(RequestModel):
    """C1. ``station_id`` is the id or the serial number; neither limit: until the balance ends."""

    station_id: IdIn
    connector_id: Annotated[int, strict_integer, Field(ge=1, le=100)] = 1
    energy_kwh: EnergyIn | None = None
    amount_som: AmountIn | None = None
    promo_code: Annotated[IdIn | None, Field(description="optional discount code")] = None
    client_id: Annotated[IdIn | None, Field(description="must be the caller; the token decides")] = None


class LegacyStartAnswer(Answer):
    """G1: the reserve is taken, the charger has been asked."""

    message: str | None
    error: str | None = None
    session_id: str
    station_id: str
    client_id: str
    connector_id: int
    energy_kwh: Kwh | None
    reserved_amount: Som
    limit_type: str
    limit_value: Number
    rate_per_kwh: Number
    session_fee: Som
    required_amount: Som
    current_balance: Som
    new_balance: Som
    estimated_cost: Som
    station_online: bool


class StartAnswer(LegacyStartAnswer):
    """C1: as G1, with the price's parts."""

    pricing: dict[str, Any]


class StopBody(RequestModel):
    """C2."""

    session_id: IdIn
    client_id: Annotated[IdIn | None, Field(description="must be the caller; the token decides")] = None


class StopAnswer(Answer):
    """C2, with the names of the app and of the earlier system.

    ``provisional``: the charger has not confirmed yet, so the figures are those of the last reading.
    """

    message: str | None
    error: str | None = None
    session_id: str
    station_id: str
    client_id: str
    status: str
    provisional: bool
    start_time: Moment
    stop_time: Moment | None
    energy_consumed: Kwh
    duration_minutes: Number
    rate_per_kwh: Number
    session_fee: Som
    reserved_amount: Som
    final_cost: Som
    actual_cost: Som
    refunded_amount: Som
    refund_amount: Som
    additional_charge: Som
    new_balance: Som
    station_online: bool


class SessionFigures(ResponseModel):
    """Members that the nested and the flat form of a session's status share."""

    session_id: str
    station_id: str
    client_id: str
    connector_id: int
    status: str
    start_time: Moment
    stop_time: Moment | None
    energy_consumed: Kwh
    energy_consumed_kwh: Kwh
    current_cost: Som
    cost: Som
    current_amount: Som
    reserved_amount: Som
    limit_type: str
    limit_value: Number
    limit_reached: bool
    limit_percentage: Number
    progress_percent: Number
    rate_per_kwh: Number
    session_fee: Som
    transaction_id: str | None
    ocpp_transaction_id: str | None
    ocpp_status: str | None
    meter_start: Omit[Number] = None
    meter_current: Omit[Number] = None
    duration_minutes: Number
    duration_seconds: int
    charging_duration_minutes: Number
    charging_power: Number
    power_kw: Number
    station_current: Omit[Number] = None
    station_voltage: Omit[Number] = None
    ev_battery_soc: Omit[Number] = None
    station_online: bool
    has_meter_data: bool
    message: Omit[str] = None


class NestedSession(SessionFigures):
    """The form that the app reads."""

    id: str
    energy_kwh: Kwh


class FlatSessionAnswer(SessionFigures):
    """G3: the form of older clients."""

    success: bool = True
    current_energy: Kwh
    final_amount_som: Omit[Som] = None
    amount_charged_som: Omit[Som] = None
    temperatures: Omit[dict[str, Number]] = None
    last_update: Moment | None
    error: str | None = None


class SessionStatusAnswer(FlatSessionAnswer):
    """C3, C5: the flat form, with the app's form in ``session``."""

    session: NestedSession


class HistoryLocation(ResponseModel):
    """Where a session took place."""

    name: str | None
    address: str | None


class HistoryStation(ResponseModel):
    """On which charger."""

    model: str | None
    location: HistoryLocation | None


class ChargingHistoryItem(ResponseModel):
    """C4, H1."""

    id: str
    station_id: str | None
    connector_id: int | None
    status: str | None
    energy_kwh: Kwh
    amount: Som
    started_at: Moment | None
    ended_at: Moment | None
    duration_minutes: Number
    limit_type: str
    limit_value: Number | None
    station: HistoryStation | None


class ChargingHistory(Answer):
    """C4: a page, newest first."""

    data: list[ChargingHistoryItem]
    total: int
    limit: int
    offset: int
