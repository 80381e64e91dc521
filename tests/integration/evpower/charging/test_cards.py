"""Charges by RFID card, and staff who change the card at the same moment."""

import asyncio

from evpower.db import Conn
from tests.fakes.network import balance_of, money_faults
from tests.integration.evpower.charging.driver import Driver
from tests.integration.evpower.charging.test_corner_cases import CLIENT, OTHER, sql, until_blocked


async def test_a_card_given_away_meanwhile_does_not_charge_its_former_holder(driver: Driver) -> None:
    await sql(driver, "INSERT INTO id_tags (id_tag, client_id) VALUES ('CARD-1', %s)", CLIENT)
    locked, go_on = asyncio.Event(), asyncio.Event()

    async def hold(conn: Conn) -> None:
        await conn.execute("SELECT FROM clients WHERE id = %s FOR UPDATE", (CLIENT,))
        locked.set()
        await go_on.wait()

    holding = asyncio.create_task(driver.run(hold))
    await locked.wait()
    plugging = asyncio.create_task(driver.plug("CARD-1"))
    await until_blocked(driver)
    await sql(driver, "UPDATE id_tags SET client_id = %s WHERE id_tag = 'CARD-1'", OTHER)
    go_on.set()
    await holding
    answer = await plugging
    assert (answer.id_tag_status, answer.session_id) == ("Invalid", None)
    assert answer.command_id is not None
    assert await balance_of(driver.db, CLIENT) == 500
    driver.wait(minutes=1)
    assert (await driver.plug("CARD-1", 2)).id_tag_status == "Accepted"
    assert await balance_of(driver.db, OTHER) == 300
    assert await money_faults(driver.db) == []
