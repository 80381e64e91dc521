"""Two instances of the socket tier: a charger may hang on either, and change sides in the middle of a charge."""

import pytest

from infra.local.simulator import ChargePoint, Faults
from infra.local.system import LocalSystem
from tests.e2e.test_charging import charging, check_books
from tests.e2e.world import World, delivering, ended, serial_of


def urls(system: LocalSystem) -> list[str]:
    """Prefix of each instance's OCPP endpoint, past the gateway."""
    return [f"ws://127.0.0.1:{port}/ocpp" for port in system.socket_tier_ports]


async def instance_of(world: World, point: ChargePoint) -> str:
    """Which instance holds the charger's socket."""
    row = await world.one("SELECT connected_instance AS i FROM stations WHERE id = %s", point.station_id)
    return str(row["i"])


async def move(point: ChargePoint, url: str, *, cleanly: bool) -> None:
    """The charger's next connection goes to another instance."""
    before = point.link.record.connections
    point.link.redirect(url)
    if cleanly:
        await point.link.close()
    else:
        point.drop_tcp()
    await point.wait_for(lambda: point.link.record.connections > before and point.link.is_online)


@pytest.mark.parametrize("side", [0, 1])
async def test_commands_reach_a_charger_on_either_instance(world: World, system: LocalSystem, side: int) -> None:
    point = await world.charger(url=urls(system)[side])
    assert await instance_of(world, point) == f"socket-tier-{side + 1}"
    driver = await world.driver(500)
    session_id = await charging(driver, point, energy_kwh=30)
    await driver.stop(session_id)
    await driver.wait_session(session_id, ended)
    assert [c.action for c in point.commands].count("RemoteStartTransaction") == 1
    await check_books(world, driver, session_id)


@pytest.mark.parametrize("cleanly", [True, False])
@pytest.mark.parametrize("boots", [True, False])
async def test_a_charger_changes_the_instance_in_the_middle_of_a_charge(
    world: World, system: LocalSystem, cleanly: bool, boots: bool
) -> None:
    first, second = urls(system)
    point = await world.charger(url=first, faults=Faults(boot_on_reconnect=boots))
    driver = await world.driver(800)
    session_id = await charging(driver, point, energy_kwh=70)
    await move(point, second, cleanly=cleanly)
    before = (await driver.session(session_id))["energy_consumed"]
    await driver.wait_session(session_id, delivering(before + 0.2))
    assert await instance_of(world, point) == "socket-tier-2"
    await move(point, first, cleanly=not cleanly)
    await driver.stop(session_id)
    session = await driver.wait_session(session_id, ended)
    transaction = point.transactions[0]
    assert transaction.meter_stop is not None
    assert session["energy_consumed"] == pytest.approx(transaction.meter_stop / 1000, abs=0.001)
    assert len(point.transactions) == 1
    await check_books(world, driver, session_id)


async def test_the_newest_socket_of_a_station_wins_across_instances(world: World, system: LocalSystem) -> None:
    first, second = urls(system)
    old = await world.charger(url=first)
    new = await world.charger(serial_of(old), url=second)
    await old.wait_for(lambda: old.link.record.closes)
    code, _ = old.link.record.closes[0]
    assert code is not None
    assert 4000 <= code < 5000
    old.go_offline()
    assert await instance_of(world, new) == "socket-tier-2"
    driver = await world.driver(500)
    session_id = await charging(driver, new, amount_som=60)
    await driver.wait_session(session_id, ended)
    await check_books(world, driver, session_id)


async def test_an_offline_queue_is_replayed_at_the_other_instance(world: World, system: LocalSystem) -> None:
    first, second = urls(system)
    point = await world.charger(url=first, faults=Faults(boot_on_reconnect=False))
    driver = await world.driver(500)
    session_id = await charging(driver, point, energy_kwh=30)
    point.go_offline()
    await point.wait_for(lambda: point.link.outbox.transactions >= 2)
    point.stop_locally(1)
    point.link.redirect(second)
    point.go_online()
    session = await driver.wait_session(session_id, ended)
    transaction = point.transactions[0]
    assert transaction.meter_stop is not None
    assert session["energy_consumed"] == pytest.approx(transaction.meter_stop / 1000, abs=0.001)
    await check_books(world, driver, session_id)
