"""The message log through the API: filters, pages, whose stations."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest

from evpower.message_log import service as message_log
from evpower.message_log.models import Direction, NewEntry
from tests.integration.functions.api import staff_world
from tests.integration.functions.api.conftest import STATION, Api
from tests.integration.functions.api.staff_world import FIRST_OPERATOR, SECOND_OPERATOR

PATH = f"/api/v1/admin/stations/{STATION}/messages"
BEGAN = datetime(2026, 1, 15, 6, tzinfo=UTC).timestamp()


@pytest.fixture
async def staff(api: Api) -> Api:
    """Seven exchanges, a second apart; the third is ours, and the last failed."""
    await staff_world.build(api)
    entries = [
        NewEntry(
            STATION,
            BEGAN + number,
            Direction.OUT if number == 3 else Direction.IN,
            "Reset" if number == 3 else "Heartbeat",
            f"m{number}",
            f'[2,"m{number}","Heartbeat",{{}}]'.encode(),
            b'[4,"m7","InternalError","",{}]' if number == 7 else b"[3]",
            "InternalError" if number == 7 else None,
            0.0015000123,
        )
        for number in range(1, 8)
    ]
    async with api.db.transaction() as conn:
        await message_log.store(conn, entries)
    return api


async def read(api: Api, **query: Any) -> tuple[list[str], str | None]:
    answer = await api.call("GET", f"{PATH}?{urlencode(query)}", client=FIRST_OPERATOR)
    assert answer.status_code == 200, answer.text
    data = answer.json()["data"]
    return [item["message_id"] for item in data["messages"]], data["next_cursor"]


async def test_an_entry_is_shown_as_it_was(staff: Api) -> None:
    answer = await staff.call("GET", f"{PATH}?limit=1", client=FIRST_OPERATOR)
    assert answer.json()["data"]["messages"] == [
        {
            "at": "2026-01-15T06:00:07.000Z",
            "direction": "in",
            "action": "Heartbeat",
            "message_id": "m7",
            "request": [2, "m7", "Heartbeat", {}],
            "response": [4, "m7", "InternalError", "", {}],
            "error": "InternalError",
            "latency_ms": 1.5,
            "is_truncated": False,
        }
    ]


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ({}, "7654321"),
        ({"order": "oldest"}, "1234567"),
        ({"direction": "out"}, "3"),
        ({"action": "Reset"}, "3"),
        ({"action": "rEsEt"}, "3"),
        ({"action": "Nothing"}, ""),
        ({"message_id": "m5"}, "5"),
        ({"only_errors": "true"}, "7"),
        ({"since": "2026-01-15T06:00:06Z"}, "76"),
        ({"until": "2026-01-15T06:00:03Z", "direction": "in"}, "21"),
        ({"since": "2026-01-16"}, ""),
        ({"until": "2026-01-15"}, "7654321"),
    ],
)
async def test_filters(staff: Api, query: dict[str, str], numbers: str) -> None:
    found, more = await read(staff, **query)
    assert found == [f"m{number}" for number in numbers]
    assert more is None


@pytest.mark.parametrize("order", ["newest", "oldest"])
async def test_pages_follow_each_other(staff: Api, order: str) -> None:
    found, cursor = await read(staff, order=order, limit=3)
    while cursor is not None:
        items, cursor = await read(staff, order=order, limit=3, cursor=cursor)
        found += items
    assert found == (await read(staff, order=order))[0]
    assert len(found) == 7


@pytest.mark.parametrize(
    "query",
    [
        {"limit": 0},
        {"limit": 101},
        {"direction": "sideways"},
        {"action": "Drop Table"},
        {"message_id": ""},
        {"message_id": "a\x00b"},
        {"since": "yesterday"},
        {"order": "random"},
        {"cursor": "nonsense"},
        {"cursor": "WyIyMDI2LTAxLTE1VDA2OjAwOjAwKzAwOjAwIiwieCJd"},  # a time and "x"
        {"cursor": "WzFd"},
    ],
)
async def test_what_makes_no_sense_is_refused(staff: Api, query: dict[str, Any]) -> None:
    answer = await staff.call("GET", f"{PATH}?{urlencode(query)}", client=FIRST_OPERATOR)
    assert (answer.status_code, answer.json()["error_code"]) == (422, "validation_error")


async def test_a_foreign_station_is_not_there(staff: Api) -> None:
    for path in (PATH, PATH.replace(STATION, "nobody")):
        answer = await staff.call("GET", path, client=SECOND_OPERATOR)
        assert (answer.status_code, answer.json()["error_code"]) == (404, "station_not_found")
