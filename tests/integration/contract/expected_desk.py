"""Expected answers of the staff's desk: cards, messages put aside, sessions for review."""

from tests.integration.contract.expected_staff import ADMIN_SESSION, data
from tests.integration.contract.shapes import FILLED, FLAG, INTEGER, MOMENT, NUMBER, OBJECT, TEXT, nullable, one_of

PAGE = {"total": INTEGER, "limit": INTEGER, "offset": INTEGER}

CARD = {
    "id": INTEGER,
    "id_tag": FILLED,
    "client_id": nullable(FILLED),
    "client_name": nullable(TEXT),
    "client_phone": nullable(TEXT),
    "status": one_of("active", "blocked"),
    "expires_at": nullable(MOMENT),
    "parent_id_tag": nullable(FILLED),
    "name": nullable(TEXT),
    "last_used_at": nullable(MOMENT),
    "created_at": MOMENT,
    "updated_at": MOMENT,
}
CARDS = data({**PAGE, "id_tags": [CARD]})
ONE_CARD = data(CARD)
CARD_REMOVED = data({"id": INTEGER, "deleted": FLAG, "status": one_of("active", "blocked")})

MESSAGE = {
    "id": INTEGER,
    "station_id": FILLED,
    "action": FILLED,
    "reason": FILLED,
    "repeat_count": INTEGER,
    "received_at": MOMENT,
    "last_received_at": MOMENT,
    "resolved_at": nullable(MOMENT),
    "resolved_by": nullable(TEXT),
    "resolved_as": nullable(one_of("dismissed", "applied", "automatic")),
    "resolution": nullable(TEXT),
    "resolved_transaction_id": nullable(INTEGER),
}
MESSAGES = data({**PAGE, "messages": [MESSAGE]})
MESSAGE_IN_FULL = data(
    {
        **MESSAGE,
        "payload": OBJECT,
        "candidates": [
            {
                "transaction_id": INTEGER,
                "session_id": nullable(FILLED),
                "connector_id": INTEGER,
                "id_tag": FILLED,
                "status": one_of("active", "stopped", "ended_without_stop"),
                "meter_start": NUMBER,
                "meter_stop": nullable(NUMBER),
                "started_at": MOMENT,
                "received_at": MOMENT,
            }
        ],
    }
)
MESSAGE_RESOLVED = data(MESSAGE)
MESSAGE_APPLIED = data(
    {
        "message": MESSAGE,
        "transaction_id": INTEGER,
        "session_id": nullable(FILLED),
        "settlement_revision": nullable(INTEGER),
        "final_amount_som": nullable(NUMBER),
        "repeated": FLAG,
    }
)

ACT = {
    "id": INTEGER,
    "action": one_of("adjust", "close", "apply_stop"),
    "actor": FILLED,
    "note": FILLED,
    "amount": nullable(NUMBER),
    "ledger_id": nullable(INTEGER),
    "quarantined_message_id": nullable(INTEGER),
    "created_at": MOMENT,
}
REVIEW = data(
    {
        "session": ADMIN_SESSION,
        "needs_review": FLAG,
        "reasons": [FILLED],
        "start_source": one_of("app", "rfid"),
        "id_tag": FILLED,
        "stop_reason": nullable(TEXT),
        "stop_initiator": nullable(TEXT),
        "energy_kwh": NUMBER,
        "meter": {
            "start": nullable(NUMBER),
            "current": nullable(NUMBER),
            "candidate": nullable(NUMBER),
            "energy_wh": NUMBER,
            "readings": {
                "count": INTEGER,
                "flagged": INTEGER,
                "first_at": nullable(MOMENT),
                "last_at": nullable(MOMENT),
                "lowest_wh": nullable(NUMBER),
                "highest_wh": nullable(NUMBER),
                "flags": [FILLED],
            },
        },
        "money": {"reserved": NUMBER, "taken": NUMBER, "written_off": NUMBER},
        "transactions": [
            {
                "transaction_id": INTEGER,
                "connector_id": INTEGER,
                "id_tag": FILLED,
                "id_tag_status": FILLED,
                "status": one_of("active", "stopped", "ended_without_stop"),
                "meter_start": NUMBER,
                "meter_stop": nullable(NUMBER),
                "started_at": MOMENT,
                "received_at": MOMENT,
                "stopped_at": nullable(MOMENT),
                "stop_received_at": nullable(MOMENT),
                "stop_reason": nullable(TEXT),
                "ended_by": nullable(FILLED),
                "guess_state": nullable(one_of("waiting", "used", "refuted", "superseded", "withdrawn")),
                "guessed_meter_stop": nullable(NUMBER),
                "review_reason": nullable(TEXT),
            }
        ],
        "settlements": [
            {
                "revision": INTEGER,
                "source": FILLED,
                "energy_wh": NUMBER,
                "minutes": NUMBER,
                "due_amount": NUMBER,
                "taken_before": NUMBER,
                "taken_after": NUMBER,
                "written_off": NUMBER,
                "created_at": MOMENT,
            }
        ],
        "ledger": [
            {
                "id": INTEGER,
                "transaction_type": FILLED,
                "amount": NUMBER,
                "balance_before": NUMBER,
                "balance_after": NUMBER,
                "description": nullable(TEXT),
                "actor": nullable(TEXT),
                "created_at": MOMENT,
            }
        ],
        "acts": [ACT],
    }
)
ADJUSTED = data(
    {
        "session_id": FILLED,
        "client_id": FILLED,
        "old_balance": NUMBER,
        "new_balance": NUMBER,
        "adjustment": NUMBER,
        "act": ACT,
    }
)
CLOSED = data({"session_id": FILLED, "needs_review": FLAG, "closed": FLAG})

V1 = "/api/v1"
ROUTES = (
    ("I1", "GET", f"{V1}/admin/id-tags", CARDS),
    ("I2", "POST", f"{V1}/admin/id-tags", ONE_CARD),
    ("I3", "GET", f"{V1}/admin/id-tags/{{card_id}}", ONE_CARD),
    ("I4", "PUT", f"{V1}/admin/id-tags/{{card_id}}", ONE_CARD),
    ("I5", "DELETE", f"{V1}/admin/id-tags/{{card_id}}", CARD_REMOVED),
    ("Q1", "GET", f"{V1}/admin/quarantined-messages", MESSAGES),
    ("Q2", "GET", f"{V1}/admin/quarantined-messages/{{message_id}}", MESSAGE_IN_FULL),
    ("Q3", "POST", f"{V1}/admin/quarantined-messages/{{message_id}}/dismiss", MESSAGE_RESOLVED),
    ("Q4", "POST", f"{V1}/admin/quarantined-messages/{{message_id}}/apply", MESSAGE_APPLIED),
    ("R1", "GET", f"{V1}/admin/sessions/{{session_id}}/review", REVIEW),
    ("R2", "POST", f"{V1}/admin/sessions/{{session_id}}/review/adjust", ADJUSTED),
    ("R3", "POST", f"{V1}/admin/sessions/{{session_id}}/review/close", CLOSED),
)

# Members that no flow fills: what makes a session's own transaction doubtful is written at its session.
NEVER_FILLED: dict[str, set[str]] = {
    **{row: {".message"} for row, *_ in ROUTES},
    "I2": {".message", ".data.last_used_at"},
    "Q3": {".message", ".data.resolved_transaction_id"},
    "R1": {
        ".message",
        ".data.transactions[].review_reason",
        ".data.transactions[].ended_by",
        ".data.transactions[].guess_state",
        ".data.transactions[].guessed_meter_stop",
        ".data.session.limit_value",
    },
    "R2": {".message", ".data.act.quarantined_message_id"},
}
