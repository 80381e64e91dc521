"""A charge from the phone's start to the settled bill, and the ways it can end. Only the chargers are simulated."""

import asyncio

import pytest

from infra.local.demo.books import Books, differences
from infra.local.demo.driver import ApiError, Driver
from infra.local.simulator import ChargePoint, Faults
from tests.e2e.world import PRICE, World, delivering, ended, serial_of


def last_register(point: ChargePoint) -> int:
    """The register of the last acknowledged reading, in Wh."""
    return int(point.acknowledged_of("MeterValues")[-1].payload["meterValue"][0]["sampledValue"][0]["value"])


async def check_books(world: World, driver: Driver, *session_ids: str) -> None:
    """Every som of this driver adds up, by the public routes and in the database."""
    sessions = [await driver.spent(session_id) for session_id in session_ids]
    assert differences(Books(await driver.balance(), await driver.ledger(), [], sessions)) == []
    await world.check_money()


async def charging(driver: Driver, point: ChargePoint, **limits: float) -> str:
    """Start and wait until energy flows."""
    started = await driver.start(serial_of(point), 1, **limits)
    await driver.wait_session(started["session_id"], delivering())
    return str(started["session_id"])


async def test_an_amount_is_reserved_charged_stopped_in_time_and_settled(world: World) -> None:
    point, driver = await world.charger(), await world.driver(500)
    station = await driver.station(serial_of(point))
    assert station["online"]
    assert station["available_for_charging"]

    started = await driver.start(serial_of(point), 1, amount_som=60)
    assert (started["reserved_amount"], started["limit_type"], started["limit_value"]) == (60, "amount", 60)
    assert await driver.balance() == 440

    session = await driver.wait_session(started["session_id"], ended)
    assert session["status"] == "stopped"
    assert 0 < session["current_cost"] <= 60
    assert session["limit_reached"]
    assert await driver.poll_balance(500 - session["current_cost"])
    await check_books(world, driver, started["session_id"])
    # The bill is what the charger's own meter says.
    transaction = point.transactions[0]
    assert transaction.meter_stop is not None
    assert session["energy_consumed"] == pytest.approx(
        (transaction.meter_stop - transaction.meter_start) / 1000, abs=0.001
    )
    assert transaction.reason == "Remote"


async def test_an_energy_limit_stops_before_it_is_passed(world: World) -> None:
    point, driver = await world.charger(), await world.driver(500)
    started = await driver.start(serial_of(point), 2, energy_kwh=6)
    assert started["reserved_amount"] == 6 * PRICE
    session = await driver.wait_session(started["session_id"], ended)
    assert 0 < session["energy_consumed"] <= 6
    await check_books(world, driver, started["session_id"])


async def test_without_a_limit_the_reserve_grows_until_the_balance_ends(world: World) -> None:
    point, driver = await world.charger(await world.station(price=20)), await world.driver(260)
    started = await driver.start(serial_of(point), 1)
    assert (started["limit_type"], started["reserved_amount"]) == ("none", 200)
    session = await driver.wait_session(started["session_id"], ended, timeout_s=90)
    assert session["reserved_amount"] == 260
    assert 100 < session["current_cost"] <= 260  # stopped one reading before the balance would have ended
    await check_books(world, driver, started["session_id"])


async def test_the_driver_stops_and_stopping_again_is_harmless(world: World) -> None:
    point, driver = await world.charger(), await world.driver(500)
    session_id = await charging(driver, point, energy_kwh=30)
    answer = await driver.stop(session_id)
    assert answer["success"]
    assert answer["final_cost"] > 0
    again = await driver.stop(session_id)
    assert again["final_cost"] == answer["final_cost"]
    assert again["refunded_amount"] == pytest.approx(300 - answer["final_cost"])
    await check_books(world, driver, session_id)
    await point.wait_for(lambda: point.outlets[1].status == "Available")


async def test_a_station_is_addressed_by_id_as_well(world: World) -> None:
    point, driver = await world.charger(), await world.driver(100)
    started = await driver.start(point.station_id, 1, amount_som=50)
    assert started["station_id"] == point.station_id
    await driver.wait_session(started["session_id"], ended)
    await check_books(world, driver, started["session_id"])


async def test_pulling_the_plug_ends_and_settles(world: World) -> None:
    point, driver = await world.charger(), await world.driver(500)
    session_id = await charging(driver, point, energy_kwh=30)
    point.unplug(1)
    session = await driver.wait_session(session_id, ended)
    assert session["status"] == "stopped"
    await check_books(world, driver, session_id)


async def test_a_rejected_remote_start_gives_the_money_back(world: World) -> None:
    point, driver = await world.charger(faults=Faults(reject_remote_start=True)), await world.driver(500)
    started = await driver.start(serial_of(point), 1, amount_som=100)
    session = await driver.wait_session(started["session_id"], ended)
    assert session["status"] == "error"
    assert await driver.poll_balance(500) == 500
    await check_books(world, driver, started["session_id"])
    # Connector and client are free again.
    point.faults.reject_remote_start = False
    session_id = await charging(driver, point, amount_som=50)
    await driver.wait_session(session_id, ended)


async def test_stopping_before_the_cable_is_plugged_in_gives_everything_back(world: World) -> None:
    point, driver = await world.charger(auto_plug=False), await world.driver(500)
    started = await driver.start(serial_of(point), 1, amount_som=100)
    await point.wait_for(lambda: point.outlets[1].waiting_tag)
    session = await driver.session(started["session_id"])
    assert (session["status"], session["energy_consumed"]) == ("started", 0)
    await driver.stop(started["session_id"])
    assert await driver.balance() == 500
    await check_books(world, driver, started["session_id"])


async def test_a_rejected_remote_stop_settles_from_the_last_reading(world: World) -> None:
    point, driver = await world.charger(faults=Faults(reject_remote_stop=True)), await world.driver(500)
    session_id = await charging(driver, point, energy_kwh=30)
    await driver.stop(session_id)
    session = await driver.wait_session(session_id, ended)
    assert session["energy_consumed"] > 0
    await check_books(world, driver, session_id)
    # The charger's own StopTransaction later tells the truth, and only the difference is booked.
    point.stop_locally(1)
    await point.wait_for(lambda: point.transactions[0].confirmed)
    await check_books(world, driver, session_id)
    assert (await driver.session(session_id))["energy_consumed"] >= session["energy_consumed"]


async def test_a_charger_that_goes_on_after_its_session_is_asked_to_stop_but_not_at_every_reading(world: World) -> None:
    point, driver = await world.charger(faults=Faults(reject_remote_stop=True)), await world.driver(500)
    session_id = await charging(driver, point, energy_kwh=30)
    await driver.stop(session_id)
    await driver.wait_session(session_id, ended)
    readings = len(point.acknowledged_of("MeterValues"))
    await point.wait_for(lambda: len(point.acknowledged_of("MeterValues")) >= readings + 5)
    asked = [command for command in point.commands if command.action == "RemoteStopTransaction"]
    assert len(asked) == 1
    point.stop_locally(1)
    await point.wait_for(lambda: point.transactions[0].confirmed)


async def test_a_dropped_connection_does_not_end_the_charge(world: World) -> None:
    point, driver = await world.charger(), await world.driver(500)
    session_id = await charging(driver, point, energy_kwh=30)
    point.drop_tcp()
    await point.wait_for(lambda: point.link.record.connections == 2)
    before = (await driver.session(session_id))["energy_consumed"]
    await driver.wait_session(session_id, delivering(before))
    await driver.stop(session_id)
    await check_books(world, driver, session_id)


async def test_a_stop_transaction_from_the_offline_queue_settles_late(world: World) -> None:
    point = await world.charger(faults=Faults(boot_on_reconnect=False))
    driver = await world.driver(500)
    session_id = await charging(driver, point, energy_kwh=30)
    point.go_offline()
    await point.wait_for(lambda: not point.link.is_online)
    point.stop_locally(1, "EVDisconnected")
    answer = await driver.session(session_id)
    assert answer["status"] == "started"
    point.go_online()
    session = await driver.wait_session(session_id, ended)
    transaction = point.transactions[0]
    assert transaction.meter_stop is not None
    assert session["energy_consumed"] == pytest.approx(transaction.meter_stop / 1000, abs=0.001)
    await check_books(world, driver, session_id)


async def test_power_loss_in_the_middle_bills_both_parts_once(world: World) -> None:
    point, driver = await world.charger(meter_wh=123_000), await world.driver(1000)
    session_id = await charging(driver, point, energy_kwh=60)
    await driver.wait_session(session_id, delivering(1.0))
    first = point.outlets[1].register_wh - 123_000
    point.lose_power()
    await point.wait_for(lambda: point.link.record.boots == 2 and point.link.is_online)
    before = (await driver.session(session_id))["energy_consumed"]
    await driver.wait_session(session_id, delivering(before))
    point.stop_locally(1)
    session = await driver.wait_session(session_id, ended)
    second = point.transactions[0].meter_stop
    assert second is not None
    # What was delivered between the last reading and the power loss was never told to anybody.
    assert second / 1000 <= session["energy_consumed"] <= (first + second) / 1000 + 1.5
    await check_books(world, driver, session_id)


@pytest.mark.parametrize("meter_stop", [0, -1])
async def test_a_false_meter_stop_bills_the_last_reading(world: World, meter_stop: int) -> None:
    point, driver = await world.charger(meter_wh=5_000), await world.driver(500)
    session_id = await charging(driver, point, energy_kwh=30)
    point.faults.meter_stop = meter_stop
    shown = (await driver.session(session_id))["energy_consumed"]
    point.stop_locally(1)
    session = await driver.wait_session(session_id, ended)
    assert session["energy_consumed"] >= shown
    assert session["current_cost"] <= 300
    await check_books(world, driver, session_id)


async def test_a_register_jump_is_not_billed(world: World) -> None:
    point, driver = await world.charger(), await world.driver(5000)
    session_id = await charging(driver, point, energy_kwh=150)
    point.jump_register(1, 400_000)
    await point.wait_for(lambda: last_register(point) > 400_000)
    point.stop_locally(1)
    session = await driver.wait_session(session_id, ended)
    assert session["energy_consumed"] < 60
    assert (await world.session_row(session_id))["needs_review"]
    await check_books(world, driver, session_id)


async def test_repeated_messages_and_lost_answers_change_nothing(world: World) -> None:
    faults = Faults(
        duplicate={"StartTransaction", "StopTransaction", "MeterValues"}, lose_answers={"StartTransaction": 1}
    )
    point, driver = await world.charger(faults=faults), await world.driver(500)
    session_id = await charging(driver, point, energy_kwh=30)
    await driver.stop(session_id)
    session = await driver.wait_session(session_id, ended)
    await point.wait_for(lambda: point.transactions[0].confirmed)
    row = await world.one("SELECT count(*) AS n FROM ocpp_transactions WHERE station_id = %s", point.station_id)
    assert row["n"] == 1
    assert session["energy_consumed"] > 0
    await check_books(world, driver, session_id)


async def test_two_starts_by_one_client_at_once_one_wins(world: World) -> None:
    first, second = await world.charger(), await world.charger()
    driver = await world.driver(500)
    answers = await asyncio.gather(
        driver.start(serial_of(first), 1, amount_som=100),
        driver.start(serial_of(second), 1, amount_som=100),
        return_exceptions=True,
    )
    (refused,) = [a for a in answers if isinstance(a, ApiError)]
    (won,) = [a for a in answers if isinstance(a, dict)]
    assert (refused.status, refused.code) == (409, "session_already_active")
    assert await driver.balance() == 400
    await driver.wait_session(won["session_id"], delivering())
    await driver.stop(won["session_id"])
    await check_books(world, driver, won["session_id"])


async def test_two_starts_on_one_connector_at_once_one_wins(world: World) -> None:
    point = await world.charger()
    drivers = [await world.driver(500) for _ in range(2)]
    answers = await asyncio.gather(
        *(driver.start(serial_of(point), 1, amount_som=100) for driver in drivers), return_exceptions=True
    )
    (refused,) = [a for a in answers if isinstance(a, ApiError)]
    assert (refused.status, refused.code) == (409, "connector_occupied")
    winner = next(d for d, a in zip(drivers, answers, strict=True) if isinstance(a, dict))
    loser = next(d for d in drivers if d is not winner)
    assert (await winner.balance(), await loser.balance()) == (400, 500)
    (won,) = [a for a in answers if isinstance(a, dict)]
    await winner.wait_session(won["session_id"], delivering())
    await winner.stop(won["session_id"])
    await check_books(world, winner, won["session_id"])


async def test_both_connectors_of_a_charger_serve_different_drivers(world: World) -> None:
    point = await world.charger()
    drivers = [await world.driver(500) for _ in range(2)]
    started = [await d.start(serial_of(point), n, amount_som=60) for n, d in enumerate(drivers, 1)]
    for driver, answer in zip(drivers, started, strict=True):
        session = await driver.wait_session(answer["session_id"], ended)
        assert session["status"] == "stopped"
        await check_books(world, driver, answer["session_id"])


async def test_a_session_waits_for_a_station_that_is_back_soon(world: World) -> None:
    point, driver = await world.charger(), await world.driver(500)
    point.go_offline()
    await point.wait_for(lambda: not point.link.is_online)
    started = await driver.poll(
        lambda: driver.start(serial_of(point), 1, amount_som=50), lambda answer: not answer["station_online"], 1
    )
    point.go_online()
    session = await driver.wait_session(started["session_id"], ended)
    assert session["status"] == "stopped"
    assert session["energy_consumed"] > 0
    await check_books(world, driver, started["session_id"])


async def test_another_drivers_session_is_none_of_my_business(world: World) -> None:
    point, driver, other = await world.charger(), await world.driver(500), await world.driver(500)
    session_id = await charging(driver, point, energy_kwh=30)
    for forbidden in (other.stop(session_id), other.session(session_id)):
        with pytest.raises(ApiError) as caught:
            await forbidden
        assert (caught.value.status, caught.value.code) == (403, "forbidden")
    await driver.stop(session_id)


async def test_a_repeated_request_with_the_same_key_starts_once(world: World) -> None:
    point, driver = await world.charger(), await world.driver(500)
    body = {"station_id": serial_of(point), "connector_id": 1, "amount_som": 100}
    first = await driver.call("POST", "/api/v1/charging/start", body, key="the-same-key")
    second = await driver.call("POST", "/api/v1/charging/start", body, key="the-same-key")
    assert first == second
    assert await driver.balance() == 400
    await driver.wait_session(first["session_id"], delivering())
    await driver.stop(first["session_id"])
    await check_books(world, driver, first["session_id"])
