"""What operators' routes refuse, they explain: what is wrong, with which value, and what to do instead."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from evpower.charging import service as charging
from evpower.charging.models import StartTransaction
from evpower.clock import iso_z
from evpower.commands import service as commands
from evpower.commands.models import CommandStatus
from tests.fakes.file_store import MemoryFileStore
from tests.integration.functions.api import staff_world
from tests.integration.functions.api.conftest import CLIENT, OTHER, STATION, Api
from tests.integration.functions.api.desk_world import CARDS, NOTE, TAG, card, start
from tests.integration.functions.api.staff_world import FIRST, FIRST_OPERATOR, ROOT

ONE = f"/api/v1/admin/stations/{STATION}"
PROFILE: dict[str, Any] = {
    "connector_id": 1,
    "purpose": "TxDefaultProfile",
    "kind": "Relative",
    "stack_level": 0,
    "schedule": {"unit": "W", "periods": [{"start_s": 0, "limit": 11000}]},
}


@pytest.fixture
async def staff(api: Api) -> Api:
    await staff_world.build(api)
    api.deps.files = MemoryFileStore(api.deps.clock)
    return api


def soon(api: Api, **ahead: float) -> str:
    return iso_z(api.deps.clock.now() + timedelta(**(ahead or {"hours": 1})))


# Method, path, body, field, and a part of its sentence. `{soon}` is an hour ahead.
WRONG: tuple[tuple[str, str, Any, str, str], ...] = (
    ("POST", "commands", {"action": "Restart"}, "action", "must be one of RemoteStartTransaction"),
    ("POST", "commands", {"type": "Soft"}, "action", "is missing; one of RemoteStart"),
    ("POST", "commands", {"action": "Reset", "type": "Warm"}, "type", "'Hard' or 'Soft'"),
    ("POST", "commands", {"action": "Reset", "typ": "Soft"}, "type", "required"),
    ("POST", "commands?wait=21", {"action": "Reset", "type": "Soft"}, "wait", "less than or equal to 20"),
    ("GET", "commands?limit=101", None, "limit", "less than or equal to 100"),
    ("GET", "commands?action=Rest", None, "action", "must be one of 'RemoteStartTransaction', "),
    ("GET", "commands?status=lost", None, "status", "'queued'"),
    ("POST", "reservations", {"connector_id": 1, "expires_at": "{soon}"}, "body", "needs either id_tag or client_id"),
    (
        "POST",
        "reservations",
        {"connector_id": 1, "expires_at": "{soon}", "id_tag": "A", "client_id": "c"},
        "body",
        "not both",
    ),
    (
        "POST",
        "reservations",
        {"connector_id": 1, "expires_at": "{soon}", "expires_in_s": 60, "id_tag": "A"},
        "body",
        "not both",
    ),
    ("POST", "reservations", {"connector_id": 101, "expires_at": "{soon}", "id_tag": "A"}, "connector_id", "100"),
    ("POST", "reservations", {"connector_id": 1, "expires_at": "tomorrow", "id_tag": "A"}, "expires_at", "date"),
    ("POST", "log-jobs", {"type": "all"}, "type", "'diagnostics'"),
    (
        "POST",
        "log-jobs",
        {"type": "diagnostics", "oldest": "2026-01-16T00:00:00Z", "latest": "2026-01-15T00:00:00Z"},
        "body",
        "oldest must not be after latest",
    ),
    ("GET", "messages?since=2026-01-16&until=2026-01-15", None, "until", "since must not be after until"),
    ("GET", "events?date_from=2026-01-16&date_to=2026-01-15", None, "date_to", "date_from must not be after date_to"),
    ("GET", "messages?since=2026-01-15T12:00:00+06:00", None, "since", "%2B"),
    ("POST", "firmware-jobs", {}, "body", "needs firmware_id or location"),
    ("POST", "charging-profiles", {**PROFILE, "kind": "Daily"}, "kind", "'Absolute'"),
    ("POST", "local-list/entries", {"add": ["with blank"]}, "add.0", "printable ASCII without blanks"),
    ("POST", "credentials/key", {"key": "short"}, "key", "at least 16 characters"),
    ("PUT", "credentials/security-profile", {"security_profile": 4}, "security_profile", "3"),
    ("POST", "certificates", {"certificate_type": "Root", "certificate": "x"}, "certificate_type", "'Central"),
)


@pytest.mark.parametrize(("method", "path", "body", "field", "part"), WRONG, ids=lambda value: str(value)[:40])
async def test_a_wrong_member_is_told_with_what_is_allowed(
    staff: Api, method: str, path: str, body: Any, field: str, part: str
) -> None:
    if isinstance(body, dict) and body.get("expires_at") == "{soon}":
        body = {**body, "expires_at": soon(staff)}
    refused = await staff.fails(method, f"{ONE}/{path}", body, client=FIRST, status=422, code="validation_error")
    details = {item["field"]: item["detail"] for item in refused["fields"]}
    assert part in details[field], details


# What the station has not, and what it is told by.
ABSENT: tuple[tuple[str, str, Any, str, str], ...] = (
    ("GET", "reservations/77", None, "not_found", "no such reservation"),
    ("DELETE", "reservations/77", None, "not_found", "no such reservation"),
    ("GET", "charging-profiles/77", None, "not_found", "no such charging profile"),
    ("DELETE", "charging-profiles/77", None, "not_found", "no such charging profile"),
    ("PUT", "charging-profiles/77", PROFILE, "not_found", "no such charging profile"),
    ("POST", "charging-profiles/77/resend", None, "not_found", "no such charging profile"),
    ("POST", "charging-profiles", {**PROFILE, "connector_id": 9}, "connector_not_found", "no connector 9"),
    ("GET", "composite-schedule?connector=9", None, "connector_not_found", "no connector 9"),
    ("GET", "commands/none", None, "not_found", "no such command"),
    ("DELETE", "commands/none", None, "not_found", "no such command"),
    ("GET", "jobs/none", None, "not_found", "no such job"),
    ("DELETE", "certificates/none", None, "not_found", "no such certificate"),
    ("POST", "certificates/none/revoke", None, "not_found", "no such certificate"),
    ("DELETE", "credentials/new-keys/none", None, "not_found", "no such key"),
    ("GET", "/api/v1/admin/id-tags/77", None, "not_found", "no such card"),
    ("PUT", "/api/v1/admin/id-tags/77", {"name": "Key ring"}, "not_found", "no such card"),
    ("DELETE", "/api/v1/admin/id-tags/77", None, "not_found", "no such card"),
    ("GET", "/api/v1/admin/quarantined-messages/77", None, "not_found", "no such message"),
    ("POST", "/api/v1/admin/quarantined-messages/77/dismiss", NOTE, "not_found", "no such message"),
    ("GET", "/api/v1/admin/firmware/none", None, "not_found", "no such firmware file"),
)


@pytest.mark.parametrize(("method", "path", "body", "code", "part"), ABSENT, ids=lambda value: str(value)[:40])
async def test_what_is_not_there_is_named(staff: Api, method: str, path: str, body: Any, code: str, part: str) -> None:
    url = path if path.startswith("/") else f"{ONE}/{path}"
    assert part in (await staff.fails(method, url, body, client=ROOT, status=404, code=code))["reason"]


async def test_a_reservation_of_a_connector_that_is_not_there(staff: Api) -> None:
    body = {"connector_id": 9, "client_id": CLIENT, "expires_at": soon(staff)}
    refused = await staff.fails(
        "POST", f"{ONE}/reservations", body, client=FIRST, status=404, code="connector_not_found"
    )
    assert (refused["field"], refused["reason"]) == ("connector_id", "the station has no connector 9")


async def test_a_command_that_cannot_be_taken_back_says_how_far_it_is(staff: Api) -> None:
    sent = await staff.call("POST", f"{ONE}/commands", {"action": "ClearCache"}, client=FIRST)
    command_id = sent.json()["data"]["command"]["id"]
    path = f"{ONE}/commands/{command_id}"
    now = staff.deps.clock.now()
    async with staff.db.transaction() as conn:
        command = await commands.claim(conn, command_id, staff.epoch, "test-instance", now)
    assert command is not None
    refused = await staff.fails("DELETE", path, client=FIRST, status=409, code="state_conflict")
    assert (refused["status"], "written to the charger" in refused["reason"]) == ("sent", True)
    async with staff.db.transaction() as conn:
        assert await commands.finish(conn, command, CommandStatus.ACCEPTED, now)
    refused = await staff.fails("DELETE", path, client=FIRST, status=409, code="state_conflict")
    assert (refused["status"], "it has ended" in refused["reason"]) == ("accepted", True)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("DELETE FROM id_tags", "no client has a card"),
        ("UPDATE id_tags SET status = 'blocked'", "the card is blocked"),
        ("UPDATE id_tags SET expires_at = '2020-01-01Z'", "the card has expired"),
        ("UPDATE clients SET status = 'blocked'", "account is blocked"),
        ("UPDATE clients SET balance = 3", "less than 10 som"),
        ("UPDATE stations SET status = 'maintenance'", "out of service"),
    ],
)
async def test_a_start_by_a_tag_that_may_not_charge_says_why(staff: Api, change: str, why: str) -> None:
    await card(staff)
    await staff.sql(change)
    body = {"action": "RemoteStartTransaction", "idTag": TAG, "connectorId": 1}
    refused = await staff.fails("POST", f"{ONE}/commands", body, client=FIRST, status=422, code="validation_error")
    assert (refused["field"], why in refused["reason"]) == ("idTag", True), refused


async def test_a_card_that_charges_here_starts_no_second_charge(staff: Api) -> None:
    """Its own charge it may stop, so the charger would begin, and what flowed until the refusal nobody would pay."""
    await card(staff)
    async with staff.db.transaction() as conn:
        now = staff.deps.clock.now()
        begin = StartTransaction(STATION, 1, TAG, Decimal(0), now, now, staff.epoch)
        assert (await charging.start_transaction(conn, begin)).id_tag_status == "Accepted"
    for connector in (1, 2):
        body = {"action": "RemoteStartTransaction", "idTag": TAG, "connectorId": connector}
        refused = await staff.fails("POST", f"{ONE}/commands", body, client=FIRST, status=422, code="validation_error")
        assert "its client is charging already" in refused["reason"]


async def test_profiles_in_each_others_way_name_each_other(staff: Api) -> None:
    made = await staff.call("POST", f"{ONE}/charging-profiles", PROFILE, client=FIRST)
    number = made.json()["data"]["profile_id"]
    refused = await staff.fails(
        "POST", f"{ONE}/charging-profiles", PROFILE, client=FIRST, status=409, code="state_conflict"
    )
    assert (refused["profile_id"], f"profile {number}" in refused["reason"]) == (number, True)
    transaction = {**PROFILE, "purpose": "TxProfile", "connector_id": 2}
    refused = await staff.fails(
        "POST", f"{ONE}/charging-profiles", transaction, client=FIRST, status=409, code="state_conflict"
    )
    assert refused["reason"] == "no transaction runs on connector 2"


async def test_a_card_in_use_stays_with_its_holder(staff: Api) -> None:
    made = await card(staff)
    started = await start(staff)
    refused = await staff.fails(
        "PUT", f"{CARDS}/{made['id']}", {"client_id": OTHER}, client=ROOT, status=409, code="session_already_active"
    )
    assert (refused["session_id"], "stop that session" in refused["reason"]) == (started.session_id, True)


async def test_a_role_that_is_too_low_hears_which_one_is_needed(staff: Api) -> None:
    for method, path, body, caller, role in (
        ("GET", CARDS, None, FIRST_OPERATOR, "admin"),
        ("POST", f"{ONE}/commands", {"action": "DataTransfer", "vendorId": "x"}, FIRST_OPERATOR, "admin"),
        ("GET", "/api/v1/admin/users", None, FIRST, "superadmin"),
    ):
        refused = await staff.fails(method, path, body, client=caller, status=403, code="forbidden")
        assert refused["required_role"] == role
    # Clients are told nothing.
    assert "required_role" not in await staff.fails("GET", CARDS, client=CLIENT, status=403, code="forbidden")
