"""Expected answers about credentials and certificates of chargers."""

from tests.integration.contract.expected_staff import data
from tests.integration.contract.shapes import FILLED, FLAG, INTEGER, MOMENT, TEXT, TRUE, nullable, one_of

STATION = "/api/v1/admin/stations/{station_id}"

SENT = {
    "id": FILLED,
    "action": FILLED,
    "status": one_of("queued", "sent", "accepted", "rejected", "failed", "timed_out", "expired"),
    "expires_at": MOMENT,
}
CREDENTIALS = data(
    {
        "station_id": FILLED,
        "security_profile": INTEGER,
        "requested_security_profile": nullable(INTEGER),
        "request_command_id": nullable(FILLED),
        "connection_security": nullable(INTEGER),
        "has_key": FLAG,
        "key_changed_at": nullable(MOMENT),
        "new_keys": [
            {
                "id": FILLED,
                "delivery": one_of("send", "by_hand"),
                "state": one_of("by_hand", "waiting", "accepted", "reboot_required", "unknown", "dead"),
                "command_id": nullable(FILLED),
                "created_by": FILLED,
                "created_at": MOMENT,
            }
        ],
    }
)
NEW_KEY = data({"new_key_id": FILLED, "command?": SENT, "key?": FILLED})
PROFILE = data({"security_profile": INTEGER, "requested_security_profile": nullable(INTEGER), "command?": SENT})
DONE = {"success": TRUE}
ISSUED = {
    "id": FILLED,
    "state": one_of("requested", "issued", "accepted", "rejected", "failed"),
    "subject": nullable(FILLED),
    "issuer": nullable(FILLED),
    "serial_number": nullable(FILLED),
    "not_before": nullable(MOMENT),
    "not_after": nullable(MOMENT),
    "command_id": nullable(FILLED),
    "error": nullable(TEXT),
    "requested_at": MOMENT,
    "issued_at": nullable(MOMENT),
    "answered_at": nullable(MOMENT),
    "used_at": nullable(MOMENT),
    "revoked_at": nullable(MOMENT),
}
CERTIFICATES = data(
    {
        "station_id": FILLED,
        "issued": [ISSUED],
        "installed": [
            {
                "id": FILLED,
                "certificate_type": one_of("CentralSystemRootCertificate", "ManufacturerRootCertificate"),
                "hash_algorithm": FILLED,
                "issuer_name_hash": FILLED,
                "issuer_key_hash": FILLED,
                "serial_number": FILLED,
                "subject": nullable(FILLED),
                "not_after": nullable(MOMENT),
                "seen_at": MOMENT,
            }
        ],
        "installed_read_at": nullable(MOMENT),
    }
)
COMMANDS_SENT = data({"commands": [SENT], "connected": FLAG})
REVOKED = data(ISSUED)

ROUTES = (
    ("K1", "GET", f"{STATION}/credentials", CREDENTIALS),
    ("K2", "POST", f"{STATION}/credentials/key", NEW_KEY),
    ("K3", "DELETE", f"{STATION}/credentials/key", DONE),
    ("K4", "DELETE", f"{STATION}/credentials/new-keys/{{new_key_id}}", DONE),
    ("K5", "PUT", f"{STATION}/credentials/security-profile", PROFILE),
    ("E1", "GET", f"{STATION}/certificates", CERTIFICATES),
    ("E2", "POST", f"{STATION}/certificates", COMMANDS_SENT),
    ("E3", "POST", f"{STATION}/certificates/refresh", COMMANDS_SENT),
    ("E4", "POST", f"{STATION}/certificates/renew", COMMANDS_SENT),
    ("E5", "DELETE", f"{STATION}/certificates/{{certificate_id}}", COMMANDS_SENT),
    ("E6", "POST", f"{STATION}/certificates/{{certificate_id}}/revoke", REVOKED),
)
NEVER_FILLED = {row: {".message"} for row in ("K1", "K2", "K5", "E1", "E2", "E3", "E4", "E5", "E6")} | {
    "E6": {".message", ".data.error"}
}
