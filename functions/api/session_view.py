"""A charging session as the wire shows it. Pure: the time is an argument."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from evpower.charging.models import LimitType, Session
from functions.api.schemas.charging import (
    ChargingHistoryItem,
    HistoryLocation,
    HistoryStation,
    NestedSession,
    SessionStatusAnswer,
)

_HUNDRED = Decimal(100)


@dataclass(frozen=True, slots=True)
class Figures:
    """What a session stands at: kWh, som, minutes; final once it has ended."""

    energy_kwh: Decimal
    cost: Decimal
    minutes: Decimal
    seconds: int
    progress_percent: Decimal


def figures(session: Session, now: datetime) -> Figures:
    """Energy with 3 decimals, cost with 2, minutes and percent with 1 (mobile-api.md §1.5)."""
    cost = session.amount if session.final_amount is None else session.final_amount
    elapsed = _charging_time(session, now)
    return Figures(
        energy_kwh=_rounded(session.energy_kwh, "0.001"),
        cost=cost,
        minutes=_rounded(Decimal(elapsed.total_seconds()) / 60, "0.1"),
        seconds=int(elapsed.total_seconds()),
        progress_percent=_progress(session, cost),
    )


def _charging_time(session: Session, now: datetime) -> timedelta:
    """From the begin of the transaction to its end; nothing before the car charges."""
    if session.charging_started_at is None:
        return timedelta(0)
    return max(timedelta(0), (session.stop_time or now) - session.charging_started_at)


def _progress(session: Session, cost: Decimal) -> Decimal:
    """Share of the limit, or of the reserve where there is no limit, at most 100."""
    if session.limit_type is LimitType.ENERGY:
        part, whole = session.energy_kwh, session.limit_value
    elif session.limit_type is LimitType.AMOUNT:
        part, whole = cost, session.limit_value
    else:
        part, whole = cost, session.reserved_amount
    return _rounded(min(_HUNDRED, part / whole * 100), "0.1") if whole > 0 else Decimal(0)


def _rounded(value: Decimal, places: str) -> Decimal:
    return value.quantize(Decimal(places), rounding=ROUND_HALF_UP)


def status_answer(session: Session, *, station_online: bool, now: datetime) -> SessionStatusAnswer:
    """C3, C5: both forms in one body."""
    at = figures(session, now)
    shared = _shared(session, at, station_online=station_online)
    ended = not session.state.live
    temperature = session.temperature_c
    return SessionStatusAnswer(
        **shared,
        session=NestedSession(**shared, id=session.id, energy_kwh=at.energy_kwh),
        current_energy=at.energy_kwh,
        final_amount_som=at.cost if ended else None,
        amount_charged_som=at.cost if ended else None,
        temperatures={"station_body": temperature} if temperature is not None and not ended else None,
        last_update=session.last_meter_at,
    )


def _shared(session: Session, at: Figures, *, station_online: bool) -> dict[str, Any]:
    live = session.state.live
    power_kw = _rounded((session.power_w or Decimal(0)) / 1000, "0.001") if live else Decimal(0)
    transaction_id = None if session.ocpp_transaction_id is None else str(session.ocpp_transaction_id)
    return {
        "session_id": session.id,
        "station_id": session.station_id,
        "client_id": session.client_id,
        "connector_id": session.connector_id,
        "status": session.status,
        "start_time": session.start_time,
        "stop_time": session.stop_time,
        "energy_consumed": at.energy_kwh,
        "energy_consumed_kwh": at.energy_kwh,
        "current_cost": at.cost,
        "cost": at.cost,
        "current_amount": at.cost,
        "reserved_amount": session.reserved_amount,
        "limit_type": session.limit_type.value,
        "limit_value": session.limit_value,
        "limit_reached": session.limit_reached,
        "limit_percentage": at.progress_percent,
        "progress_percent": at.progress_percent,
        "rate_per_kwh": session.price.rate_per_kwh,
        "session_fee": session.price.session_fee,
        "transaction_id": transaction_id,
        "ocpp_transaction_id": transaction_id,
        "ocpp_status": session.state.value,
        "meter_start": session.meter_start,
        "meter_current": session.meter_current,
        "duration_minutes": at.minutes,
        "duration_seconds": at.seconds,
        "charging_duration_minutes": at.minutes,
        "charging_power": power_kw,
        "power_kw": power_kw,
        "station_current": session.current_a if live else None,
        "station_voltage": session.voltage_v if live else None,
        "ev_battery_soc": session.soc_percent,
        "station_online": station_online,
        "has_meter_data": session.last_meter_at is not None,
    }


def history_item(row: dict[str, Any], now: datetime) -> ChargingHistoryItem:
    """C4, H1: one session of the list. Minutes count from the begin of the transaction, or of the request."""
    ended = row["stop_time"] or now
    minutes = _rounded(Decimal(max(0.0, (ended - row["start_time"]).total_seconds())) / 60, "0.1")
    location = None
    if row["location_name"] is not None:
        location = HistoryLocation(name=row["location_name"], address=row["location_address"])
    return ChargingHistoryItem(
        id=row["id"],
        station_id=row["station_id"],
        connector_id=row["connector_id"],
        status=row["status"],
        energy_kwh=row["energy"],
        amount=row["amount"],
        started_at=row["start_time"],
        ended_at=row["stop_time"],
        duration_minutes=minutes,
        limit_type=row["limit_type"],
        limit_value=row["limit_value"],
        station=HistoryStation(model=row["model"], location=location),
    )
