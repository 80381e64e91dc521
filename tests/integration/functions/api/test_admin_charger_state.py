"""Reservations, local lists and charging profiles over REST, with a charger at the other end of a real socket tier."""

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest

from evpower.clock import iso_z
from evpower.commands.models import Command
from evpower.config import Settings
from infra.local.simulator import ChargePoint
from socket_tier.tier import SocketTier
from tests.fakes.stations import until
from tests.integration.functions.api.conftest import CLIENT, OTHER, SERIAL, STATION, Api, CollectingQueue
from tests.integration.functions.api.staff_world import FIRST, FIRST_OPERATOR, SECOND, build

PATH = f"/api/v1/admin/stations/{STATION}"
OPERATOR = {"client": FIRST_OPERATOR}
MANAGER = {"client": FIRST}


class ToTier(CollectingQueue):
    """Hands commands to a running instance, as its queue would."""

    def __init__(self, tier: SocketTier) -> None:
        super().__init__()
        self.tier = tier

    async def send(self, command: Command) -> None:
        await super().send(command)
        self.tier.dispatcher.submit(command.station_id, command.id)


@pytest.fixture
async def staff(api: Api) -> Api:
    await build(api)
    await api.sql("INSERT INTO id_tags (id_tag, client_id) VALUES ('Card-1', %s)", CLIENT)
    return api


@pytest.fixture
async def point(staff: Api, make_settings: Callable[..., Settings], redis_url: str) -> AsyncIterator[ChargePoint]:
    """The charger of the first admin's station, connected."""
    tier = SocketTier(
        make_settings(
            redis_url=redis_url,
            socket_tier_port=0,
            allow_unauthenticated_stations=True,
            database_pooler="session",
            database_pool_size=4,
        )
    )
    await tier.start()
    staff.deps.commands = ToTier(tier)
    try:
        async with ChargePoint(f"ws://127.0.0.1:{tier.port}/ocpp", STATION) as point:
            await point.wait_online()
            await quiet(staff)
            yield point
    finally:
        await tier.stop()


async def quiet(api: Api) -> None:
    """All commands are over, and the configuration has been read."""

    async def idle() -> bool:
        (row,) = await api.sql(
            """SELECT count(*) FILTER (WHERE status IN ('queued', 'sent')) AS busy,
                      (SELECT count(*) FROM ocpp_configuration) AS keys FROM station_commands"""
        )
        return row["busy"] == 0 and row["keys"] > 0

    await until(idle, "the commands to be over")


async def status_is(api: Api, connector: int, word: str) -> None:
    async def reached() -> bool:
        found = await api.one(
            "SELECT ocpp_status FROM connectors WHERE station_id = %s AND connector_number = %s", STATION, connector
        )
        return bool(found == word)

    await until(reached, f"connector {connector} to be {word}")


def in_an_hour(api: Api) -> str:
    return iso_z(api.deps.clock.now() + timedelta(hours=1))


# --- Reservations -------------------------------------------------------------------------------------------------


async def test_a_client_uses_its_reservation_from_the_app(staff: Api, point: ChargePoint) -> None:
    body = {"connector_id": 1, "client_id": CLIENT, "expires_at": in_an_hour(staff)}
    made = (await staff.ok("POST", f"{PATH}/reservations?wait=10", body, **OPERATOR))["data"]
    assert (made["state"], made["client_id"], made["is_for_app"]) == ("accepted", CLIENT, True)

    await status_is(staff, 1, "Reserved")
    answer = await staff.ok("GET", f"/api/v1/station/{SERIAL}/status", client=None)
    assert answer["connectors"][0]["status"] == "occupied"  # not free on anybody's map
    start = {"station_id": SERIAL, "connector_id": 1}
    await staff.fails("POST", "/api/v1/charging/start", start, status=409, code="connector_occupied", client=OTHER)
    session = await staff.start()
    await until(lambda: point.outlets[1].transaction, "the car to charge")

    async def used() -> bool:
        found = await staff.ok("GET", f"{PATH}/reservations/{made['reservation_id']}", **OPERATOR)
        return bool(found["data"]["state"] == "used" and found["data"]["session_id"] == session["session_id"])

    await until(used, "the reservation to be used")
    listed = (await staff.ok("GET", f"{PATH}/reservations?state=used", **OPERATOR))["data"]
    assert (listed["total"], [one["reservation_id"] for one in listed["reservations"]]) == (1, [made["reservation_id"]])
    assert (await staff.ok("GET", f"{PATH}/reservations?state=accepted", **OPERATOR))["data"]["total"] == 0


async def test_a_reservation_is_refused_cancelled_and_not_cancelled_twice(staff: Api, point: ChargePoint) -> None:
    point.break_connector(2)
    await status_is(staff, 2, "Faulted")
    body = {"connector_id": 2, "id_tag": "CARD-1", "expires_at": in_an_hour(staff)}
    refused = (await staff.ok("POST", f"{PATH}/reservations?wait=10", body, **OPERATOR))["data"]
    assert (refused["state"], refused["refusal"]) == ("rejected", "Faulted")
    kept = (await staff.ok("POST", f"{PATH}/reservations?wait=10", {**body, "connector_id": 1}, **OPERATOR))["data"]
    one = f"{PATH}/reservations/{kept['reservation_id']}"
    ended = (await staff.ok("DELETE", f"{one}?wait=10", **OPERATOR))["data"]
    assert ended["state"] == "cancelled"
    answer = await staff.fails("DELETE", one, status=409, code="state_conflict", **OPERATOR)
    assert answer["state"] == "cancelled"
    await staff.fails("GET", f"{PATH}/reservations/999999", status=404, code="not_found", **OPERATOR)


async def test_without_its_charger_a_reservation_is_on_its_way(staff: Api) -> None:
    body = {"connector_id": 1, "id_tag": "CARD-1", "expires_at": in_an_hour(staff)}
    answer = await staff.call("POST", f"{PATH}/reservations?wait=1", body, **OPERATOR)
    assert (answer.status_code, answer.json()["data"]["state"]) == (202, "requested")
    again = await staff.fails("POST", f"{PATH}/reservations", body, status=409, code="connector_occupied", **OPERATOR)
    assert again["reservation_id"] == answer.json()["data"]["reservation_id"]


async def test_a_reservation_may_count_its_time_from_now(staff: Api) -> None:
    body = {"connector_id": 1, "id_tag": "CARD-1", "expires_in_s": 7 * 86400}
    answer = await staff.call("POST", f"{PATH}/reservations", body, **OPERATOR)
    assert answer.status_code == 202, answer.text
    assert answer.json()["data"]["expires_at"] == iso_z(staff.deps.clock.now() + timedelta(days=7))


@pytest.mark.parametrize(
    "change",
    [
        {"client_id": CLIENT},
        {"id_tag": None},
        {"id_tag": "x" * 21},
        {"connector_id": 101},
        {"expires_at": "2026-01-01T00:00:00"},
        {"expires_at": "2001-01-01T00:00:00Z"},
        {"expires_in_s": 3600},
        {"expires_at": None},
        {"expires_at": None, "expires_in_s": 59},
        {"expires_at": None, "expires_in_s": 7 * 86400 + 1},
        {"expires_at": None, "expires_in_s": "3600"},
        {"colour": "red"},
    ],
)
async def test_wrong_reservations_are_refused(staff: Api, change: dict[str, Any]) -> None:
    body = {"connector_id": 1, "id_tag": "CARD-1", "expires_at": in_an_hour(staff), **change}
    await staff.fails("POST", f"{PATH}/reservations", body, status=422, code="validation_error", **OPERATOR)


# --- Local list ---------------------------------------------------------------------------------------------------


async def test_a_list_is_chosen_sent_changed_and_emptied(staff: Api, point: ChargePoint) -> None:
    await staff.sql("INSERT INTO id_tags (id_tag, client_id) VALUES ('Card-2', %s)", CLIENT)
    before = (await staff.ok("GET", f"{PATH}/local-list", **OPERATOR))["data"]
    assert (before["enabled"], before["max_length"], before["part_length"], before["enabled_at_charger"]) == (
        False,
        500,
        100,
        True,
    )
    await staff.ok("PUT", f"{PATH}/local-list", {"enabled": True, "id_tags": ["card-1"]}, **MANAGER)
    await staff.ok("POST", f"{PATH}/local-list/entries", {"add": ["Card-2"], "remove": []}, **MANAGER)
    await staff.call("POST", f"{PATH}/local-list/sync?wait=5", **MANAGER)  # without a body
    await quiet(staff)
    after = (await staff.ok("GET", f"{PATH}/local-list", **OPERATOR))["data"]
    assert (after["state"], after["held"], after["told_version"], after["differs"]) == ("synced", 2, 1, False)
    entries = (await staff.ok("GET", f"{PATH}/local-list/entries?limit=1", **OPERATOR))["data"]
    item = {"idTag": "Card-1", "idTagInfo": {"status": "Accepted"}}
    assert entries == {
        "entries": [{"id_tag": "CARD-1", "chosen": True, "wanted": item, "held": item}],
        "total": 2,
        "limit": 1,
        "offset": 0,
    }
    assert point.local_list.statuses == {"card-1": "Accepted", "card-2": "Accepted"}
    point.local_list.version, point.local_list.statuses = 0, {}  # factory reset
    doubtful = (await staff.ok("POST", f"{PATH}/local-list/verify?wait=10", **OPERATOR))["data"]
    assert (doubtful["told_version"], doubtful["differs"]) == (0, True)
    await staff.ok("PUT", f"{PATH}/local-list", {"enabled": False}, **MANAGER)
    await staff.call("POST", f"{PATH}/local-list/sync?wait=5", {"full": True}, **MANAGER)
    await quiet(staff)
    assert (await staff.ok("GET", f"{PATH}/local-list", **OPERATOR))["data"]["held"] == 0
    assert await staff.one("SELECT count(*) FROM audit_logs WHERE operation LIKE 'admin.local_list%%'") == 6


async def test_only_managers_change_lists_and_only_cards_are_in_them(staff: Api) -> None:
    body = {"enabled": True, "id_tags": ["NOBODYS"]}
    await staff.fails("PUT", f"{PATH}/local-list", body, status=403, code="forbidden", **OPERATOR)
    answer = await staff.fails("PUT", f"{PATH}/local-list", body, status=422, code="validation_error", **MANAGER)
    assert answer["reason"].startswith("no card has the tag NOBODYS: ")
    await staff.fails("POST", f"{PATH}/local-list/sync", {}, status=403, code="forbidden", **OPERATOR)


# --- Charging profiles --------------------------------------------------------------------------------------------

PROFILE: dict[str, Any] = {
    "connector_id": 1,
    "purpose": "TxDefaultProfile",
    "kind": "Relative",
    "stack_level": 1,
    "schedule": {"unit": "W", "periods": [{"start_s": 0, "limit": 11000}, {"start_s": 600, "limit": 7000.5}]},
}


async def test_a_profile_is_set_read_replaced_and_cleared(staff: Api, point: ChargePoint) -> None:
    made = (await staff.ok("POST", f"{PATH}/charging-profiles?wait=10", PROFILE, **OPERATOR))["data"]
    one = f"{PATH}/charging-profiles/{made['profile_id']}"
    assert (made["state"], made["profile"]["schedule"]["periods"][1]["limit"]) == ("active", 7000.5)
    composite = (
        await staff.ok("GET", f"{PATH}/composite-schedule?connector=1&duration=3600&unit=W&wait=10", **OPERATOR)
    )["data"]
    assert (composite["agrees"], composite["status"], composite["differences"]) == (True, "accepted", [])
    assert composite["told"] == [{"start_s": 0, "limit": 11000}, {"start_s": 600, "limit": 7000.5}]
    amperes = (await staff.ok("GET", f"{PATH}/composite-schedule?connector=2&unit=A&wait=10", **OPERATOR))["data"]
    assert (amperes["unit"], amperes["told"]) == ("A", [{"start_s": 0, "limit": 31.9}])
    assert amperes["agrees"] is False  # the charger gives 22 kW, and its connectors are registered with 60
    taken = await staff.fails(
        "POST", f"{PATH}/charging-profiles", PROFILE, status=409, code="state_conflict", **OPERATOR
    )
    assert taken["profile_id"] == made["profile_id"]
    weaker = {**PROFILE, "schedule": {"unit": "A", "periods": [{"start_s": 0, "limit": 6}]}}
    changed = (await staff.ok("PUT", f"{one}?wait=10", weaker, **OPERATOR))["data"]
    assert (changed["profile"]["schedule"]["unit"], changed["wanted"]) == ("A", None)
    point.profiles.kept.clear()
    assert (await staff.ok("POST", f"{one}/resend?wait=10", **OPERATOR))["data"]["state"] == "active"
    assert len(point.profiles.kept) == 1
    assert (await staff.ok("GET", f"{PATH}/charging-profiles?state=active", **OPERATOR))["data"]["total"] == 1
    gone = (await staff.ok("DELETE", f"{one}?wait=10", **OPERATOR))["data"]
    assert (gone["state"], point.profiles.kept) == ("cleared", {})
    await staff.fails("DELETE", one, status=409, code="state_conflict", **OPERATOR)
    for body in ({}, None):
        cleared = (await staff.ok("POST", f"{PATH}/charging-profiles/clear?wait=10", body, **OPERATOR))["data"]
        assert (cleared["status"], cleared["live_profile_ids"]) == ("rejected", [])
        assert cleared["answer"] == "Unknown"  # there is nothing to clear


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"purpose": "TxProfile", "connector_id": 0}, "connector_id"),
        ({"kind": "Recurring"}, "recurrency_kind"),
        ({"stack_level": 9}, "stack_level"),
        ({"schedule": {"unit": "W", "periods": []}}, "schedule.periods"),
        ({"schedule": {"unit": "W", "periods": [{"start_s": 0, "limit": 1.25}]}}, "schedule.periods.0.limit"),
        ({"schedule": {"unit": "kW", "periods": [{"start_s": 0, "limit": 1}]}}, "schedule.unit"),
        ({"stacklevel": 1}, "stacklevel"),
    ],
)
async def test_wrong_profiles_are_refused_by_their_member(
    staff: Api, point: ChargePoint, change: dict[str, Any], field: str
) -> None:
    answer = await staff.fails(
        "POST",
        f"{PATH}/charging-profiles",
        {**PROFILE, **change},
        status=422,
        code="validation_error",
        **OPERATOR,
    )
    assert answer["field"] == field


async def test_without_its_charger_a_schedule_is_only_expected(staff: Api) -> None:
    answer = await staff.call("GET", f"{PATH}/composite-schedule?connector=1&wait=1", **OPERATOR)
    data = answer.json()["data"]
    assert (answer.status_code, data["told"], data["agrees"]) == (202, None, None)
    assert data["expected"] == [{"start_s": 0, "limit": 60000}]


async def test_a_foreign_station_is_not_there(staff: Api) -> None:
    for method, path, body in (
        ("GET", "reservations", None),
        ("POST", "reservations", {"connector_id": 1, "id_tag": "A", "expires_at": in_an_hour(staff)}),
        ("GET", "local-list", None),
        ("POST", "charging-profiles", PROFILE),
        ("GET", "composite-schedule", None),
    ):
        await staff.fails(method, f"{PATH}/{path}", body, status=404, code="station_not_found", client=SECOND)
