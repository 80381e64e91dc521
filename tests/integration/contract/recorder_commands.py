"""Flows of the operators' hand: commands with answers, a station that has said something, jobs with files."""

import hashlib
from typing import Any

from evpower.commands import service as commands
from evpower.commands.models import CommandStatus
from evpower.jobs import service as jobs
from evpower.jobs.models import JobKind
from evpower.message_log import service as message_log
from evpower.message_log.models import Direction, NewEntry
from evpower.stations import service as stations
from evpower.stations.models import BootInfo, StatusReport
from tests.fakes.file_store import MemoryFileStore
from tests.fakes.ocpp16_commands import PEM
from tests.integration.contract.examples import LONG_AGO
from tests.integration.contract.recorder import Recorder
from tests.integration.functions.api.conftest import OTHER, SERIAL, STATION
from tests.integration.functions.api.staff_world import FIRST, FIRST_OPERATOR, ROOT

IMAGE = b"new firmware"
FIRMWARE = {
    "name": "Maker DC-60 1.2.3",
    "version": "1.2.3",
    "vendor": "Maker",
    "model": "DC-60",
    "size_bytes": len(IMAGE),
    "sha256": hashlib.sha256(IMAGE).hexdigest(),
    "signature": "c2lnbmF0dXJl",
    "signing_certificate": PEM,
}
BOOT = {
    "chargePointVendor": "Maker",
    "chargePointModel": "DC-60",
    "chargePointSerialNumber": SERIAL,
    "chargeBoxSerialNumber": SERIAL,
    "firmwareVersion": "1.0",
    "iccid": "89900000000000000000",
    "imsi": "437000000000000",
    "meterType": "OD1",
    "meterSerialNumber": "M-1",
}


async def record_commands(on: Recorder) -> None:
    """OC1-OC4, OD1-OD3, OJ1-OJ5, OF1-OF5."""
    await on.api.connect()
    await _station(on)
    await _commands(on)
    await _jobs(on)
    await _live(on)
    await _messages(on)
    await on.call("OD1", client=FIRST_OPERATOR, station_id=STATION)
    await on.call("OD1", client=ROOT, station_id="st-2")


async def _station(on: Recorder) -> None:
    """A boot, a fault, a configuration and the events of them."""
    now = on.api.deps.clock.now()
    keys = [{"key": f"Key{number}", "value": "1", "readonly": number == 0} for number in range(3)]
    report = StatusReport(2, "Faulted", on.api.epoch, "GroundFailure", "wet", "E17", now)
    async with on.api.db.transaction() as conn:
        await stations.record_boot(conn, STATION, BootInfo("Maker", "DC-60", "1.0", BOOT, "ocpp1.6"), now)
        await stations.record_status(conn, STATION, report, now)
        await stations.store_configuration(conn, STATION, keys, ["Missing"], now)
    await on.api.sql("UPDATE stations SET heartbeat_interval_s = 300, meter_interval_s = 60, connection_security = 1")
    await on.api.sql("UPDATE stations SET error_code = 'OtherError' WHERE id = %s", STATION)
    for query in ("?limit=2", ""):
        await on.call("OD2", client=FIRST_OPERATOR, station_id=STATION, query=query)
    for query in ("?severity=error&connector=2", "?limit=1", ""):
        await on.call("OD3", client=FIRST_OPERATOR, station_id=STATION, query=query)


async def _commands(on: Recorder) -> None:
    await on.wait(seconds=1)  # or the lists' order is nobody's
    body: dict[str, Any] = {"action": "TriggerMessage", "requestedMessage": "StatusNotification", "connectorId": 1}
    first = (await on.call("OC1", body, client=FIRST_OPERATOR, station_id=STATION))["data"]["command"]
    await _answer(on, first["id"], CommandStatus.REJECTED, {"status": "Rejected"}, error="not now")
    (stop,) = await on.api.sql(
        "SELECT id FROM station_commands WHERE session_id IS NOT NULL AND station_id = %s LIMIT 1", STATION
    )
    for command_id in (first["id"], stop["id"]):
        await on.call("OC3", client=FIRST_OPERATOR, station_id=STATION, command_id=command_id)
    await on.wait(seconds=1)
    body = {"action": "Reset", "type": "Soft", "expires_in_s": 600}
    second = (await on.call("OC1", body, client=FIRST, station_id=STATION))["data"]["command"]
    await on.call("OC4", client=FIRST, station_id=STATION, command_id=second["id"])
    for query in ("?limit=1", ""):
        await on.call("OC2", client=FIRST_OPERATOR, station_id=STATION, query=query)


async def _answer(
    on: Recorder, command_id: str, status: CommandStatus, answer: dict[str, Any], error: str | None = None
) -> None:
    now = on.api.deps.clock.now()
    async with on.api.db.transaction() as conn:
        others = await commands.earlier(conn, command_id, on.api.epoch, now)  # their charger is silent
        command = await commands.claim(conn, command_id, on.api.epoch, "test-instance", now, passed=others)
        assert command is not None
        await jobs.command_ended(conn, command, status, answer)
        assert await commands.finish(conn, command, status, now, response=answer, error=error)


async def _report(on: Recorder, kind: JobKind, request_id: int | None, *words: str) -> None:
    for word in words:
        async with on.api.db.transaction() as conn:
            await jobs.progress(conn, STATION, kind, word, request_id, on.api.deps.clock.now())


async def _jobs(on: Recorder) -> None:
    store = on.api.deps.files
    assert isinstance(store, MemoryFileStore)
    file = (await on.call("OF1", FIRMWARE, client=ROOT))["data"]
    await on.call("OF3", client=FIRST, firmware_id=file["id"])
    store.put(f"firmware/{file['id']}", len(IMAGE), FIRMWARE["sha256"])  # type: ignore[arg-type]
    await on.call("OF4", client=ROOT, firmware_id=file["id"])
    await on.call("OF3", client=FIRST, firmware_id=file["id"])
    await on.wait(seconds=1)
    body: dict[str, Any] = {"firmware_id": file["id"], "signed": True, "retries": 2, "retry_interval_s": 60}
    update = (await on.call("OJ1", body, client=FIRST, station_id=STATION))["data"]
    await _answer(on, update["command_id"], CommandStatus.ACCEPTED, {"status": "Accepted"})
    await _report(on, JobKind.SIGNED_FIRMWARE, update["request_id"], "Downloading", "InvalidSignature")
    await on.wait(seconds=1)
    body = {"type": "SecurityLog", "oldest": LONG_AGO}
    log = (await on.call("OJ2", body, client=FIRST_OPERATOR, station_id=STATION))["data"]
    await _answer(on, log["command_id"], CommandStatus.ACCEPTED, {"status": "Accepted", "filename": "security.log"})
    await _report(on, JobKind.LOG, log["request_id"], "Uploading", "Uploaded")
    store.put(f"logs/{log['id']}/SecurityLog.log", 120)
    for job in (update, log):
        await on.call("OJ4", client=FIRST_OPERATOR, station_id=STATION, job_id=job["id"])
    await on.call("OJ5", client=FIRST_OPERATOR, station_id=STATION, job_id=log["id"])
    for query in ("?limit=1", ""):
        await on.call("OJ3", client=FIRST_OPERATOR, station_id=STATION, query=query)
    await on.wait(seconds=1)
    await on.call("OF1", {**FIRMWARE, "name": "Maker DC-60 1.2.4"}, client=FIRST)
    for query in ("?limit=1", ""):
        await on.call("OF2", client=FIRST, query=query)
    await on.call("OF5", client=ROOT, firmware_id=file["id"])
    await on.wait(seconds=1)
    # What the station's detail lists as open.
    body = {"type": "DiagnosticsLog"}
    log = (await on.call("OJ2", body, client=FIRST_OPERATOR, station_id=STATION))["data"]
    await _answer(on, log["command_id"], CommandStatus.ACCEPTED, {"status": "Accepted", "filename": "open.log"})
    await _report(on, JobKind.LOG, log["request_id"], "Uploading")
    await on.wait(seconds=1)
    body = {"location": "ftp://files.example/firmware.bin"}
    await on.call("OJ1", body, client=FIRST, station_id=STATION)


async def _messages(on: Recorder) -> None:
    """An exchange and one that failed."""
    at = on.api.deps.clock.now().timestamp()
    frames = b'[2,"m1","Heartbeat",{}]', b'[3,"m1",{"currentTime":"2026-01-15T06:00:00Z"}]'
    entries = [
        NewEntry(STATION, at, Direction.IN, "Heartbeat", "m1", *frames, latency_s=0.002),
        NewEntry(STATION, at + 1, Direction.OUT, "Reset", "m2", b'[2,"m2","Reset",{"type":"Soft"}]', error="timeout"),
    ]
    async with on.api.db.transaction() as conn:
        await message_log.store(conn, entries)


async def _live(on: Recorder) -> None:
    """A session on connector 1 with a reading."""
    await on.wait(seconds=1)
    await on.api.sql("UPDATE connectors SET ocpp_status = 'Available', error_code = NULL WHERE connector_number = 1")
    started = await on.call("C1", {"station_id": SERIAL, "connector_id": 1, "energy_kwh": 5}, client=OTHER)
    transaction_id = await on.api.charger_starts(started["session_id"], 1000)
    await on.wait(minutes=1)
    await on.reading(transaction_id, 1500)
