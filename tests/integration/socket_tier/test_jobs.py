"""Logs and firmware against a real file server: command, transfer, and what the operator then sees."""

from datetime import UTC, datetime, timedelta
from typing import Any

from evpower.commands import service
from evpower.commands.models import Command, CommandStatus, NewCommand
from evpower.db import Conn, PooledDatabase
from infra.local.simulator import ChargePoint
from socket_tier.tier import SocketTier
from tests.fakes.file_server import FileServer
from tests.fakes.network import Network
from tests.fakes.stations import until


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
