"""What a charger reports of itself is answered and kept for operators (ocpp.md §3)."""

from contextlib import suppress
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from evpower.db import Conn, PooledDatabase
from socket_tier.contested import DISPLACED
from socket_tier.ocpp16.routes import ROUTES
from socket_tier.tier import SocketTier
from tests.fakes.network import Network
from tests.fakes.raw_charger import RawCharger
from tests.fakes.stations import until
from tests.integration.socket_tier.conftest import url

SECURITY = {"timestamp": "2026-01-15T12:00:00+06:00", "techInfo": "lid\x00 open"}


async def events(db: PooledDatabase, kind: str) -> list[dict[str, Any]]:
    async def work(conn: Conn) -> list[dict[str, Any]]:
        cursor = await conn.execute(
            """SELECT station_id, severity, payload, charger_at, received_at
                 FROM station_events WHERE type = %s ORDER BY id""",
            (kind,),
        )
        return await cursor.fetchall()

    return await db.run(work)


@pytest.mark.parametrize(
    ("action", "payload", "kind", "severity"),
    [
        ("DiagnosticsStatusNotification", {"status": "Uploading"}, "diagnostics_status", "info"),
        ("DiagnosticsStatusNotification", {"status": "UploadFailed"}, "diagnostics_status", "warning"),
        ("FirmwareStatusNotification", {"status": "Downloading"}, "firmware_status", "info"),
        ("FirmwareStatusNotification", {"status": "DownloadFailed"}, "firmware_status", "warning"),
        ("FirmwareStatusNotification", {"status": "InstallationFailed"}, "firmware_status", "error"),
        ("LogStatusNotification", {"status": "Uploaded", "requestId": 7}, "log_status", "info"),
        ("LogStatusNotification", {"status": "PermissionDenied"}, "log_status", "warning"),
        ("SignedFirmwareStatusNotification", {"status": "SignatureVerified", "requestId": 7}, "signed_firmware_status",
         "info"),
        ("SignedFirmwareStatusNotification", {"status": "InvalidSignature"}, "signed_firmware_status", "error"),
    ],
)  # fmt: skip
async def test_a_report_is_answered_and_kept(
    tier: SocketTier,
    db: PooledDatabase,
    network: Network,
    action: str,
    payload: dict[str, Any],
    kind: str,
    severity: str,
) -> None:
    async with RawCharger.open(url(tier)) as charger:
        assert await charger.call(action, **payload) == {}
    (event,) = await events(db, kind)
    assert (event["station_id"], event["severity"], event["payload"]) == ("station-1", severity, payload)


@pytest.mark.parametrize(
    ("word", "severity"),
    [
        ("StartupOfTheDevice", "info"),
        ("FailedToAuthenticateAtCentralSystem", "warning"),
        ("TamperDetectionActivated", "error"),
        ("VendorsOwnEvent" + "!" * 50, "warning"),  # longer than the 50 characters of the schema
    ],
)
async def test_a_security_event_keeps_both_times_and_its_weight(
    tier: SocketTier, db: PooledDatabase, network: Network, word: str, severity: str
) -> None:
    async with RawCharger.open(url(tier)) as charger:
        assert await charger.call("SecurityEventNotification", type=word, **SECURITY) == {}
    (event,) = await events(db, "security")
    assert (event["severity"], event["payload"]["type"]) == (severity, word)
    assert event["payload"]["techInfo"] == "lid open"  # PostgreSQL stores no NUL
    assert event["payload"]["critical"] is (word in ("StartupOfTheDevice", "TamperDetectionActivated"))
    assert event["charger_at"].isoformat() == "2026-01-15T06:00:00+00:00"
    assert event["received_at"] > event["charger_at"]


async def test_a_report_without_its_status_is_refused_and_not_kept(
    tier: SocketTier, db: PooledDatabase, network: Network
) -> None:
    async with RawCharger.open(url(tier)) as charger:
        for action in ("FirmwareStatusNotification", "LogStatusNotification", "SecurityEventNotification"):
            await charger.send([2, action, action, {}])
            assert (await charger.answer())[:3] == [4, action, "OccurenceConstraintViolation"]
        await charger.send([2, "a", "FirmwareStatusNotification", {"status": "Melting"}])
        assert (await charger.answer())[:3] == [4, "a", "PropertyConstraintViolation"]
    assert await events(db, "firmware_status") + await events(db, "security") == []


def test_the_actions_of_a_charge_point_have_routes() -> None:
    from_chargers = {
        "Authorize", "BootNotification", "DataTransfer", "DiagnosticsStatusNotification", "FirmwareStatusNotification",
        "Heartbeat", "LogStatusNotification", "MeterValues", "SecurityEventNotification",
        "SignCertificate", "SignedFirmwareStatusNotification", "StartTransaction", "StatusNotification",
        "StopTransaction",
    }  # fmt: skip
    assert from_chargers <= set(ROUTES)


async def test_operators_hear_of_two_chargers_with_one_id(
    tier: SocketTier, db: PooledDatabase, network: Network
) -> None:
    """Each new socket ends the other's: neither works, and both look online."""

    async def contested() -> list[dict[str, Any]]:
        return await events(db, "connection_contested")

    with suppress(InvalidStatus):  # from the fifth displacement on newcomers have to wait
        for _ in range(2 * DISPLACED):
            async with RawCharger.open(url(tier)) as first, RawCharger.open(url(tier)):
                assert (await first.closed())[0] == 4001

    async def told() -> bool:
        return bool(await contested())

    await until(told, "the event")
    [event] = await contested()  # once, however often
    assert (event["station_id"], event["severity"]) == ("station-1", "warning")
    assert event["payload"] == {"replaced": 5, "within_s": 60}
