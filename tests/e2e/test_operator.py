"""The operator's hand through the front door: gateway, queue, socket tier, a charger, and back."""

from __future__ import annotations

import hashlib
from typing import Any

import httpx
import pytest

from infra.local.simulator import ChargePoint
from infra.local.system import LocalSystem
from tests.e2e.world import World
from tests.fakes.firmware import Maker
from tests.fakes.stations import until

IMAGE = b"\x7fELF firmware of the test" * 1000


class Operator:
    """Calls the admin routes with the master key."""

    def __init__(self, system: LocalSystem, station: str) -> None:
        key = system.environment["MASTER_API_KEY"]
        self.http = httpx.AsyncClient(base_url=system.base_url, headers={"X-API-Key": key}, timeout=40)
        self.station = f"/api/v1/admin/stations/{station}"

    async def call(self, method: str, path: str, body: Any = None, status: int = 200) -> dict[str, Any]:
        answer = await self.http.request(method, path, json=body)
        assert answer.status_code == status, answer.text
        data: dict[str, Any] = answer.json()["data"]
        return data

    async def command(self, body: dict[str, Any], *, wait: int = 20, status: int = 200) -> dict[str, Any]:
        return await self.call("POST", f"{self.station}/commands?wait={wait}", body, status)

    async def ended(self, job: dict[str, Any]) -> dict[str, Any]:
        """The job when its charger has reported the end."""
        found = job

        async def over() -> bool:
            nonlocal found
            found = await self.call("GET", f"{self.station}/jobs/{job['id']}")
            return found["state"] not in ("requested", "accepted", "running")

        await until(over, f"the end of the {job['kind']} job", 30)
        return found


async def test_a_command_reaches_the_charger_and_its_answer_the_operator(system: LocalSystem, world: World) -> None:
    station = await world.station()
    operator = Operator(system, station)
    point = await world.charger(station)
    async with operator.http:
        data = await operator.command({"action": "TriggerMessage", "requestedMessage": "Heartbeat"})
        assert (data["done"], data["connected"], data["command"]["response"]) == (True, True, {"status": "Accepted"})
        data = await operator.command({"action": "UnlockConnector", "connectorId": 99})
        assert data["command"]["status"] == "rejected"
        data = await operator.command({"action": "GetConfiguration", "key": ["HeartbeatInterval"]})
        assert data["command"]["response"]["configurationKey"][0]["key"] == "HeartbeatInterval"
        sent = await operator.command({"action": "Reset", "type": "Soft"}, wait=0, status=202)
        found: dict[str, Any] = {}

        async def answered() -> bool:
            found.update(await operator.call("GET", f"{operator.station}/commands/{sent['command']['id']}"))
            return bool(found["done"])

        await until(answered, "the answer to Reset", 20)
        assert found["command"]["status"] == "accepted"
        await point.wait_for(lambda: any(command.action == "Reset" for command in point.commands))


async def test_a_command_waits_for_a_charger_that_is_away(system: LocalSystem, world: World) -> None:
    station = await world.station()
    operator = Operator(system, station)
    async with operator.http:
        kept = await operator.command({"action": "ClearCache"}, wait=0, status=202)
        assert (kept["connected"], kept["command"]["status"]) == (False, "queued")
        other = await operator.command({"action": "Reset", "type": "Hard"}, wait=0, status=202)
        taken = await operator.call("DELETE", f"{operator.station}/commands/{other['command']['id']}")
        assert taken["command"]["status"] == "cancelled"
        point = await world.charger(station)
        await point.wait_for(lambda: any(command.action == "ClearCache" for command in point.commands), 30)
        assert not any(command.action == "Reset" for command in point.commands)


@pytest.mark.parametrize("kind", ["diagnostics", "SecurityLog"])
async def test_a_log_is_really_uploaded_and_read(system: LocalSystem, world: World, kind: str) -> None:
    station = await world.station()
    operator = Operator(system, station)
    point = await world.charger(station)
    async with operator.http:
        job = await operator.ended(await operator.call("POST", f"{operator.station}/log-jobs", {"type": kind}))
        assert (job["state"], job["file_ready"], job["error"]) == ("succeeded", True, None)
        file = await operator.call("GET", f"{operator.station}/jobs/{job['id']}/file")
        link = file["link"]
        async with httpx.AsyncClient() as anybody:  # who has the link needs no key
            content = (await anybody.get(link["url"])).content
            assert (content.startswith(point.station_id.encode()), len(content)) == (True, file["size_bytes"])
            assert (await anybody.get(link["url"].partition("?")[0])).status_code == 403
        detail = await operator.call("GET", f"{operator.station}/detail")
        assert detail["connection"]["connected"] is True
        assert detail["boot"]["vendor"]
        assert detail["configuration"]["keys"]


async def test_signed_firmware_is_really_downloaded_and_checked(system: LocalSystem, world: World) -> None:
    station = await world.station()
    operator = Operator(system, station)
    maker = Maker.create()
    body = {
        "name": "Firmware of the test",
        "version": "2.0",
        "size_bytes": len(IMAGE),
        "sha256": hashlib.sha256(IMAGE).hexdigest(),
        "signature": maker.sign(IMAGE),
        "signing_certificate": maker.certificate,
    }
    point = await world.charger(station)
    async with operator.http:
        file = await operator.call("POST", "/api/v1/admin/firmware", body)
        one = f"/api/v1/admin/firmware/{file['id']}"
        assert (await operator.http.post(f"{one}/confirm")).status_code == 409
        upload = file["upload"]
        async with httpx.AsyncClient() as anybody:
            wrong = await anybody.put(upload["url"], content=IMAGE[::-1], headers=upload["headers"])
            assert wrong.status_code == 403
            assert (await anybody.put(upload["url"], content=IMAGE, headers=upload["headers"])).is_success
        assert (await operator.call("POST", f"{one}/confirm"))["state"] == "stored"
        for signed in (True, False):
            job = {"firmware_id": file["id"], "signed": signed}
            done = await operator.ended(await operator.call("POST", f"{operator.station}/firmware-jobs", job))
            assert done["state"] == "succeeded", done
            assert _sha256(point) == body["sha256"]
            point.jobs.firmware = None
        assert (await operator.call("DELETE", one))["state"] == "retired"


def _sha256(point: ChargePoint) -> str:
    return hashlib.sha256(point.jobs.firmware or b"").hexdigest()
