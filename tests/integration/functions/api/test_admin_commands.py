"""Commands by operators over REST: typed bodies, scope, roles, waiting, taking back, money."""

import asyncio
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from evpower.clock import FrozenClock
from evpower.commands import sealed
from evpower.commands import service as commands
from evpower.commands.models import CommandStatus
from evpower.ids import new_id
from tests.fakes.ocpp16_commands import CASES
from tests.integration.functions.api import staff_world
from tests.integration.functions.api.conftest import CLIENT, STATION, Api
from tests.integration.functions.api.staff_world import FIRST, FIRST_OPERATOR, ROOT, SECOND, SECOND_STATION

PATH = f"/api/v1/admin/stations/{STATION}/commands"
MANAGED = {
    "ChangeConfiguration",
    "DataTransfer",
    "SendLocalList",
    "UpdateFirmware",
    "SignedUpdateFirmware",
    "CertificateSigned",
    "InstallCertificate",
    "DeleteCertificate",
}


@pytest.fixture
async def staff(api: Api) -> Api:
    await staff_world.build(api)
    return api


async def send(api: Api, body: dict[str, Any], *, by: str = FIRST, query: str = "", **headers: str) -> dict[str, Any]:
    """The command of a 202 answer."""
    answer = await api.call("POST", PATH + query, body, client=by, headers=headers)
    assert answer.status_code == 202, answer.text
    found: dict[str, Any] = answer.json()["data"]
    return found


async def row(api: Api, command_id: str) -> dict[str, Any]:
    (found,) = await api.sql("SELECT * FROM station_commands WHERE id = %s", command_id)
    return found


async def answered(
    api: Api, command_id: str, status: CommandStatus = CommandStatus.ACCEPTED, response: dict[str, Any] | None = None
) -> None:
    """What the socket tier does with the command."""
    now = api.deps.clock.now()
    async with api.db.transaction() as conn:
        command = await commands.claim(conn, command_id, api.epoch, "test-instance", now)
        assert command is not None
        assert await commands.finish(conn, command, status, now, response=response or {"status": "Accepted"})


# --- What goes out ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", sorted(CASES.keys() - {"RemoteStartTransaction"}))
async def test_each_command_is_queued_as_it_was_written(staff: Api, action: str) -> None:
    request = CASES[action].request
    sent = await send(staff, {"action": action, **request})
    assert (sent["done"], sent["connected"]) == (False, True)
    command = await row(staff, sent["command"]["id"])
    assert (command["action"], command["payload"], command["status"]) == (action, request, "queued")
    assert command["requested_by"] == f"staff:{FIRST}"
    assert command["expires_at"] - command["created_at"] == timedelta(minutes=5)
    assert [item.id for item in staff.queue.sent] == [command["id"]]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "action"),
        ({"action": "Explode"}, "action"),
        ({"action": "Reset"}, "type"),
        ({"action": "Reset", "type": "Gentle"}, "type"),
        ({"action": "UnlockConnector", "connectorId": "1"}, "connectorId"),
        ({"action": "UnlockConnector", "connectorId": 0}, "connectorId"),
        ({"action": "UnlockConnector", "connectorId": True}, "connectorId"),
        ({"action": "TriggerMessage", "requestedMessage": "Heartbeat", "conectorId": 1}, "conectorId"),
        ({"action": "ReserveNow", **CASES["ReserveNow"].request, "idTag": "X" * 21}, "idTag"),
        ({"action": "ReserveNow", **CASES["ReserveNow"].request, "expiryDate": "soon"}, "expiryDate"),
        (
            {"action": "ReserveNow", **CASES["ReserveNow"].request, "expiryDate": "0001-01-01T00:00:00+14:00"},
            "expiryDate",
        ),
        ({"action": "GetLog", **CASES["GetLog"].request, "log": {}}, "log.remoteLocation"),
        ({"action": "GetDiagnostics", "location": "file:///etc/passwd"}, "location"),
        ({"action": "Reset", "type": "Soft", "expires_in_s": 1}, "expires_in_s"),
    ],
)
async def test_a_wrong_member_is_named(staff: Api, body: dict[str, Any], field: str) -> None:
    answer = await staff.fails("POST", PATH, body, status=422, code="validation_error", client=FIRST)
    assert answer["field"] == field
    assert await staff.sql("SELECT 1 FROM station_commands") == []


async def test_a_charging_profile_keeps_one_decimal(staff: Api) -> None:
    profile = CASES["SetChargingProfile"].request["csChargingProfiles"]
    sent = await send(staff, {"action": "SetChargingProfile", "connectorId": 1, "csChargingProfiles": profile})
    (period,) = sent["command"]["payload"]["csChargingProfiles"]["chargingSchedule"]["chargingSchedulePeriod"]
    assert period == {"startPeriod": 0, "limit": 11000.1}
    profile = {**profile, "chargingSchedule": {**profile["chargingSchedule"], "minChargingRate": 0.05}}
    body = {"action": "SetChargingProfile", "connectorId": 1, "csChargingProfiles": profile}
    answer = await staff.fails("POST", PATH, body, status=422, code="validation_error", client=FIRST)
    assert answer["field"].endswith("chargingSchedule.minChargingRate")


# --- Who may ------------------------------------------------------------------------------------------------------


async def test_operators_send_what_is_harmless(staff: Api) -> None:
    for action in sorted(CASES.keys() - {"RemoteStartTransaction"}):
        body = {"action": action, **CASES[action].request}
        if action in MANAGED:
            await staff.fails("POST", PATH, body, status=403, code="forbidden", client=FIRST_OPERATOR)
        else:
            await send(staff, body, by=FIRST_OPERATOR)
    rows = await staff.sql("SELECT action FROM station_commands")
    assert {item["action"] for item in rows} == CASES.keys() - MANAGED - {"RemoteStartTransaction"}


async def test_a_foreign_station_is_not_there(staff: Api) -> None:
    sent = await send(staff, {"action": "ClearCache"})
    one = f"{PATH}/{sent['command']['id']}"
    for method, path, body in (
        ("POST", PATH, {"action": "ClearCache"}),
        ("GET", PATH, None),
        ("GET", one, None),
        ("DELETE", one, None),
    ):
        await staff.fails(method, path, body, status=404, code="station_not_found", client=SECOND)
    other = one.replace(STATION, SECOND_STATION)
    for method in ("GET", "DELETE"):
        await staff.fails(method, other, status=404, code="not_found", client=ROOT)


async def test_every_command_and_refusal_is_audited(staff: Api) -> None:
    sent = await send(staff, {"action": "ChangeConfiguration", "key": "WifiPassword", "value": "open sesame"})
    await staff.fails(
        "POST", PATH, {"action": "ChangeConfiguration", "key": "AuthorizationKey", "value": "0123456789abcdef0123"},
        status=422, code="validation_error", client=FIRST,
    )  # fmt: skip
    first, second = await staff.sql("SELECT actor, details, status FROM audit_logs ORDER BY id")
    assert (first["actor"], first["status"], second["status"]) == (FIRST, 200, 422)
    assert first["details"]["command_id"] == sent["command"]["id"]
    assert (first["details"]["action"], first["details"]["payload"]["value"]) == ("ChangeConfiguration", "***")
    assert second["details"]["payload"]["value"] == "***"
    assert sent["command"]["payload"] == {"key": "WifiPassword", "value": "***"}
    stored = (await row(staff, sent["command"]["id"]))["payload"]
    assert "open sesame" not in str(stored), "sealed at rest, opened for the frame"
    assert sealed.opened(stored) == {"key": "WifiPassword", "value": "open sesame"}


@pytest.mark.parametrize("key", ["AuthorizationKey", "authorizationkey", " AuthorizationKey ", "SecurityProfile"])
async def test_keys_and_security_profiles_go_their_own_way(staff: Api, key: str) -> None:
    body = {"action": "ChangeConfiguration", "key": key, "value": "2"}
    answer = await staff.fails("POST", PATH, body, status=422, code="validation_error", client=FIRST)
    assert answer["field"] == "key"
    assert "/credentials" in answer["reason"]
    assert await staff.sql("SELECT 1 FROM station_commands") == []


# --- Following a command ------------------------------------------------------------------------------------------


async def test_waiting_answers_when_the_charger_has(staff: Api) -> None:
    async def charger() -> None:
        while not staff.queue.sent:
            await asyncio.sleep(0.01)
        await answered(staff, staff.queue.sent[0].id, CommandStatus.REJECTED, {"status": "Rejected"})

    answer, _ = await asyncio.gather(
        staff.call("POST", f"{PATH}?wait=20", {"action": "Reset", "type": "Hard"}, client=FIRST), charger()
    )
    assert answer.status_code == 200
    data = answer.json()["data"]
    assert data["done"] is True
    assert (data["command"]["status"], data["command"]["response"]) == ("rejected", {"status": "Rejected"})


async def test_waiting_in_vain_holds_no_connection(staff: Api) -> None:
    """More waiting requests than the application has connections, and all of them are answered in time."""
    bodies = [{"action": "TriggerMessage", "requestedMessage": "Heartbeat"}] * 12
    began = asyncio.get_running_loop().time()
    answers = await asyncio.gather(*(staff.call("POST", f"{PATH}?wait=1", body, client=FIRST) for body in bodies))
    assert asyncio.get_running_loop().time() - began < 10
    assert {answer.status_code for answer in answers} == {202}
    assert {answer.json()["data"]["command"]["status"] for answer in answers} == {"queued"}


@pytest.mark.parametrize("wait", ["-1", "21", "x", "1.5"])
async def test_the_wait_is_bounded(staff: Api, wait: str) -> None:
    answer = await staff.fails(
        "POST", f"{PATH}?wait={wait}", {"action": "ClearCache"}, status=422, code="validation_error", client=FIRST
    )
    assert answer["field"] == "wait"


async def test_an_offline_station_gets_it_later_and_the_answer_says_so(staff: Api) -> None:
    await staff.sql("UPDATE stations SET connected_instance = NULL, connected_at = NULL")
    sent = await send(staff, {"action": "ClearCache", "expires_in_s": 600})
    assert sent["connected"] is False
    command = sent["command"]
    found = await row(staff, command["id"])
    assert found["expires_at"] - found["created_at"] == timedelta(minutes=10)
    shown = await staff.ok("GET", f"{PATH}/{command['id']}", client=FIRST_OPERATOR)
    assert shown["data"] == {"command": command, "done": False, "connected": False}


async def test_a_queue_that_is_away_is_no_failure(staff: Api) -> None:
    """The command is committed; the sweep hands it over again."""
    from evpower.commands.queue import SqsCommandQueue

    settings = staff.deps.settings.model_copy(update={"aws_endpoint_url": "http://127.0.0.1:9"})
    staff.deps.commands = SqsCommandQueue(settings)
    sent = await send(staff, {"action": "ClearCache"})
    later = staff.deps.clock.now() + timedelta(minutes=1)
    async with staff.db.transaction() as conn:
        redelivery = await commands.expire_and_redeliver(conn, later)
    assert [command.id for command in redelivery.to_send] == [sent["command"]["id"]]


async def test_a_list_has_filters_and_pages(staff: Api) -> None:
    ids = [(await send(staff, {"action": "ClearCache"}))["command"]["id"] for _ in range(5)]
    await answered(staff, ids[0])
    sent = await send(staff, {"action": "Reset", "type": "Soft"})

    async def listed(query: str) -> list[str]:
        found = await staff.ok("GET", f"{PATH}?{query}", client=FIRST_OPERATOR)
        return [item["id"] for item in found["data"]["commands"]]

    assert await listed("status=accepted") == [ids[0]]
    assert await listed("action=Reset") == await listed("action=reset") == [sent["command"]["id"]]
    assert await listed("is_open=false") == [ids[0]]
    assert sorted(await listed("is_open=true&action=ClearCache")) == sorted(ids[1:])
    seen: list[str] = []
    cursor = ""
    while True:
        page = (await staff.ok("GET", f"{PATH}?limit=2{cursor}", client=FIRST))["data"]
        seen += [item["id"] for item in page["commands"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert sorted(seen) == sorted([*ids, sent["command"]["id"]])
    for wrong in ("x", "W10", "WyJ4IiwieSJd", "AAAA"):
        answer = await staff.fails("GET", f"{PATH}?cursor={wrong}", status=422, code="validation_error", client=FIRST)
        assert answer["field"] == "cursor"


async def test_secrets_in_answers_and_links_are_not_shown(staff: Api) -> None:
    sent = await send(staff, {"action": "GetConfiguration"})
    keys = [
        {"key": "AuthorizationKey", "readonly": False, "value": "s3cret"},
        {"key": "A", "readonly": True, "value": "b"},
    ]
    await answered(staff, sent["command"]["id"], response={"configurationKey": keys})
    shown = await staff.ok("GET", f"{PATH}/{sent['command']['id']}", client=FIRST_OPERATOR)
    found = shown["data"]["command"]["response"]["configurationKey"]
    assert [item["value"] for item in found] == ["***", "b"]
    sent = await send(staff, {"action": "GetDiagnostics", "location": "ftp://user:pass@files.example:2121/up?sig=1"})
    assert sent["command"]["payload"] == {"location": "ftp://files.example:2121/up"}
    assert (await row(staff, sent["command"]["id"]))["payload"] == {
        "location": "ftp://user:pass@files.example:2121/up?sig=1"
    }


# --- Once ---------------------------------------------------------------------------------------------------------


async def test_a_repeated_request_sends_one_command_even_if_redis_forgot_the_first(staff: Api) -> None:
    body, headers = {"action": "Reset", "type": "Hard"}, {"Idempotency-Key": new_id()}
    first = await send(staff, body, **headers)
    assert await send(staff, body, **headers) == first
    await staff.deps.redis.run(lambda client: client.flushall())
    assert (await send(staff, body, **headers))["command"]["id"] == first["command"]["id"]
    assert len(await staff.sql("SELECT 1 FROM station_commands")) == 1
    await staff.deps.redis.run(lambda client: client.flushall())
    other = {"action": "Reset", "type": "Soft"}
    await staff.fails("POST", PATH, other, status=409, code="invalid_request", client=FIRST, headers=headers)


async def test_a_waiting_command_can_be_taken_back_and_no_other(staff: Api) -> None:
    sent = await send(staff, {"action": "Reset", "type": "Hard"})
    one = f"{PATH}/{sent['command']['id']}"
    taken = (await staff.ok("DELETE", one, client=FIRST_OPERATOR))["data"]
    assert (taken["command"]["status"], taken["done"]) == ("cancelled", True)
    assert taken["command"]["error"] == f"taken back by staff:{FIRST_OPERATOR}"
    async with staff.db.transaction() as conn:
        assert await commands.claim(conn, sent["command"]["id"], staff.epoch, "x", staff.deps.clock.now()) is None
    await staff.fails("DELETE", one, status=409, code="state_conflict", client=FIRST)
    sent = await send(staff, {"action": "Reset", "type": "Hard"})
    await answered(staff, sent["command"]["id"])
    await staff.fails("DELETE", f"{PATH}/{sent['command']['id']}", status=409, code="state_conflict", client=FIRST)
    started = await staff.start()
    (start,) = await staff.sql("SELECT id FROM station_commands WHERE session_id = %s", started["session_id"])
    answer = await staff.fails("DELETE", f"{PATH}/{start['id']}", status=409, code="state_conflict", client=FIRST)
    assert "session" in answer["reason"]


# --- Money --------------------------------------------------------------------------------------------------------


async def test_a_stop_by_an_operator_settles_as_usual(staff: Api) -> None:
    started = await staff.start(amount_som=200)
    transaction_id = await staff.charger_starts(started["session_id"])
    sent = await send(staff, {"action": "RemoteStopTransaction", "transactionId": transaction_id}, by=FIRST_OPERATOR)
    assert sent["command"]["session_id"] == started["session_id"]
    assert sent["command"]["requested_by"] == f"staff:{FIRST_OPERATOR}"
    (session,) = await staff.sql("SELECT state, stop_reason, stop_initiator FROM charging_sessions")
    assert session == {"state": "stopping", "stop_reason": "operator", "stop_initiator": "operator"}
    again = await send(staff, {"action": "RemoteStopTransaction", "transactionId": transaction_id}, by=FIRST_OPERATOR)
    assert again["command"]["id"] == sent["command"]["id"]
    assert isinstance(staff.deps.clock, FrozenClock)
    staff.deps.clock.advance(timedelta(minutes=5))
    await staff.charger_stops(transaction_id, 3000)
    assert await staff.balance() == Decimal(1000) - 27
    # The transaction is over for us; the charger may still be told.
    plain = await send(staff, {"action": "RemoteStopTransaction", "transactionId": transaction_id})
    assert plain["command"]["session_id"] is None
    assert await staff.balance() == Decimal(1000) - 27


async def test_a_transaction_of_another_station_is_not_stopped(staff: Api) -> None:
    started = await staff.start(amount_som=200)
    transaction_id = await staff.charger_starts(started["session_id"])
    path = PATH.replace(STATION, SECOND_STATION)
    answer = await staff.call(
        "POST", path, {"action": "RemoteStopTransaction", "transactionId": transaction_id}, client=SECOND
    )
    assert answer.json()["data"]["command"]["session_id"] is None
    assert await staff.one("SELECT state FROM charging_sessions") == "charging"


async def test_a_start_by_an_operator_needs_a_card_that_may_charge(staff: Api) -> None:
    body = {"action": "RemoteStartTransaction", "idTag": "card-1", "connectorId": 1}
    answer = await staff.fails("POST", PATH, body, status=422, code="validation_error", client=FIRST)
    assert (answer["field"], "(Invalid)" in answer["reason"]) == ("idTag", True)
    await staff.sql("INSERT INTO id_tags (id_tag, client_id) VALUES ('CARD-1', %s)", CLIENT)
    sent = await send(staff, body, by=FIRST_OPERATOR)
    assert sent["command"]["payload"] == {"idTag": "card-1", "connectorId": 1}
    assert await staff.balance() == 1000  # nothing is taken before the charger starts
    await staff.sql("UPDATE id_tags SET status = 'blocked'")
    answer = await staff.fails("POST", PATH, body, status=422, code="validation_error", client=FIRST)
    assert "(Blocked)" in answer["reason"]
