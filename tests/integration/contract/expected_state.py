"""Expected answers about what chargers keep: reservations, local list, charging profiles."""

from typing import Any

from tests.integration.contract.expected_staff import data
from tests.integration.contract.shapes import FILLED, FLAG, INTEGER, MOMENT, NUMBER, OBJECT, nullable, one_of

STATION = "/api/v1/admin/stations/{station_id}"
PAGE = {"total": INTEGER, "limit": INTEGER, "offset": INTEGER}

RESERVATION = {
    "reservation_id": INTEGER,
    "station_id": FILLED,
    "connector_id": INTEGER,
    "id_tag": FILLED,
    "parent_id_tag": nullable(FILLED),
    "client_id": nullable(FILLED),
    "is_for_app": FLAG,
    "state": one_of("requested", "accepted", "rejected", "used", "cancelled", "expired", "failed"),
    "refusal": nullable(FILLED),
    "cancelling": FLAG,
    "expires_at": MOMENT,
    "command_id": nullable(FILLED),
    "cancel_command_id": nullable(FILLED),
    "transaction_id": nullable(INTEGER),
    "session_id": nullable(FILLED),
    "requested_by": FILLED,
    "created_at": MOMENT,
    "updated_at": MOMENT,
    "ended_at": nullable(MOMENT),
}
ONE_RESERVATION = data(RESERVATION)
RESERVATIONS = data({**PAGE, "reservations": [RESERVATION]})

LIST = data(
    {
        "station_id": FILLED,
        "enabled": FLAG,
        "selection": one_of("chosen", "all_active"),
        "state": one_of("idle", "sending", "verifying", "synced", "failed"),
        "failure": nullable(FILLED),
        "version": INTEGER,
        "held_version": INTEGER,
        "told_version": nullable(INTEGER),
        "told_at": nullable(MOMENT),
        "wanted": INTEGER,
        "held": INTEGER,
        "differs": FLAG,
        "enabled_at_charger": nullable(FLAG),
        "max_length": nullable(INTEGER),
        "part_length": nullable(INTEGER),
        "command_id": nullable(FILLED),
        "synced_at": nullable(MOMENT),
        "updated_at": MOMENT,
        "parts": [
            {
                "list_version": INTEGER,
                "update_type": one_of("Full", "Differential"),
                "entries": INTEGER,
                "state": one_of("waiting", "sent", "accepted", "refused"),
                "answer": nullable(FILLED),
                "command_id": nullable(FILLED),
            }
        ],
    }
)
ENTRIES = data(
    {
        **PAGE,
        "entries": [{"id_tag": FILLED, "chosen": FLAG, "wanted": nullable(OBJECT), "held": nullable(OBJECT)}],
    }
)

CONTENT = {
    "kind": one_of("Absolute", "Recurring", "Relative"),
    "recurrency_kind": nullable(one_of("Daily", "Weekly")),
    "valid_from": nullable(MOMENT),
    "valid_to": nullable(MOMENT),
    "schedule": {
        "unit": one_of("W", "A"),
        "periods": [{"start_s": INTEGER, "limit": NUMBER, "phases": nullable(INTEGER)}],
        "duration_s": nullable(INTEGER),
        "starts_at": nullable(MOMENT),
        "min_rate": nullable(NUMBER),
    },
}
PROFILE = {
    "profile_id": INTEGER,
    "station_id": FILLED,
    "connector_id": INTEGER,
    "purpose": one_of("ChargePointMaxProfile", "TxDefaultProfile", "TxProfile"),
    "stack_level": INTEGER,
    "transaction_id": nullable(INTEGER),
    "state": one_of("requested", "active", "rejected", "failed", "cleared", "ended"),
    "refusal": nullable(FILLED),
    "asking": FLAG,
    "clearing": FLAG,
    "profile": nullable(CONTENT),
    "wanted": nullable(CONTENT),
    "command_id": nullable(FILLED),
    "clear_command_id": nullable(FILLED),
    "requested_by": FILLED,
    "created_at": MOMENT,
    "updated_at": MOMENT,
    "ended_at": nullable(MOMENT),
}
ONE_PROFILE = data(PROFILE)
PROFILES = data({**PAGE, "profiles": [PROFILE]})
CLEARED = data(
    {
        "command_id": FILLED,
        "status": one_of("queued", "sent", "accepted", "rejected", "failed", "timed_out"),
        "answer": nullable(FILLED),
        "live_profile_ids": [INTEGER],
    }
)
LIMITED = [{"start_s": INTEGER, "limit": nullable(NUMBER)}]
COMPOSITE = data(
    {
        "command_id": FILLED,
        "status": one_of("queued", "sent", "accepted", "rejected", "failed", "timed_out"),
        "error": nullable(FILLED),
        "connector_id": INTEGER,
        "starts_at": MOMENT,
        "duration_s": INTEGER,
        "unit": one_of("W", "A"),
        "told": nullable(LIMITED),
        "expected": LIMITED,
        "agrees": nullable(FLAG),
        "differences": [{"start_s": INTEGER, "expected": nullable(NUMBER), "told": nullable(NUMBER)}],
    }
)

ROUTES: tuple[tuple[str, str, str, Any], ...] = (
    ("RV1", "POST", f"{STATION}/reservations", ONE_RESERVATION),
    ("RV2", "GET", f"{STATION}/reservations", RESERVATIONS),
    ("RV3", "GET", f"{STATION}/reservations/{{reservation_id}}", ONE_RESERVATION),
    ("RV4", "DELETE", f"{STATION}/reservations/{{reservation_id}}", ONE_RESERVATION),
    ("LL1", "GET", f"{STATION}/local-list", LIST),
    ("LL2", "PUT", f"{STATION}/local-list", LIST),
    ("LL3", "GET", f"{STATION}/local-list/entries", ENTRIES),
    ("LL4", "POST", f"{STATION}/local-list/entries", LIST),
    ("LL5", "POST", f"{STATION}/local-list/sync", LIST),
    ("LL6", "POST", f"{STATION}/local-list/verify", LIST),
    ("SC1", "POST", f"{STATION}/charging-profiles", ONE_PROFILE),
    ("SC2", "GET", f"{STATION}/charging-profiles", PROFILES),
    ("SC3", "POST", f"{STATION}/charging-profiles/clear", CLEARED),
    ("SC4", "GET", f"{STATION}/charging-profiles/{{profile_id}}", ONE_PROFILE),
    ("SC5", "PUT", f"{STATION}/charging-profiles/{{profile_id}}", ONE_PROFILE),
    ("SC6", "DELETE", f"{STATION}/charging-profiles/{{profile_id}}", ONE_PROFILE),
    ("SC7", "POST", f"{STATION}/charging-profiles/{{profile_id}}/resend", ONE_PROFILE),
    ("SC8", "GET", f"{STATION}/composite-schedule", COMPOSITE),
)

# A reservation that is just asked for has not been used or cancelled; one that is being cancelled was not used.
NEVER_FILLED: dict[str, set[str]] = {
    **{row: {".message"} for row, *_ in ROUTES},
    "RV1": {".message", ".data.cancel_command_id", ".data.transaction_id", ".data.session_id"},
    "RV4": {".message", ".data.transaction_id", ".data.session_id"},
    "SC1": {".message", ".data.clear_command_id"},
    "SC3": {".message", ".data.answer"},  # no charger answers there
    "SC5": {".message", ".data.ended_at"},
    "SC7": {".message", ".data.ended_at"},
}
