"""The index of mobile-api.md §3 with the shape of each route's success, and what varies from it.

Row, method, path (as FastAPI names it), shape. Y1 and G7, the webhook, are a function of their own.
"""

from typing import Any

from tests.integration.contract import expected_account as account
from tests.integration.contract import expected_commands as commands
from tests.integration.contract import expected_desk as desk
from tests.integration.contract import expected_driving as driving
from tests.integration.contract import expected_messages as messages
from tests.integration.contract import expected_security as security
from tests.integration.contract import expected_staff as staff
from tests.integration.contract import expected_state as state
from tests.integration.contract.shapes import OBJECT, TEXT, TRUE

V1 = "/api/v1"

ROUTES: tuple[tuple[str, str, str, Any], ...] = (
    ("S1", "GET", "/health", account.HEALTH),
    ("S2", "GET", "/readyz", account.READY),
    ("S3", "GET", "/version", account.VERSION),
    ("S4", "GET", "/", OBJECT),
    ("A1", "POST", f"{V1}/auth/send-otp", account.CODE_SENT),
    ("A2", "POST", f"{V1}/auth/verify-otp", account.SIGNED_IN),
    ("A3", "POST", f"{V1}/auth/refresh", account.REFRESHED),
    ("A4", "POST", f"{V1}/auth/logout", account.SUCCESS),
    ("A5", "GET", f"{V1}/auth/me", account.PROFILE),
    ("A6", "POST", f"{V1}/auth/delete-account", {"success": TRUE, "message?": TEXT}),
    ("A7", "POST", f"{V1}/auth/otp/send", account.CODE_SENT),
    ("A8", "POST", f"{V1}/auth/otp/verify", account.SIGNED_IN),
    ("A13", "POST", f"{V1}/auth/logout-all", account.SUCCESS),
    ("P1", "GET", f"{V1}/profile", account.PROFILE),
    ("P2", "POST", f"{V1}/account/delete-request", account.TOLD),
    ("B1", "POST", f"{V1}/balance/topup-qr", account.TOPUP),
    ("B2", "POST", f"{V1}/balance/topup-card", account.CARD_PAYMENT),
    ("B3", "GET", f"{V1}/balance/current", account.BALANCE),
    ("B4", "GET", f"{V1}/balance/history", driving.MONEY_HISTORY),
    ("B5", "GET", f"{V1}/balance/{{client_id}}", account.BALANCE),
    ("B7", "POST", f"{V1}/balance/h2h-payment", account.CARD_PAYMENT),
    ("B8", "POST", f"{V1}/balance/token-payment", account.CARD_PAYMENT),
    ("C1", "POST", f"{V1}/charging/start", driving.START),
    ("C2", "POST", f"{V1}/charging/stop", driving.STOP),
    ("C3", "GET", f"{V1}/charging/{{session_id}}", driving.STATUS),
    ("C4", "GET", f"{V1}/charging/history", driving.CHARGING_HISTORY),
    ("C5", "GET", f"{V1}/charging/status/{{session_id}}", driving.STATUS),
    ("Y2", "POST", f"{V1}/payment/h2h-create", account.CARD_PAYMENT),
    ("Y3", "GET", f"{V1}/payment/status", account.PAYMENT),
    ("Y4", "POST", f"{V1}/payment/token", account.CARD_TOKEN),
    ("Y5", "POST", f"{V1}/payment/check-status", account.PAYMENT),
    ("Y6", "GET", f"{V1}/payment/status/{{invoice_id}}", account.PAYMENT),
    ("Y7", "POST", f"{V1}/payment/status-check/{{invoice_id}}", account.CHECKED),
    ("Y8", "POST", f"{V1}/payment/h2h-payment", account.CARD_PAYMENT),
    ("Y9", "POST", f"{V1}/payment/token-payment", account.CARD_PAYMENT),
    ("Y10", "POST", f"{V1}/payment/create-token", account.CARD_TOKEN),
    ("Y11", "GET", f"{V1}/payment/h2h-status/{{transaction_id}}", account.CARD_STATUS),
    ("Y12", "POST", f"{V1}/payment/cancel/{{invoice_id}}", account.CANCELED),
    ("T1", "GET", f"{V1}/station/{{station_id}}/status", driving.STATION),
    ("T2", "GET", f"{V1}/stations", driving.STATIONS),
    ("T3", "GET", f"{V1}/station/status/{{station_id}}", driving.STATION),
    ("L1", "GET", f"{V1}/locations", driving.LOCATIONS),
    ("L2", "GET", f"{V1}/locations/{{location_id}}", driving.LOCATION),
    ("L6", "POST", f"{V1}/locations/{{location_id}}/refresh-status", staff.REFRESHED_LOCATION),
    ("F1", "GET", f"{V1}/favorites", driving.FAVORITES),
    ("F2", "POST", f"{V1}/favorites", driving.FAVORITE_ADDED),
    ("F3", "DELETE", f"{V1}/favorites/{{location_id}}", driving.FAVORITE_REMOVED),
    ("F4", "GET", f"{V1}/favorites/{{location_id}}/check", driving.FAVORITE_CHECK),
    ("F5", "POST", f"{V1}/favorites/{{location_id}}/toggle", driving.FAVORITE_TOGGLED),
    ("H1", "GET", f"{V1}/history/charging", driving.CHARGING_HISTORY),
    ("H2", "GET", f"{V1}/history/transactions", driving.MONEY_HISTORY),
    ("H3", "GET", f"{V1}/history/stats", driving.STATISTICS),
    ("N1", "POST", f"{V1}/devices/register", staff.DEVICE),
    ("N2", "POST", f"{V1}/devices/unregister", staff.DEVICE),
    ("N3", "POST", f"{V1}/clients/devices", staff.DEVICE),
    ("N4", "GET", f"{V1}/notifications/vapid-public-key", staff.VAPID_KEY),
    ("N5", "POST", f"{V1}/notifications/subscribe", staff.SUBSCRIBED),
    ("N6", "POST", f"{V1}/notifications/unsubscribe", account.TOLD),
    ("N7", "POST", f"{V1}/notifications/test", staff.TEST_SENT),
    ("D1", "GET", f"{V1}/admin/stats", staff.ADMIN_STATS),
    ("D2", "GET", f"{V1}/admin/stations", staff.ADMIN_STATIONS),
    ("D3", "GET", f"{V1}/admin/stations/{{station_id}}", staff.data(staff.ADMIN_STATION)),
    ("D4", "PUT", f"{V1}/admin/stations/{{station_id}}", staff.ADMIN_STATION_CHANGE),
    ("D5", "GET", f"{V1}/admin/sessions", staff.ADMIN_SESSIONS),
    ("D6", "GET", f"{V1}/admin/sessions/history", staff.ADMIN_SESSIONS),
    ("D7", "GET", f"{V1}/admin/sessions/{{session_id}}", staff.data(staff.ADMIN_SESSION)),
    ("D8", "GET", f"{V1}/admin/clients", staff.ADMIN_CLIENTS),
    ("D9", "GET", f"{V1}/admin/clients/{{client_id}}", staff.data(staff.ADMIN_CLIENT_IN_FULL)),
    ("D10", "PUT", f"{V1}/admin/clients/{{client_id}}/balance", staff.ADMIN_BALANCE),
    ("D11", "PUT", f"{V1}/admin/clients/{{client_id}}/status", staff.ADMIN_STATUS),
    ("D12", "GET", f"{V1}/admin/operators", staff.OPERATORS),
    ("D13", "POST", f"{V1}/admin/operators", staff.OPERATOR),
    ("D14", "DELETE", f"{V1}/admin/operators/{{operator_id}}", account.SUCCESS),
    ("D15", "POST", f"{V1}/admin/operators/{{operator_id}}/activate", account.SUCCESS),
    ("D16", "GET", f"{V1}/admin/users", staff.USERS),
    ("D17", "GET", f"{V1}/admin/users/{{user_id}}", staff.ONE_USER),
    ("D18", "POST", f"{V1}/admin/users", staff.ONE_USER),
    ("D19", "PUT", f"{V1}/admin/users/{{user_id}}", staff.ONE_USER),
    ("D20", "DELETE", f"{V1}/admin/users/{{user_id}}", account.SUCCESS),
    ("D21", "POST", f"{V1}/admin/users/{{user_id}}/activate", account.SUCCESS),
    *desk.ROUTES,
    *commands.ROUTES,
    *messages.ROUTES,
    *security.ROUTES,
    *state.ROUTES,
    ("G1", "POST", "/api/charging/start", driving.LEGACY_START),
    ("G2", "POST", "/api/charging/stop", driving.STOP),
    ("G3", "GET", "/api/charging/status/{session_id}", driving.LEGACY_STATUS),
    ("G4", "GET", "/api/station/status/{station_id}", driving.LEGACY_STATION),
    ("G5", "GET", "/api/payment/status/{invoice_id}", account.PAYMENT),
    ("G6", "POST", "/api/payment/status-check/{invoice_id}", account.LEGACY_CHECKED),
    ("G8", "GET", "/api/balance/{client_id}", account.BALANCE),
    ("G9", "POST", "/api/balance/topup-qr", account.TOPUP),
    ("G10", "POST", "/api/balance/topup-card", account.CARD_PAYMENT),
    ("G11", "POST", "/api/balance/h2h-payment", account.CARD_PAYMENT),
    ("G12", "POST", "/api/balance/token-payment", account.CARD_PAYMENT),
    ("G13", "POST", "/api/payment/create-token", account.CARD_TOKEN),
    ("G14", "POST", "/api/payment/h2h-payment", account.LEGACY_CARD_PAYMENT),
    ("G15", "POST", "/api/payment/token-payment", account.CARD_PAYMENT),
    ("G16", "GET", "/api/payment/h2h-status/{transaction_id}", account.LEGACY_CARD_STATUS),
    ("G17", "POST", "/api/payment/cancel/{invoice_id}", account.LEGACY_CANCELED),
)

# The same route has another shape for another caller or request.
VARIANTS: dict[str, Any] = {
    "A2 staff": account.STAFF_SIGNED_IN,
    "A8 staff": account.OWNER_SIGNED_IN,
    "A5 staff": account.STAFF_PROFILE,
    "P1 staff": account.STAFF_PROFILE,
    "Y4 payment": account.CARD_PAYMENT,
}

# Optional members that a success has no use for, by row: the app's schema would take them.
NEVER_FILLED: dict[str, set[str]] = {
    **desk.NEVER_FILLED,
    **security.NEVER_FILLED,
    **state.NEVER_FILLED,
    **commands.NEVER_FILLED,
    **messages.NEVER_FILLED,
    "C1": {".pricing.next_rate_change", ".pricing.tariff_plan_id", ".pricing.rule_id"},  # the station's own price
    "C3": {".session.message"},
    "C5": {".session.message"},
    "T1": {".message"},
    "T3": {".message"},
    "G4": {".message"},
    "F2": {".message"},
    "F3": {".message"},
    "D5": {".message", ".data.sessions[].stop_time"},  # they run
    **{row: {".message"} for row in ("D1", "D2", "D3", "D4", "D6", "D7", "D8", "D9", "D10", "D11")},
}
