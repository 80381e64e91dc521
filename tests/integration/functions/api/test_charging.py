"""Charging: C1-C5 over the real application, with a charger played by the domain services."""

import asyncio
from datetime import timedelta
from decimal import Decimal
from typing import Any

from tests.integration.functions.api.conftest import CLIENT, OTHER, SERIAL, STATION, Api

START, STOP = "/api/v1/charging/start", "/api/v1/charging/stop"
BODY = {"station_id": SERIAL, "connector_id": 1}


async def advance(api: Api, **delta: float) -> None:
    api.deps.clock.advance(timedelta(**delta))  # type: ignore[attr-defined]


async def test_start_reserves_and_hands_over_the_command(api: Api) -> None:
    answer = await api.start(amount_som=300)
    assert answer["success"] is True
    assert answer["station_id"] == STATION, "the canonical id, whatever the app sent"
    assert (answer["client_id"], answer["connector_id"]) == (CLIENT, 1)
    assert (answer["limit_type"], answer["limit_value"]) == ("amount", 300)
    assert (answer["reserved_amount"], answer["required_amount"], answer["estimated_cost"]) == (300, 300, 300)
    assert (answer["current_balance"], answer["new_balance"]) == (700, 700)
    assert (answer["rate_per_kwh"], answer["session_fee"]) == (13.5, 0)
    assert answer["pricing"]["rate_per_kwh"] == 13.5
    assert answer["station_online"] is True
    assert answer["error"] is None
    assert await api.balance() == 700
    (command,) = api.queue.sent
    assert (command.action, command.station_id, command.session_id) == (
        "RemoteStartTransaction",
        STATION,
        answer["session_id"],
    )
    assert command.correlation_id is not None
    assert command.payload["connectorId"] == 1


LIMITS: list[tuple[dict[str, Any], str, float, float]] = [
    ({}, "none", 0, 200),
    ({"energy_kwh": 10}, "energy", 10, 135),
    ({"energy_kwh": 10, "amount_som": 100}, "energy", 10, 100),
    ({"amount_som": 99.99}, "amount", 99.99, 99.99),
]


async def test_limits(api: Api) -> None:
    for limits, limit_type, limit_value, reserved in LIMITS:
        answer = await api.start(**limits)
        shown = (answer["limit_type"], answer["limit_value"], answer["reserved_amount"])
        assert shown == (limit_type, limit_value, reserved)
        assert answer["energy_kwh"] == limits.get("energy_kwh")
        await api.ok("POST", STOP, {"session_id": answer["session_id"]})
    assert await api.balance() == 1000


BAD_STARTS: list[tuple[dict[str, Any], str]] = [
    ({"station_id": None}, "station_id"),
    ({"station_id": ""}, "station_id"),
    ({"station_id": 7}, "station_id"),
    ({"station_id": "x" * 129}, "station_id"),
    ({"connector_id": 0}, "connector_id"),
    ({"connector_id": 101}, "connector_id"),
    ({"connector_id": "1"}, "connector_id"),
    ({"connector_id": 1.5}, "connector_id"),
    ({"connector_id": True}, "connector_id"),
    ({"energy_kwh": 0}, "energy_kwh"),
    ({"energy_kwh": 201}, "energy_kwh"),
    ({"energy_kwh": "10"}, "energy_kwh"),
    ({"amount_som": -1}, "amount_som"),
    ({"amount_som": 100_001}, "amount_som"),
    ({"amount_som": 10.001}, "amount_som"),
]


async def test_bad_start_parameters_name_the_field(api: Api) -> None:
    for changes, field in BAD_STARTS:
        answer = await api.fails("POST", START, {**BODY, **changes}, status=422, code="validation_error")
        assert answer["field"] == field, changes
    assert await api.balance() == 1000


async def test_who_may_start(api: Api) -> None:
    await api.fails("POST", START, BODY, client=None, status=401, code="unauthorized")
    await api.fails("POST", START, {**BODY, "client_id": OTHER}, status=403, code="forbidden")
    await api.fails("POST", START, BODY, client="nobody", status=404, code="client_not_found")
    await api.add_client("poor", 5)
    answer = await api.fails("POST", START, BODY, client="poor", status=402, code="insufficient_balance")
    assert (answer["current_balance"], answer["required_amount"]) == (5, 10)
    answer = await api.fails("POST", START, {**BODY, "amount_som": 1001}, status=402, code="insufficient_balance")
    assert (answer["current_balance"], answer["required_amount"]) == (1000, 1001)


async def test_stations_that_cannot_start(api: Api) -> None:
    await api.add_station("st-inactive", status="inactive")
    await api.add_station("st-maintenance", status="maintenance")
    await api.add_station("st-silent", last_heartbeat_at=api.deps.clock.now() - timedelta(seconds=601))
    await api.add_station("st-pending", registration_status="pending")
    for station, status, code in (
        ("unknown", 404, "station_not_found"),
        ("st-inactive", 404, "station_not_found"),
        ("st-maintenance", 409, "station_maintenance"),
        ("st-silent", 409, "station_offline"),
        ("st-pending", 409, "station_unavailable"),
    ):
        await api.fails("POST", START, {**BODY, "station_id": station}, status=status, code=code)
    assert await api.balance() == 1000


async def test_connectors_that_cannot_start(api: Api) -> None:
    await api.fails("POST", START, {**BODY, "connector_id": 9}, status=404, code="connector_not_found")
    for word, code in (
        ("Faulted", "connector_faulted"),
        ("Unavailable", "connector_unavailable"),
        ("Charging", "connector_occupied"),
        ("Reserved", "connector_occupied"),
    ):
        await api.sql("UPDATE connectors SET ocpp_status = %s WHERE connector_number = 2", word)
        await api.fails("POST", START, {**BODY, "connector_id": 2}, status=409, code=code)
    await api.sql("UPDATE connectors SET ocpp_status = 'Preparing' WHERE connector_number = 2")
    assert (await api.start(connector_id=2))["connector_id"] == 2


async def test_one_session_a_client_and_one_a_connector(api: Api) -> None:
    mine = await api.start()
    answer = await api.fails("POST", START, {**BODY, "connector_id": 2}, status=409, code="session_already_active")
    assert answer["session_id"] == mine["session_id"]
    await api.fails("POST", START, BODY, client=OTHER, status=409, code="connector_occupied")


async def test_simultaneous_starts_have_one_winner(api: Api) -> None:
    answers = await asyncio.gather(
        *(api.call("POST", START, {**BODY, "connector_id": 1 + n % 2}) for n in range(4)),
        *(api.call("POST", START, BODY, client=OTHER) for _ in range(2)),
    )
    by_client = [answer.status_code for answer in answers[:4]]
    assert sorted(by_client)[1:] == [409, 409, 409]
    assert await api.one("SELECT count(*) FROM charging_sessions WHERE user_id = %s", CLIENT) in (0, 1)
    live = await api.sql("SELECT connector_id FROM charging_sessions WHERE status = 'started'")
    assert len(live) == len({row["connector_id"] for row in live})
    await api.balance()
    await api.balance(OTHER)


async def test_a_station_that_is_briefly_away_waits(api: Api) -> None:
    await api.sql("UPDATE stations SET connected_instance = NULL WHERE id = %s", STATION)
    answer = await api.start()
    assert answer["station_online"] is False
    assert answer["message"].startswith("Станция временно не на связи")


# --- Status -------------------------------------------------------------------------------------------------------

NESTED_REQUIRED = {"status", "station_id", "start_time", "id", "session_id", "energy_consumed", "current_cost"}
NULLABLE = {"stop_time", "ocpp_transaction_id", "transaction_id", "ocpp_status", "last_update", "error"}


def assert_null_discipline(answer: dict[str, Any]) -> None:
    nulls = {name for part in (answer, answer["session"]) for name, value in part.items() if value is None}
    assert nulls <= NULLABLE


async def test_status_before_the_car_charges(api: Api) -> None:
    session_id = (await api.start(energy_kwh=10))["session_id"]
    answer = await api.ok("GET", f"/api/v1/charging/status/{session_id}")
    assert await api.ok("GET", f"/api/v1/charging/{session_id}") == answer
    assert_null_discipline(answer)
    nested = answer["session"]
    assert set(nested) >= NESTED_REQUIRED
    assert (nested["status"], nested["energy_consumed"], nested["current_cost"]) == ("started", 0, 0)
    assert (nested["limit_type"], nested["limit_value"], nested["limit_reached"]) == ("energy", 10, False)
    assert nested["ocpp_transaction_id"] is None
    assert nested["start_time"].endswith("Z")
    assert "ev_battery_soc" not in nested
    assert "meter_start" not in nested


async def test_status_while_charging_and_after(api: Api) -> None:
    session_id = (await api.start(energy_kwh=10))["session_id"]
    transaction = await api.charger_starts(session_id, 1000)
    await advance(api, minutes=6)
    await api.sql(
        """UPDATE charging_sessions SET energy_wh = 5000, amount = 67.5, meter_current = 6000, power_w = 50000,
               current_a = 125.5, voltage_v = 398.4, soc_percent = 61, last_meter_at = %s WHERE id = %s""",
        api.deps.clock.now(),
        session_id,
    )
    answer = await api.ok("GET", f"/api/v1/charging/status/{session_id}")
    assert_null_discipline(answer)
    for part in (answer, answer["session"]):
        assert part["ocpp_transaction_id"] == part["transaction_id"] == str(transaction)
        assert (part["energy_consumed"], part["current_cost"]) == (5, 67.5)
        assert (part["progress_percent"], part["limit_percentage"]) == (50, 50)
        assert (part["duration_minutes"], part["charging_duration_minutes"]) == (6, 6)
        assert (part["meter_start"], part["meter_current"]) == (1000, 6000)
        assert (part["charging_power"], part["power_kw"]) == (50, 50)
        assert (part["station_current"], part["station_voltage"], part["ev_battery_soc"]) == (125.5, 398.4, 61)
        assert part["station_online"] is True
        assert part["has_meter_data"] is True
    await api.charger_stops(transaction, 6000)
    answer = await api.ok("GET", f"/api/v1/charging/status/{session_id}")
    assert_null_discipline(answer)
    assert answer["session"]["status"] == answer["status"] == "stopped"
    assert answer["session"]["stop_time"].endswith("Z")
    assert (answer["session"]["energy_consumed"], answer["session"]["current_cost"]) == (5, 67.5)
    assert (answer["final_amount_som"], answer["session"]["charging_power"]) == (67.5, 0)
    assert await api.balance() == Decimal("932.50")


async def test_status_is_for_the_owner(api: Api) -> None:
    session_id = (await api.start())["session_id"]
    for path in ("/api/v1/charging/status/{}", "/api/v1/charging/{}"):
        await api.fails("GET", path.format(session_id), client=OTHER, status=403, code="forbidden")
        await api.fails("GET", path.format(session_id), client=None, status=401, code="unauthorized")
        await api.fails("GET", path.format("no-such-session"), status=404, code="session_not_found")
        await api.fails("GET", path.format("x" * 200), status=422, code="validation_error")
        await api.fails("GET", path.format("a%00b"), status=422, code="validation_error")


# --- Stop ---------------------------------------------------------------------------------------------------------


async def test_stop_before_the_car_charges_returns_everything_at_once(api: Api) -> None:
    session_id = (await api.start(amount_som=300))["session_id"]
    answer = await api.ok("POST", STOP, {"session_id": session_id})
    assert (answer["status"], answer["provisional"]) == ("stopped", False)
    assert (answer["final_cost"], answer["refunded_amount"], answer["new_balance"]) == (0, 300, 1000)
    assert await api.balance() == 1000
    assert len(api.queue.sent) == 1, "no transaction runs: nothing to stop at the charger"


async def test_stop_waits_for_the_bill(api: Api) -> None:
    session_id = (await api.start(amount_som=300))["session_id"]
    transaction = await api.charger_starts(session_id, 1000)
    await advance(api, minutes=5)
    api.deps.settings.stop_wait_s = 20

    async def charger() -> None:
        while len(api.queue.sent) < 2:
            await asyncio.sleep(0.01)
        await api.charger_stops(transaction, 3000)

    answer, _ = await asyncio.gather(api.ok("POST", STOP, {"session_id": session_id}), charger())
    assert api.queue.sent[1].action == "RemoteStopTransaction"
    assert api.queue.sent[1].payload == {"transactionId": transaction}
    assert (answer["status"], answer["provisional"]) == ("stopped", False)
    assert answer["final_cost"] == answer["actual_cost"] == 27
    assert answer["refunded_amount"] == answer["refund_amount"] == 273
    assert (answer["energy_consumed"], answer["duration_minutes"]) == (2, 5)
    assert (answer["additional_charge"], answer["new_balance"], answer["reserved_amount"]) == (0, 973, 300)
    assert (answer["session_id"], answer["station_id"], answer["client_id"]) == (session_id, STATION, CLIENT)
    assert answer["stop_time"].endswith("Z")
    again = await api.ok("POST", STOP, {"session_id": session_id})
    assert again == answer, "stopping an ended session answers its final figures"
    assert await api.balance() == 973


async def test_stop_without_an_answer_of_the_charger_is_provisional(api: Api) -> None:
    session_id = (await api.start(amount_som=300))["session_id"]
    await api.charger_starts(session_id)
    answer = await api.ok("POST", STOP, {"session_id": session_id})
    assert (answer["success"], answer["status"], answer["provisional"]) == (True, "started", True)
    assert answer["stop_time"] is None
    assert "позже" in answer["message"]
    again = await api.ok("POST", STOP, {"session_id": session_id})
    assert again["provisional"] is True
    stops = {command.id for command in api.queue.sent if command.action == "RemoteStopTransaction"}
    assert len(stops) == 1, "one RemoteStop, however often the button is pressed"


async def test_stop_of_an_offline_station_does_not_wait(api: Api) -> None:
    session_id = (await api.start())["session_id"]
    await api.charger_starts(session_id)
    await api.sql("UPDATE stations SET connected_instance = NULL")
    api.deps.settings.stop_wait_s = 60
    answer = await asyncio.wait_for(api.ok("POST", STOP, {"session_id": session_id}), 10)
    assert answer["provisional"] is True


async def test_who_may_stop(api: Api) -> None:
    session_id = (await api.start())["session_id"]
    body = {"session_id": session_id}
    await api.fails("POST", STOP, body, client=OTHER, status=403, code="forbidden")
    await api.fails("POST", STOP, body, client=None, status=401, code="unauthorized")
    await api.fails("POST", STOP, {**body, "client_id": OTHER}, status=403, code="forbidden")
    await api.fails("POST", STOP, {"session_id": "none"}, status=404, code="session_not_found")
    await api.fails("POST", STOP, {}, status=422, code="validation_error")
    assert await api.one("SELECT status FROM charging_sessions") == "started"
    await api.sql("UPDATE clients SET status = 'blocked' WHERE id = %s", CLIENT)
    assert (await api.ok("POST", STOP, body))["status"] == "stopped", "a blocked client's car must not go on charging"


async def test_history(api: Api) -> None:
    session_id = (await api.start(amount_som=300))["session_id"]
    transaction = await api.charger_starts(session_id, 0)
    await advance(api, minutes=10)
    await api.charger_stops(transaction, 4000)
    answer = await api.ok("GET", "/api/v1/charging/history")
    assert (answer["total"], answer["limit"], answer["offset"]) == (1, 50, 0)
    (item,) = answer["data"]
    assert (item["id"], item["status"], item["energy_kwh"], item["amount"]) == (session_id, "stopped", 4, 54)
    assert (item["limit_type"], item["limit_value"], item["connector_id"]) == ("amount", 300, 1)
    assert item["duration_minutes"] == 10
    assert item["station"] == {"model": "DC-60", "location": {"name": "Central", "address": "Street 1"}}
    assert item["started_at"].endswith("Z")
    assert (await api.ok("GET", "/api/v1/charging/history", client=OTHER))["data"] == []
