"""The OpenAPI document: valid, complete, and describing what is really sent."""

from typing import Any

import httpx
import pytest
from openapi_spec_validator import validate

from evpower.config import Settings
from functions.api.app import create_api, create_app
from functions.api.deps import build_deps
from tests.unit.functions.api.conftest import DatabaseAway

ROUTES = {
    ("get", "/health"),
    ("get", "/readyz"),
    ("get", "/version"),
    ("get", "/"),
    ("get", "/api/v1/profile"),
    ("post", "/api/v1/balance/topup-qr"),
    ("post", "/api/v1/balance/topup-card"),
    ("get", "/api/v1/balance/current"),
    ("get", "/api/v1/balance/history"),
    ("get", "/api/v1/balance/{client_id}"),
    ("post", "/api/v1/charging/start"),
    ("post", "/api/v1/charging/stop"),
    ("get", "/api/v1/charging/history"),
    ("get", "/api/v1/charging/status/{session_id}"),
    ("get", "/api/v1/charging/{session_id}"),
    ("get", "/api/v1/payment/status"),
    ("get", "/api/v1/payment/status/{invoice_id}"),
    ("post", "/api/v1/payment/check-status"),
    ("post", "/api/v1/payment/status-check/{invoice_id}"),
    ("post", "/api/v1/payment/cancel/{invoice_id}"),
    ("get", "/api/v1/station/status/{station_id}"),
    ("get", "/api/v1/station/{station_id}/status"),
    ("get", "/api/v1/stations"),
    ("get", "/api/v1/locations"),
    ("get", "/api/v1/locations/{location_id}"),
    ("post", "/api/v1/locations/{location_id}/refresh-status"),
    ("get", "/api/v1/favorites"),
    ("post", "/api/v1/favorites"),
    ("delete", "/api/v1/favorites/{location_id}"),
    ("get", "/api/v1/favorites/{location_id}/check"),
    ("post", "/api/v1/favorites/{location_id}/toggle"),
    ("get", "/api/v1/history/charging"),
    ("get", "/api/v1/history/transactions"),
    ("get", "/api/v1/history/stats"),
    ("get", "/api/v1/admin/stats"),
    ("get", "/api/v1/admin/stations"),
    ("get", "/api/v1/admin/stations/{station_id}"),
    ("put", "/api/v1/admin/stations/{station_id}"),
    ("get", "/api/v1/admin/sessions"),
    ("get", "/api/v1/admin/sessions/history"),
    ("get", "/api/v1/admin/sessions/{session_id}"),
    ("get", "/api/v1/admin/clients"),
    ("get", "/api/v1/admin/clients/{client_id}"),
    ("put", "/api/v1/admin/clients/{client_id}/balance"),
    ("put", "/api/v1/admin/clients/{client_id}/status"),
    ("get", "/api/v1/admin/operators"),
    ("post", "/api/v1/admin/operators"),
    ("delete", "/api/v1/admin/operators/{operator_id}"),
    ("post", "/api/v1/admin/operators/{operator_id}/activate"),
    ("get", "/api/v1/admin/users"),
    ("post", "/api/v1/admin/users"),
    ("get", "/api/v1/admin/users/{user_id}"),
    ("put", "/api/v1/admin/users/{user_id}"),
    ("delete", "/api/v1/admin/users/{user_id}"),
    ("post", "/api/v1/admin/users/{user_id}/activate"),
    ("post", "/api/v1/balance/h2h-payment"),
    ("post", "/api/v1/balance/token-payment"),
    ("post", "/api/v1/payment/h2h-create"),
    ("post", "/api/v1/payment/h2h-payment"),
    ("get", "/api/v1/payment/h2h-status/{transaction_id}"),
    ("post", "/api/v1/payment/token"),
    ("post", "/api/v1/payment/token-payment"),
    ("post", "/api/v1/payment/create-token"),
    ("post", "/api/charging/start"),
    ("post", "/api/charging/stop"),
    ("get", "/api/charging/status/{session_id}"),
    ("get", "/api/station/status/{station_id}"),
    ("get", "/api/payment/status/{invoice_id}"),
    ("post", "/api/payment/status-check/{invoice_id}"),
    ("get", "/api/balance/{client_id}"),
    ("post", "/api/balance/topup-qr"),
    ("post", "/api/balance/topup-card"),
    ("post", "/api/balance/h2h-payment"),
    ("post", "/api/balance/token-payment"),
    ("post", "/api/payment/create-token"),
    ("post", "/api/payment/h2h-payment"),
    ("post", "/api/payment/token-payment"),
    ("get", "/api/payment/h2h-status/{transaction_id}"),
    ("post", "/api/payment/cancel/{invoice_id}"),
}


@pytest.fixture
def document(settings: Settings) -> dict[str, Any]:
    return create_api(build_deps(settings, database=DatabaseAway())).openapi()


def test_it_is_valid_and_lists_every_route(document: dict[str, Any]) -> None:
    validate(document)
    served = {(method, path) for path, item in document["paths"].items() for method in item}
    assert served >= ROUTES


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
