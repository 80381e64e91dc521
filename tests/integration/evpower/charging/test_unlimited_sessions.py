"""Sessions until the balance ends: how much is reserved, and when there is no more."""

from decimal import Decimal

import pytest

from evpower.charging import autostop, service
from evpower.charging.running import MeterContext
from tests.fakes.network import balance_of, money_faults
from tests.integration.evpower.charging.driver import Driver
from tests.integration.evpower.charging.test_corner_cases import CLIENT, spend


async def extend(driver: Driver, session_id: str) -> MeterContext | None:
    epoch = driver.network.epoch
    return await driver.run(lambda conn: service.extend_reserve(conn, session_id, epoch, driver.now))


async def charging(driver: Driver, *, balance: int) -> tuple[str, int]:
    """An unlimited session of a client who has ``balance`` som; session and transaction."""
    if balance < 500:
        await spend(driver, CLIENT, Decimal(500 - balance))
    started = await driver.start(CLIENT)
    return started.session.id, (await driver.plug(started.session.id_tag)).transaction_id


async def test_it_reserves_more_until_the_balance_ends(driver: Driver) -> None:
    session_id, transaction = await charging(driver, balance=500)
    reserves = []
    for wh in (14_700, 29_500, 36_900):  # each within a reading of the end of the reserve: 200, 400, 500 som
        driver.wait(hours=1)
        await driver.read(transaction, wh, power_w=22_000)
        context = await extend(driver, session_id)
        reserves.append(context and context.reserved_amount)
    assert reserves == [400, 500, None]
    assert await balance_of(driver.db, CLIENT) == 0
    assert await money_faults(driver.db) == []


async def test_it_reserves_nothing_before_it_is_needed(driver: Driver) -> None:
    session_id, transaction = await charging(driver, balance=500)
    driver.wait(minutes=20)
    await driver.read(transaction, 5000, power_w=22_000)
    context = await extend(driver, session_id)
    assert context is not None
    assert context.reserved_amount == 200
    assert await balance_of(driver.db, CLIENT) == 300


async def test_readings_that_ask_at_once_reserve_once(driver: Driver) -> None:
    """The second one found an empty balance, and the session was stopped with a fresh reserve."""
    session_id, transaction = await charging(driver, balance=350)
    driver.wait(hours=1)
    await driver.read(transaction, 14_700, power_w=22_000)
    for _ in range(2):
        context = await extend(driver, session_id)
        assert context is not None
        assert context.reserved_amount == 350
    assert (await driver.session(session_id)).reserve_count == 2
    assert await money_faults(driver.db) == []


@pytest.mark.parametrize(("balance", "goes_on"), [(202, False), (204, True)])
async def test_a_rest_that_does_not_last_until_the_next_reading_ends_it(
    driver: Driver, balance: int, goes_on: bool
) -> None:
    """198.45 som so far, 203.81 by the next reading: what lies between would have been written off."""
    session_id, transaction = await charging(driver, balance=balance)
    driver.wait(hours=1)
    await driver.read(transaction, 14_700, power_w=22_000)
    context = await extend(driver, session_id)
    assert (context is not None) is goes_on
    assert context is None or not autostop.decide(context, driver.now).extend
    assert (await driver.session(session_id)).reserved_amount == balance
    assert await money_faults(driver.db) == []
