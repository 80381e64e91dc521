"""One id follows an action from the phone through function, queue and socket tier into the charger's frame."""

import asyncio
import json
from pathlib import Path
from typing import Any

from infra.local.system import LocalSystem
from tests.e2e.world import World
from tests.fakes.raw_charger import RawCharger

PHONES_ID = "phone-7f3a"


def said(logs: Path, pattern: str) -> list[dict[str, Any]]:
    """The log lines with the phone's id."""
    files = sorted(logs.glob(pattern))
    return [json.loads(line) for file in files for line in file.read_text().splitlines() if PHONES_ID in line]


async def test_the_phones_id_reaches_the_chargers_frame(world: World, system: LocalSystem) -> None:
    serial = await world.station()
    driver = await world.driver(500)
    async with RawCharger.open(f"{world.place.ocpp_url}/id-{serial}") as charger:
        await charger.boot()
        await charger.call("StatusNotification", connectorId=1, errorCode="NoError", status="Preparing")
        answer = await driver._http.post(
            "/api/v1/charging/start",
            json={"station_id": serial, "connector_id": 1, "amount_som": 50},
            headers={"X-Correlation-ID": PHONES_ID},
        )
        assert answer.headers["X-Correlation-ID"] == PHONES_ID
        _, message_id, action, payload = await charger.command("RemoteStartTransaction")
        await charger.send([3, message_id, {"status": "Accepted"}])
        session_id = answer.json()["session_id"]
        row = await world.one("SELECT correlation_id, payload FROM station_commands WHERE session_id = %s", session_id)
        assert row == {"correlation_id": PHONES_ID, "payload": payload}

        async with asyncio.timeout(20):
            while not any(line["message"] == "command ended" for line in said(system.logs, "socket-tier-*.log")):
                await asyncio.sleep(0.05)
        tier = said(system.logs, "socket-tier-*.log")
        (written,) = [line for line in tier if line["message"] == "frame written"]
        assert (written["action"], written["message_id"]) == (action, message_id)
        assert all(line["correlation_id"] == PHONES_ID for line in tier)
        (request,) = [line for line in said(system.logs, "function-api.log") if line.get("http_path")]
        assert (request["http_path"], request["correlation_id"]) == ("/api/v1/charging/start", PHONES_ID)
        await driver.stop(session_id)
