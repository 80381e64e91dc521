"""An operator gives a charger a key and a certificate, through the gateway, SQS and the socket tier."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx

from tests.e2e.world import World

MASTER = {"X-API-Key": "local-master-key"}


async def until_told(http: httpx.AsyncClient, path: str, condition: Callable[[dict[str, Any]], object]) -> Any:
    """Ask until the answer is as wanted."""
    data: dict[str, Any] = {}
    try:
        async with asyncio.timeout(30):
            while True:
                answer = await http.get(path)
                assert answer.status_code == 200, answer.text
                data = answer.json()["data"]
                if condition(data):
                    return data
                await asyncio.sleep(0.2)
    except TimeoutError:
        raise AssertionError(f"in vain: {data}") from None


async def test_a_charger_gets_a_key_and_a_certificate(world: World) -> None:
    point = await world.charger()
    base = f"{world.place.base_url}/api/v1/admin/stations/{point.station_id}"
    async with httpx.AsyncClient(base_url=base, headers=MASTER, timeout=30) as http:
        answer = await http.post("/credentials/key", json={})
        assert answer.status_code == 202, answer.text
        assert "key" not in answer.json()["data"]
        told = await until_told(http, "/credentials", lambda data: data["has_key"])
        assert told["new_keys"] == []
        await point.wait_for(lambda: point.link.record.connections == 2 and point.link.is_online)
        assert len(str(point.link.settings.password)) == 40

        assert (await http.post("/certificates/renew")).status_code == 202
        (issued,) = (await until_told(
            http, "/certificates", lambda data: data["issued"] and data["issued"][0]["state"] == "accepted"
        ))["issued"]  # fmt: skip
        (leaf,) = point.certificates.own
        assert issued["serial_number"] == f"{leaf.serial_number:x}"
        assert issued["issuer"] == "CN=EvPower local station authority"
