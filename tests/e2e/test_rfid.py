"""A charge by RFID card through the front doors: the operator gives the card, the app sees the charge and the bill."""

import asyncio

import httpx

from infra.local.demo.driver import Driver
from tests.e2e.test_charging import check_books
from tests.e2e.world import PRICE, World, delivering, ended

MASTER = {"X-API-Key": "local-master-key"}


async def test_a_card_charges_and_stops_and_the_app_shows_it(world: World) -> None:
    point, client_id = await world.charger(), await world.client(500)
    driver = await world.driver(client_id=client_id)
    tag = f"E2E{client_id[:8]}".upper()
    async with httpx.AsyncClient(base_url=world.place.base_url, headers=MASTER) as staff:
        made = await staff.post("/api/v1/admin/id-tags", json={"id_tag": tag, "client_id": client_id, "name": "Card"})
        assert made.status_code == 200, made.text

        # The card is the client's in whatever letter case; the charge is prepaid.
        assert await point.start_with_tag(1, tag.lower()) is not None
        session_id = await live_session(driver)
        session = await driver.wait_session(session_id, delivering())
        assert session["reserved_amount"] == 200
        assert await driver.balance() == 300

        # Somebody else's card may not stop it, and a second charge is refused.
        assert await point.start_with_tag(2, tag) is not None  # Authorize lets it stop the first
        await point.wait_for(lambda: point.outlets[2].transaction is None, 30)
        point.stop_locally(1)
        session = await driver.wait_session(session_id, ended)
        assert session["status"] == "stopped"
        assert session["current_cost"] > 0
        assert session["current_cost"] == round(session["energy_consumed"] * PRICE, 2)
        assert await driver.poll_balance(500 - session["current_cost"])
        await check_books(world, driver, session_id)

        # A card that has charged is blocked, not deleted, and is refused from then on.
        removed = await staff.delete(f"/api/v1/admin/id-tags/{made.json()['data']['id']}")
        assert removed.json()["data"] == {"id": made.json()["data"]["id"], "deleted": False, "status": "blocked"}
    assert await point.start_with_tag(1, tag) is None


async def live_session(driver: Driver) -> str:
    """The session that the app's history shows, once the charger has told of it."""
    async with asyncio.timeout(20):
        while not (found := (await driver.call("GET", "/api/v1/charging/history"))["data"]):
            await asyncio.sleep(0.1)
    assert found[0]["status"] == "started"
    return str(found[0]["id"])
