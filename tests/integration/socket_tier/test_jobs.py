"""Logs and firmware against a real file server: command, transfer, and what the operator then sees."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from evpower.commands import service
from evpower.commands.models import Command, CommandStatus, NewCommand
from evpower.db import Conn, PooledDatabase
from evpower.ids import new_id
from evpower.jobs import service as jobs
from evpower.jobs.models import Job, JobKind, JobState, NewJob
from evpower.stations import service as stations
from infra.local.simulator import ChargePoint
from socket_tier.tier import SocketTier
from tests.fakes.file_server import FileServer
from tests.fakes.firmware import Maker
from tests.fakes.network import Network
from tests.fakes.raw_charger import RawCharger
from tests.fakes.stations import until
from tests.integration.socket_tier.conftest import url


async def started(tier: SocketTier, db: PooledDatabase, new: NewJob) -> Job:
    """Begin a job as the API does, and return it when it has ended."""
    now = datetime.now(UTC)
    begun = await db.run(lambda conn: jobs.start(conn, "station-1", new_id(), new, now))
    assert tier.dispatcher.submit("station-1", begun.command.id)
    found = begun.job

    async def ended() -> bool:
        nonlocal found
        found = await db.run(lambda conn: jobs.find(conn, "station-1", begun.job.id))
        return not found.seen(datetime.now(UTC))[0].is_open

    await until(ended, f"the end of the {new.kind} job")
    return found


async def run(tier: SocketTier, db: PooledDatabase, action: str, **payload: Any) -> Command:
    """Queue a command, let the charger carry it out, return its row."""
    now = datetime.now(UTC)
    new = NewCommand("station-1", action, payload, now + timedelta(minutes=5), "test")
    command = await db.run(lambda conn: service.enqueue(conn, new, now))
    assert tier.dispatcher.submit("station-1", command.id)
    found: Command | None = None

    async def ended() -> bool:
        nonlocal found
        found = await db.run(lambda conn: service.get(conn, command.id))
        return found is not None and found.status.terminal

    await until(ended, f"the end of {action}")
    assert found is not None
    return found


async def events(db: PooledDatabase, kind: str) -> list[dict[str, Any]]:
    async def work(conn: Conn) -> list[dict[str, Any]]:
        cursor = await conn.execute("SELECT payload FROM station_events WHERE type = %s ORDER BY id", (kind,))
        return [row["payload"] for row in await cursor.fetchall()]

    return await db.run(work)


async def test_a_log_is_uploaded_and_firmware_is_downloaded(
    tier: SocketTier, db: PooledDatabase, network: Network
) -> None:
    async def arrived(kind: str, expected: list[dict[str, Any]]) -> None:
        async def seen() -> bool:
            return len(await events(db, kind)) >= len(expected)

        await until(seen, f"{len(expected)} events {kind}")
        assert await events(db, kind) == expected

    with FileServer().running() as store:
        store.files["/firmware.bin"] = b"new firmware"
        async with ChargePoint(f"ws://127.0.0.1:{tier.port}/ocpp", "station-1") as point:
            await point.wait_online()
            log = {"logType": "DiagnosticsLog", "requestId": 4, "log": {"remoteLocation": f"{store.url}/log?key=1"}}
            command = await run(tier, db, "GetLog", **log)
            assert command.status is CommandStatus.ACCEPTED
            assert command.response == {"status": "Accepted", "filename": "station-1-DiagnosticsLog.log"}
            steps = [{"status": word, "requestId": 4} for word in ("Uploading", "Uploaded")]
            await arrived("log_status", steps)
            assert store.files["/log?key=1"]
            when = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            command = await run(tier, db, "UpdateFirmware", location=f"{store.url}/firmware.bin", retrieveDate=when)
            assert command.status is CommandStatus.ACCEPTED
            words = ("Downloading", "Downloaded", "Installing", "Installed")
            await arrived("firmware_status", [{"status": word} for word in words])
            assert point.jobs.firmware == b"new firmware"
            # The server itself refuses to send what the specification does not allow.
            command = await run(tier, db, "UpdateFirmware", location="no address", retrieveDate=when)
            assert command.status is CommandStatus.FAILED


async def test_jobs_follow_what_the_charger_tells(tier: SocketTier, db: PooledDatabase, network: Network) -> None:
    maker = Maker.create()
    with FileServer().running() as store:
        store.files["/image"] = b"image"

        def new(kind: JobKind, path: str, **more: Any) -> NewJob:
            location = f"{store.url}{path}"
            return NewJob(kind, location, location, "test", timedelta(minutes=5), **more)

        async with ChargePoint(f"ws://127.0.0.1:{tier.port}/ocpp", "station-1") as point:
            await point.wait_online()
            log = await started(tier, db, new(JobKind.LOG, "/log", log_type="SecurityLog"))
            assert (log.state, log.file_name) == (JobState.SUCCEEDED, "station-1-SecurityLog.log")
            assert [step["status"] for step in log.steps] == ["Uploading", "Uploaded"]
            assert store.files["/log"]
            refused = await started(tier, db, new(JobKind.DIAGNOSTICS, "/refused"))
            assert (refused.state, refused.charger_status) == (JobState.FAILED, "UploadFailed")
            signed = {"signing_certificate": maker.certificate, "signature": maker.sign(b"image")}
            update = await started(tier, db, new(JobKind.SIGNED_FIRMWARE, "/image", **signed))
            words = ["Downloading", "Downloaded", "SignatureVerified", "Installing", "Installed"]
            assert (update.state, [step["status"] for step in update.steps]) == (JobState.SUCCEEDED, words)
            assert point.jobs.firmware == b"image"
            forged = {**signed, "signature": maker.sign(b"another")}
            update = await started(tier, db, new(JobKind.SIGNED_FIRMWARE, "/image", **forged))
            assert (update.state, update.error) == (JobState.FAILED, "the charger reported InvalidSignature")
            no_certificate = {**signed, "signing_certificate": "none"}
            update = await started(tier, db, new(JobKind.SIGNED_FIRMWARE, "/image", **no_certificate))
            assert (update.state, update.error) == (JobState.REJECTED, "the charger answered InvalidCertificate")
            plain = await started(tier, db, new(JobKind.FIRMWARE, "/nothing"))
            assert (plain.state, plain.error) == (JobState.FAILED, "the charger reported DownloadFailed")


async def test_reading_a_part_and_changing_a_key_keep_the_stored_configuration_true(
    tier: SocketTier, db: PooledDatabase, network: Network
) -> None:
    async def stored() -> dict[str, str]:
        return await db.run(lambda conn: stations.configuration(conn, "station-1"))

    async with ChargePoint(f"ws://127.0.0.1:{tier.port}/ocpp", "station-1") as point:
        await point.wait_online()

        async def read() -> bool:
            return "connectiontimeout" in await stored()

        await until(read, "the configuration after the boot")
        whole = await stored()
        command = await run(tier, db, "GetConfiguration", key=["ResetRetries", "NoSuchKey"])
        assert command.status is CommandStatus.ACCEPTED
        command = await run(tier, db, "ChangeConfiguration", key="ConnectionTimeOut", value="75")
        assert command.status is CommandStatus.ACCEPTED
        changed = await stored()  # at once: whoever sees the command ended reads what it changed
        assert changed["connectiontimeout"] == "75"
        assert changed.keys() == whole.keys()
        command = await run(tier, db, "ChangeConfiguration", key="ResetRetries", value="no number")
        assert command.status is CommandStatus.REJECTED
        assert (await stored())["resetretries"] == whole["resetretries"]


async def test_a_refusal_in_an_answer_that_knows_none_ends_the_job_and_overwrites_nothing(
    tier: SocketTier, db: PooledDatabase, network: Network
) -> None:
    """UpdateFirmware, GetDiagnostics and GetConfiguration have no status in OCPP 1.6; some chargers refuse by one."""
    async with RawCharger.open(url(tier)) as charger:
        await charger.boot()
        for kind, action in ((JobKind.FIRMWARE, "UpdateFirmware"), (JobKind.DIAGNOSTICS, "GetDiagnostics")):
            new = NewJob(kind, "https://127.0.0.1:9/x", "https://127.0.0.1:9/x", "test", timedelta(minutes=5))
            job = asyncio.create_task(started(tier, db, new))
            call = await charger.command(action)
            await charger.send([3, call[1], {"status": "Rejected"}])
            ended = await job
            assert (ended.state, ended.error) == (JobState.REJECTED, "the charger answered Rejected")

        keys = [{"key": "ResetRetries", "readonly": False, "value": "3"}]
        for answer, status, kept in (
            ({"configurationKey": keys}, CommandStatus.ACCEPTED, {"resetretries": "3"}),
            ({"status": "NotSupported"}, CommandStatus.REJECTED, {"resetretries": "3"}),
            ({"configurationKey": []}, CommandStatus.ACCEPTED, {}),
        ):
            reading = asyncio.create_task(run(tier, db, "GetConfiguration"))
            call = await charger.command("GetConfiguration")
            await charger.send([3, call[1], answer])
            assert (await reading).status is status
            assert await db.run(lambda conn: stations.configuration(conn, "station-1")) == kept
