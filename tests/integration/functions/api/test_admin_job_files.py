"""The files that chargers upload: which are given out, and what is said of the others."""

from evpower.jobs.models import JobKind
from tests.integration.functions.api.conftest import Api
from tests.integration.functions.api.staff_world import FIRST
from tests.integration.functions.api.test_admin_jobs import PATH, answer, begin, job, passes, report, staff, store

__all__ = ["staff"]


async def no_file(api: Api, job_id: str) -> str:
    path = f"{PATH}/jobs/{job_id}/file"
    reason: str = (await api.fails("GET", path, status=404, code="not_found", client=FIRST))["reason"]
    return reason


async def test_the_file_of_a_cancelled_job_is_never_given_out(staff: Api) -> None:
    """The charger still has its link: it may upload what nobody wants any more."""
    taken_back = await begin(staff, {"type": "SecurityLog"})
    await staff.ok("DELETE", f"{PATH}/commands/{taken_back['command_id']}", client=FIRST)
    passes(staff, seconds=1)
    stopped = await begin(staff, {"type": "SecurityLog"})
    await answer(staff, stopped, {"status": "Accepted"})
    await report(staff, JobKind.LOG, "Uploading", request_id=stopped["request_id"])
    passes(staff, seconds=1)
    newer = await begin(staff, {"type": "SecurityLog"})
    await answer(staff, newer, {"status": "AcceptedCanceled"})
    for begun in (taken_back, stopped, newer):
        store(staff).put(f"logs/{begun['id']}/SecurityLog.log", 12)
    for cancelled in (taken_back, stopped):
        found = await job(staff, cancelled["id"])
        assert (found["state"], found["file_ready"]) == ("cancelled", False)
        assert "was cancelled" in await no_file(staff, cancelled["id"])
    await staff.ok("GET", f"{PATH}/jobs/{newer['id']}/file", client=FIRST)


async def test_what_a_silent_charger_has_uploaded_is_given_out(staff: Api) -> None:
    begun = await begin(staff, {"type": "diagnostics", "expires_in_s": 60})
    await answer(staff, begun, {"fileName": "a.log"})
    assert "uploaded nothing" in await no_file(staff, begun["id"])
    store(staff).put(f"logs/{begun['id']}/diagnostics.log", 12)
    passes(staff, seconds=61)
    assert (await job(staff, begun["id"]))["state"] == "expired"
    await staff.ok("GET", f"{PATH}/jobs/{begun['id']}/file", client=FIRST)


async def test_a_job_without_a_file_of_ours_says_why(staff: Api) -> None:
    elsewhere = await begin(staff, {"type": "diagnostics", "location": "ftp://files.example/in"})
    assert "location of its own" in await no_file(staff, elsewhere["id"])
    update = await begin(staff, {"location": "https://files.example/x"}, "firmware-jobs")
    assert "firmware update" in await no_file(staff, update["id"])
