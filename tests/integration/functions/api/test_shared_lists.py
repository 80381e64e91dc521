"""The lists of locations and stations: made once for everybody, told again only when they differ, never out of date."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from evpower.clock import FrozenClock
from evpower.stations import service as stations
from functions.api.shared_answers import KEPT_S
from tests.integration.functions.api.conftest import CLIENT, Api
from tests.integration.functions.api.test_reserved_connectors import FREE, TAKEN, keep, seen

LOCATIONS, WITH_STATIONS, STATIONS = (
    "/api/v1/locations",
    "/api/v1/locations?include_stations=true",
    "/api/v1/stations",
)
LISTS = (LOCATIONS, WITH_STATIONS, STATIONS)


async def get(api: Api, path: str, tag: str | None = None, client: str | None = None) -> Any:
    return await api.call("GET", path, client=client, headers={"If-None-Match": tag} if tag else None)


@pytest.mark.parametrize("client", [None, CLIENT])
@pytest.mark.parametrize("path", LISTS)
async def test_who_has_the_answer_is_told_so(api: Api, path: str, client: str | None) -> None:
    first = await get(api, path, client=client)
    tag = first.headers["etag"]
    again = await get(api, path, tag, client)
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert first.headers["cache-control"] == again.headers["cache-control"] == ("no-store" if client else "no-cache")
    other = await get(api, path, '"another"', client)
    assert (other.status_code, other.content) == (200, first.content)


# What is shown, and by whom it is changed without a word to anybody: chargers, staff, the database's owner.
CHANGES = {
    "connector": (LISTS, "UPDATE connectors SET ocpp_status = 'Charging' WHERE connector_number = 1"),
    "new connector": (LISTS, "INSERT INTO connectors (station_id, connector_number) VALUES ('st-1', 3)"),
    "connector gone": (LISTS, "DELETE FROM connectors WHERE connector_number = 2"),
    "one gone, one new": (
        LISTS,
        "WITH gone AS (DELETE FROM connectors WHERE connector_number = 2)"
        " INSERT INTO connectors (station_id, connector_number, ocpp_status) VALUES ('st-1', 3, 'Faulted')",
    ),
    "station": ((WITH_STATIONS, STATIONS), "UPDATE stations SET model = 'AC-22'"),
    "price": ((WITH_STATIONS, STATIONS), "UPDATE stations SET price_per_kwh = 20"),
    "hidden station": (LISTS, "UPDATE stations SET status = 'inactive'"),
    "silence": (LISTS, "UPDATE stations SET last_heartbeat_at = last_heartbeat_at - interval '1 day'"),
    "location": ((LOCATIONS, WITH_STATIONS), "UPDATE locations SET name = 'Elsewhere'"),
    "new location": ((LOCATIONS, WITH_STATIONS), "INSERT INTO locations (id, name) VALUES ('loc-2', 'Attic')"),
    "tariff": ((WITH_STATIONS, STATIONS), "UPDATE tariff_rules SET price = 17"),
}


@pytest.mark.parametrize("change", sorted(CHANGES))
async def test_every_change_is_shown_at_once(api: Api, change: str) -> None:
    await api.sql("INSERT INTO tariff_plans (id, name) VALUES ('plan', 'Plan')")
    await api.sql(
        "INSERT INTO tariff_rules (tariff_plan_id, name, tariff_type, price) VALUES ('plan', 'r', 'per_kwh', 11)"
    )
    if change == "tariff":
        await api.sql("UPDATE stations SET price_per_kwh = NULL, tariff_plan_id = 'plan'")
    paths, statement = CHANGES[change]
    before = {path: await get(api, path) for path in paths}
    await api.sql(statement)
    for path, old in before.items():
        new = await get(api, path, old.headers["etag"])
        assert new.status_code == 200, path
        assert new.json() != old.json()


async def test_a_change_that_is_rolled_back_is_none(api: Api) -> None:
    before = await get(api, WITH_STATIONS)
    async with api.db.pool.connection() as conn, conn.transaction(force_rollback=True):
        await conn.execute("UPDATE connectors SET ocpp_status = 'Charging'")
        assert (await get(api, WITH_STATIONS, before.headers["etag"])).status_code == 304
    assert (await get(api, WITH_STATIONS, before.headers["etag"])).status_code == 304


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One entry for each list that is read from the database."""
    reads: list[str] = []
    for name in ("list_locations", "list_stations"):
        original = getattr(stations, name)

        def counted(*arguments: Any, name: str = name, original: Any = original, **options: Any) -> Any:
            reads.append(name)
            return original(*arguments, **options)

        monkeypatch.setattr(stations, name, counted)
    return reads


async def test_an_answer_is_made_once_for_all_processes_and_callers(
    api: Api, make_api: Callable[..., Any], made: list[str]
) -> None:
    other: Api = await make_api()
    other.deps.clock = api.deps.clock
    for path in LISTS:
        made.clear()
        bodies = {
            (await get(who, path, client=client)).content
            for who in (api, other, api, other)
            for client in (None, CLIENT)
        }
        assert len(bodies) == 1
        assert len(made) == 1


async def test_what_changes_with_time_alone_is_not_kept_for_long(api: Api) -> None:
    """Nobody writes down that a charger has grown silent or that a night tariff has begun, before a sweep comes."""
    clock = api.deps.clock
    assert isinstance(clock, FrozenClock)
    before = await get(api, STATIONS)
    clock.advance(timedelta(seconds=api.deps.settings.station_offline_after_s + KEPT_S))
    (station,) = (await get(api, STATIONS, before.headers["etag"])).json()["stations"]
    assert station["status"] == "offline"


async def test_without_redis_each_process_makes_its_own(
    make_api: Callable[..., Any], api: Api, made: list[str]
) -> None:
    alone: Api = await make_api(redis_url="redis://127.0.0.1:1/0")
    first = await get(alone, STATIONS)
    assert first.status_code == 200
    assert (await get(alone, STATIONS, first.headers["etag"])).status_code == 304
    assert len(made) == 1
    await api.sql("UPDATE stations SET model = 'AC-22'")
    assert (await get(alone, STATIONS, first.headers["etag"])).json() != first.json()


async def test_what_one_client_alone_is_shown_goes_to_nobody_else(api: Api) -> None:
    assert await seen(api, client=None) == FREE
    await keep(api, client_id=CLIENT)
    for _ in range(2):
        assert await seen(api, client=CLIENT) == FREE
        assert await seen(api, client=None) == TAKEN
