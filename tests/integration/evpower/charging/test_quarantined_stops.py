"""A StopTransaction that was put aside, applied by staff: to a charge that it can have ended."""

from datetime import timedelta

import pytest

from evpower.charging import service
from evpower.charging.service.quarantine import NotApplicable
from evpower.charging.staff_models import AppliedStop, StopToApply
from evpower.clock import iso_z
from evpower.db import Conn
from tests.fakes.network import money_faults
from tests.integration.evpower.charging.driver import Driver
from tests.integration.evpower.charging.test_corner_cases import reconnect

CLIENT = "client-1"


async def put_aside(driver: Driver, register: int) -> int:
    """The message's id; its clock is right."""
    payload = {"transactionId": -1, "meterStop": register, "timestamp": iso_z(driver.now)}

    async def work(conn: Conn) -> int:
        await service.quarantine_stop(conn, driver.network.station_id, payload, "unknown transaction id", driver.now)
        row = await (await conn.execute("SELECT max(id) AS id FROM quarantined_messages")).fetchone()
        assert row is not None
        return int(row["id"])

    return await driver.run(work)


async def apply(driver: Driver, message_id: int, transaction_id: int) -> AppliedStop:
    wish = StopToApply(
        message_id=message_id,
        transaction_id=transaction_id,
        session_id=None,
        meter_stop_wh=None,
        note="chosen from the list",
        actor="staff-1",
    )
    return await driver.run(lambda conn: service.apply_quarantined_stop(conn, wish, driver.now))


async def test_an_older_message_does_not_end_a_charge_that_began_after_it(driver: Driver) -> None:
    message_id = await put_aside(driver, 5000)
    driver.wait(hours=5)
    await reconnect(driver)
    started = await driver.start(CLIENT, amount="400")
    transaction = (await driver.plug(started.session.id_tag)).transaction_id
    driver.wait(minutes=30)
    await driver.read(transaction, 4000)
    with pytest.raises(NotApplicable):
        await apply(driver, message_id, transaction)
    driver.wait(minutes=5)
    stopped = await driver.unplug(transaction, 6000)
    assert (stopped.session_id, stopped.quarantined) == (started.session.id, False)
    assert await money_faults(driver.db) == []


async def test_a_message_that_overtook_its_start_in_the_queue_can_be_applied(driver: Driver) -> None:
    """Use case: the charger was away, and plays the stop of a charge before its start."""
    await driver.run(lambda conn: conn.execute("INSERT INTO id_tags (id_tag, client_id) VALUES ('CARD-1', 'client-1')"))
    began = driver.now
    driver.wait(minutes=30)
    message_id = await put_aside(driver, 5000)
    await reconnect(driver)
    driver.wait(minutes=1)
    transaction = (await driver.plug("CARD-1", charger_time=began, message_id="late")).transaction_id
    driver.wait(minutes=1)
    applied = await apply(driver, message_id, transaction)
    assert applied.session_id is not None
    session = await driver.run(lambda conn: service.get_session(conn, applied.session_id or "", None))
    assert session.energy_wh > 0
    assert session.stop_time is not None
    assert session.stop_time >= began + timedelta(minutes=30)
    assert await money_faults(driver.db) == []


async def test_a_lower_register_after_the_end_adds_nothing(driver: Driver) -> None:
    """It looked like a register that had restarted, and was added to the bill."""
    started = await driver.start(CLIENT, amount="400")
    transaction = (await driver.plug(started.session.id_tag)).transaction_id
    driver.wait(minutes=40)
    await driver.unplug(transaction, 9000)
    driver.wait(minutes=40)
    lower, higher = await put_aside(driver, 3000), await put_aside(driver, 9500)
    for message_id, wh in ((lower, 9000), (higher, 9500)):
        await apply(driver, message_id, transaction)
        assert (await driver.session(started.session.id)).energy_wh == wh
    assert await money_faults(driver.db) == []
