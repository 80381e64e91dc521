"""What the charger's words and a command's end mean for a job."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from evpower.clock import FrozenClock
from evpower.commands.models import CommandStatus
from evpower.jobs.models import KIND_OF, Job, JobKind, JobState, state_after
from socket_tier.schemas import SchemaSet

NOW = FrozenClock().now()
JOB = Job(
    id="j", station_id="s", kind=JobKind.LOG, state=JobState.REQUESTED, request_id=1, command_id="c", firmware_id=None,
    location="", object_key=None, file_name=None, log_type=None, charger_status=None, steps=(), error=None,
    requested_by="test", expires_at=NOW + timedelta(hours=1), finished_at=None, created_at=NOW, updated_at=NOW,
)  # fmt: skip
_ENDS = {
    "Installed": JobState.SUCCEEDED,
    "Uploaded": JobState.SUCCEEDED,
    "DownloadFailed": JobState.FAILED,
    "InstallationFailed": JobState.FAILED,
    "InstallVerificationFailed": JobState.FAILED,
    "InvalidSignature": JobState.FAILED,
    "UploadFailed": JobState.FAILED,
    "UploadFailure": JobState.FAILED,
    "BadMessage": JobState.FAILED,
    "NotSupportedOperation": JobState.FAILED,
    "PermissionDenied": JobState.FAILED,
    "Idle": None,
}


def words(action: str) -> list[str]:
    """The words of a status notification, from its schema."""
    schema: dict[str, Any] = json.loads((SchemaSet("v16")._files / f"{action}.json").read_text("utf-8-sig"))
    status = schema["properties"]["status"]
    if "$ref" in status:
        status = schema["definitions"][status["$ref"].rpartition("/")[2]]
    found: list[str] = status["enum"]
    return found


@pytest.mark.parametrize(
    "action",
    [
        "DiagnosticsStatusNotification",
        "FirmwareStatusNotification",
        "LogStatusNotification",
        "SignedFirmwareStatusNotification",
    ],
)
def test_every_word_of_the_specification_has_a_meaning(action: str) -> None:
    for word in words(action):
        assert state_after(word) is _ENDS.get(word, JobState.RUNNING), word


def test_every_command_that_begins_a_job_has_a_kind() -> None:
    assert set(KIND_OF.values()) == set(JobKind)


@pytest.mark.parametrize(
    ("command", "seen"),
    [
        (CommandStatus.QUEUED, JobState.REQUESTED),
        (CommandStatus.SENT, JobState.REQUESTED),
        (CommandStatus.TIMED_OUT, JobState.REQUESTED),  # it may do it all the same
        (CommandStatus.FAILED, JobState.FAILED),
        (CommandStatus.EXPIRED, JobState.EXPIRED),
        (CommandStatus.CANCELLED, JobState.CANCELLED),
    ],
)
def test_a_command_without_an_answer_tells_what_became_of_the_job(command: CommandStatus, seen: JobState) -> None:
    job = replace(JOB, command_status=command, command_error="why")
    assert job.seen(NOW)[0] is seen
    assert replace(job, state=JobState.RUNNING).seen(NOW)[0] is JobState.RUNNING  # the charger has spoken since


@pytest.mark.parametrize("state", list(JobState))
def test_only_open_jobs_expire(state: JobState) -> None:
    seen, _ = replace(JOB, state=state).seen(JOB.expires_at)
    assert seen is (JobState.EXPIRED if state.is_open else state)
