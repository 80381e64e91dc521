"""Favourite locations: F1-F5 (mobile-api.md §4.9)."""

import asyncio

import pytest

from tests.integration.functions.api.conftest import OTHER, Api

FAVORITES = "/api/v1/favorites"


@pytest.fixture
async def places(api: Api) -> Api:
    for number in (2, 3):
        await api.sql("INSERT INTO locations (id, name) VALUES (%s, %s)", f"loc-{number}", f"Place {number}")
    return api


async def favorites(api: Api, client: str = "client-a") -> list[str]:
    answer = await api.ok("GET", FAVORITES, client=client)
    assert set(answer) == {"success", "favorites"}
    found: list[str] = answer["favorites"]
    return found


async def test_adding_and_removing(places: Api) -> None:
    assert await favorites(places) == []
    for location in ("loc-1", "loc-3", "loc-2"):
        answer = await places.ok("POST", FAVORITES, {"location_id": location})
        assert answer == {"success": True, "already_exists": False}
    assert await places.ok("POST", FAVORITES, {"location_id": "loc-1"}) == {"success": True, "already_exists": True}
    assert await favorites(places) == ["loc-2", "loc-3", "loc-1"]  # newest first
    for _ in range(2):
        assert await places.ok("DELETE", f"{FAVORITES}/loc-3") == {"success": True}
    assert await favorites(places) == ["loc-2", "loc-1"]
    assert await favorites(places, OTHER) == []


async def test_checking_and_toggling(places: Api) -> None:
    check, toggle = f"{FAVORITES}/loc-2/check", f"{FAVORITES}/loc-2/toggle"
    assert await places.ok("GET", check) == {"success": True, "is_favorite": False}
    assert await places.ok("POST", toggle) == {"success": True, "is_favorite": True, "action": "added"}
    assert await places.ok("GET", check) == {"success": True, "is_favorite": True}
    assert await places.ok("GET", check, client=OTHER) == {"success": True, "is_favorite": False}
    assert await places.ok("POST", toggle) == {"success": True, "is_favorite": False, "action": "removed"}
    assert await favorites(places) == []


async def test_what_is_refused(places: Api) -> None:
    for body in ({"location_id": "none"},):
        await places.fails("POST", FAVORITES, body, status=404, code="not_found")
    await places.fails("POST", f"{FAVORITES}/none/toggle", status=404, code="not_found")
    await places.ok("DELETE", f"{FAVORITES}/none")
    for wrong in ({}, {"location_id": ""}, {"location_id": 5}, {"location_id": "x" * 129}):
        await places.fails("POST", FAVORITES, wrong, status=422, code="validation_error")
    await places.add_client("closed", status="blocked")
    for method, path, body in (
        ("GET", FAVORITES, None),
        ("POST", FAVORITES, {"location_id": "loc-1"}),
        ("DELETE", f"{FAVORITES}/loc-1", None),
        ("GET", f"{FAVORITES}/loc-1/check", None),
        ("POST", f"{FAVORITES}/loc-1/toggle", None),
    ):
        await places.fails(method, path, body, client=None, status=401, code="unauthorized")
        await places.fails(method, path, body, client="nobody", status=404, code="client_not_found")
        await places.fails(method, path, body, client="closed", status=403, code="client_blocked")
    assert await places.one("SELECT count(*) FROM user_favorites") == 0


async def test_the_same_tap_several_times_at_once(places: Api) -> None:
    answers = await asyncio.gather(*(places.ok("POST", FAVORITES, {"location_id": "loc-1"}) for _ in range(4)))
    assert sorted(answer["already_exists"] for answer in answers) == [False, True, True, True]
    answers = await asyncio.gather(*(places.ok("POST", f"{FAVORITES}/loc-1/toggle") for _ in range(3)))
    assert {answer["action"] for answer in answers} <= {"added", "removed"}
    assert len(await favorites(places)) <= 1
