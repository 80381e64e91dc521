"""Expected answers of system, login, balance and payments, as in mobile-api.md §4.1-4.6, §4.10."""

from tests.integration.contract.shapes import (
    FILLED,
    FLAG,
    INTEGER,
    JWT,
    MOMENT,
    NUMBER,
    OBJECT,
    TEXT,
    TRUE,
    nullable,
    one_of,
)

SUCCESS = {"success": TRUE}
TOLD = {"success": TRUE, "message": FILLED}

# --- §4.1 System --------------------------------------------------------------------------------------------------

HEALTH = {"status": one_of("healthy"), "service": TEXT, "version": TEXT, "redis": FLAG, "connected_stations": INTEGER}
READY = {"status": one_of("ready")}
VERSION = {"success": TRUE, "version": TEXT, "git_commit": TEXT, "build_time": TEXT}

# --- §4.2, §4.3 Login ---------------------------------------------------------------------------------------------

CODE_SENT = {
    "success": TRUE,
    "phone": FILLED,
    "expires_in_seconds": NUMBER,
    "resend_available_in_seconds": NUMBER,
    "message": TEXT,
}
CLIENT_USER = {
    "id": FILLED,
    "phone": nullable(TEXT),
    "name": nullable(TEXT),
    "balance": NUMBER,
    "status": one_of("active", "inactive", "blocked"),
    "created_at": nullable(MOMENT),
}
STAFF_USER = {
    "id": FILLED,
    "phone": nullable(TEXT),
    "email": nullable(TEXT),
    "role": one_of("operator", "admin", "superadmin"),
    "is_active": FLAG,
    "created_at": nullable(MOMENT),
}
_SIGNED_IN = {
    "success": TRUE,
    "access_token": JWT,
    "refresh_token": FILLED,
    "token_type": one_of("Bearer"),
    "expires_in": NUMBER,
    "is_new_user": FLAG,
    "message": TEXT,
    "user_id": FILLED,
}
SIGNED_IN = {**_SIGNED_IN, "user": CLIENT_USER, "user_type": one_of("client")}
STAFF_SIGNED_IN = {
    **_SIGNED_IN,
    "user": STAFF_USER,
    "user_type": one_of("admin"),
    "role": TEXT,
    "admin_id": nullable(TEXT),
}
OWNER_SIGNED_IN = {**STAFF_SIGNED_IN, "user_type": one_of("owner")}
REFRESHED = {"success": TRUE, "access_token": JWT, "expires_in": NUMBER}
PROFILE = {
    "success": TRUE,
    "user": CLIENT_USER,
    "user_type": one_of("client"),
    "client_id": FILLED,
    "email": nullable(TEXT),
    "phone": nullable(TEXT),
    "name": nullable(TEXT),
    "balance": NUMBER,
    "status": TEXT,
}
STAFF_PROFILE = {
    "success": TRUE,
    "user": STAFF_USER,
    "user_type": one_of("owner"),
    "user_id": FILLED,
    "role": TEXT,
    "is_active": FLAG,
    "admin_id": nullable(TEXT),
    "email": nullable(TEXT),
    "phone": nullable(TEXT),
    "name": nullable(TEXT),
    "stations_count": INTEGER,
    "locations_count": INTEGER,
    "client_id?": TEXT,
    "balance?": NUMBER,
    "status?": TEXT,
}

# --- §4.5 Balance -------------------------------------------------------------------------------------------------

BALANCE = {
    "success?": TRUE,
    "client_id?": FILLED,
    "balance": NUMBER,
    "current_balance?": NUMBER,
    "currency?": one_of("KGS"),
    "last_topup_at": nullable(MOMENT),
    "total_spent": nullable(NUMBER),
}
TOPUP = {
    "success": TRUE,
    "invoice_id?": FILLED,
    "order_id?": FILLED,
    "qr_code?": TEXT,
    "qr_code_url?": lambda value: isinstance(value, str) and value.startswith("http"),
    "app_link?": TEXT,
    "amount?": NUMBER,
    "client_id?": TEXT,
    "current_balance?": NUMBER,
    "qr_expires_at?": MOMENT,
    "invoice_expires_at?": MOMENT,
    "qr_lifetime_seconds?": one_of(300),
    "invoice_lifetime_seconds?": one_of(300),
    "error?": nullable(TEXT),
}
_BANK_STEP = {"acs_url?": TEXT, "md?": TEXT, "pa_req?": TEXT, "term_url?": TEXT}
CARD_PAYMENT = {
    "success": TRUE,
    "transaction_id": nullable(TEXT),
    "auth_key?": TEXT,
    "status": nullable(TEXT),
    "message": nullable(TEXT),
    "client_id?": TEXT,
    "current_balance?": NUMBER,
    "error": nullable(TEXT),
    **_BANK_STEP,
}
CARD_TOKEN = {
    "success": TRUE,
    "token_url": nullable(TEXT),
    "token_expires_in_days": nullable(INTEGER),
    "message": nullable(TEXT),
    "error": nullable(TEXT),
}

# --- §4.6 Payments ------------------------------------------------------------------------------------------------

PAYMENT = {
    "success": TRUE,
    "status?": one_of(0, 1, 2, 3, 4),
    "status_text?": TEXT,
    "amount?": NUMBER,
    "paid_amount?": nullable(NUMBER),
    "invoice_id?": TEXT,
    "can_proceed?": FLAG,
    "can_start_charging?": FLAG,
    "qr_expired?": FLAG,
    "invoice_expired?": FLAG,
    "qr_expires_at?": nullable(MOMENT),
    "invoice_expires_at?": nullable(MOMENT),
    "last_status_check_at?": nullable(MOMENT),
    "needs_callback_check?": FLAG,
    "error?": nullable(TEXT),
}
CHECKED = {"success": TRUE, "message": TEXT, "invoice_id": TEXT}
CANCELED = {"success": TRUE, "message": TEXT, "invoice_id": TEXT, "status": one_of("canceled")}
CARD_STATUS = {
    "success": TRUE,
    "transaction_id": TEXT,
    "invoice_id": TEXT,
    "status": one_of("pending", "approved", "canceled", "refunded", "unknown"),
    "client_id": TEXT,
    "amount": NUMBER,
}

# --- §4.10 Legacy differences -------------------------------------------------------------------------------------

LEGACY_CHECKED = {**CHECKED, "check_type": TEXT, "estimated_completion_seconds": NUMBER}
LEGACY_CANCELED = {
    **CANCELED,
    "client_id": TEXT,
    "amount": NUMBER,
    "previous_status": TEXT,
    "new_status": TEXT,
    "provider": TEXT,
}
_DETAIL = {"payment_id": TEXT, "status": TEXT, "final": FLAG, "detail": {"amount": NUMBER, **_BANK_STEP}}
LEGACY_CARD_PAYMENT = {**CARD_PAYMENT, **_DETAIL}
LEGACY_CARD_STATUS = {**CARD_STATUS, **_DETAIL, "detail": OBJECT}
