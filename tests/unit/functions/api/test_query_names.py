"""Names in a query: routes of the staff refuse those that they do not read, all others ignore them."""

import re
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute

from functions.api.routes import routers
from functions.api.routing import ContractRoute, depends_on
from functions.api.staff import require_staff
from tests.integration.contract.expected import ROUTES

MASTER = {"X-API-Key": "test-master-key"}
# What the app's own screens and the earlier system's send (mobile-api.md §7.2, §7.3).
CONTRACT = {
    "/api/v1/admin/stats": "period_days",
    "/api/v1/admin/stations": "status location_id is_online limit offset",
    "/api/v1/admin/sessions": "station_id limit offset",
    "/api/v1/admin/sessions/history": "station_id status date_from date_to limit offset",
    "/api/v1/admin/clients": "search status limit offset",
    "/api/v1/admin/clients/{client_id}/status": "status",
    "/api/v1/admin/users": "page per_page role search is_active",
}


def served() -> dict[tuple[str, str], ContractRoute]:
    found: dict[tuple[str, str], ContractRoute] = {}
    for router in routers():
        for route in router.routes:
            assert isinstance(route, APIRoute)
            assert isinstance(route, ContractRoute), route.path
            found |= {(method, route.path): route for method in route.methods}
    return found


def is_staffs(route: APIRoute) -> bool:
    return depends_on(route.dependant, require_staff)


STAFFS = sorted(key for key, route in served().items() if is_staffs(route))
OTHERS = sorted(key for key, route in served().items() if not is_staffs(route))


async def ask(http: httpx.AsyncClient, method: str, path: str, query: str, **headers: str) -> dict[str, Any]:
    filled = re.sub(r"\{\w+\}", "1", path)
    answer = await http.request(method, f"{filled}?{query}", headers=headers)
    return {"status": answer.status_code, **answer.json()}


def refuses_the_name(answer: dict[str, Any]) -> bool:
    return "unknown_parameter" in [field["problem"] for field in answer.get("fields", [])]


def test_every_route_of_the_staff_is_here() -> None:
    paths = {(method, path) for _, method, path, _ in ROUTES}
    assert {*STAFFS, *OTHERS} == paths
    assert {key for key in paths if "/admin" in key[1]} <= set(STAFFS)
    assert len(STAFFS) > 70
    assert len(OTHERS) > 40


@pytest.mark.parametrize(("method", "path"), STAFFS)
async def test_staff_hears_of_a_name_that_the_route_does_not_read(
    http: httpx.AsyncClient, method: str, path: str
) -> None:
    answer = await ask(http, method, path, "nonsense=1", **MASTER)
    assert (answer["status"], answer["error_code"], answer["field"]) == (422, "validation_error", "nonsense")
    (told,) = answer["fields"]
    assert (told["field"], told["problem"], "did_you_mean" in told) == ("nonsense", "unknown_parameter", False)
    assert answer["success"] is False
    assert "nonsense" in answer["error"]
    assert "nonsense" in answer["reason"]


@pytest.mark.parametrize(("method", "path"), STAFFS)
async def test_names_that_the_route_reads_are_not_refused(http: httpx.AsyncClient, method: str, path: str) -> None:
    names = served()[(method, path)].query_names
    answer = await ask(http, method, path, "&".join(f"{name}=1" for name in sorted(names)), **MASTER)
    assert not refuses_the_name(answer), answer


@pytest.mark.parametrize(("path", "names"), CONTRACT.items())
def test_the_contracts_names_are_read(path: str, names: str) -> None:
    method = "PUT" if path.endswith("/status") else "GET"
    assert set(names.split()) <= served()[(method, path)].query_names


@pytest.mark.parametrize(
    ("path", "wrong", "right"),
    [
        ("/api/v1/admin/stations/1/composite-schedule", "connector_id", "connector"),
        ("/api/v1/admin/stations/1/messages", "message-id", "message_id"),
        ("/api/v1/admin/stations/1/commands", "Status", "status"),
        ("/api/v1/admin/sessions/history", "from", "date_from"),
    ],
)
async def test_the_name_that_was_meant_is_told(http: httpx.AsyncClient, path: str, wrong: str, right: str) -> None:
    answer = await ask(http, "GET", path, f"{wrong}=1&limit=1", **MASTER)
    told = answer["fields"][0]
    assert (told["field"], told["problem"], told["did_you_mean"]) == (wrong, "unknown_parameter", right)
    assert f"did you mean {right}?" in answer["reason"]


async def test_all_unknown_names_are_told(http: httpx.AsyncClient) -> None:
    answer = await ask(http, "GET", "/api/v1/admin/stations", "zebra=1&is_onlin=1&limit=1&zebra=2", **MASTER)
    assert [field["field"] for field in answer["fields"]] == ["is_onlin", "zebra"]
    assert "known here: is_online, limit, location_id, offset, status" in answer["reason"]


@pytest.mark.parametrize(("method", "path"), STAFFS)
async def test_strangers_hear_only_that_they_are_strangers(http: httpx.AsyncClient, method: str, path: str) -> None:
    answer = await ask(http, method, path, "nonsense=1")
    assert (answer["status"], answer["error_code"]) == (401, "unauthorized")


@pytest.mark.parametrize(("method", "path"), OTHERS)
async def test_the_apps_routes_ignore_what_they_do_not_read(http: httpx.AsyncClient, method: str, path: str) -> None:
    """Builds in the field may send more than today's; a retrying phone must not learn of it by failing."""
    answer = await ask(http, method, path, "nonsense=1")
    assert not refuses_the_name(answer), answer
