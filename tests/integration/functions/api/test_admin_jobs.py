"""Firmware files, firmware updates and uploads of logs over REST, and what the charger's messages make of them."""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from evpower.clock import FrozenClock, iso_z
from evpower.commands import service as commands
from evpower.commands.models import Command, CommandStatus
from evpower.jobs import service as jobs
from evpower.jobs.models import JobKind
from tests.fakes.file_store import MemoryFileStore
from tests.fakes.ocpp16_commands import CASES, PEM
from tests.integration.functions.api import staff_world
from tests.integration.functions.api.conftest import STATION, Api
from tests.integration.functions.api.staff_world import FIRST, FIRST_OPERATOR, ROOT, SECOND

PATH = f"/api/v1/admin/stations/{STATION}"
FIRMWARE = "/api/v1/admin/firmware"
IMAGE = b"new firmware"
FILE = {"name": "Maker 1.2.3", "version": "1.2.3", "vendor": "Maker", "size_bytes": len(IMAGE)}
FILE |= {"sha256": hashlib.sha256(IMAGE).hexdigest()}
SIGNED = {**FILE, "signature": "c2ln", "signing_certificate": PEM}


@pytest.fixture
async def staff(api: Api) -> Api:
    await staff_world.build(api)
    api.deps.files = MemoryFileStore(api.deps.clock)
    return api


def store(api: Api) -> MemoryFileStore:
    assert isinstance(api.deps.files, MemoryFileStore)
    return api.deps.files


async def command_of(api: Api, job: dict[str, Any]) -> Command:
    async with api.db.transaction() as conn:
        command = await commands.get(conn, job["command_id"])
    assert command is not None
    return command


async def answer(
    api: Api, job: dict[str, Any], response: dict[str, Any], outcome: CommandStatus = CommandStatus.ACCEPTED
) -> None:
    """The charger answers the job's command, as the socket tier records it."""
    now = api.deps.clock.now()
    async with api.db.transaction() as conn:
        command = await commands.claim(conn, job["command_id"], api.epoch, "test-instance", now)
        assert command is not None
        await jobs.command_ended(conn, command, outcome, response)
        assert await commands.finish(conn, command, outcome, now, response=response)


async def report(api: Api, kind: JobKind, *words: str, request_id: int | None = None) -> None:
    for word in words:
        async with api.db.transaction() as conn:
            await jobs.progress(conn, STATION, kind, word, request_id, api.deps.clock.now())


async def job(api: Api, job_id: str, by: str = FIRST_OPERATOR) -> dict[str, Any]:
    found: dict[str, Any] = (await api.ok("GET", f"{PATH}/jobs/{job_id}", client=by))["data"]
    return found


async def begin(
    api: Api, body: dict[str, Any], route: str = "log-jobs", by: str = FIRST, **headers: str
) -> dict[str, Any]:
    found: dict[str, Any] = (await api.ok("POST", f"{PATH}/{route}", body, client=by, headers=headers))["data"]
    return found


async def stored_firmware(api: Api, body: dict[str, Any] = FILE, by: str = FIRST) -> str:
    file = (await api.ok("POST", FIRMWARE, body, client=by))["data"]
    store(api).put(f"firmware/{file['id']}", len(IMAGE), FILE["sha256"])
    await api.ok("POST", f"{FIRMWARE}/{file['id']}/confirm", client=by)
    found: str = file["id"]
    return found


def passes(api: Api, **duration: float) -> None:
    assert isinstance(api.deps.clock, FrozenClock)
    api.deps.clock.advance(timedelta(**duration))


# --- Firmware files -----------------------------------------------------------------------------------------------


async def test_a_file_is_announced_uploaded_and_confirmed(staff: Api) -> None:
    file = (await staff.ok("POST", FIRMWARE, FILE, client=FIRST))["data"]
    assert (file["state"], file["is_signed"], file["upload"]["method"]) == ("announced", False, "PUT")
    assert file["upload"]["headers"] == {"Content-Length": str(len(IMAGE))}
    one = f"{FIRMWARE}/{file['id']}"
    key = f"firmware/{file['id']}"
    for wrong in (None, (len(IMAGE) + 1, None), (len(IMAGE), "0" * 64)):
        if wrong is not None:
            store(staff).put(key, *wrong)
        await staff.fails("POST", f"{one}/confirm", status=409, code="state_conflict", client=FIRST)
    store(staff).put(key, len(IMAGE), FILE["sha256"])
    confirmed = (await staff.ok("POST", f"{one}/confirm", client=FIRST))["data"]
    assert (confirmed["state"], "upload" in confirmed) == ("stored", False)
    assert (await staff.ok("GET", one, client=FIRST))["data"] == confirmed


async def test_files_belong_to_their_owner(staff: Api) -> None:
    mine = await stored_firmware(staff)
    shared = await stored_firmware(staff, by=ROOT)

    async def seen(by: str) -> set[str]:
        return {file["id"] for file in (await staff.ok("GET", FIRMWARE, client=by))["data"]["files"]}

    assert (await seen(FIRST), await seen(SECOND), await seen(ROOT)) == ({mine, shared}, {shared}, {mine, shared})
    for method, path in (("GET", ""), ("POST", "/confirm"), ("DELETE", "")):
        await staff.fails(method, f"{FIRMWARE}/{mine}{path}", status=404, code="not_found", client=SECOND)
        await staff.fails(method, f"{FIRMWARE}/{mine}{path}", status=403, code="forbidden", client=FIRST_OPERATOR)
    for method, path in (("POST", "/confirm"), ("DELETE", "")):
        await staff.fails(method, f"{FIRMWARE}/{shared}{path}", status=403, code="forbidden", client=FIRST)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"size_bytes": 0}, "size_bytes"),
        ({"size_bytes": 600 * 1024 * 1024}, "size_bytes"),
        ({"sha256": "xyz"}, "sha256"),
        ({"name": ""}, "name"),
        ({"signature": "c2ln"}, "body"),
        ({"signature": "no base64!", "signing_certificate": PEM}, "signature"),
        ({"signature": "c2ln", "signing_certificate": "none"}, "signing_certificate"),
    ],
)
async def test_a_wrong_announcement_is_refused(staff: Api, change: dict[str, Any], field: str) -> None:
    found = await staff.fails("POST", FIRMWARE, {**FILE, **change}, status=422, code="validation_error", client=FIRST)
    assert found["field"] == field


async def test_a_file_in_use_is_not_retired(staff: Api) -> None:
    file = await stored_firmware(staff)
    begun = await begin(staff, {"firmware_id": file}, "firmware-jobs")
    await staff.fails("DELETE", f"{FIRMWARE}/{file}", status=409, code="state_conflict", client=FIRST)
    await answer(staff, begun, {})
    await report(staff, JobKind.FIRMWARE, "Downloading", "Downloaded", "Installing", "Installed")
    retired = (await staff.ok("DELETE", f"{FIRMWARE}/{file}", client=FIRST))["data"]
    assert (retired["state"], store(staff).deleted) == ("retired", [f"firmware/{file}"])
    refused = await staff.fails(
        "POST", f"{PATH}/firmware-jobs", {"firmware_id": file}, status=409, code="state_conflict", client=FIRST
    )
    assert refused["reason"] == "the file was retired: announce it anew"
    await staff.fails("POST", f"{FIRMWARE}/{file}/confirm", status=409, code="state_conflict", client=FIRST)


# --- Firmware jobs ------------------------------------------------------------------------------------------------


async def test_an_update_of_the_core_profile_from_request_to_installed(staff: Api) -> None:
    file = await stored_firmware(staff)
    begun = await begin(staff, {"firmware_id": file, "retries": 2, "retry_interval_s": 60}, "firmware-jobs")
    assert (begun["kind"], begun["state"], begun["request_id"]) == ("firmware", "requested", None)
    assert begun["location"] == f"https://files.example/firmware/{file}"  # without the signature
    command = await command_of(staff, begun)
    assert command.action == "UpdateFirmware"
    assert command.payload["location"].startswith(f"https://files.example/firmware/{file}?X-Amz-Signature=")
    assert (command.payload["retries"], command.payload["retryInterval"]) == (2, 60)
    assert [sent.id for sent in staff.queue.sent] == [command.id]
    await answer(staff, begun, {})
    assert (await job(staff, begun["id"]))["state"] == "accepted"
    await report(staff, JobKind.FIRMWARE, "Downloading", "DownloadFailed")
    failed = await job(staff, begun["id"])
    assert (failed["state"], failed["error"]) == ("failed", "the charger reported DownloadFailed")
    # The charger tries again by itself.
    await report(staff, JobKind.FIRMWARE, "Downloading", "Downloading", "Downloaded", "Installing", "Installed", "Idle")
    done = await job(staff, begun["id"])
    assert (done["state"], done["error"], done["charger_status"]) == ("succeeded", None, "Installed")
    words = ["Downloading", "DownloadFailed", "Downloading", "Downloaded", "Installing", "Installed"]
    assert [step["status"] for step in done["steps"]] == words
    assert done["finished_at"] is not None


async def test_a_signed_update_is_found_by_its_number(staff: Api) -> None:
    file = await stored_firmware(staff, SIGNED)
    older = await begin(staff, {"firmware_id": file, "signed": True}, "firmware-jobs")
    newer = await begin(staff, {"firmware_id": file, "signed": True}, "firmware-jobs")
    command = await command_of(staff, older)
    assert command.payload["requestId"] == older["request_id"] != newer["request_id"]
    firmware = command.payload["firmware"]
    assert (firmware["signature"], firmware["signingCertificate"]) == ("c2ln", PEM)
    await answer(staff, older, {"status": "Accepted"})
    await report(staff, JobKind.SIGNED_FIRMWARE, "Downloading", "InvalidSignature", request_id=older["request_id"])
    assert (await job(staff, older["id"]))["state"] == "failed"
    assert (await job(staff, newer["id"]))["state"] == "requested"
    await answer(staff, newer, {"status": "InvalidCertificate"}, CommandStatus.REJECTED)
    rejected = await job(staff, newer["id"])
    assert (rejected["state"], rejected["error"]) == ("rejected", "the charger answered InvalidCertificate")
    await report(staff, JobKind.SIGNED_FIRMWARE, "Installed", request_id=2**40)  # a number that nobody gave
    assert (await job(staff, newer["id"]))["state"] == "rejected"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"firmware_id": "x", "location": "https://files.example/x"},
        {"location": "https://files.example/x", "signed": True},
        {"location": "no link"},
        {"location": "https://files.example/" + "x" * 500},
        {"location": "https://files.example/x", "expires_in_s": 8 * 86400},
        {"location": "https://files.example/x", "install_at": "2026-01-15T07:00:00Z"},  # a plain update has none
    ],
)
async def test_a_wrong_update_is_refused(staff: Api, body: dict[str, Any]) -> None:
    await staff.fails("POST", f"{PATH}/firmware-jobs", body, status=422, code="validation_error", client=FIRST)
    assert await staff.sql("SELECT 1 FROM station_commands") == []


@pytest.mark.parametrize("name", ["retrieve_at", "install_at"])
async def test_an_update_that_would_be_given_up_before_it_begins_is_refused(staff: Api, name: str) -> None:
    file = await stored_firmware(staff, SIGNED)
    late = iso_z(staff.deps.clock.now() + timedelta(days=2))
    body = {"firmware_id": file, "signed": True, name: late}
    found = await staff.fails("POST", f"{PATH}/firmware-jobs", body, status=422, code="validation_error", client=FIRST)
    assert (found["field"], "expires_in_s" in found["reason"]) == (name, True)
    begun = await begin(staff, {**body, "expires_in_s": 3 * 86400}, "firmware-jobs")
    assert late in str((await command_of(staff, begun)).payload)


async def test_an_update_needs_a_manager_and_a_file_that_is_there(staff: Api) -> None:
    body = {"location": "ftp://user:pass@files.example/firmware.bin"}
    route = f"{PATH}/firmware-jobs"
    await staff.fails("POST", route, body, status=403, code="forbidden", client=FIRST_OPERATOR)
    await staff.fails("POST", route, body, status=404, code="station_not_found", client=SECOND)
    await staff.fails("POST", route, {"firmware_id": "none"}, status=404, code="not_found", client=FIRST)
    announced = (await staff.ok("POST", FIRMWARE, FILE, client=FIRST))["data"]["id"]
    await staff.fails("POST", route, {"firmware_id": announced}, status=409, code="state_conflict", client=FIRST)
    plain = await stored_firmware(staff)
    found = await staff.fails(
        "POST", route, {"firmware_id": plain, "signed": True}, status=422, code="validation_error", client=FIRST
    )
    assert found["field"] == "signed"
    begun = await begin(staff, body, "firmware-jobs")
    assert begun["location"] == "ftp://files.example/firmware.bin"
    (row,) = await staff.sql("SELECT details FROM audit_logs WHERE operation = 'admin.job' AND status = 200")
    assert "pass" not in str(row["details"])


# --- Log jobs -----------------------------------------------------------------------------------------------------


async def test_diagnostics_are_uploaded_and_fetched(staff: Api) -> None:
    begun = await begin(staff, {"type": "diagnostics", "oldest": "2026-01-15T06:00:00+06:00"}, by=FIRST_OPERATOR)
    command = await command_of(staff, begun)
    assert command.payload["startTime"] == "2026-01-15T00:00:00.000Z"
    await answer(staff, begun, {"fileName": "../../evil \r\n.log"})
    await staff.fails("GET", f"{PATH}/jobs/{begun['id']}/file", status=404, code="not_found", client=FIRST)
    await report(staff, JobKind.DIAGNOSTICS, "Uploading", "Uploaded")
    store(staff).put(f"logs/{begun['id']}/diagnostics.log", 12)
    done = await job(staff, begun["id"])
    assert (done["state"], done["file_ready"]) == ("succeeded", True)
    file = (await staff.ok("GET", f"{PATH}/jobs/{begun['id']}/file", client=FIRST_OPERATOR))["data"]
    assert (file["file_name"], file["size_bytes"], file["link"]["method"]) == ("evil.log", 12, "GET")
    await staff.fails("GET", f"{PATH}/jobs/{begun['id']}/file", status=404, code="station_not_found", client=SECOND)


async def test_no_file_name_means_no_diagnostics(staff: Api) -> None:
    begun = await begin(staff, {"type": "diagnostics"})
    await answer(staff, begun, {})
    found = await job(staff, begun["id"])
    assert (found["state"], found["error"]) == ("failed", "the charger has no diagnostics")


async def test_a_newer_log_takes_the_place_of_one_that_runs(staff: Api) -> None:
    first = await begin(staff, {"type": "SecurityLog"})
    await answer(staff, first, {"status": "Accepted", "filename": "a.log"})
    await report(staff, JobKind.LOG, "Uploading", request_id=first["request_id"])
    passes(staff, seconds=1)
    second = await begin(staff, {"type": "DiagnosticsLog"})
    await answer(staff, second, {"status": "AcceptedCanceled", "filename": "b.log"})
    assert (await job(staff, first["id"]))["state"] == "cancelled"
    await report(staff, JobKind.LOG, "Uploading", "Uploaded", request_id=second["request_id"])
    assert (await job(staff, second["id"]))["state"] == "succeeded"


async def test_steps_may_come_before_the_answer(staff: Api) -> None:
    begun = await begin(staff, {"type": "SecurityLog"})
    await report(staff, JobKind.LOG, "Uploading", request_id=begun["request_id"])
    await answer(staff, begun, {"status": "Accepted", "filename": "a.log"})
    found = await job(staff, begun["id"])
    assert (found["state"], found["file_name"]) == ("running", "a.log")


async def test_what_never_got_an_answer_is_read_from_the_command(staff: Api) -> None:
    begun = await begin(staff, {"type": "SecurityLog"})
    await staff.ok("DELETE", f"{PATH}/commands/{begun['command_id']}", client=FIRST)
    assert (await job(staff, begun["id"]))["state"] == "cancelled"
    begun = await begin(staff, {"type": "SecurityLog"})
    await answer(staff, begun, {}, CommandStatus.FAILED)
    assert (await job(staff, begun["id"]))["state"] == "failed"
    listed = (await staff.ok("GET", f"{PATH}/jobs?is_open=true", client=FIRST))["data"]["jobs"]
    assert listed == []
    # The charger did it all the same.
    await report(staff, JobKind.LOG, "Uploading", "Uploaded", request_id=begun["request_id"])
    assert (await job(staff, begun["id"]))["state"] == "succeeded"


async def test_a_job_without_an_end_expires_once(staff: Api) -> None:
    begun = await begin(staff, {"type": "SecurityLog", "expires_in_s": 60})
    await answer(staff, begun, {"status": "Accepted"})
    passes(staff, seconds=61)
    seen = await job(staff, begun["id"])
    assert (seen["state"], seen["finished_at"]) == ("expired", None)
    for closed in (1, 0):
        async with staff.db.transaction() as conn:
            assert await jobs.expire(conn, staff.deps.clock.now()) == closed
    seen = await job(staff, begun["id"])
    assert (seen["state"], seen["error"]) == ("expired", "the charger reported no end in time")
    assert seen["finished_at"] is not None
    (event,) = await staff.sql("SELECT payload FROM station_events WHERE type = 'job_expired'")
    assert event["payload"]["job_id"] == begun["id"]
    await report(staff, JobKind.LOG, "Uploaded", request_id=begun["request_id"])  # too late to count
    assert (await job(staff, begun["id"]))["state"] == "expired"


async def test_open_jobs_are_bounded(staff: Api) -> None:
    for _ in range(jobs.MAX_OPEN):
        await begin(staff, {"type": "SecurityLog"})
    await staff.fails(
        "POST", f"{PATH}/log-jobs", {"type": "diagnostics"}, status=409, code="state_conflict", client=FIRST
    )
    await begin(staff, {"location": "https://files.example/x"}, "firmware-jobs")  # counted apart
    passes(staff, hours=2)
    await begin(staff, {"type": "SecurityLog"})


async def test_a_repeated_request_begins_one_job(staff: Api) -> None:
    headers = {"Idempotency-Key": "once"}
    first = await begin(staff, {"type": "SecurityLog"}, **headers)
    await staff.deps.redis.run(lambda client: client.flushall())
    assert (await begin(staff, {"type": "SecurityLog"}, **headers))["id"] == first["id"]
    assert len(await staff.sql("SELECT 1 FROM station_commands")) == 1
    await staff.deps.redis.run(lambda client: client.flushall())
    await staff.fails(
        "POST", f"{PATH}/log-jobs", {"type": "diagnostics"}, status=409, code="invalid_request", client=FIRST,
        headers=headers,
    )  # fmt: skip


async def test_a_store_that_is_not_configured_is_told(staff: Api) -> None:
    from evpower.storage.store import S3FileStore

    staff.deps.files = S3FileStore(staff.deps.settings)
    found = await staff.fails(
        "POST", f"{PATH}/log-jobs", {"type": "SecurityLog"}, status=503, code="service_unavailable", client=FIRST
    )
    assert "reason" not in found  # faults of ours are in the log, not in answers
    await begin(staff, {"type": "SecurityLog", "location": "ftp://files.example/in"})


async def test_a_command_by_hand_is_a_job_too(staff: Api) -> None:
    sent = await staff.call("POST", f"{PATH}/commands", {"action": "GetLog", **CASES["GetLog"].request}, client=FIRST)
    command = sent.json()["data"]["command"]
    (found,) = (await staff.ok("GET", f"{PATH}/jobs", client=FIRST))["data"]["jobs"]
    assert (found["command_id"], found["request_id"], found["location"]) == (command["id"], 6, "https://127.0.0.1:9/up")
    await report(staff, JobKind.LOG, "Uploaded", request_id=6)
    done = await job(staff, found["id"])
    assert (done["state"], done["file_ready"]) == ("succeeded", False)


async def test_jobs_are_listed_newest_first_in_pages(staff: Api) -> None:
    ids = []
    for word in ("SecurityLog", "DiagnosticsLog", "diagnostics"):
        passes(staff, seconds=1)
        ids.append((await begin(staff, {"type": word}))["id"])
    first = (await staff.ok("GET", f"{PATH}/jobs?limit=2", client=FIRST_OPERATOR))["data"]
    second = (await staff.ok("GET", f"{PATH}/jobs?limit=2&cursor={first['next_cursor']}", client=FIRST))["data"]
    assert [item["id"] for page in (first, second) for item in page["jobs"]] == ids[::-1]
    assert second["next_cursor"] is None
    (only,) = (await staff.ok("GET", f"{PATH}/jobs?kind=diagnostics", client=FIRST))["data"]["jobs"]
    assert only["id"] == ids[2]
    assert datetime.fromisoformat(only["created_at"]) <= datetime.now(UTC) + timedelta(minutes=1)
