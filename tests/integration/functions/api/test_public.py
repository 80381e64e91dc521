"""What anybody may see: stations, locations, profile of oneself, system routes."""

from datetime import timedelta
from typing import Any

from tests.integration.functions.api.conftest import CLIENT, OTHER, SERIAL, STATION, Api


async def test_station_status_by_id_and_serial(api: Api) -> None:
    connector: dict[str, Any] = {
        "type": "CCS2",
        "status": "available",
        "available": True,
        "power_kw": 60,
        "error": None,
    }
    expected = {
        "success": True,
        "station_id": STATION,
        "serial_number": SERIAL,
        "model": "DC-60",
        "manufacturer": "Maker",
        "online": True,
        "station_status": "active",
        "location_status": "available",
        "available_for_charging": True,
        "location_id": "loc-1",
        "location_name": "Central",
        "location_address": "Street 1",
        "connectors": [{"id": 1, **connector}, {"id": 2, **connector}],
        "total_connectors": 2,
        "available_connectors": 2,
        "occupied_connectors": 0,
        "faulted_connectors": 0,
        "tariff_rub_kwh": 13.5,
        "session_fee": 0,
        "currency": "KGS",
        "working_hours": "24/7",
        "message": None,
    }
    for path in (
        f"/api/v1/station/status/{STATION}",
        f"/api/v1/station/status/{SERIAL}",
        f"/api/v1/station/{STATION}/status",
        f"/api/v1/station/{SERIAL}/status",
    ):
        answer = await api.ok("GET", path, client=None)
        assert answer.pop("last_heartbeat_at").endswith("Z")
        assert answer == expected


async def test_station_status_of_the_unknown_and_the_bare(api: Api) -> None:
    for path in ("/api/v1/station/status/none", "/api/v1/station/none/status"):
        await api.fails("GET", path, client=None, status=404, code="station_not_found")
    await api.fails("GET", "/api/v1/station/status/a%00b", client=None, status=422, code="validation_error")
    await api.add_station("bare", location_id=None, model=None, manufacturer=None, price_per_kwh=None, connectors=1)
    await api.sql("UPDATE connectors SET connector_type = NULL, power_kw = NULL WHERE station_id = 'bare'")
    answer = await api.ok("GET", "/api/v1/station/status/bare", client=None)
    assert {name for name, value in answer.items() if value is None} == {"message"}
    assert answer["location_name"] == "SN-bare", "the app refuses a station without a location name"
    assert "power_kw" not in answer["connectors"][0]
    assert answer["tariff_rub_kwh"] == 13.5


async def test_a_running_session_occupies_its_connector(api: Api) -> None:
    await api.start()
    answer = await api.ok("GET", f"/api/v1/station/status/{STATION}", client=None)
    assert [connector["available"] for connector in answer["connectors"]] == [False, True]
    assert (answer["available_connectors"], answer["occupied_connectors"]) == (1, 1)


async def test_locations(api: Api) -> None:
    answer = await api.ok("GET", "/api/v1/locations", client=None)
    assert (answer["success"], answer["total"]) == (True, 1)
    (item,) = answer["locations"]
    assert "stations" not in item, "left out, never null"
    assert item["coordinates"] == {"latitude": 42.87, "longitude": 74.59}
    assert item["status"] == "available"
    assert item["stations_summary"] == {"total": 1, "available": 1, "occupied": 0, "offline": 0, "maintenance": 0}
    assert item["connectors_summary"] == {"total": 2, "available": 2, "occupied": 0, "faulted": 0}
    with_stations = await api.ok("GET", "/api/v1/locations?include_stations=true", client=None)
    (station,) = with_stations["locations"][0]["stations"]
    assert station == {
        "id": STATION,
        "serial_number": SERIAL,
        "model": "DC-60",
        "manufacturer": "Maker",
        "status": "available",
        "power_capacity": 60,
        "connectors_count": 2,
        "tariff": {"price_per_kwh": 13.5, "session_fee": 0, "currency": "KGS"},
        "connectors_summary": {"total": 2, "available": 2, "occupied": 0, "faulted": 0},
        "location_id": "loc-1",
    }
    one = await api.ok("GET", "/api/v1/locations/loc-1", client=None)
    assert "success" not in one
    assert one["stations"] == [station]
    await api.fails("GET", "/api/v1/locations/none", client=None, status=404, code="not_found")
    await api.fails(
        "GET", "/api/v1/locations?include_stations=perhaps", client=None, status=422, code="validation_error"
    )


async def test_a_place_nobody_measured_still_has_coordinates(api: Api) -> None:
    await api.sql("INSERT INTO locations (id, name) VALUES ('loc-2', 'Attic')")
    answer = await api.ok("GET", "/api/v1/locations", client=None)
    attic = next(item for item in answer["locations"] if item["id"] == "loc-2")
    assert attic["coordinates"] == {"latitude": None, "longitude": None}
    assert attic["status"] == "maintenance"


async def test_stations_list(api: Api) -> None:
    await api.add_station("st-hidden", status="inactive")
    await api.add_station("st-silent", last_heartbeat_at=api.deps.clock.now() - timedelta(hours=1))
    answer = await api.ok("GET", "/api/v1/stations", client=None)
    assert (answer["success"], answer["total"]) == (True, 2)
    by_id = {item["id"]: item for item in answer["stations"]}
    assert by_id[STATION]["connector_types"] == ["CCS2"]
    assert by_id[STATION]["is_available"] is True
    assert (by_id["st-silent"]["status"], by_id["st-silent"]["is_available"]) == ("offline", False)


async def test_an_unusable_token_does_not_break_public_routes(api: Api) -> None:
    demo = {"Authorization": "Bearer demo.access.token"}
    for path in ("/api/v1/locations", "/api/v1/stations", f"/api/v1/station/status/{STATION}", "/health", "/version"):
        await api.ok("GET", path, client=None, headers=demo)


async def test_profile(api: Api) -> None:
    answer = await api.ok("GET", "/api/v1/profile")
    assert (answer["client_id"], answer["user_type"], answer["balance"], answer["status"]) == (
        CLIENT,
        "client",
        1000,
        "active",
    )
    assert answer["user"]["id"] == CLIENT
    assert answer["user"]["created_at"].endswith("Z")
    assert answer["email"] is None
    demo = await api.ok("GET", "/api/v1/profile", client=OTHER)
    assert demo["client_id"] == OTHER, "ids are text, not UUIDs"
    await api.fails("GET", "/api/v1/profile", client="nobody", status=404, code="client_not_found")
    await api.fails("GET", "/api/v1/profile", client=None, status=401, code="unauthorized")


async def test_health(api: Api) -> None:
    answer = await api.ok("GET", "/health", client=None)
    assert (answer["status"], answer["redis"], answer["database"], answer["connected_stations"]) == (
        "healthy",
        True,
        True,
        1,
    )
    ready = await api.ok("GET", "/readyz", client=None)
    assert ready == {"status": "ready", "checks": {"redis": True, "database": True}}
