"""transactionData of StopTransaction: what it adds to the readings that came live, and what it must not."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from evpower.charging import meter, service
from evpower.charging.models import Reading, StopTransaction
from tests.fakes.network import money_faults
from tests.integration.evpower.charging.driver import Driver
from tests.integration.evpower.charging.test_corner_cases import CLIENT

BEGIN = "Transaction.Begin"


def entry(when: datetime, wh: int, context: str = "Sample.Periodic") -> Reading:
    return Reading(when, energy_wh=Decimal(wh), context=context)


async def stop(driver: Driver, transaction: int, wh: int, data: list[Reading], when: datetime) -> None:
    station, epoch = driver.network.station_id, driver.network.epoch
    message = StopTransaction(station, transaction, Decimal(wh), when, driver.now, epoch, readings=tuple(data))
    await driver.run(lambda conn: service.stop_transaction(conn, message))


@pytest.mark.parametrize("live", [True, False], ids=["with readings", "alone"])
@pytest.mark.parametrize("fallen_at", [21, 31])
async def test_a_clock_that_fell_back_does_not_bill_the_charge_twice(
    driver: Driver, live: bool, fallen_at: int
) -> None:
    """After a power failure it is 1970: by their times the last entries are the first."""
    in_1970 = datetime(1970, 1, 1, tzinfo=UTC)
    started = await driver.start(CLIENT, amount="400")
    transaction = (await driver.plug(started.session.id_tag)).transaction_id
    data = [entry(driver.now, 0, BEGIN)]
    for step in range(1, 31):
        driver.wait(minutes=1)
        when = driver.now if step < fallen_at else in_1970 + timedelta(minutes=step)
        data.append(entry(when, 100 * step))
        if live:
            await driver.read(transaction, 100 * step, charger_time=when)
    await stop(driver, transaction, 3000, data, in_1970 + timedelta(minutes=31))
    session = await driver.session(started.session.id)
    assert (session.energy_wh, session.final_amount) == (3000, Decimal("40.50"))
    assert session.needs_review is (fallen_at < 31)
    assert await money_faults(driver.db) == []


@pytest.mark.parametrize("clock", ["good", "counts from its last start"])
async def test_a_register_that_restarted_does_not_bill_what_came_live_again(driver: Driver, clock: str) -> None:
    """Beside the register of the end, the entries from before the loss of power look as if it had jumped."""
    in_1970 = datetime(1970, 1, 1, tzinfo=UTC)
    started = await driver.start(CLIENT, amount="400")
    tag, first = started.session.id_tag, driver.now if clock == "good" else in_1970
    transaction = (await driver.plug(tag, register=4000, charger_time=first)).transaction_id
    data = [entry(first, 4000, BEGIN)]
    for step in range(1, 21):
        driver.wait(minutes=1)
        uptime = in_1970 + timedelta(minutes=step if step <= 10 else step - 10)
        register = 4000 + 200 * step if step <= 10 else 200 * (step - 10)
        data.append(entry(driver.now if clock == "good" else uptime, register))
        await driver.read(transaction, register, charger_time=data[-1].sampled_at)
    assert (await driver.session(started.session.id)).energy_wh == 4000
    driver.wait(minutes=1)
    end = driver.now if clock == "good" else in_1970 + timedelta(minutes=11)
    await stop(driver, transaction, 2100, data, end)
    session = await driver.session(started.session.id)
    assert (session.energy_wh, session.final_amount) == (4100, Decimal("55.35"))
    assert await money_faults(driver.db) == []


async def test_a_clock_that_fell_back_keeps_the_order_of_one_message(driver: Driver) -> None:
    """Sorted by their times the readings after the loss of power would come first, and those before be a jump."""
    started = await driver.start(CLIENT, amount="400")
    transaction = (await driver.plug(started.session.id_tag)).transaction_id
    driver.wait(minutes=30)
    in_1970 = datetime(1970, 1, 1, tzinfo=UTC)
    before = driver.now - timedelta(minutes=5)
    readings = (entry(before, 3000), entry(in_1970, 100), entry(in_1970 + timedelta(minutes=1), 200))
    context = await driver.run(lambda conn: service.meter_context(conn, driver.network.station_id, transaction))
    assert context is not None
    state, _ = meter.apply_all(
        context.meter, readings, driver.now, context.max_power_w, context.started_at, context.charger_started_at
    )
    assert state.energy_wh == 3200


@pytest.mark.parametrize("live", [True, False], ids=["with readings", "alone"])
async def test_a_clock_that_stands_still_does_not_bill_the_charge_twice(driver: Driver, live: bool) -> None:
    in_1970 = datetime(1970, 1, 1, tzinfo=UTC)
    started = await driver.start(CLIENT, amount="400")
    transaction = (await driver.plug(started.session.id_tag, charger_time=in_1970)).transaction_id
    data = [entry(in_1970, 0, BEGIN)]
    for step in range(1, 31):
        driver.wait(minutes=1)
        data.append(entry(in_1970, 300 * step))
        if live:
            await driver.read(transaction, 300 * step, charger_time=in_1970)
    await stop(driver, transaction, 9000, data, in_1970)
    session = await driver.session(started.session.id)
    assert (session.energy_wh, session.needs_review) == (9000, False)


async def test_a_begin_with_the_time_of_the_end_is_no_restart_of_the_register(driver: Driver) -> None:
    started = await driver.start(CLIENT, amount="400")
    transaction = (await driver.plug(started.session.id_tag)).transaction_id
    for step in range(1, 6):
        driver.wait(minutes=1)
        await driver.read(transaction, 100 * step)
    driver.wait(minutes=1)
    await stop(driver, transaction, 550, [entry(driver.now, 0, BEGIN), entry(driver.now, 550)], driver.now)
    session = await driver.session(started.session.id)
    assert (session.energy_wh, session.needs_review) == (550, False)


async def test_a_register_that_restarted_is_known_from_it_alone(driver: Driver) -> None:
    started = await driver.start(CLIENT, amount="400")
    transaction = (await driver.plug(started.session.id_tag, register=4000)).transaction_id
    data = [entry(driver.now, 4000, BEGIN)]
    for wh in (5000, 6000, 900):
        driver.wait(minutes=10)
        data.append(entry(driver.now, wh))
    await stop(driver, transaction, 900, data, driver.now)
    assert (await driver.session(started.session.id)).energy_wh == 2900


async def test_it_bills_what_a_lost_register_does_not(driver: Driver) -> None:
    started = await driver.start(CLIENT, amount="400")
    transaction = (await driver.plug(started.session.id_tag)).transaction_id
    driver.wait(minutes=20)
    await stop(driver, transaction, 0, [entry(driver.now, 3000)], driver.now)
    assert (await driver.session(started.session.id)).energy_wh == 3000
