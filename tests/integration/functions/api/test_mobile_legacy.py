"""The routes of the earlier mobile client: G1-G6, G8, G9, G17 (mobile-api.md §4.10); cards are in test_cards.py."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from evpower.clock import FrozenClock
from tests.integration.functions.api.conftest import CLIENT, OTHER, SERIAL, STATION, Api, token

# Transcribed from mobile-api.md §4: members that readers of each answer use, with their JSON types.
NUMBER = (int, float)
START = {
    "success": bool,
    "session_id": str,
    "station_id": str,
    "client_id": str,
    "connector_id": int,
    "reserved_amount": NUMBER,
    "limit_type": str,
    "limit_value": NUMBER,
    "rate_per_kwh": NUMBER,
    "session_fee": NUMBER,
    "estimated_cost": NUMBER,
    "new_balance": NUMBER,
    "current_balance": NUMBER,
    "required_amount": NUMBER,
    "station_online": bool,
    "message": str,
}
FLAT_STATUS = {
    "success": bool,
    "session_id": str,
    "status": str,
    "station_id": str,
    "client_id": str,
    "connector_id": int,
    "start_time": str,
    "energy_consumed": NUMBER,
    "energy_consumed_kwh": NUMBER,
    "current_cost": NUMBER,
    "cost": NUMBER,
    "current_amount": NUMBER,
    "current_energy": NUMBER,
    "reserved_amount": NUMBER,
    "limit_type": str,
    "limit_value": NUMBER,
    "progress_percent": NUMBER,
    "duration_minutes": NUMBER,
    "rate_per_kwh": NUMBER,
    "charging_power": NUMBER,
    "station_online": bool,
    "has_meter_data": bool,
}
STATION_STATUS = {
    "success": bool,
    "station_id": str,
    "serial_number": str,
    "model": str,
    "manufacturer": str,
    "online": bool,
    "station_status": str,
    "location_status": str,
    "available_for_charging": bool,
    "location_name": str,
    "location_address": str,
    "connectors": list,
    "total_connectors": int,
    "available_connectors": int,
    "occupied_connectors": int,
    "faulted_connectors": int,
    "tariff_rub_kwh": NUMBER,
    "session_fee": NUMBER,
    "currency": str,
    "working_hours": str,
}


def check(answer: dict[str, Any], shape: dict[str, Any]) -> None:
    for name, kind in shape.items():
        assert name in answer, name
        assert isinstance(answer[name], kind), name
        assert kind is bool or not isinstance(answer[name], bool), name


async def fails(api: Api, method: str, path: str, body: Any = None, *, status: int, code: str, **options: Any) -> Any:
    """The legacy envelope: the code in ``error``, the sentence in ``message``."""
    response = await api.call(method, path, body, **options)
    answer = response.json()
    assert (response.status_code, answer["error"]) == (status, code), response.text
    assert answer["success"] is False
    assert answer["error_code"] == code
    assert answer["message"] not in ("", code)
    assert None not in answer.values()
    return answer


async def test_a_whole_charge_by_the_legacy_names(api: Api) -> None:
    station = await api.ok("GET", f"/api/station/status/{SERIAL}", client=None)
    check(station, STATION_STATUS)
    assert "location_id" not in station
    assert "last_heartbeat_at" not in station
    body = {"client_id": CLIENT, "station_id": SERIAL, "connector_id": 1, "amount_som": 100}
    started = await api.ok("POST", "/api/charging/start", body)
    check(started, START)
    assert "pricing" not in started
    assert started["new_balance"] == 900
    session_id = started["session_id"]
    transaction = await api.charger_starts(session_id)
    status = await api.ok("GET", f"/api/charging/status/{session_id}")
    check(status, FLAT_STATUS)
    assert "session" not in status
    assert status["status"] == "started"
    assert status["start_time"].endswith("Z")
    same = await api.ok("GET", f"/api/v1/charging/status/{session_id}")
    assert {name: value for name, value in same.items() if name != "session"}.keys() == status.keys()
    clock = api.deps.clock
    assert isinstance(clock, FrozenClock)
    clock.advance(timedelta(minutes=5))
    await api.charger_stops(transaction, 3000)
    stopped = await api.ok("POST", "/api/charging/stop", {"session_id": session_id})
    assert (stopped["status"], stopped["energy_consumed"], stopped["actual_cost"]) == ("stopped", 2, 27)
    assert (stopped["refund_amount"], stopped["new_balance"]) == (73, 973)
    assert (await api.ok("GET", f"/api/balance/{CLIENT}"))["balance"] == 973
    assert await api.balance() == 973


async def test_failures_carry_the_code_and_never_a_200(api: Api) -> None:
    await fails(api, "POST", "/api/charging/start", {"station_id": SERIAL}, status=422, code="validation_error")
    start = {"client_id": CLIENT, "station_id": SERIAL, "connector_id": 1}
    foreign = {**start, "client_id": OTHER}
    await fails(api, "POST", "/api/charging/start", foreign, status=403, code="forbidden")
    poor = await fails(
        api, "POST", "/api/charging/start", {**start, "amount_som": 1500}, status=402, code="insufficient_balance"
    )
    assert (poor["required_amount"], poor["current_balance"], poor["missing_amount"]) == (1500, 1000, 500)
    nowhere = {**start, "station_id": "none"}
    await fails(api, "POST", "/api/charging/start", nowhere, status=404, code="station_not_found")
    await fails(api, "GET", "/api/charging/status/none", status=404, code="session_not_found")
    await fails(api, "GET", "/api/station/status/none", client=None, status=404, code="station_not_found")
    await fails(api, "GET", f"/api/balance/{OTHER}", status=403, code="forbidden")
    await fails(api, "GET", "/api/payment/status/none", status=404, code="payment_not_found")
    await fails(api, "GET", "/api/no-such-route", status=404, code="not_found")
    await fails(api, "DELETE", "/api/charging/start", status=405, code="invalid_request")
    response = await api.http.post(
        "/api/charging/stop",
        content=b"{",
        headers={"Content-Type": "application/json", "Authorization": f"Bearer {token(CLIENT)}"},
    )
    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")
    v1 = (await api.call("GET", "/api/v1/charging/status/none")).json()
    assert (v1["error_code"], v1["error"]) == ("session_not_found", v1["message"])


async def test_all_but_the_station_need_a_token(api: Api) -> None:
    for method, path in (
        ("POST", "/api/charging/start"),
        ("POST", "/api/charging/stop"),
        ("GET", "/api/charging/status/x"),
        ("GET", "/api/payment/status/x"),
        ("POST", "/api/payment/status-check/x"),
        ("POST", "/api/payment/cancel/x"),
        ("GET", f"/api/balance/{CLIENT}"),
        ("POST", "/api/balance/topup-qr"),
    ):
        await fails(api, method, path, client=None, status=401, code="unauthorized")


async def test_rate_limits_speak_the_legacy_envelope_too(make_api: Callable[..., Any], api: Api) -> None:
    limited: Api = await make_api(rate_limit_critical_per_minute=1)
    body = {"client_id": CLIENT, "session_id": "none"}
    await fails(limited, "POST", "/api/charging/stop", body, status=404, code="session_not_found")
    slow = await fails(limited, "POST", "/api/charging/stop", body, status=429, code="rate_limit_exceeded")
    assert slow["retry_after_seconds"] > 0


async def test_a_top_up_by_the_legacy_names(api: Api) -> None:
    await fails(api, "POST", "/api/balance/topup-qr", {"amount": 200}, status=422, code="validation_error")
    made = await api.ok("POST", "/api/balance/topup-qr", {"amount": 200, "client_id": CLIENT})
    invoice = made["invoice_id"]
    assert (await api.ok("GET", f"/api/payment/status/{invoice}"))["status"] == 0
    checked = await api.ok("POST", f"/api/payment/status-check/{invoice}")
    assert checked | {"message": ""} == {
        "success": True,
        "message": "",
        "invoice_id": invoice,
        "check_type": "immediate",
        "estimated_completion_seconds": 0,
    }
    await fails(api, "GET", f"/api/payment/status/{invoice}", client=OTHER, status=403, code="forbidden")
    api.standin.behaviour.callbacks = 0
    api.standin.pay(invoice)
    await api.ok("POST", f"/api/payment/status-check/{invoice}")
    done = await fails(api, "POST", f"/api/payment/status-check/{invoice}", status=409, code="payment_completed")
    assert done["current_status"] == "approved"
    late = await fails(api, "POST", f"/api/payment/cancel/{invoice}", status=409, code="cannot_cancel")
    assert late["current_status"] == "approved"
    assert await api.balance() == 1200


async def test_cancelling_by_the_legacy_name(api: Api) -> None:
    made = await api.ok("POST", "/api/balance/topup-qr", {"amount": 200, "client_id": CLIENT})
    invoice = made["invoice_id"]
    canceled = await api.ok("POST", f"/api/payment/cancel/{invoice}")
    assert canceled | {"message": ""} == {
        "success": True,
        "message": "",
        "invoice_id": invoice,
        "status": "canceled",
        "client_id": CLIENT,
        "amount": 200,
        "previous_status": "processing",
        "new_status": "canceled",
        "provider": "ODENGI",
    }
    over = await fails(api, "POST", f"/api/payment/status-check/{invoice}", status=409, code="payment_expired")
    assert over["current_status"] == "canceled"


async def test_station_by_id_or_serial_number(api: Api) -> None:
    by_id = await api.ok("GET", f"/api/station/status/{STATION}", client=None)
    by_serial = await api.ok("GET", f"/api/station/status/{SERIAL}", client=None)
    assert by_id == by_serial
