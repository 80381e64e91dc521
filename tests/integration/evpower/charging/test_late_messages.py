"""Messages that come late, or tell of another time than one thinks."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from evpower.charging import service
from evpower.charging.models import SessionState
from evpower.db import Conn
from tests.fakes.hearing import heard
from tests.fakes.network import balance_of, money_faults
from tests.integration.evpower.charging.driver import Driver
from tests.integration.evpower.charging.test_corner_cases import (
    CLIENT,
    OTHER,
    price_by_the_minute,
    reconnect,
    refunded,
    sql,
)

NO_CLOCK = datetime(1970, 1, 1, 0, 5, tzinfo=UTC)


async def by_card(driver: Driver, register: int = 0) -> tuple[str, int]:
    await sql(driver, "INSERT INTO id_tags (id_tag, client_id) VALUES ('CARD-1', %s)", CLIENT)
    answer = await driver.plug("CARD-1", register=register)
    assert answer.session_id is not None
    return answer.session_id, answer.transaction_id


async def test_a_stop_without_an_id_that_is_older_than_the_charge_does_not_end_it(driver: Driver) -> None:
    """An earlier charge by the same card, whose start never came, is told of while the card charges again."""
    earlier = driver.now
    driver.wait(minutes=30)
    session_id, transaction = await by_card(driver)
    driver.wait(minutes=10)
    stopped = await driver.unplug(-1, 3000, charger_time=earlier, tag="CARD-1")
    assert (stopped.session_id, stopped.quarantined) == (None, True)
    assert (await driver.session(session_id)).state is SessionState.CHARGING
    driver.wait(minutes=10)
    await driver.unplug(transaction, 6000)
    assert (await driver.session(session_id)).final_amount == Decimal("81.00")
    assert await money_faults(driver.db) == []


@pytest.mark.parametrize("when", ["stop", "start"])
async def test_a_stop_without_an_id_ends_the_charge_if_a_clock_cannot_tell(driver: Driver, when: str) -> None:
    await sql(driver, "INSERT INTO id_tags (id_tag, client_id) VALUES ('CARD-1', %s)", CLIENT)
    in_2040 = datetime(2040, 1, 1, tzinfo=UTC)
    answer = await driver.plug("CARD-1", charger_time=in_2040 if when == "start" else None)
    driver.wait(minutes=10)
    stopped = await driver.unplug(-1, 3000, charger_time=NO_CLOCK if when == "stop" else None, tag="CARD-1")
    assert stopped.session_id == answer.session_id is not None


async def test_a_reading_that_comes_between_finding_and_stopping_is_not_overdue(driver: Driver) -> None:
    started = await driver.start(CLIENT, amount="100")
    transaction = (await driver.plug(started.session.id_tag)).transaction_id
    driver.wait(minutes=5)
    await driver.alive()
    await heard(driver.db, driver.now)
    sweep = next(sweep for sweep in service.SWEEPS if sweep.name == "readings_overdue")
    found = await driver.run(lambda conn: sweep.find(conn, driver.now, 10))
    assert found == [started.session.id]
    await driver.read(transaction, 1000)
    assert await driver.run(lambda conn: sweep.handle(conn, found[0], driver.now)) is None
    assert (await driver.session(found[0])).state is SessionState.CHARGING


async def test_a_clock_that_falls_back_in_the_middle_of_a_charge_does_not_make_its_minutes_free(driver: Driver) -> None:
    """The power failed; the transaction goes on, and the charger believes it is 1970."""
    await price_by_the_minute(driver, per_kwh=10)
    started = await driver.start(CLIENT, amount="400")
    transaction = (await driver.plug(started.session.id_tag)).transaction_id
    for step in range(1, 31):
        driver.wait(minutes=1)
        await driver.read(transaction, 100 * step, charger_time=NO_CLOCK if step > 20 else None)
    driver.wait(hours=5)  # the stop waited in the charger
    await driver.unplug(transaction, 3000, charger_time=NO_CLOCK)
    session = await driver.session(started.session.id)
    assert session.final_amount == Decimal("60.00")  # 3 kWh and 30 minutes
    await driver.read(transaction, 3100, charger_time=NO_CLOCK)
    driver.wait(minutes=11)
    await driver.alive()
    await driver.sweep()
    session = await driver.session(session.id)
    assert (session.energy_wh, session.final_amount, session.needs_review) == (3000, Decimal("60.00"), True)
    assert await money_faults(driver.db) == []


@pytest.mark.parametrize("is_stop_timeless", [True, False])
async def test_a_loss_of_power_that_takes_clock_and_register_does_not_make_the_rest_free(
    driver: Driver, is_stop_timeless: bool
) -> None:
    started = await driver.start(CLIENT, amount="400")
    transaction = (await driver.plug(started.session.id_tag, register=50_000)).transaction_id
    for step in range(1, 21):
        driver.wait(minutes=1)
        powerless = step > 10
        register = 100 * (step - 10) if powerless else 50_000 + 100 * step
        await driver.read(transaction, register, charger_time=NO_CLOCK + timedelta(minutes=step) if powerless else None)
    session = await driver.session(started.session.id)
    assert (session.energy_wh, session.needs_review) == (2000, True)
    driver.wait(minutes=1)
    await driver.unplug(transaction, 1100, charger_time=NO_CLOCK if is_stop_timeless else None)
    session = await driver.session(started.session.id)
    assert (session.energy_wh, session.final_amount) == (2100, Decimal("28.35"))
    assert await money_faults(driver.db) == []


async def test_a_register_that_restarts_under_a_clock_that_stands_still_is_billed(driver: Driver) -> None:
    started = await driver.start(CLIENT, amount="400")
    tag = started.session.id_tag
    transaction = (await driver.plug(tag, register=50_000, charger_time=NO_CLOCK)).transaction_id
    for register in (50_500, 51_000, 100, 600, 1100):
        driver.wait(minutes=1)
        await driver.read(transaction, register, charger_time=NO_CLOCK)
    driver.wait(minutes=1)
    await driver.unplug(transaction, 1500, charger_time=NO_CLOCK)
    session = await driver.session(started.session.id)
    assert (session.energy_wh, session.final_amount, session.needs_review) == (2500, Decimal("33.75"), True)
    assert await money_faults(driver.db) == []


async def test_readings_that_a_charger_without_a_clock_sends_again_are_not_billed_twice(driver: Driver) -> None:
    started = await driver.start(CLIENT, amount="400")
    tag, registers = started.session.id_tag, (300, 600, 900, 1200, 1500)
    transaction = (await driver.plug(tag, charger_time=NO_CLOCK)).transaction_id
    for minute, register in enumerate(registers, 1):
        driver.wait(minutes=1)
        await driver.read(transaction, register, charger_time=NO_CLOCK + timedelta(minutes=minute))
    driver.wait(minutes=1)
    for minute, register in list(enumerate(registers, 1))[2:]:
        await driver.read(transaction, register, charger_time=NO_CLOCK + timedelta(minutes=minute))
    assert (await driver.session(started.session.id)).energy_wh == 1500


async def test_a_stop_that_alone_tells_of_a_lost_clock_and_register_is_billed(driver: Driver) -> None:
    started = await driver.start(CLIENT, amount="400")
    transaction = (await driver.plug(started.session.id_tag, register=50_000)).transaction_id
    driver.wait(minutes=10)
    await driver.read(transaction, 53_000)
    driver.wait(minutes=10)
    await driver.unplug(transaction, 1000, charger_time=NO_CLOCK)
    session = await driver.session(started.session.id)
    assert (session.energy_wh, session.needs_review) == (4000, True)


async def test_the_next_drivers_energy_is_not_billed_to_the_last_one(driver: Driver) -> None:
    """The charger goes on naming the last transaction in its clock-aligned readings."""
    first = await driver.start(CLIENT, amount="400")
    mine = (await driver.plug(first.session.id_tag)).transaction_id
    driver.wait(minutes=20)
    await driver.alive()
    await driver.unplug(mine, 5000)
    driver.wait(minutes=5)
    second = await driver.start(OTHER, amount="400")
    theirs = (await driver.plug(second.session.id_tag, register=5000)).transaction_id
    driver.wait(minutes=20)
    await driver.read(theirs, 10_000)
    await driver.read(mine, 10_000)
    await driver.unplug(theirs, 10_000)
    driver.wait(minutes=11)
    await driver.alive()
    await driver.sweep()
    ended = await driver.session(first.session.id)
    assert (ended.energy_wh, ended.final_amount, ended.needs_review) == (5000, Decimal("67.50"), True)
    assert [await balance_of(driver.db, client) for client in (CLIENT, OTHER)] == [Decimal("432.50")] * 2
    assert await driver.sweep() == []
    assert await money_faults(driver.db) == []


async def test_a_reading_a_little_later_than_a_good_stop_is_kept_and_not_billed(driver: Driver) -> None:
    started = await driver.start(CLIENT, amount="400")
    transaction = (await driver.plug(started.session.id_tag)).transaction_id
    driver.wait(minutes=20)
    await driver.unplug(transaction, 5000)
    driver.wait(seconds=10)
    await driver.read(transaction, 5020)
    driver.wait(minutes=11)
    await driver.alive()
    await driver.sweep()
    session = await driver.session(started.session.id)
    assert (session.energy_wh, session.final_amount, session.needs_review) == (5000, Decimal("67.50"), True)


async def test_an_offline_charge_of_a_charger_whose_clock_is_wrong_is_billed(driver: Driver) -> None:
    """It was asked to start, lost its connection, and tells in the evening, in local time, what it delivered."""
    tag = await refunded(driver, amount="400")
    began = driver.now - timedelta(minutes=8) + timedelta(hours=6)
    driver.wait(hours=1)
    await reconnect(driver)
    answer = await driver.plug(tag, charger_time=began)
    await driver.unplug(answer.transaction_id, 6000, charger_time=began + timedelta(minutes=40))
    assert answer.session_id is not None
    session = await driver.session(answer.session_id)
    assert (session.energy_wh, session.final_amount, session.needs_review) == (6000, Decimal("81.00"), False)
    assert await money_faults(driver.db) == []


async def test_a_reading_after_the_stop_stops_nobody(driver: Driver) -> None:
    """A charge that was settled without its stop is stopped when it is heard of again; one that has ended is not."""
    started = await driver.start(CLIENT, amount="400")
    transaction = (await driver.plug(started.session.id_tag)).transaction_id
    driver.wait(minutes=11)
    await driver.sweep()
    assert (await driver.session(started.session.id)).state is SessionState.STOPPED
    await reconnect(driver)

    async def closed(conn: Conn) -> str | None:
        return await service.stop_closed(conn, started.session.id, driver.now)

    command_id = await driver.run(closed)
    assert command_id is not None
    await sql(driver, "UPDATE station_commands SET status = 'rejected', finished_at = %s", driver.now)
    driver.wait(minutes=5)
    await driver.unplug(transaction, 3000)
    driver.wait(minutes=5)
    assert await driver.run(closed) is None
