"""Commands beyond the core: lists, reservations, profiles, jobs, certificates."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from infra.local.simulator import ChargePoint
from infra.local.simulator.commands import COMMANDS
from infra.local.simulator.profiles import Profiles
from infra.local.simulator.schema import SERVER_ACTIONS
from tests.fakes.certificates import Authority
from tests.fakes.file_server import FileServer
from tests.fakes.firmware import Maker
from tests.fakes.ocpp16_commands import CASES, CERTIFICATE

from .conftest import Central

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


@pytest.fixture
async def point(central: Central) -> AsyncIterator[ChargePoint]:
    async with ChargePoint(central.url, "CP-1", time_scale=3600.0, sample_interval_s=0.05) as point:
        await point.wait_online()
        yield point


@pytest.fixture
def store() -> Iterator[FileServer]:
    with FileServer().running() as server:
        yield server


@pytest.fixture
def root_pem(tmp_path: Path) -> str:
    return Authority.create(tmp_path / "ca", "Test root").file.read_text()


async def word(central: Central, action: str, **payload: Any) -> str:
    answer = await central.call(action, payload)
    assert answer[0] == 3, answer
    return str(answer[2]["status"])


async def test_every_command_of_the_specification_is_answered(central: Central, point: ChargePoint) -> None:
    assert set(COMMANDS) == SERVER_ACTIONS == set(CASES)
    for action in sorted(SERVER_ACTIONS - {"Reset"}):  # answers are checked against their schemas on the way out
        assert (await central.call(action, CASES[action].request))[0] == 3, action


async def test_the_local_list_follows_its_versions_and_counts_offline(central: Central, point: ChargePoint) -> None:
    blocked = {"idTag": "Bad", "idTagInfo": {"status": "Blocked"}}
    assert await word(central, "SendLocalList", listVersion=0, updateType="Full") == "Failed"
    full = {"listVersion": 3, "updateType": "Full", "localAuthorizationList": [blocked]}
    assert await word(central, "SendLocalList", **full) == "Accepted"
    assert await word(central, "SendLocalList", listVersion=3, updateType="Differential") == "VersionMismatch"
    assert (await central.call("GetLocalListVersion", {}))[2] == {"listVersion": 3}
    point.go_offline()
    await point.wait_for(lambda: not point.link.is_online)
    assert await point.start_with_tag(1, "bad") is None
    assert await point.start_with_tag(1, "good") is not None
    point.go_online()
    await point.wait_online()
    gone = {"listVersion": 4, "updateType": "Differential", "localAuthorizationList": [{"idTag": "BAD"}]}
    assert await word(central, "SendLocalList", **gone) == "Accepted"
    assert not point.local_list.refuses("Bad")


async def test_a_reservation_keeps_a_connector_for_its_tag(central: Central, point: ChargePoint) -> None:
    def wish(number: int, connector: int = 1, seconds: float = 60) -> dict[str, Any]:
        expiry = (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()
        return {"connectorId": connector, "expiryDate": expiry, "idTag": "MINE", "reservationId": number}

    assert await word(central, "ReserveNow", **wish(1, connector=0)) == "Rejected"
    assert await word(central, "ReserveNow", **wish(1, seconds=-1)) == "Rejected"
    assert await word(central, "ReserveNow", **wish(1)) == "Accepted"
    await point.wait_for(lambda: central.of("StatusNotification")[-1]["status"] == "Reserved")
    assert await word(central, "ReserveNow", **wish(2)) == "Occupied"
    assert await word(central, "ReserveNow", **wish(1)) == "Accepted"  # the same again replaces it
    assert await word(central, "RemoteStartTransaction", connectorId=1, idTag="OTHER") == "Rejected"
    assert await word(central, "RemoteStartTransaction", connectorId=1, idTag="mine") == "Accepted"
    await point.wait_for(lambda: central.of("StartTransaction"))
    assert central.of("StartTransaction")[0]["reservationId"] == 1
    assert await word(central, "CancelReservation", reservationId=1) == "Rejected"  # used up
    assert await word(central, "ReserveNow", **wish(3)) == "Occupied"
    assert await word(central, "ReserveNow", **wish(4, connector=2, seconds=0.2)) == "Accepted"
    await point.wait_for(lambda: point.outlets[2].reservation is None)  # it has run out
    assert await word(central, "ReserveNow", **wish(5, connector=2)) == "Accepted"
    assert await word(central, "CancelReservation", reservationId=5) == "Accepted"
    assert point.outlets[2].status == "Available"


def profile(number: int, limit: float, purpose: str = "TxDefaultProfile", **schedule: Any) -> dict[str, Any]:
    periods = [{"startPeriod": 0, "limit": limit}]
    return {
        "chargingProfileId": number,
        "stackLevel": schedule.pop("level", 0),
        "chargingProfilePurpose": purpose,
        "chargingProfileKind": "Relative",
        "chargingSchedule": {"chargingRateUnit": "W", "chargingSchedulePeriod": periods, **schedule},
    }


def test_profiles_lie_over_each_other_and_the_lowest_limit_counts() -> None:
    def limits(connector: int, unit: str = "W") -> list[tuple[int, float]]:
        found = profiles.composite(connector, NOON, 3600, unit, {1: 22_000, 2: 22_000})["chargingSchedulePeriod"]
        return [(period["startPeriod"], period["limit"]) for period in found]

    profiles = Profiles()
    assert limits(1) == [(0, 22_000)]
    assert profiles.put(0, profile(1, 10_000), charging=False) == "Accepted"
    assert profiles.put(1, profile(2, 6_900, level=3, duration=600), charging=False) == "Accepted"
    assert limits(1) == [(0, 6_900), (600, 10_000)]
    assert limits(2) == [(0, 10_000)]
    assert limits(1, "A") == [(0, 10), (600, 14.5)]
    assert profiles.put(0, profile(3, 8_000, "ChargePointMaxProfile"), charging=False) == "Accepted"
    assert limits(1) == [(0, 6_900), (600, 8_000)]
    assert profiles.put(1, profile(4, 1_000, "TxProfile"), charging=False) == "Rejected"
    assert profiles.put(1, profile(4, 1_000, "TxProfile"), charging=True) == "Accepted"
    assert limits(1) == [(0, 1_000)]
    profiles.end_transaction(1)
    assert profiles.clear({"chargingProfilePurpose": "ChargePointMaxProfile", "connectorId": 0}) == "Accepted"
    assert profiles.clear({"id": 3}) == "Unknown"
    assert limits(1) == [(0, 6_900), (600, 10_000)]
    assert profiles.put(1, profile(5, 1, "ChargePointMaxProfile"), charging=False) == "Rejected"
    assert profiles.put(1, profile(5, 1, level=9), charging=False) == "Rejected"
    assert profiles.clear({}) == "Accepted"
    assert limits(1) == [(0, 22_000)]


def test_a_daily_profile_counts_from_its_own_start() -> None:
    nightly = profile(1, 3_000, duration=3600, startSchedule="2026-05-01T12:30:00Z")
    nightly |= {"chargingProfileKind": "Recurring", "recurrencyKind": "Daily"}
    profiles = Profiles()
    profiles.put(1, nightly, charging=False)
    later = NOON + timedelta(minutes=45)  # 15 minutes into it, on another day
    found = profiles.composite(1, later, 7200, "W", {1: 22_000})["chargingSchedulePeriod"]
    assert found == [{"startPeriod": 0, "limit": 3000.0}, {"startPeriod": 2700, "limit": 22000.0}]


async def test_firmware_is_downloaded_and_told_step_by_step(
    central: Central, point: ChargePoint, store: FileServer
) -> None:
    store.files["/firmware.bin"] = b"\x7fnew"
    when = "2026-06-01T10:00:00Z"

    def told() -> list[str]:
        return [payload["status"] for payload in central.of("FirmwareStatusNotification")]

    answer = await central.call("UpdateFirmware", {"location": f"{store.url}/firmware.bin", "retrieveDate": when})
    assert answer[2] == {}
    await point.wait_for(lambda: told()[-1:] == ["Installed"])
    assert told() == ["Downloading", "Downloaded", "Installing", "Installed"]
    assert point.jobs.firmware == b"\x7fnew"
    await central.call("UpdateFirmware", {"location": f"{store.url}/nothing", "retrieveDate": when})
    await point.wait_for(lambda: told()[-1:] == ["DownloadFailed"])
    # Tried again until it is there.
    missing = {"location": f"{store.url}/late", "retrieveDate": when, "retries": 100, "retryInterval": 0}
    await central.call("UpdateFirmware", missing)
    await point.wait_for(lambda: told()[-1:] == ["Downloading"])
    store.files["/late"] = b"late"
    await point.wait_for(lambda: point.jobs.firmware == b"late" and told()[-1:] == ["Installed"])


@pytest.mark.parametrize("kind", ["rsa", "ec"])
async def test_signed_firmware_is_installed_only_with_its_signature(
    central: Central, point: ChargePoint, store: FileServer, kind: str
) -> None:
    maker, image = Maker.create(kind), b"signed image"
    firmware = {
        "location": f"{store.url}/image",
        "retrieveDateTime": "2026-06-01T10:00:00Z",
        "signingCertificate": maker.certificate,
        "signature": maker.sign(image),
    }

    def told() -> list[str]:
        return [payload["status"] for payload in central.of("SignedFirmwareStatusNotification")]

    store.files["/image"] = image + b" changed on its way"
    assert await word(central, "SignedUpdateFirmware", requestId=1, firmware=firmware) == "Accepted"
    await point.wait_for(lambda: told() == ["Downloading", "Downloaded", "InvalidSignature"])
    assert point.jobs.firmware is None
    store.files["/image"] = image
    assert await word(central, "SignedUpdateFirmware", requestId=2, firmware=firmware) == "Accepted"
    steps = ["Downloading", "Downloaded", "SignatureVerified", "Installing", "Installed"]
    await point.wait_for(lambda: told()[3:] == steps)
    assert point.jobs.firmware == image
    firmware = {**firmware, "signingCertificate": "no certificate"}
    assert await word(central, "SignedUpdateFirmware", requestId=3, firmware=firmware) == "InvalidCertificate"


async def test_logs_are_uploaded_and_told_step_by_step(central: Central, point: ChargePoint, store: FileServer) -> None:
    log = {"logType": "SecurityLog", "requestId": 9, "log": {"remoteLocation": f"{store.url}/logs/1?signature=x"}}
    answer = (await central.call("GetLog", log))[2]
    assert answer == {"status": "Accepted", "filename": "CP-1-SecurityLog.log"}
    await point.wait_for(lambda: len(central.of("LogStatusNotification")) == 2)
    told = [{"status": word, "requestId": 9} for word in ("Uploading", "Uploaded")]
    assert central.of("LogStatusNotification") == told
    assert store.files["/logs/1?signature=x"].startswith(b"CP-1-SecurityLog.log")
    assert await word(central, "ExtendedTriggerMessage", requestedMessage="LogStatusNotification") == "Accepted"
    await point.wait_for(lambda: central.of("LogStatusNotification")[2:] == told[1:])
    answer = (await central.call("GetDiagnostics", {"location": f"{store.url}/refused"}))[2]
    assert answer == {"fileName": "CP-1-diagnostics.log"}
    await point.wait_for(lambda: {"status": "UploadFailed"} in central.of("DiagnosticsStatusNotification"))
    assert await word(central, "GetLog", **{**log, "log": {"remoteLocation": "carrier-pigeon:1"}}) == "Rejected"


async def test_certificates_are_installed_listed_and_deleted(
    central: Central, point: ChargePoint, root_pem: str
) -> None:
    use = {"certificateType": "CentralSystemRootCertificate"}
    assert await word(central, "GetInstalledCertificateIds", **use) == "NotFound"
    assert await word(central, "InstallCertificate", certificate="no certificate", **use) == "Rejected"
    assert await word(central, "InstallCertificate", certificate=root_pem, **use) == "Accepted"
    assert await word(central, "InstallCertificate", certificate=root_pem, **use) == "Accepted"  # once is enough
    (found,) = (await central.call("GetInstalledCertificateIds", use))[2]["certificateHashData"]
    assert await word(central, "DeleteCertificate", certificateHashData=CERTIFICATE) == "NotFound"
    assert await word(central, "DeleteCertificate", certificateHashData=found) == "Accepted"
    assert await word(central, "GetInstalledCertificateIds", **use) == "NotFound"
    assert await word(central, "CertificateSigned", certificateChain="x") == "Rejected"
    assert await word(central, "CertificateSigned", certificateChain=root_pem) == "Accepted"
