"""The OpenAPI document: valid, complete, and describing what is really sent."""

import re
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from evpower.config import Settings
from functions.api.app import create_api, create_app
from functions.api.deps import build_deps
from tests.integration.contract.examples import FAR_AHEAD, LONG_AGO
from tests.integration.contract.expected import ROUTES
from tests.unit.functions.api.conftest import DatabaseAway


@pytest.fixture
def document(settings: Settings) -> dict[str, Any]:
    return create_api(build_deps(settings, database=DatabaseAway())).openapi()


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(method, path, found) for path, item in document["paths"].items() for method, found in item.items()]


def successes(found: dict[str, Any]) -> dict[str, Any]:
    """The success that has an example: done, else on its way."""
    responses: dict[str, dict[str, Any]] = found["responses"]
    return responses.get("200") or responses["202"]


def test_it_is_valid_and_lists_every_route(document: dict[str, Any]) -> None:
    validate(document)
    served = {(method, path) for method, path, _ in operations(document)}
    assert served == {(method.lower(), path) for _, method, path, _ in ROUTES}


def test_every_operation_says_what_it_answers(document: dict[str, Any]) -> None:
    names = [found["operationId"] for _, _, found in operations(document)]
    assert len(names) == len(set(names))
    for method, path, found in operations(document):
        success = successes(found)["content"]["application/json"]
        assert success["schema"].keys() & {"$ref", "anyOf"}, (method, path)
        assert "example" in success, (method, path)
        assert {"429", "500"} <= found["responses"].keys()
        if found["security"]:
            assert {"401", "403"} <= found["responses"].keys(), (method, path)
        body = found.get("requestBody")
        assert body is None or "example" in body["content"]["application/json"], (method, path)


def test_examples_are_what_the_schemas_describe(document: dict[str, Any]) -> None:
    registry = {"$schema": "https://json-schema.org/draft/2020-12/schema", "components": document["components"]}
    checked = 0
    for method, path, found in operations(document):
        contents = [successes(found)["content"]["application/json"]]
        contents += [found["requestBody"]["content"]["application/json"]] if "requestBody" in found else []
        for content in contents:
            validator = Draft202012Validator({**registry, **content["schema"]})
            problems = [error.message for error in validator.iter_errors(content["example"])]
            assert problems == [], (method, path)
            checked += 1
    for name, answer in document["components"]["responses"].items():
        content = answer["content"]["application/json"]
        Draft202012Validator({**registry, **content["schema"]}).validate(content["example"])
        assert name.removeprefix("Error").isdecimal()
    assert checked > len(ROUTES)


def times(value: Any, name: str = "") -> list[tuple[str, str]]:
    if isinstance(value, dict):
        return [found for key, item in value.items() for found in times(item, key)]
    if isinstance(value, list):
        return [found for item in value for found in times(item, name)]
    return [(name, value)] if isinstance(value, str) and re.match(r"\d{4}-\d\d-\d\d", value) else []


def test_examples_of_bodies_stay_good(document: dict[str, Any]) -> None:
    """Whoever tries one next year must not be told that its end is over."""
    found = {
        (path, name, text)
        for _, path, operation in operations(document)
        for content in [operation.get("requestBody", {}).get("content", {}).get("application/json", {})]
        for name, text in times(content.get("example"))
    }
    begins = {"valid_from", "starts_at", "oldest"}
    assert {"valid_from", "valid_to", "expires_at"} <= {name for _, name, _ in found}
    wrong = {item for item in found if item[2] != (LONG_AGO if item[1] in begins else FAR_AHEAD)}
    assert wrong == set()
    assert "expires_in_s" in str(document["paths"]["/api/v1/admin/stations/{station_id}/reservations"]["post"])


def test_public_routes_ask_for_nothing(document: dict[str, Any]) -> None:
    public = {path for _, path, found in operations(document) if not found["security"]}
    assert "/api/v1/locations" in public
    assert "/api/v1/auth/send-otp" in public
    assert not {path for path in public if "/admin" in path or "/balance" in path or "/charging" in path}


def test_members_that_are_left_out_are_not_described_as_null(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    nested = schemas["NestedSession"]["properties"]
    assert nested["ev_battery_soc"]["type"] == "number"
    assert {"type": "null"} in nested["stop_time"]["anyOf"]
    assert schemas["TopUpAnswer"]["properties"]["invoice_id"]["type"] == "string"
    assert schemas["BalanceAnswer"]["properties"]["balance"]["type"] == "number"
    assert "invoice_id" not in schemas["TopUpAnswer"]["required"]


async def test_the_document_is_served_only_when_asked_for(settings: Settings) -> None:
    for enabled, status in ((True, 200), (False, 404)):
        deps = build_deps(settings.model_copy(update={"enable_swagger": enabled}), database=DatabaseAway())
        transport = httpx.ASGITransport(app=create_app(deps))
        async with httpx.AsyncClient(transport=transport, base_url="https://api.example") as http:
            assert (await http.get("/docs")).status_code == status
            assert (await http.get("/openapi.json")).status_code == status


async def test_the_page_loads_nothing_from_elsewhere(settings: Settings) -> None:
    """Use case: the machine has no network; the page of the routes was empty then."""
    deps = build_deps(settings.model_copy(update={"enable_swagger": True}), database=DatabaseAway())
    transport = httpx.ASGITransport(app=create_app(deps))
    async with httpx.AsyncClient(transport=transport, base_url="https://api.example") as http:
        page = await http.get("/docs")
        loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
        assert len(loaded) >= 3
        assert all(address.startswith("/") for address in loaded), loaded
        for address in loaded:
            assert (await http.get(address)).status_code == 200, address
    sources = re.findall(r"https?:[^ ;]*", page.headers["Content-Security-Policy"])
    assert sources == [], "nor would the browser be allowed to"
