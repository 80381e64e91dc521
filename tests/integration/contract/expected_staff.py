"""Expected answers of devices and staff, as in mobile-api.md §6, §7."""

from typing import Any

from tests.integration.contract import expected_driving as driving
from tests.integration.contract.shapes import (
    FILLED,
    FLAG,
    INTEGER,
    MOMENT,
    NUMBER,
    TEXT,
    TRUE,
    nullable,
    one_of,
)

# --- §6 Push ------------------------------------------------------------------------------------------------------

DEVICE = {"success": TRUE, "message?": TEXT}
VAPID_KEY = {"success": TRUE, "data": {"public_key": FILLED}}
SUBSCRIBED = {"success": TRUE, "message": TEXT, "subscription_id": FILLED}
TEST_SENT = {"success": TRUE, "sent_to": INTEGER, "message": TEXT}

# --- §7 Admin -----------------------------------------------------------------------------------------------------


def data(shape: Any) -> dict[str, Any]:
    return {"success": TRUE, "data": shape, "error?": TEXT, "message?": TEXT}


ADMIN_STATS = data(
    {
        "stations": {"total": INTEGER, "online": INTEGER, "offline": INTEGER, "error": INTEGER},
        "sessions": {"active": INTEGER, "today": INTEGER},
        "today": {"energy_kwh": NUMBER, "revenue_som": NUMBER},
        "period": {"from": MOMENT, "to": MOMENT},
    }
)
ADMIN_STATION = {
    "id": FILLED,
    "serial_number": nullable(TEXT),
    "model": nullable(TEXT),
    "manufacturer": nullable(TEXT),
    "location_id": nullable(TEXT),
    "location_name": nullable(TEXT),
    "location_address": nullable(TEXT),
    "status": one_of("active", "inactive", "maintenance", "error"),
    "is_available": FLAG,
    "power_capacity": nullable(NUMBER),
    "price_per_kwh": nullable(NUMBER),
    "session_fee": nullable(NUMBER),
    "currency": TEXT,
    "connectors_count": INTEGER,
    "connectors": [
        {
            "id": FILLED,
            "connector_number": INTEGER,
            "connector_type": nullable(TEXT),
            "power_kw": nullable(NUMBER),
            "status": one_of("Available", "Charging", "Occupied", "Unavailable", "Faulted"),
            "error_code": nullable(TEXT),
        }
    ],
    "last_heartbeat_at": nullable(MOMENT),
    "firmware_version?": nullable(TEXT),
    "created_at": nullable(MOMENT),
    "updated_at": nullable(MOMENT),
}
ADMIN_STATIONS = data({**driving.PAGE, "stations": [ADMIN_STATION]})
ADMIN_STATION_CHANGE = data(
    {
        "id": FILLED,
        "status": one_of("active", "inactive", "maintenance"),
        "is_available": FLAG,
        "price_per_kwh": nullable(NUMBER),
        "session_fee": nullable(NUMBER),
        "register_factor": one_of(1, 1000),
    }
)
ADMIN_SESSION = {
    "id": FILLED,
    "station_id": FILLED,
    "station_name": nullable(TEXT),
    "location_name": nullable(TEXT),
    "location_address": nullable(TEXT),
    "client_id": FILLED,
    "client_email": nullable(TEXT),
    "client_phone": nullable(TEXT),
    "status": one_of("started", "stopped", "error"),
    "energy_kwh": NUMBER,
    "amount_som": NUMBER,
    "duration_minutes": nullable(NUMBER),
    "limit_type": nullable(TEXT),
    "limit_value": nullable(NUMBER),
    "start_time": nullable(MOMENT),
    "stop_time": nullable(MOMENT),
    "created_at": nullable(MOMENT),
}
ADMIN_SESSIONS = data({**driving.PAGE, "sessions": [ADMIN_SESSION]})
ADMIN_CLIENT = {
    "id": FILLED,
    "name": nullable(TEXT),
    "email": nullable(TEXT),
    "phone": nullable(TEXT),
    "balance": NUMBER,
    "status": one_of("active", "blocked"),
    "sessions_count": INTEGER,
    "total_energy_kwh": NUMBER,
    "total_spent_som": NUMBER,
    "created_at": nullable(MOMENT),
    "updated_at": nullable(MOMENT),
    "anonymized": FLAG,
}
ADMIN_CLIENT_IN_FULL = {
    **ADMIN_CLIENT,
    "recent_sessions?": [
        {
            "id": FILLED,
            "station_id": FILLED,
            "status": one_of("started", "stopped", "error"),
            "energy_kwh": NUMBER,
            "amount_som": NUMBER,
            "start_time": nullable(MOMENT),
            "stop_time": nullable(MOMENT),
        }
    ],
}
ADMIN_CLIENTS = data({**driving.PAGE, "clients": [ADMIN_CLIENT]})
ADMIN_BALANCE = data(
    {"client_id": FILLED, "old_balance": NUMBER, "new_balance": NUMBER, "adjustment": NUMBER, "reason": TEXT}
)
ADMIN_STATUS = data({"client_id": FILLED, "old_status": TEXT, "new_status": one_of("active", "blocked")})
OPERATOR = {"id": FILLED, "phone": TEXT, "name": nullable(TEXT), "is_active": FLAG}
OPERATORS = {"success": TRUE, "operators": [OPERATOR]}
USER = {
    "id": FILLED,
    "email": TEXT,
    "role": one_of("operator", "admin", "superadmin"),
    "is_active": FLAG,
    "name": nullable(TEXT),
    "created_at": nullable(MOMENT),
    "stations_count": INTEGER,
    "locations_count": INTEGER,
    "phone": nullable(TEXT),
    "admin_id": nullable(TEXT),
}
USERS = {"success": TRUE, "users": [USER], "total": INTEGER, "page": INTEGER, "per_page": INTEGER}
ONE_USER = {"success": TRUE, "user": USER}
REFRESHED_LOCATION = {"success": TRUE, "message": TEXT, "location": driving.LOCATION}
