"""One station in full over REST: what it shows, what it masks, its lists in pages."""

from datetime import timedelta
from typing import Any

import pytest

from evpower.clock import FrozenClock
from evpower.message_log import service as message_log
from evpower.message_log.models import Direction, NewEntry
from evpower.stations import service as stations
from evpower.stations.models import BootInfo
from tests.fakes.file_store import MemoryFileStore
from tests.integration.functions.api import staff_world
from tests.integration.functions.api.conftest import CLIENT, SERIAL, STATION, Api
from tests.integration.functions.api.staff_world import FIRST, FIRST_OPERATOR, SECOND_STATION

PATH = f"/api/v1/admin/stations/{STATION}"


@pytest.fixture
async def staff(api: Api) -> Api:
    await staff_world.build(api)
    api.deps.files = MemoryFileStore(api.deps.clock)
    return api


async def detail(api: Api, path: str = PATH) -> dict[str, Any]:
    found: dict[str, Any] = (await api.ok("GET", f"{path}/detail", client=FIRST_OPERATOR))["data"]
    return found


async def pages(api: Api, path: str, members: str) -> list[list[Any]]:
    """All pages of a list."""
    found, cursor = [], ""
    while True:
        page = (await api.ok("GET", f"{path}{cursor}", client=FIRST_OPERATOR))["data"]
        found.append(page[members])
        if page["next_cursor"] is None:
            return found
        cursor = f"&cursor={page['next_cursor']}"


async def test_a_station_that_never_connected_has_an_empty_detail(staff: Api) -> None:
    await staff.sql("UPDATE stations SET last_heartbeat_at = NULL WHERE id = %s", SECOND_STATION)
    found = (await staff.ok("GET", f"/api/v1/admin/stations/{SECOND_STATION}/detail", client="root"))["data"]
    connection = found["connection"]
    assert (connection["connected"], connection["online"], connection["last_seen_at"]) == (False, False, None)
    assert (found["boot"]["vendor"], found["boot"]["details"]) == (None, {})
    assert found["configuration"] == {"keys": [], "read_at": None, "next_cursor": None}
    assert (found["commands"], found["jobs"], found["events"], found["messages"]) == ([], [], [], [])
    assert [connector["session"] for connector in found["connectors"]] == [None, None]


async def test_connection_boot_and_a_running_charge_are_shown(staff: Api) -> None:
    started = await staff.start(amount_som=200)
    transaction_id = await staff.charger_starts(started["session_id"])
    now = staff.deps.clock.now()
    boot = BootInfo("Maker", "DC-60", "1.2", {"chargePointVendor": "Maker", "iccid": "", "imsi": "437"}, "ocpp1.6")
    async with staff.db.transaction() as conn:
        await stations.record_boot(conn, STATION, boot, now)
        entry = NewEntry(STATION, now.timestamp(), Direction.IN, "Heartbeat", "m1", b'[2,"m1","Heartbeat",{}]')
        await message_log.store(conn, [entry])
    found = await detail(staff, f"/api/v1/admin/stations/{SERIAL}")
    assert found["station"]["id"] == STATION
    connection = found["connection"]
    assert (connection["connected"], connection["online"], connection["instance"]) == (True, True, "test-instance")
    assert (connection["epoch"], connection["protocol"]) == (staff.epoch, "ocpp1.6")
    assert (found["boot"]["vendor"], found["boot"]["imsi"], found["boot"]["iccid"]) == ("Maker", "437", None)
    session = found["connectors"][0]["session"]
    assert (session["id"], session["state"], session["transaction_id"], session["client_id"]) == (
        started["session_id"],
        "charging",
        transaction_id,
        CLIENT,
    )
    assert found["connectors"][1]["session"] is None
    assert [command["action"] for command in found["commands"]] == ["RemoteStartTransaction"]
    assert [message["action"] for message in found["messages"]] == ["Heartbeat"]


async def test_open_jobs_are_shown_until_they_end(staff: Api) -> None:
    job = (await staff.ok("POST", f"{PATH}/log-jobs", {"type": "SecurityLog", "expires_in_s": 60}, client=FIRST))[
        "data"
    ]
    assert [item["id"] for item in (await detail(staff))["jobs"]] == [job["id"]]
    assert isinstance(staff.deps.clock, FrozenClock)
    staff.deps.clock.advance(timedelta(seconds=61))
    assert (await detail(staff))["jobs"] == []


async def test_secret_configuration_values_are_masked(staff: Api) -> None:
    keys = [
        {"key": "AuthorizationKey", "value": "s3cret", "readonly": False},
        {"key": "WiFiPassword", "value": "s3cret", "readonly": False},
        {"key": "GetConfigurationMaxKeys", "value": "50", "readonly": True},
        {"key": "ApnToken", "value": None, "readonly": False},
    ]
    async with staff.db.transaction() as conn:
        await stations.store_configuration(conn, STATION, keys, ["Missing"], staff.deps.clock.now())
    expected = {
        "AuthorizationKey": ("***", False),
        "WiFiPassword": ("***", False),
        "GetConfigurationMaxKeys": ("50", False),
        "ApnToken": (None, False),
        "Missing": (None, True),
    }
    for found in (
        (await detail(staff))["configuration"]["keys"],
        (await staff.ok("GET", f"{PATH}/configuration", client=FIRST_OPERATOR))["data"]["keys"],
    ):
        assert {item["key"]: (item["value"], item["is_unknown"]) for item in found} == expected
    in_pages = await pages(staff, f"{PATH}/configuration?limit=2", "keys")
    assert [len(page) for page in in_pages] == [2, 2, 1]
    assert [item["key"] for page in in_pages for item in page] == sorted(expected)


async def test_events_have_filters_and_pages(staff: Api) -> None:
    now = staff.deps.clock.now()
    async with staff.db.transaction() as conn:
        for number in range(5):
            severity = "error" if number == 2 else "info"
            at = now - timedelta(days=5 - number)
            await stations.add_event(conn, STATION, f"type-{number % 2}", at, payload={"n": number}, severity=severity)
        await stations.add_event(conn, SECOND_STATION, "type-0", now, payload={})

    async def numbers(query: str) -> list[int]:
        found = await staff.ok("GET", f"{PATH}/events?{query}", client=FIRST_OPERATOR)
        return [event["payload"]["n"] for event in found["data"]["events"]]

    assert await numbers("") == [4, 3, 2, 1, 0]
    assert await numbers("type=type-1") == [3, 1]
    assert await numbers("severity=error") == [2]
    assert await numbers("connector=1") == []
    since = (now - timedelta(days=2, hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert await numbers(f"date_from={since}") == [4, 3]
    assert await numbers(f"date_to={since}") == [2, 1, 0]
    in_pages = await pages(staff, f"{PATH}/events?limit=2", "events")
    assert [[event["payload"]["n"] for event in page] for page in in_pages] == [[4, 3], [2, 1], [0]]
    for query in ("severity=bad", "connector=101", "type=%00", "limit=0", "limit=101", "cursor=eA", "cursor=WyJ4Il0"):
        await staff.fails("GET", f"{PATH}/events?{query}", status=422, code="validation_error", client=FIRST_OPERATOR)
