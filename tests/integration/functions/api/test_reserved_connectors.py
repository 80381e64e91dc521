"""A connector that is reserved: free to the client whom it is kept for, taken to everybody else."""

from datetime import timedelta
from typing import Any

import pytest

from evpower.clock import FrozenClock
from evpower.reservations import service as reservations
from evpower.reservations.models import NewReservation
from tests.integration.functions.api.conftest import CLIENT, OTHER, SERIAL, STATION, Api

STATUS_PATHS = (
    f"/api/v1/station/{STATION}/status",
    f"/api/v1/station/status/{SERIAL}",
    f"/api/station/status/{STATION}",
)
START = {"station_id": SERIAL, "connector_id": 1}
STRANGERS: tuple[dict[str, Any], ...] = (
    {"client": None},
    {"client": OTHER},
    {"client": None, "headers": {"X-API-Key": "test-master-key"}},
    {"client": None, "headers": {"Authorization": "Bearer demo.access.token"}},
)


async def keep(api: Api, connector: int = 1, **whom: str) -> int:
    """The charger has accepted the reservation and says Reserved."""
    now = api.deps.clock.now()
    new = NewReservation(STATION, connector, now + timedelta(hours=1), "test", **whom)
    async with api.db.transaction() as conn:
        made, command = await reservations.create(conn, new, now)
    await api.sql("UPDATE station_commands SET status = 'accepted', finished_at = now() WHERE id = %s", command.id)
    await api.sql("UPDATE reservations SET state = 'accepted' WHERE reservation_id = %s", made.reservation_id)
    await api.sql(
        "UPDATE connectors SET ocpp_status = 'Reserved' WHERE station_id = %s AND connector_number = 1", STATION
    )
    return made.reservation_id


async def seen(api: Api, **caller: Any) -> dict[str, Any]:
    """What every route that shows connector 1 says of it; all of them must agree."""
    for path in STATUS_PATHS:
        status = await api.ok("GET", path, **caller)
    (listed,) = (await api.ok("GET", "/api/v1/locations?include_stations=true", **caller))["locations"]
    one = await api.ok("GET", "/api/v1/locations/loc-1", **caller)
    (station,) = (await api.ok("GET", "/api/v1/stations", **caller))["stations"]
    counts = {
        status["available_connectors"],
        *(item["connectors_summary"]["available"] for item in (listed, one, station, *listed["stations"])),
    }
    assert len(counts) == 1, "the routes disagree"
    assert {status["location_status"], listed["status"]} == {one["status"]}
    assert status["available_for_charging"] == station["is_available"]
    first = status["connectors"][0]
    return {"first": (first["status"], first["available"]), "free": counts.pop(), "place": one["status"]}


FREE = {"first": ("available", True), "free": 2, "place": "available"}
TAKEN = {"first": ("occupied", False), "free": 1, "place": "available"}


@pytest.mark.parametrize("connector", [1, 0], ids=["this connector", "any connector"])
async def test_the_own_reservation_is_no_obstacle_and_nobody_else_sees_whose_it_is(api: Api, connector: int) -> None:
    await keep(api, connector, client_id=CLIENT)
    for stranger in STRANGERS:
        assert await seen(api, **stranger) == TAKEN
        texts = [
            (await api.call("GET", path, **stranger)).text
            for path in (*STATUS_PATHS, "/api/v1/locations", "/api/v1/stations")
        ]
        assert not [text for text in texts if CLIENT in text or "reserv" in text.lower()]
    assert await seen(api, client=CLIENT) == FREE
    await api.ok("POST", "/api/v1/charging/start", START, client=CLIENT)
    assert await seen(api, client=CLIENT) == TAKEN, "the session takes it, from its owner too"


async def test_the_last_free_connector_decides_for_the_station_and_its_place(api: Api) -> None:
    await api.sql("DELETE FROM connectors WHERE station_id = %s AND connector_number = 2", STATION)
    await keep(api, client_id=CLIENT)
    for stranger in STRANGERS:
        assert await seen(api, **stranger) == {"first": ("occupied", False), "free": 0, "place": "occupied"}
        assert not (await api.ok("GET", STATUS_PATHS[0], **stranger))["available_for_charging"]
    assert await seen(api, client=CLIENT) == {"first": ("available", True), "free": 1, "place": "available"}
    assert (await api.ok("GET", STATUS_PATHS[0], client=CLIENT))["available_for_charging"]


async def test_a_reservation_by_card_is_for_the_card_alone(api: Api) -> None:
    """The charger would refuse the app's tag, and so does a start."""
    await api.sql("INSERT INTO id_tags (id_tag, client_id) VALUES ('CARD-1', %s)", CLIENT)
    await keep(api, id_tag="CARD-1")
    assert await seen(api, client=CLIENT) == TAKEN
    await api.fails("POST", "/api/v1/charging/start", START, status=409, code="connector_occupied")


@pytest.mark.parametrize("ended", ["expired", "cancelling", "cancelled"])
async def test_a_reservation_that_is_over_helps_nobody(api: Api, ended: str) -> None:
    number = await keep(api, client_id=CLIENT)
    now = api.deps.clock.now()
    if ended == "expired":
        assert isinstance(api.deps.clock, FrozenClock)
        api.deps.clock.advance(timedelta(hours=1, seconds=1))
        await api.sql("UPDATE stations SET last_heartbeat_at = %s", api.deps.clock.now())
    elif ended == "cancelling":
        async with api.db.transaction() as conn:
            await reservations.cancel(conn, STATION, number, "test", now)
    else:
        await api.sql("UPDATE reservations SET state = 'cancelled' WHERE reservation_id = %s", number)
    assert await seen(api, client=CLIENT) == TAKEN
    await api.fails("POST", "/api/v1/charging/start", START, status=409, code="connector_occupied")


async def test_only_the_reservation_is_looked_through(api: Api) -> None:
    """Somebody's cable, a fault, and a station that is down stay what they are."""
    await keep(api, client_id=CLIENT)
    for word, shown in (("Charging", "occupied"), ("Finishing", "occupied"), ("Faulted", "faulted")):
        await api.sql(
            "UPDATE connectors SET ocpp_status = %s WHERE station_id = %s AND connector_number = 1", word, STATION
        )
        assert (await seen(api, client=CLIENT))["first"] == (shown, False)
    await api.sql("UPDATE connectors SET ocpp_status = 'Reserved' WHERE connector_number = 1")
    await api.sql("UPDATE stations SET last_heartbeat_at = %s", api.deps.clock.now() - timedelta(days=1))
    down = await seen(api, client=CLIENT)
    assert (down["first"], down["free"]) == (("unavailable", False), 0)


async def test_what_is_shown_to_one_client_is_not_stored_for_others(api: Api) -> None:
    for path in (*STATUS_PATHS, "/api/v1/locations", "/api/v1/locations/loc-1", "/api/v1/stations"):
        assert (await api.call("GET", path, client=CLIENT)).headers["cache-control"] == "no-store"
