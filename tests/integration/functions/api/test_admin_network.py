"""Dashboard, stations and sessions of the staff: D1-D7, L6, as each role (mobile-api.md §7)."""

import time
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from evpower.auth import hmac_signature
from evpower.auth.models import AuthRequest
from evpower.clock import BISHKEK
from tests.integration.functions.api.conftest import CLIENT, OTHER, Api
from tests.integration.functions.api.staff_world import (
    FIRST,
    FIRST_OPERATOR,
    FIRST_STATION,
    FORMER,
    MAYBE_NUMBER,
    MAYBE_TEXT,
    NUMBER,
    ROOT,
    SECOND,
    SECOND_OPERATOR,
    SECOND_STATION,
    SEES,
    add_session,
    build,
    check,
)

ADMIN = "/api/v1/admin"
CONNECTOR = {
    "id": str,
    "connector_number": int,
    "connector_type": MAYBE_TEXT,
    "power_kw": MAYBE_NUMBER,
    "status": str,
    "error_code": MAYBE_TEXT,
}
STATION = {
    "id": str,
    "serial_number": MAYBE_TEXT,
    "model": MAYBE_TEXT,
    "manufacturer": MAYBE_TEXT,
    "location_id": MAYBE_TEXT,
    "location_name": MAYBE_TEXT,
    "location_address": MAYBE_TEXT,
    "status": str,
    "is_available": bool,
    "power_capacity": MAYBE_NUMBER,
    "price_per_kwh": MAYBE_NUMBER,
    "session_fee": MAYBE_NUMBER,
    "currency": str,
    "connectors_count": int,
    "connectors": [CONNECTOR],
    "last_heartbeat_at": MAYBE_TEXT,
    "firmware_version": MAYBE_TEXT,
    "created_at": MAYBE_TEXT,
    "updated_at": MAYBE_TEXT,
}
SESSION = {
    "id": str,
    "station_id": str,
    "station_name": MAYBE_TEXT,
    "location_name": MAYBE_TEXT,
    "location_address": MAYBE_TEXT,
    "client_id": str,
    "client_email": MAYBE_TEXT,
    "client_phone": MAYBE_TEXT,
    "status": str,
    "energy_kwh": NUMBER,
    "amount_som": NUMBER,
    "duration_minutes": MAYBE_NUMBER,
    "limit_type": MAYBE_TEXT,
    "limit_value": MAYBE_NUMBER,
    "start_time": MAYBE_TEXT,
    "stop_time": MAYBE_TEXT,
    "created_at": MAYBE_TEXT,
}
STATS = {
    "stations": {"total": int, "online": int, "offline": int, "error": int},
    "sessions": {"active": int, "today": int},
    "today": {"energy_kwh": NUMBER, "revenue_som": NUMBER},
    "period": {"from": str, "to": str},
}


@pytest.fixture
async def world(api: Api) -> Api:
    await build(api)
    return api


async def data(api: Api, path: str, caller: str) -> dict[str, Any]:
    answer = await api.ok("GET", f"{ADMIN}{path}", client=caller)
    assert set(answer) == {"success", "data"}
    found: dict[str, Any] = answer["data"]
    return found


async def test_everybody_sees_its_own_stations_and_sessions(world: Api) -> None:
    sessions = {await add_session(world, station): station for station in (FIRST_STATION, SECOND_STATION)}
    for caller, expected in SEES.items():
        page = await data(world, "/stations", caller)
        assert ({item["id"] for item in page["stations"]}, page["total"]) == (expected, len(expected)), caller
        page = await data(world, "/sessions/history", caller)
        assert ({item["station_id"] for item in page["sessions"]}, page["total"]) == (expected, len(expected)), caller
        stats = await data(world, "/stats", caller)
        assert (stats["stations"]["total"], stats["sessions"]["today"]) == (len(expected), len(expected)), caller
        for session_id, station in sessions.items():
            for kind, item, code in (("stations", station, "station"), ("sessions", session_id, "session")):
                path = f"{ADMIN}/{kind}/{item}"
                if station in expected:
                    assert (await world.ok("GET", path, client=caller))["data"]["id"] == item
                else:
                    await world.fails("GET", path, client=caller, status=404, code=f"{code}_not_found")


async def test_clients_and_former_staff_see_nothing(world: Api) -> None:
    for caller in (CLIENT, FORMER, "nobody"):
        for path in ("/stats", "/stations", "/stations/st-1", "/sessions", "/sessions/history", "/clients", "/users"):
            await world.fails("GET", f"{ADMIN}{path}", client=caller, status=403, code="forbidden")
        # Who may not ask is not told what is wrong with the question.
        await world.fails("PUT", f"{ADMIN}/stations/st-1", {"status": 1}, client=caller, status=403, code="forbidden")
    await world.fails("GET", f"{ADMIN}/stats", client=None, status=401, code="unauthorized")
    await world.fails("PUT", f"{ADMIN}/stations/st-1", client=None, status=401, code="unauthorized")
    assert await world.one("SELECT count(*) FROM stations WHERE status <> 'active'") == 0


async def test_the_master_key_is_a_superadmin(world: Api) -> None:
    key = {"X-API-Key": "test-master-key"}
    answer = await world.ok("GET", f"{ADMIN}/stations", client=None, headers=key)
    assert answer["data"]["total"] == 2
    await world.ok("GET", f"{ADMIN}/users", client=None, headers=key)
    await world.fails(
        "GET", f"{ADMIN}/users", client=None, headers={"X-API-Key": "no"}, status=401, code="unauthorized"
    )


async def test_a_signed_request_is_no_member_of_staff(world: Api) -> None:
    """The shared secret is held by other systems and can name anybody, a superadmin as well."""
    timestamp = int(time.time() * 1000)
    request = AuthRequest("GET", f"{ADMIN}/stats", "", {}, b"")
    headers = {
        "X-Client-Id": ROOT,
        "X-Client-Timestamp": str(timestamp),
        "X-Client-Signature": hmac_signature.sign("test-hmac-secret", request, client_id=ROOT, timestamp_ms=timestamp),
    }
    await world.fails("GET", f"{ADMIN}/stats", client=None, headers=headers, status=403, code="forbidden")


async def test_dashboard(world: Api) -> None:
    now = world.deps.clock.now()
    midnight = now.astimezone(BISHKEK).replace(hour=0, minute=0, second=0, microsecond=0)
    await add_session(world, FIRST_STATION)
    await add_session(world, FIRST_STATION, created_at=midnight - timedelta(minutes=1))
    await add_session(world, SECOND_STATION, client_id=OTHER, state="charging")
    await world.sql("UPDATE stations SET last_heartbeat_at = %s WHERE id = 'st-2'", now - timedelta(seconds=601))
    await world.sql("UPDATE connectors SET ocpp_status = 'Faulted' WHERE station_id = 'st-1' AND connector_number = 2")
    stats = await data(world, "/stats?period_days=1", ROOT)
    check(stats, STATS)
    assert stats["stations"] == {"total": 2, "online": 1, "offline": 1, "error": 1}
    assert stats["sessions"] == {"active": 1, "today": 2}
    assert stats["today"] == {"energy_kwh": 20, "revenue_som": 135}  # the running one has not earned yet
    assert stats["period"]["from"].endswith("Z")
    assert stats["period"]["to"].endswith("Z")
    two_days = await data(world, "/stats?period_days=2", FIRST)
    assert (two_days["sessions"]["today"], two_days["today"]["revenue_som"]) == (2, 270)
    for wrong in ("0", "367", "x"):
        await world.fails("GET", f"{ADMIN}/stats?period_days={wrong}", client=ROOT, status=422, code="validation_error")


async def test_station_item(world: Api) -> None:
    await world.sql(
        """UPDATE connectors SET ocpp_status = CASE connector_number WHEN 1 THEN 'Charging' ELSE 'Finishing' END
            WHERE station_id = 'st-1'"""
    )
    await world.sql("UPDATE connectors SET ocpp_status = 'Unavailable' WHERE station_id = 'st-2'")
    by_serial = (await world.ok("GET", f"{ADMIN}/stations/SN-st-1", client=FIRST_OPERATOR))["data"]
    check(by_serial, STATION)
    assert by_serial == (await world.ok("GET", f"{ADMIN}/stations/st-1", client=ROOT))["data"]
    assert [item["status"] for item in by_serial["connectors"]] == ["Charging", "Occupied"]
    assert (by_serial["price_per_kwh"], by_serial["session_fee"], by_serial["firmware_version"]) == (13.5, None, None)
    page = await data(world, "/stations?limit=100", ROOT)
    check(page, {"stations": [STATION], "total": int, "limit": int, "offset": int})
    assert [item["status"] for item in page["stations"][1]["connectors"]] == ["Unavailable", "Unavailable"]


async def test_station_filters_and_pages(world: Api) -> None:
    await world.add_station("st-3", connectors=0, status="maintenance", last_heartbeat_at=None, location_id=None)
    await world.sql("UPDATE stations SET ocpp_status = 'Faulted' WHERE id = 'st-2'")

    async def ids(query: str) -> list[str]:
        return [item["id"] for item in (await data(world, f"/stations?{query}", ROOT))["stations"]]

    assert await ids("") == ["st-1", "st-2", "st-3"]
    assert await ids("status=maintenance") == ["st-3"]
    assert await ids("status=error") == ["st-2"]
    assert await ids("location_id=loc-2") == ["st-2"]
    assert await ids("is_online=true") == ["st-1", "st-2"]
    assert await ids("is_online=false") == ["st-3"]
    assert await ids("limit=1&offset=1") == ["st-2"]
    page = await data(world, "/stations?limit=1&offset=1", ROOT)
    assert (page["total"], page["limit"], page["offset"]) == (3, 1, 1)
    for wrong in ("limit=0", "limit=501", "offset=-1", "status=gone", "is_online=perhaps", "location_id="):
        await world.fails("GET", f"{ADMIN}/stations?{wrong}", client=ROOT, status=422, code="validation_error")


async def test_changing_a_station(world: Api) -> None:
    answer = await world.ok(
        "PUT", f"{ADMIN}/stations/SN-st-1", {"price_per_kwh": 15.25, "session_fee": 20}, client=FIRST_OPERATOR
    )
    assert answer["data"] == {
        "id": "st-1",
        "status": "active",
        "is_available": True,
        "price_per_kwh": 15.25,
        "session_fee": 20,
        "register_factor": 1,
    }
    (row,) = await world.sql("SELECT * FROM audit_logs WHERE operation = 'admin.station_change'")
    assert (row["actor"], row["actor_role"], row["status"]) == (FIRST_OPERATOR, "operator", 200)
    assert row["client_ip"] == "192.0.2.9"
    assert row["details"]["changes"] == {"price_per_kwh": ["13.5000", "15.2500"], "session_fee": [None, "20.00"]}
    shown = await world.ok("GET", "/api/v1/station/status/st-1", client=None)
    assert (shown["tariff_rub_kwh"], shown["session_fee"]) == (15.25, 20)
    for wrong in (
        {"price_per_kwh": -1},
        {"price_per_kwh": 13.55555},
        {"price_per_kwh": "15"},
        {"price_per_kwh": 10**9},
        {"session_fee": 0.001},
        {"status": "gone"},
        {"is_available": "yes"},
        {"register_factor": 10},
    ):
        await world.fails("PUT", f"{ADMIN}/stations/st-1", wrong, client=FIRST, status=422, code="validation_error")
    assert await world.one("SELECT price_per_kwh FROM stations WHERE id = 'st-1'") == Decimal("15.25")


async def test_an_admin_confirms_that_registers_count_kwh(world: Api) -> None:
    path = f"{ADMIN}/stations/st-1"
    await world.fails("PUT", path, {"register_factor": 1000}, client=FIRST_OPERATOR, status=403, code="forbidden")
    for wrong in (0, 10, "1000", -1, True):
        await world.fails("PUT", path, {"register_factor": wrong}, client=FIRST, status=422, code="validation_error")
    assert await world.one("SELECT register_factor FROM stations WHERE id = 'st-1'") == 1
    for _ in range(2):  # again is no harm, and no second event
        await world.ok("PUT", path, {"register_factor": 1000}, client=FIRST)
    assert await world.one("SELECT register_factor FROM stations WHERE id = 'st-1'") == 1000
    await world.ok("PUT", path, {"price_per_kwh": 14}, client=FIRST_OPERATOR)
    assert await world.one("SELECT register_factor FROM stations WHERE id = 'st-1'") == 1000
    (row,) = await world.sql("SELECT payload FROM station_events WHERE type = 'register_factor_changed'")
    assert row["payload"] == {"before": 1, "after": 1000, "actor": FIRST}
    audited = await world.sql("SELECT status, details FROM audit_logs WHERE operation = 'admin.station_change'")
    assert [entry["status"] for entry in audited] == [403, 200, 200, 200]
    assert audited[1]["details"]["changes"] == {"register_factor": ["1", "1000"]}


async def test_taking_a_station_out_of_service(world: Api) -> None:
    """The edit form sends all members back, so the one that differs from what it was shown is meant."""
    path = f"{ADMIN}/stations/st-1"

    async def put(**body: Any) -> tuple[str, bool]:
        changed = (await world.ok("PUT", path, body, client=FIRST))["data"]
        return changed["status"], changed["is_available"]

    await world.sql("UPDATE stations SET is_available = false WHERE id = 'st-1'")  # only unreachable
    assert (await world.ok("GET", path, client=FIRST))["data"]["is_available"] is True
    assert await put(status="active", is_available=True, price_per_kwh=14) == ("active", True)
    assert await put(status="active", is_available=False) == ("maintenance", False)
    start = {"station_id": "st-1", "connector_id": 1}
    await world.fails("POST", "/api/v1/charging/start", start, status=409, code="station_maintenance")
    assert await put(status="maintenance", is_available=True) == ("active", True)
    assert await put(status="inactive", is_available=True) == ("inactive", False)
    assert await put() == ("inactive", False)
    assert await put(is_available=True) == ("active", True)


async def test_a_foreign_station_cannot_be_changed(world: Api) -> None:
    for caller in (SECOND, SECOND_OPERATOR):
        await world.fails(
            "PUT", f"{ADMIN}/stations/st-1", {"price_per_kwh": 1}, client=caller, status=404, code="station_not_found"
        )
    assert await world.one("SELECT price_per_kwh FROM stations WHERE id = 'st-1'") == Decimal("13.5")
    refusals = await world.sql("SELECT actor, status, error_code FROM audit_logs ORDER BY id")
    assert [tuple(row.values()) for row in refusals] == [
        (SECOND, 404, "station_not_found"),
        (SECOND_OPERATOR, 404, "station_not_found"),
    ]


async def test_sessions(world: Api) -> None:
    now = world.deps.clock.now()
    old = await add_session(
        world, FIRST_STATION, created_at=now - timedelta(days=2), limit_type="energy", limit_value=10
    )
    failed = await add_session(world, SECOND_STATION, state="error", charging_started_at=None, client_id=OTHER)
    live = await add_session(
        world, FIRST_STATION, state="charging", charging_started_at=now - timedelta(minutes=30), created_at=now
    )
    page = await data(world, "/sessions", ROOT)
    check(page, {"sessions": [SESSION], "total": int, "limit": int, "offset": int})
    (item,) = page["sessions"]
    assert (item["id"], item["status"], item["duration_minutes"], item["limit_value"]) == (live, "started", 30, None)
    assert (item["station_name"], item["location_name"], item["energy_kwh"]) == ("SN-st-1", "Central", 10)
    assert (item["client_id"], item["amount_som"], item["stop_time"]) == (CLIENT, 135, None)
    assert item["start_time"].endswith("Z")

    async def ids(query: str) -> list[str]:
        return [entry["id"] for entry in (await data(world, f"/sessions/history?{query}", ROOT))["sessions"]]

    assert set(await ids("")) == {live, failed, old}
    assert (await ids(""))[-1] == old
    assert await ids("status=error") == [failed]
    assert await ids("status=stopped") == [old]
    assert set(await ids("station_id=SN-st-1")) == {live, old}
    today = now.astimezone(BISHKEK).date()
    before = (today - timedelta(days=2)).isoformat()
    assert await ids(f"date_from={before}&date_to={before}") == [old]
    assert set(await ids(f"date_from={today.isoformat()}")) == {live, failed}
    assert await ids(f"date_to={(now - timedelta(days=1)).strftime('%Y-%m-%dT%H:%M:%SZ')}") == [old]
    assert await ids("limit=1&offset=2") == [old]
    one = (await world.ok("GET", f"{ADMIN}/sessions/{failed}", client=SECOND))["data"]
    check(one, SESSION)
    assert (one["status"], one["duration_minutes"]) == ("error", None)
    for wrong in ("status=charging", "date_from=yesterday", "date_from=0001-01-01", "date_to=9999-12-31", "limit=501"):
        await world.fails("GET", f"{ADMIN}/sessions/history?{wrong}", client=ROOT, status=422, code="validation_error")


async def test_a_station_filter_does_not_reach_foreign_stations(world: Api) -> None:
    await add_session(world, SECOND_STATION, state="charging")
    for path in ("/sessions", "/sessions/history"):
        page = await data(world, f"{path}?station_id=st-2", FIRST)
        assert (page["sessions"], page["total"]) == ([], 0)
    page = await data(world, "/stations?location_id=loc-2", FIRST)
    assert (page["stations"], page["total"]) == ([], 0)


async def test_refreshing_a_location(world: Api) -> None:
    published: list[list[str]] = []

    async def collect(stations: Any) -> None:
        published.append(list(stations))

    world.deps.publisher.stations_changed = collect  # type: ignore[method-assign]
    path = "/api/v1/locations/loc-2/refresh-status"
    for caller in (ROOT, SECOND, SECOND_OPERATOR):
        answer = await world.ok("POST", path, client=caller)
        assert set(answer) == {"success", "message", "location"}
        assert (answer["location"]["id"], answer["location"]["status"]) == ("loc-2", "available")
    assert published == [["st-2"]] * 3
    await world.fails("POST", path, client=FIRST, status=404, code="not_found")
    await world.fails("POST", path, client=CLIENT, status=403, code="forbidden")
    await world.fails("POST", path, client=None, status=401, code="unauthorized")
    # st-1 is the first admin's, though the location belongs to nobody.
    await world.ok("POST", "/api/v1/locations/loc-1/refresh-status", client=FIRST_OPERATOR)
    await world.fails("POST", "/api/v1/locations/none/refresh-status", client=ROOT, status=404, code="not_found")
