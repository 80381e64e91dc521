"""The charge has ended and the cable is still in (Finishing): free to the driver whose car it is, taken to others."""

from datetime import timedelta
from typing import Any

from evpower.clock import FrozenClock
from evpower.stations import service as stations
from evpower.stations.models import StatusReport
from tests.integration.functions.api.conftest import CLIENT, OTHER, SERIAL, STATION, Api
from tests.integration.functions.api.test_reserved_connectors import FREE, STRANGERS, TAKEN, seen

START = "/api/v1/charging/start"
BODY: dict[str, Any] = {"station_id": SERIAL, "connector_id": 1}


async def says(api: Api, word: str) -> None:
    report = StatusReport(1, word, api.epoch)
    async with api.db.transaction() as conn:
        await stations.record_status(conn, STATION, report, api.deps.clock.now())


async def charged(api: Api) -> None:
    """A charge of CLIENT has ended at connector 1, which says Finishing."""
    await api.connect()
    started = await api.start(amount_som=100)
    transaction = await api.charger_starts(started["session_id"])
    await api.charger_stops(transaction, 1100)
    await says(api, "Finishing")


def wait(api: Api, **span: float) -> None:
    assert isinstance(api.deps.clock, FrozenClock)
    api.deps.clock.advance(timedelta(**span))


async def test_the_driver_whose_cable_it_is_goes_on_and_nobody_else(api: Api) -> None:
    await charged(api)
    for stranger in STRANGERS:
        assert await seen(api, **stranger) == TAKEN
    await api.fails("POST", START, BODY, client=OTHER, status=409, code="connector_occupied")
    wait(api, minutes=20)
    await api.sql("UPDATE stations SET last_heartbeat_at = %s", api.deps.clock.now())
    assert await seen(api, client=CLIENT) == FREE
    again = await api.start(amount_som=50)
    await api.charger_starts(again["session_id"], 1100)


async def test_finishing_that_comes_before_the_stop_is_of_the_same_charge(api: Api) -> None:
    await api.connect()
    started = await api.start(amount_som=100)
    transaction = await api.charger_starts(started["session_id"])
    await says(api, "Finishing")
    wait(api, seconds=40)
    await api.charger_stops(transaction, 1100)
    assert await seen(api, client=CLIENT) == FREE


async def test_a_later_finishing_is_another_car_s(api: Api) -> None:
    """A charge by card at this connector came between, of which the first driver may know nothing."""
    await charged(api)
    wait(api, minutes=30)
    for word in ("Available", "Preparing", "Charging", "Finishing"):
        await says(api, word)
    await api.sql("UPDATE stations SET last_heartbeat_at = %s", api.deps.clock.now())
    assert await seen(api, client=CLIENT) == TAKEN
    await api.fails("POST", START, BODY, status=409, code="connector_occupied")


async def test_only_finishing_is_looked_through(api: Api) -> None:
    await charged(api)
    for word, shown in (("SuspendedEV", "occupied"), ("Charging", "occupied"), ("Faulted", "faulted")):
        await says(api, word)
        assert (await seen(api, client=CLIENT))["first"] == (shown, False)
