"""Who may do what, written by hand per group of routes (mobile-api.md §2, §3 "Auth", §7.1, §8).

An expectation is the HTTP status, with the error code for refusals. The requests are chosen so that an allowed caller
changes nothing that another case needs: where a success would, the request has a fault that only an allowed caller
gets to hear of.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.integration.matrix.callers import CALLERS, NOBODY, OWNER, STAFF

Expected = tuple[int, str | None]
OK: Expected = (200, None)
UNAUTHORIZED: Expected = (401, "unauthorized")
FORBIDDEN: Expected = (403, "forbidden")
BLOCKED: Expected = (403, "client_blocked")
DELETED: Expected = (403, "client_deleted")
NO_CLIENT: Expected = (404, "client_not_found")
NOT_FOUND: Expected = (404, "not_found")
INVALID: Expected = (422, "validation_error")

V1 = "/api/v1"


@dataclass(frozen=True)
class Case:
    """One route: how it is called, and who gets what."""

    method: str
    path: str
    expected: Mapping[str, Expected]
    body: Any = None
    fill: Mapping[str, str] = field(default_factory=dict)
    query: str = ""


def public(result: Expected = OK) -> dict[str, Expected]:
    """Everybody, and a credential that does not verify does no harm."""
    return dict.fromkeys(CALLERS, result)


def own(result: Expected = OK, **others: Expected) -> dict[str, Expected]:
    """The caller's own things. ``others``: other, blocked, deleted, staff, where they differ."""
    return {
        **dict.fromkeys(NOBODY, UNAUTHORIZED),
        **dict.fromkeys(OWNER, result),
        "other client": others.get("other", result),
        "blocked client": others.get("blocked", BLOCKED),
        "deleted client": others.get("deleted", DELETED),
        **dict.fromkeys(STAFF, others.get("staff", NO_CLIENT)),
        "master key": FORBIDDEN,
    }


def named(result: Expected = OK) -> dict[str, Expected]:
    """The request names the owner by its id: nobody else may, whoever they are."""
    return own(result, other=FORBIDDEN, blocked=FORBIDDEN, deleted=FORBIDDEN, staff=FORBIDDEN)


def owned(result: Expected = OK, **others: Expected) -> dict[str, Expected]:
    """The request names a session or payment of the owner. A blocked client may see its own, so it gets "not yours"."""
    return own(result, **{"other": FORBIDDEN, "blocked": FORBIDDEN, **others})


def staff(
    result: Expected = OK, *, outside: Expected = OK, operators: bool = True, admins: bool = True
) -> dict[str, Expected]:
    """Members of staff. ``outside``: for staff that the thing does not belong to.

    Signed requests are nobody's (the secret is held by other systems), former staff and clients have no business.
    """
    refused = dict.fromkeys((*OWNER, "other client", "blocked client", "deleted client", "former admin"), FORBIDDEN)
    return {
        **dict.fromkeys(NOBODY, UNAUTHORIZED),
        **refused,
        "operator": result if operators else FORBIDDEN,
        "other operator": outside if operators else FORBIDDEN,
        "admin": result if admins else FORBIDDEN,
        "other admin": outside if admins else FORBIDDEN,
        "superadmin": result,
        "master key": result,
    }


def managers(result: Expected = OK, *, outside: Expected | None = None) -> dict[str, Expected]:
    return staff(result, outside=outside or result, operators=False)


def superadmins(result: Expected = OK) -> dict[str, Expected]:
    return staff(result, operators=False, admins=False)


NO_STATION: Expected = (404, "station_not_found")
CARDS_OFF: Expected = (503, "h2h_not_available")
TOKENS_OFF: Expected = (503, "token_not_available")
CHARGES: Expected = (409, "session_already_active")
GONE: Expected = (409, "payment_not_processing")

# While there are no card payments, everybody who is somebody hears just that.
cards_off = own(CARDS_OFF, blocked=CARDS_OFF, deleted=CARDS_OFF, staff=CARDS_OFF)
tokens_off = own(TOKENS_OFF, blocked=TOKENS_OFF, deleted=TOKENS_OFF, staff=TOKENS_OFF)

STATION_PATH = {"station_id": "st-1"}
SESSION_PATH = {"session_id": "SESSION"}
INVOICE_PATH = {"invoice_id": "INVOICE"}
CLIENT_PATH = {"client_id": "client-a"}
CARD_PATH = {"card_id": "CARD"}
MESSAGE_PATH = {"message_id": "MESSAGE"}
STATION_ROUTE = f"{V1}/admin/stations/{{station_id}}"
COMMAND_PATH = {"station_id": "st-1", "command_id": "COMMAND"}
JOB_PATH = {"station_id": "st-1", "job_id": "JOB"}
FIRMWARE_PATH = {"firmware_id": "FIRMWARE"}
PROFILE_PATH = {"station_id": "st-1", "profile_id": "99999"}
NO_PROFILE = staff(NOT_FOUND, outside=NO_STATION)
TX_PROFILE = {
    "connector_id": 0,
    "purpose": "TxProfile",
    "kind": "Relative",
    "stack_level": 0,
    "schedule": {"unit": "W", "periods": [{"start_s": 0, "limit": 1}]},
}
CONFLICT: Expected = (409, "state_conflict")
NO_SESSION: Expected = (404, "session_not_found")
LOCATION_PATH = {"location_id": "loc-1"}
START = {"station_id": "none", "connector_id": 1}
OWNED_START = {**START, "client_id": "client-a"}
TOPUP = {"amount": 100}
OWNED_TOPUP = {**TOPUP, "client_id": "client-a"}
PHONE = {"fcm_token": "android-phone-1:APA91bExampleExampleExample", "platform": "android"}
# Active staff have a profile without being clients; closed accounts have none.
ACTIVE = {**own(staff=OK), "former admin": BLOCKED}
# The login of the own token has ended: a device would outlive it.
LIVE_LOGIN = {**own(), "owner with own token": UNAUTHORIZED}
EVERYBODY = own(blocked=OK, deleted=OK, staff=OK)

CASES: tuple[Case, ...] = (
    # System, stations and locations: public.
    Case("GET", "/health", public()),
    Case("GET", "/readyz", public()),
    Case("GET", "/version", public()),
    Case("GET", "/", public()),
    Case("GET", f"{V1}/station/status/{{station_id}}", public(), fill=STATION_PATH),
    Case("GET", f"{V1}/station/{{station_id}}/status", public(), fill=STATION_PATH),
    Case("GET", "/api/station/status/{station_id}", public(), fill=STATION_PATH),
    Case("GET", f"{V1}/stations", public()),
    Case("GET", f"{V1}/locations", public(), query="?include_stations=true"),
    Case("GET", f"{V1}/locations/{{location_id}}", public(), fill=LOCATION_PATH),
    Case("GET", f"{V1}/notifications/vapid-public-key", public()),
    # Login: public.
    Case("POST", f"{V1}/auth/send-otp", public(INVALID), {"phone": "1"}),
    Case("POST", f"{V1}/auth/otp/send", public(INVALID), {"phone": "1"}),
    Case("POST", f"{V1}/auth/verify-otp", public((401, "invalid_code")), {"phone": "+996700000099", "code": "000000"}),
    Case("POST", f"{V1}/auth/otp/verify", public((401, "invalid_code")), {"phone": "+996700000099", "code": "000000"}),
    Case("POST", f"{V1}/auth/refresh", public(UNAUTHORIZED), {"refresh_token": "unknown"}),
    Case("POST", f"{V1}/auth/logout", public(), {"refresh_token": "unknown"}),
    # The caller itself.
    Case("POST", f"{V1}/auth/logout-all", EVERYBODY),
    Case("GET", f"{V1}/auth/me", ACTIVE),
    Case("GET", f"{V1}/profile", ACTIVE),
    Case("POST", f"{V1}/auth/delete-account", own(CHARGES)),
    Case("POST", f"{V1}/account/delete-request", own(CHARGES)),
    # Balance and payments.
    Case("GET", f"{V1}/balance/current", own()),
    Case("GET", f"{V1}/balance/history", own()),
    Case("GET", f"{V1}/balance/{{client_id}}", named(), fill=CLIENT_PATH),
    Case("GET", "/api/balance/{client_id}", named(), fill=CLIENT_PATH),
    Case("POST", f"{V1}/balance/topup-qr", own(), TOPUP),
    Case("POST", "/api/balance/topup-qr", named(), OWNED_TOPUP),
    Case("GET", f"{V1}/payment/status", owned(), query="?invoice_id=INVOICE"),
    Case("GET", f"{V1}/payment/status/{{invoice_id}}", owned(), fill=INVOICE_PATH),
    Case("GET", "/api/payment/status/{invoice_id}", owned(), fill=INVOICE_PATH),
    Case("POST", f"{V1}/payment/check-status", owned(), {"invoice_id": "INVOICE"}),
    Case("POST", f"{V1}/payment/status-check/{{invoice_id}}", owned(GONE), fill=INVOICE_PATH),
    Case("POST", "/api/payment/status-check/{invoice_id}", owned((409, "payment_completed")), fill=INVOICE_PATH),
    Case(
        "POST",
        f"{V1}/payment/cancel/{{invoice_id}}",
        owned((409, "payment_not_cancellable")),
        fill=INVOICE_PATH,
    ),
    Case("POST", "/api/payment/cancel/{invoice_id}", owned((409, "cannot_cancel")), fill=INVOICE_PATH),
    *(
        Case("POST", path, cards_off, {})
        for path in (
            f"{V1}/balance/topup-card",
            f"{V1}/balance/h2h-payment",
            f"{V1}/payment/h2h-create",
            f"{V1}/payment/h2h-payment",
            "/api/balance/topup-card",
            "/api/balance/h2h-payment",
            "/api/payment/h2h-payment",
        )
    ),
    *(
        Case("GET", path, cards_off, fill={"transaction_id": "INVOICE"})
        for path in (f"{V1}/payment/h2h-status/{{transaction_id}}", "/api/payment/h2h-status/{transaction_id}")
    ),
    *(
        Case("POST", path, tokens_off, {})
        for path in (
            f"{V1}/balance/token-payment",
            f"{V1}/payment/token",
            f"{V1}/payment/token-payment",
            f"{V1}/payment/create-token",
            "/api/balance/token-payment",
            "/api/payment/token-payment",
            "/api/payment/create-token",
        )
    ),
    # Charging.
    Case("POST", f"{V1}/charging/start", own(CHARGES), START),
    Case("POST", "/api/charging/start", named(CHARGES), OWNED_START),
    Case("POST", f"{V1}/charging/stop", owned(), {"session_id": "SESSION"}),
    Case("POST", "/api/charging/stop", owned(), {"session_id": "SESSION"}),
    Case("GET", f"{V1}/charging/history", own()),
    Case("GET", f"{V1}/charging/{{session_id}}", owned(), fill=SESSION_PATH),
    Case("GET", f"{V1}/charging/status/{{session_id}}", owned(), fill=SESSION_PATH),
    Case("GET", "/api/charging/status/{session_id}", owned(), fill=SESSION_PATH),
    # Favourites, history, push.
    Case("GET", f"{V1}/favorites", own()),
    Case("POST", f"{V1}/favorites", own(), {"location_id": "loc-1"}),
    Case("DELETE", f"{V1}/favorites/{{location_id}}", own(), fill=LOCATION_PATH),
    Case("GET", f"{V1}/favorites/{{location_id}}/check", own(), fill=LOCATION_PATH),
    Case("POST", f"{V1}/favorites/{{location_id}}/toggle", own(), fill=LOCATION_PATH),
    Case("GET", f"{V1}/history/charging", own()),
    Case("GET", f"{V1}/history/transactions", own()),
    Case("GET", f"{V1}/history/stats", own()),
    Case("POST", f"{V1}/devices/register", LIVE_LOGIN, PHONE),
    Case("POST", f"{V1}/clients/devices", LIVE_LOGIN, PHONE),
    Case("POST", f"{V1}/devices/unregister", EVERYBODY, {"fcm_token": "unknown"}),
    Case("POST", f"{V1}/notifications/subscribe", own(INVALID, blocked=INVALID, deleted=INVALID, staff=INVALID), {}),
    Case(
        "POST",
        f"{V1}/notifications/unsubscribe",
        own(NOT_FOUND, blocked=NOT_FOUND, deleted=NOT_FOUND, staff=NOT_FOUND),
        {"endpoint": "https://push.example/unknown"},
    ),
    Case("POST", f"{V1}/notifications/test", EVERYBODY),
    # Staff: all roles, within their scope.
    Case("GET", f"{V1}/admin/stats", staff()),
    Case("GET", f"{V1}/admin/stations", staff()),
    Case("GET", f"{V1}/admin/stations/{{station_id}}", staff(outside=NO_STATION), fill=STATION_PATH),
    Case("PUT", f"{V1}/admin/stations/{{station_id}}", staff(outside=NO_STATION), {}, STATION_PATH),
    Case("POST", f"{V1}/locations/{{location_id}}/refresh-status", staff(outside=NOT_FOUND), fill=LOCATION_PATH),
    Case("GET", f"{V1}/admin/sessions", staff()),
    Case("GET", f"{V1}/admin/sessions/history", staff()),
    Case(
        "GET",
        f"{V1}/admin/sessions/{{session_id}}",
        staff(outside=(404, "session_not_found")),
        fill=SESSION_PATH,
    ),
    # Staff: admins and superadmins. Clients belong to the network.
    Case("GET", f"{V1}/admin/clients", managers()),
    Case("GET", f"{V1}/admin/clients/{{client_id}}", managers(), fill=CLIENT_PATH),
    Case("PUT", f"{V1}/admin/clients/{{client_id}}/balance", managers(), {"amount": 1, "reason": "test"}, CLIENT_PATH),
    Case("PUT", f"{V1}/admin/clients/{{client_id}}/status", managers(), fill=CLIENT_PATH, query="?status=active"),
    Case("GET", f"{V1}/admin/operators", managers()),
    Case("POST", f"{V1}/admin/operators", managers(INVALID), {"phone": ""}),
    Case(
        "DELETE",
        f"{V1}/admin/operators/{{operator_id}}",
        managers(outside=NOT_FOUND),
        fill={"operator_id": "spare-operator"},
    ),
    Case(
        "POST",
        f"{V1}/admin/operators/{{operator_id}}/activate",
        managers(outside=NOT_FOUND),
        fill={"operator_id": "spare-operator"},
    ),
    # Staff: superadmins.
    Case("GET", f"{V1}/admin/users", superadmins()),
    Case("POST", f"{V1}/admin/users", superadmins(INVALID), {"email": ""}),
    Case("GET", f"{V1}/admin/users/{{user_id}}", superadmins(), fill={"user_id": "spare-operator"}),
    Case("PUT", f"{V1}/admin/users/{{user_id}}", superadmins(), {"name": "New"}, {"user_id": "spare-operator"}),
    Case("DELETE", f"{V1}/admin/users/{{user_id}}", superadmins(), fill={"user_id": "spare-operator"}),
    Case("POST", f"{V1}/admin/users/{{user_id}}/activate", superadmins(), fill={"user_id": "spare-operator"}),
    # Staff's desk: cards are the network's, as its clients are; messages and sessions follow the station.
    Case("GET", f"{V1}/admin/id-tags", managers()),
    Case("POST", f"{V1}/admin/id-tags", managers(INVALID), {"id_tag": ""}),
    Case("GET", f"{V1}/admin/id-tags/{{card_id}}", managers(), fill=CARD_PATH),
    Case("PUT", f"{V1}/admin/id-tags/{{card_id}}", managers(), {"name": "New"}, CARD_PATH),
    Case("DELETE", f"{V1}/admin/id-tags/{{card_id}}", managers(NOT_FOUND), fill={"card_id": "999999"}),
    Case("GET", f"{V1}/admin/quarantined-messages", staff()),
    Case("GET", f"{V1}/admin/quarantined-messages/{{message_id}}", staff(outside=NOT_FOUND), fill=MESSAGE_PATH),
    Case(
        "POST",
        f"{V1}/admin/quarantined-messages/{{message_id}}/dismiss",
        staff(outside=NOT_FOUND),
        {"note": "of no use"},
        MESSAGE_PATH,
    ),
    Case(
        "POST",
        f"{V1}/admin/quarantined-messages/{{message_id}}/apply",
        managers(CONFLICT, outside=NOT_FOUND),
        {"transaction_id": 1, "note": "of another station"},
        MESSAGE_PATH,
    ),
    # The operators' hand: commands, one station in full, jobs; firmware files are their owner's.
    Case(
        "POST",
        f"{STATION_ROUTE}/commands",
        staff((202, None), outside=NO_STATION),
        {"action": "ClearCache"},
        STATION_PATH,
    ),
    Case("GET", f"{STATION_ROUTE}/commands", staff(outside=NO_STATION), fill=STATION_PATH),
    Case("GET", f"{STATION_ROUTE}/commands/{{command_id}}", staff(outside=NO_STATION), fill=COMMAND_PATH),
    Case("DELETE", f"{STATION_ROUTE}/commands/{{command_id}}", staff(CONFLICT, outside=NO_STATION), fill=COMMAND_PATH),
    Case("GET", f"{STATION_ROUTE}/detail", staff(outside=NO_STATION), fill=STATION_PATH),
    Case("GET", f"{STATION_ROUTE}/configuration", staff(outside=NO_STATION), fill=STATION_PATH),
    Case("GET", f"{STATION_ROUTE}/events", staff(outside=NO_STATION), fill=STATION_PATH),
    Case("GET", f"{STATION_ROUTE}/messages", staff(outside=NO_STATION), fill=STATION_PATH),
    Case(
        "POST",
        f"{STATION_ROUTE}/firmware-jobs",
        managers(outside=NO_STATION),
        {"location": "ftp://a.example/f"},
        STATION_PATH,
    ),
    Case(
        "POST",
        f"{STATION_ROUTE}/log-jobs",
        staff(outside=NO_STATION),
        {"type": "diagnostics", "location": "ftp://a.example/f"},
        STATION_PATH,
    ),
    Case("GET", f"{STATION_ROUTE}/jobs", staff(outside=NO_STATION), fill=STATION_PATH),
    Case("GET", f"{STATION_ROUTE}/jobs/{{job_id}}", staff(outside=NO_STATION), fill=JOB_PATH),
    Case("GET", f"{STATION_ROUTE}/jobs/{{job_id}}/file", staff(NOT_FOUND, outside=NO_STATION), fill=JOB_PATH),
    Case("GET", f"{V1}/admin/firmware", managers()),
    Case("POST", f"{V1}/admin/firmware", managers(INVALID), {"name": ""}),
    Case("GET", f"{V1}/admin/firmware/{{firmware_id}}", managers(outside=NOT_FOUND), fill=FIRMWARE_PATH),
    Case(
        "POST",
        f"{V1}/admin/firmware/{{firmware_id}}/confirm",
        managers(CONFLICT, outside=NOT_FOUND),
        fill=FIRMWARE_PATH,
    ),
    Case("DELETE", f"{V1}/admin/firmware/{{firmware_id}}", managers(outside=NOT_FOUND), fill=FIRMWARE_PATH),
    Case("GET", f"{V1}/admin/sessions/{{session_id}}/review", staff(outside=NO_SESSION), fill=SESSION_PATH),
    Case(
        "POST",
        f"{V1}/admin/sessions/{{session_id}}/review/adjust",
        managers(outside=NO_SESSION),
        {"amount": 1, "reason": "test"},
        SESSION_PATH,
    ),
    Case(
        "POST",
        f"{V1}/admin/sessions/{{session_id}}/review/close",
        staff(outside=NO_SESSION),
        {"note": "looked at"},
        SESSION_PATH,
    ),
    # What a charger keeps: reservations, its local list (managers: it lets people charge), charging profiles.
    Case("GET", f"{STATION_ROUTE}/reservations", staff(outside=NO_STATION), fill=STATION_PATH),
    Case(
        "POST",
        f"{STATION_ROUTE}/reservations",
        staff(INVALID, outside=NO_STATION),
        {"connector_id": 1, "id_tag": "CARD", "expires_at": "2026-01-15T06:00:00Z"},
        STATION_PATH,
    ),
    *(
        Case(
            method,
            f"{STATION_ROUTE}/reservations/{{reservation_id}}",
            staff(NOT_FOUND, outside=NO_STATION),
            fill={**STATION_PATH, "reservation_id": "99999"},
        )
        for method in ("GET", "DELETE")
    ),
    Case("GET", f"{STATION_ROUTE}/local-list", staff(outside=NO_STATION), fill=STATION_PATH),
    Case("GET", f"{STATION_ROUTE}/local-list/entries", staff(outside=NO_STATION), fill=STATION_PATH),
    Case(
        "PUT",
        f"{STATION_ROUTE}/local-list",
        managers(INVALID, outside=NO_STATION),
        {"enabled": True, "id_tags": ["NOBODYS"]},
        STATION_PATH,
    ),
    Case(
        "POST",
        f"{STATION_ROUTE}/local-list/entries",
        managers(INVALID, outside=NO_STATION),
        {"add": ["NOBODYS"]},
        STATION_PATH,
    ),
    Case("POST", f"{STATION_ROUTE}/local-list/sync", managers(outside=NO_STATION), {}, STATION_PATH),
    Case("POST", f"{STATION_ROUTE}/local-list/verify", staff((202, None), outside=NO_STATION), fill=STATION_PATH),
    Case("GET", f"{STATION_ROUTE}/charging-profiles", staff(outside=NO_STATION), fill=STATION_PATH),
    Case("POST", f"{STATION_ROUTE}/charging-profiles", staff(INVALID, outside=NO_STATION), TX_PROFILE, STATION_PATH),
    Case("POST", f"{STATION_ROUTE}/charging-profiles/clear", staff((202, None), outside=NO_STATION), {}, STATION_PATH),
    Case("GET", f"{STATION_ROUTE}/charging-profiles/{{profile_id}}", NO_PROFILE, fill=PROFILE_PATH),
    Case("PUT", f"{STATION_ROUTE}/charging-profiles/{{profile_id}}", NO_PROFILE, TX_PROFILE, PROFILE_PATH),
    Case("DELETE", f"{STATION_ROUTE}/charging-profiles/{{profile_id}}", NO_PROFILE, fill=PROFILE_PATH),
    Case("POST", f"{STATION_ROUTE}/charging-profiles/{{profile_id}}/resend", NO_PROFILE, fill=PROFILE_PATH),
    Case(
        "GET",
        f"{STATION_ROUTE}/composite-schedule",
        staff((202, None), outside=NO_STATION),
        fill=STATION_PATH,
        query="?connector=1&wait=0",
    ),
    # Staff: how chargers prove themselves; what changes credentials or certificates is for admins and superadmins.
    Case("GET", f"{V1}/admin/stations/{{station_id}}/credentials", staff(outside=NO_STATION), fill=STATION_PATH),
    Case(
        "POST",
        f"{V1}/admin/stations/{{station_id}}/credentials/key",
        managers(INVALID),
        {"delivery": "send", "key": "a-key-of-the-factory"},
        STATION_PATH,
    ),
    Case(
        "DELETE",
        f"{V1}/admin/stations/{{station_id}}/credentials/key",
        managers(outside=NO_STATION),
        fill=STATION_PATH,
    ),
    Case(
        "DELETE",
        f"{V1}/admin/stations/{{station_id}}/credentials/new-keys/{{new_key_id}}",
        managers(NOT_FOUND, outside=NO_STATION),
        fill={**STATION_PATH, "new_key_id": "none"},
    ),
    Case(
        "PUT",
        f"{V1}/admin/stations/{{station_id}}/credentials/security-profile",
        managers(outside=NO_STATION),
        {"security_profile": 0, "delivery": "record"},
        STATION_PATH,
    ),
    Case("GET", f"{V1}/admin/stations/{{station_id}}/certificates", staff(outside=NO_STATION), fill=STATION_PATH),
    Case(
        "POST",
        f"{V1}/admin/stations/{{station_id}}/certificates",
        managers(INVALID, outside=NO_STATION),
        {"certificate_type": "CentralSystemRootCertificate", "certificate": "none"},
        STATION_PATH,
    ),
    Case(
        "POST",
        f"{V1}/admin/stations/{{station_id}}/certificates/refresh",
        staff((202, None), outside=NO_STATION),
        fill=STATION_PATH,
    ),
    Case(
        "POST",
        f"{V1}/admin/stations/{{station_id}}/certificates/renew",
        managers((202, None), outside=NO_STATION),
        fill=STATION_PATH,
    ),
    Case(
        "DELETE",
        f"{V1}/admin/stations/{{station_id}}/certificates/{{certificate_id}}",
        managers(NOT_FOUND, outside=NO_STATION),
        fill={**STATION_PATH, "certificate_id": "none"},
    ),
    Case(
        "POST",
        f"{V1}/admin/stations/{{station_id}}/certificates/{{certificate_id}}/revoke",
        managers(NOT_FOUND, outside=NO_STATION),
        fill={**STATION_PATH, "certificate_id": "none"},
    ),
)
