"""Expected answers of stations, charging, favourites and history, as in mobile-api.md §4.7-4.9."""

from tests.integration.contract.shapes import (
    FILLED,
    FLAG,
    INTEGER,
    MOMENT,
    NUMBER,
    NUMBERS,
    OBJECT,
    TEXT,
    TRUE,
    nullable,
    one_of,
)

# --- §4.7 Stations and locations ----------------------------------------------------------------------------------

STATION_CONNECTOR = {
    "id": NUMBER,
    "type": TEXT,
    "status": TEXT,
    "available": FLAG,
    "power_kw?": NUMBER,
    "error?": nullable(TEXT),
}
LEGACY_STATION = {
    "success": TRUE,
    "station_id": FILLED,
    "serial_number": FILLED,
    "model": TEXT,
    "manufacturer": TEXT,
    "online": FLAG,
    "station_status": one_of("active", "inactive", "maintenance"),
    "location_status": TEXT,
    "available_for_charging": FLAG,
    "location_name": FILLED,
    "location_address": TEXT,
    "connectors": [STATION_CONNECTOR],
    "total_connectors": INTEGER,
    "available_connectors": INTEGER,
    "occupied_connectors": INTEGER,
    "faulted_connectors": INTEGER,
    "tariff_rub_kwh": NUMBER,
    "session_fee": NUMBER,
    "currency": TEXT,
    "working_hours": TEXT,
    "message?": nullable(TEXT),
}
STATION = {**LEGACY_STATION, "location_id": FILLED, "last_heartbeat_at?": nullable(MOMENT)}
STATION_WORDS = one_of("available", "occupied", "offline", "maintenance")
CONNECTOR_COUNTS = {"available": INTEGER, "occupied": INTEGER, "faulted": INTEGER, "total?": INTEGER}
LOCATION_STATION = {
    "id": FILLED,
    "serial_number": TEXT,
    "model": TEXT,
    "manufacturer": TEXT,
    "status": STATION_WORDS,
    "power_capacity": NUMBER,
    "connectors_count": NUMBER,
    "tariff": {"price_per_kwh": NUMBER, "session_fee": NUMBER, "currency": TEXT},
    "connectors_summary": CONNECTOR_COUNTS,
    "location_id?": TEXT,
}
LOCATION = {
    "id": FILLED,
    "name": TEXT,
    "address": TEXT,
    "city?": nullable(TEXT),
    "country?": nullable(TEXT),
    "coordinates": {"latitude": nullable(NUMBER), "longitude": nullable(NUMBER)},
    "status": one_of("available", "partial", "occupied", "maintenance", "offline"),
    "stations_summary": {
        "total": INTEGER,
        "available": INTEGER,
        "occupied": INTEGER,
        "offline": INTEGER,
        "maintenance": INTEGER,
    },
    "connectors_summary": CONNECTOR_COUNTS,
    "stations?": [LOCATION_STATION],
}
LOCATIONS = {"success": TRUE, "total": INTEGER, "locations": [LOCATION]}
STATIONS = {
    "success": TRUE,
    "total": INTEGER,
    "stations": [
        {
            **LOCATION_STATION,
            "location_id": TEXT,
            "connector_types": [TEXT],
            "is_available": FLAG,
            "last_heartbeat_at?": nullable(MOMENT),
        }
    ],
}

# --- §4.8 Charging ------------------------------------------------------------------------------------------------

_START = {
    "success": TRUE,
    "message?": nullable(TEXT),
    "error?": nullable(TEXT),
    "session_id": FILLED,
    "connector_id?": NUMBER,
    "reserved_amount?": NUMBER,
    "limit_type?": one_of("energy", "amount", "none"),
    "limit_value?": NUMBER,
    "rate_per_kwh?": NUMBER,
    "session_fee?": NUMBER,
    "required_amount?": NUMBER,
    "current_balance?": NUMBER,
    "station_id": TEXT,
    "client_id": TEXT,
    "energy_kwh?": nullable(NUMBER),
    "estimated_cost": NUMBER,
    "new_balance": NUMBER,
    "station_online": FLAG,
}
PRICING = {  # §9.1
    "rate_per_kwh": NUMBER,
    "rate_per_minute": NUMBER,
    "session_fee": NUMBER,
    "parking_fee_per_minute": NUMBER,
    "currency": TEXT,
    "active_rule": TEXT,
    "rule_details": OBJECT,
    "time_based": FLAG,
    "next_rate_change?": nullable(MOMENT),
    "tariff_plan_id?": nullable(TEXT),
    "rule_id?": nullable(TEXT),
}
START = {**_START, "pricing": PRICING}
SESSION = {
    "status": one_of("started", "stopped", "error"),
    "station_id": FILLED,
    "start_time": MOMENT,
    "id?": TEXT,
    "session_id?": TEXT,
    "connector_id?": NUMBER,
    "stop_time?": nullable(MOMENT),
    "energy_consumed?": NUMBER,
    "current_cost?": NUMBER,
    "reserved_amount?": NUMBER,
    "limit_type?": one_of("energy", "amount", "none"),
    "limit_value?": NUMBER,
    "limit_reached?": FLAG,
    "limit_percentage?": NUMBER,
    "rate_per_kwh?": NUMBER,
    "session_fee?": NUMBER,
    "ocpp_transaction_id?": nullable(TEXT),
    "transaction_id?": nullable(TEXT),
    "meter_start?": NUMBER,
    "meter_current?": NUMBER,
    "charging_duration_minutes?": NUMBER,
    "charging_power?": NUMBER,
    "station_current?": NUMBER,
    "station_voltage?": NUMBER,
    "ev_battery_soc?": NUMBER,
    "station_online?": FLAG,
    "client_id?": TEXT,
    "ocpp_status?": nullable(TEXT),
    "has_meter_data?": FLAG,
    "message?": TEXT,
    "energy_kwh": NUMBER,
    "current_amount": NUMBER,
    "power_kw": NUMBER,
    "duration_seconds": NUMBER,
    "progress_percent": NUMBER,
}
LEGACY_STATUS = {
    "success": TRUE,
    "session_id": TEXT,
    "status": TEXT,
    "station_id": TEXT,
    "energy_consumed?": NUMBER,
    "energy_consumed_kwh?": NUMBER,
    "current_energy": NUMBER,
    "current_cost?": NUMBER,
    "cost?": NUMBER,
    "current_amount?": NUMBER,
    "progress_percent?": NUMBER,
    "duration_minutes?": NUMBER,
    "charging_duration_minutes": NUMBER,
    "limit_type?": TEXT,
    "limit_value?": NUMBER,
    "rate_per_kwh?": NUMBER,
    "reserved_amount?": NUMBER,
    "meter_start?": NUMBER,
    "meter_current?": NUMBER,
    "charging_power?": NUMBER,
    "station_current?": NUMBER,
    "station_voltage?": NUMBER,
    "ev_battery_soc?": NUMBER,
    "ocpp_transaction_id?": nullable(TEXT),
    "transaction_id?": nullable(TEXT),
    "ocpp_status?": nullable(TEXT),
    "start_time?": MOMENT,
    "stop_time?": nullable(MOMENT),
    "last_update?": nullable(MOMENT),
    "error?": nullable(TEXT),
    "temperatures?": NUMBERS,
    "final_amount_som?": NUMBER,
    "amount_charged_som?": NUMBER,
}
STATUS = {**LEGACY_STATUS, "session": SESSION}
STOP = {
    "success": TRUE,
    "message?": nullable(TEXT),
    "error?": nullable(TEXT),
    "final_cost?": NUMBER,
    "energy_consumed?": NUMBER,
    "duration_minutes?": NUMBER,
    "refunded_amount?": NUMBER,
    "additional_charge?": NUMBER,
    "session_id": TEXT,
    "station_id": TEXT,
    "client_id": TEXT,
    "start_time": MOMENT,
    "stop_time": nullable(MOMENT),
    "rate_per_kwh": NUMBER,
    "reserved_amount": NUMBER,
    "actual_cost": NUMBER,
    "refund_amount": NUMBER,
    "new_balance": NUMBER,
    "station_online": FLAG,
}

LEGACY_START = _START

# --- §4.9 Favourites, history -------------------------------------------------------------------------------------

FAVORITES = {"success": TRUE, "favorites": [FILLED]}
FAVORITE_ADDED = {"success": TRUE, "message?": TEXT, "already_exists": FLAG}
FAVORITE_REMOVED = {"success": TRUE, "message?": TEXT}
FAVORITE_CHECK = {"success": TRUE, "is_favorite": FLAG}
FAVORITE_TOGGLED = {"success": TRUE, "is_favorite": FLAG, "action": one_of("added", "removed")}
PAGE = {"total": INTEGER, "limit": INTEGER, "offset": INTEGER}
CHARGING_HISTORY = {
    "success": TRUE,
    **PAGE,
    "data": [
        {
            "id": FILLED,
            "station_id": nullable(TEXT),
            "connector_id": nullable(INTEGER),
            "status": nullable(TEXT),
            "energy_kwh": NUMBER,
            "amount": NUMBER,
            "started_at": nullable(MOMENT),
            "ended_at": nullable(MOMENT),
            "duration_minutes": NUMBER,
            "limit_type": TEXT,
            "limit_value": nullable(NUMBER),
            "station": nullable(
                {
                    "model": nullable(TEXT),
                    "location": nullable({"name": nullable(TEXT), "address": nullable(TEXT)}),
                }
            ),
        }
    ],
}
MONEY_HISTORY = {
    "success": TRUE,
    **PAGE,
    "data": [
        {
            "id": TEXT,
            "transaction_type": TEXT,
            "amount": NUMBER,
            "requested_amount": NUMBER,
            "balance_before": nullable(NUMBER),
            "balance_after": nullable(NUMBER),
            "created_at": nullable(MOMENT),
            "completed_at": nullable(MOMENT),
            "status": nullable(TEXT),
            "payment_method": nullable(TEXT),
            "invoice_id": nullable(TEXT),
        }
    ],
}
STATISTICS = {
    "success": TRUE,
    "stats": {
        "total_sessions": INTEGER,
        "total_energy_kwh": NUMBER,
        "total_amount": NUMBER,
        "average_session_minutes": NUMBER,
    },
}
