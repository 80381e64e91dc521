"""Expected answers of the operators' hand: commands, one station in full, firmware and log jobs."""

from typing import Any

from tests.integration.contract.expected_staff import ADMIN_STATION, data
from tests.integration.contract.shapes import FILLED, FLAG, INTEGER, MOMENT, NUMBER, OBJECT, TEXT, nullable, one_of

ANY = lambda value: True  # noqa: E731 - what chargers send has any form
STATION = "/api/v1/admin/stations/{station_id}"

COMMAND = {
    "id": FILLED,
    "station_id": FILLED,
    "action": FILLED,
    "payload": OBJECT,
    "status": one_of("queued", "sent", "accepted", "rejected", "failed", "timed_out", "expired", "cancelled"),
    "attempt": INTEGER,
    "session_id": nullable(FILLED),
    "requested_by": FILLED,
    "correlation_id": nullable(FILLED),
    "created_at": MOMENT,
    "expires_at": MOMENT,
    "sent_at": nullable(MOMENT),
    "finished_at": nullable(MOMENT),
    "response": nullable(OBJECT),
    "error": nullable(TEXT),
}
ONE_COMMAND = data({"command": COMMAND, "done": FLAG, "connected": FLAG})
COMMANDS = data({"commands": [COMMAND], "next_cursor": nullable(FILLED)})

JOB = {
    "id": FILLED,
    "station_id": FILLED,
    "kind": one_of("firmware", "signed_firmware", "diagnostics", "log"),
    "state": one_of("requested", "accepted", "running", "succeeded", "failed", "rejected", "cancelled", "expired"),
    "request_id": nullable(INTEGER),
    "command_id": nullable(FILLED),
    "command_status": nullable(FILLED),
    "firmware_id": nullable(FILLED),
    "location": FILLED,
    "file_name": nullable(FILLED),
    "file_ready": FLAG,
    "log_type": nullable(FILLED),
    "charger_status": nullable(FILLED),
    "steps": [{"at": MOMENT, "status": FILLED}],
    "error": nullable(TEXT),
    "requested_by": FILLED,
    "created_at": MOMENT,
    "updated_at": MOMENT,
    "expires_at": MOMENT,
    "finished_at": nullable(MOMENT),
}
JOBS = data({"jobs": [JOB], "next_cursor": nullable(FILLED)})
LINK = {"url": FILLED, "method": one_of("GET", "PUT"), "headers": OBJECT, "expires_at": MOMENT}
JOB_FILE = data({"file_name": FILLED, "size_bytes": INTEGER, "stored_at": MOMENT, "link": LINK})

FIRMWARE = {
    "id": FILLED,
    "name": FILLED,
    "version": FILLED,
    "vendor": nullable(FILLED),
    "model": nullable(FILLED),
    "size_bytes": INTEGER,
    "sha256": FILLED,
    "is_signed": FLAG,
    "state": one_of("announced", "stored", "retired"),
    "created_by": FILLED,
    "created_at": MOMENT,
    "stored_at": nullable(MOMENT),
}
FIRMWARE_TO_UPLOAD = data({**FIRMWARE, "upload?": LINK})
FIRMWARE_FILES = data({"files": [FIRMWARE], "next_cursor": nullable(FILLED)})

EVENT = {
    "id": INTEGER,
    "type": FILLED,
    "severity": one_of("info", "warning", "error"),
    "connector": nullable(INTEGER),
    "payload": OBJECT,
    "charger_at": nullable(MOMENT),
    "received_at": MOMENT,
}
EVENTS = data({"events": [EVENT], "next_cursor": nullable(FILLED)})
KEY = {"key": FILLED, "value": nullable(TEXT), "is_readonly": FLAG, "is_unknown": FLAG, "read_at": MOMENT}
CONFIGURATION = {"keys": [KEY], "read_at": nullable(MOMENT), "next_cursor": nullable(FILLED)}
DETAIL = data(
    {
        "station": ADMIN_STATION,
        "ocpp_status": FILLED,
        "error_code": nullable(TEXT),
        "connection": {
            "connected": FLAG,
            "online": FLAG,
            "connected_since": nullable(MOMENT),
            "instance": nullable(FILLED),
            "epoch": INTEGER,
            "protocol": nullable(FILLED),
            "last_seen_at": nullable(MOMENT),
            "registration_status": one_of("accepted", "pending", "rejected"),
            "security_profile": INTEGER,
            "security": nullable(INTEGER),
            "heartbeat_interval_s": nullable(INTEGER),
            "meter_interval_s": nullable(INTEGER),
        },
        "boot": {
            "booted_at": nullable(MOMENT),
            "vendor": nullable(FILLED),
            "model": nullable(FILLED),
            "serial_number": nullable(FILLED),
            "charge_box_serial_number": nullable(FILLED),
            "firmware_version": nullable(FILLED),
            "iccid": nullable(FILLED),
            "imsi": nullable(FILLED),
            "meter_type": nullable(FILLED),
            "meter_serial_number": nullable(FILLED),
            "details": OBJECT,
        },
        "connectors": [
            {
                "number": INTEGER,
                "type": nullable(FILLED),
                "power_kw": nullable(NUMBER),
                "status": one_of("available", "occupied", "faulted", "unavailable"),
                "ocpp_status": FILLED,
                "error_code": nullable(TEXT),
                "info": nullable(TEXT),
                "vendor_error_code": nullable(TEXT),
                "charger_at": nullable(MOMENT),
                "received_at": nullable(MOMENT),
                "session": nullable(
                    {
                        "id": FILLED,
                        "client_id": FILLED,
                        "state": one_of("pending", "charging", "stopping"),
                        "id_tag": FILLED,
                        "transaction_id": nullable(INTEGER),
                        "energy_kwh": NUMBER,
                        "amount_som": NUMBER,
                        "started_at": nullable(MOMENT),
                        "last_reading_at": nullable(MOMENT),
                    }
                ),
            }
        ],
        "configuration": CONFIGURATION,
        "events": [EVENT],
        "commands": [COMMAND],
        "jobs": [JOB],
        "messages": [
            {
                "at": MOMENT,
                "direction": one_of("in", "out", "event"),
                "action": nullable(FILLED),
                "message_id": nullable(FILLED),
                "request": nullable(ANY),
                "response": nullable(ANY),
                "error": nullable(FILLED),
                "latency_ms": nullable(NUMBER),
                "is_truncated": FLAG,
            }
        ],
    }
)

ROUTES: tuple[tuple[str, str, str, Any], ...] = (
    ("OC1", "POST", f"{STATION}/commands", ONE_COMMAND),
    ("OC2", "GET", f"{STATION}/commands", COMMANDS),
    ("OC3", "GET", f"{STATION}/commands/{{command_id}}", ONE_COMMAND),
    ("OC4", "DELETE", f"{STATION}/commands/{{command_id}}", ONE_COMMAND),
    ("OD1", "GET", f"{STATION}/detail", DETAIL),
    ("OD2", "GET", f"{STATION}/configuration", data(CONFIGURATION)),
    ("OD3", "GET", f"{STATION}/events", EVENTS),
    ("OJ1", "POST", f"{STATION}/firmware-jobs", data(JOB)),
    ("OJ2", "POST", f"{STATION}/log-jobs", data(JOB)),
    ("OJ3", "GET", f"{STATION}/jobs", JOBS),
    ("OJ4", "GET", f"{STATION}/jobs/{{job_id}}", data(JOB)),
    ("OJ5", "GET", f"{STATION}/jobs/{{job_id}}/file", JOB_FILE),
    ("OF1", "POST", "/api/v1/admin/firmware", FIRMWARE_TO_UPLOAD),
    ("OF2", "GET", "/api/v1/admin/firmware", FIRMWARE_FILES),
    ("OF3", "GET", "/api/v1/admin/firmware/{firmware_id}", FIRMWARE_TO_UPLOAD),
    ("OF4", "POST", "/api/v1/admin/firmware/{firmware_id}/confirm", data(FIRMWARE)),
    ("OF5", "DELETE", "/api/v1/admin/firmware/{firmware_id}", data(FIRMWARE)),
)
_QUEUED = {f".data.command.{name}" for name in ("session_id", "sent_at", "finished_at", "response", "error")}
_NEW_JOB = {f".data.{name}" for name in ("charger_status", "error", "file_name", "finished_at")}
_STEPS = {".data.steps[].at", ".data.steps[].status"}
NEVER_FILLED: dict[str, set[str]] = {
    **{row: {".message"} for row, _, _, _ in ROUTES},
    "OC1": {".message", *_QUEUED},  # nothing has happened yet
    "OC4": {".message", ".data.command.session_id", ".data.command.sent_at", ".data.command.response"},
    "OJ1": {".message", ".data.log_type", *_NEW_JOB, *_STEPS},
    "OJ2": {".message", ".data.firmware_id", *_NEW_JOB, *_STEPS},
    "OF1": {".message", ".data.stored_at"},
    # A page of its own has more keys; open jobs have no end.
    "OD1": {".message", ".data.configuration.next_cursor"}
    | {f".data.jobs[].{name}" for name in ("finished_at", "error", "firmware_id")},
}
