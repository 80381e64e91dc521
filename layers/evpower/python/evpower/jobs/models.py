"""Firmware files and the jobs of chargers. Sizes in bytes, times aware UTC."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Self

from evpower.commands.models import Command, CommandStatus


class JobKind(StrEnum):
    """What the charger does, and the command that begins it."""

    FIRMWARE = "firmware"  # UpdateFirmware
    SIGNED_FIRMWARE = "signed_firmware"  # SignedUpdateFirmware
    DIAGNOSTICS = "diagnostics"  # GetDiagnostics
    LOG = "log"  # GetLog

    @property
    def uploads(self) -> bool:
        """Whether the job brings a file."""
        return self in (JobKind.DIAGNOSTICS, JobKind.LOG)


FIRMWARE_KINDS = (JobKind.FIRMWARE, JobKind.SIGNED_FIRMWARE)
LOG_KINDS = (JobKind.DIAGNOSTICS, JobKind.LOG)
KIND_OF: Mapping[str, JobKind] = {
    "UpdateFirmware": JobKind.FIRMWARE,
    "SignedUpdateFirmware": JobKind.SIGNED_FIRMWARE,
    "GetDiagnostics": JobKind.DIAGNOSTICS,
    "GetLog": JobKind.LOG,
}


class JobState(StrEnum):
    """requested -> accepted -> running -> succeeded | failed; or rejected, cancelled, expired."""

    REQUESTED = "requested"  # the charger has not answered the command
    ACCEPTED = "accepted"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REJECTED = "rejected"  # the charger will not
    CANCELLED = "cancelled"  # taken back, or the charger does a newer one instead
    EXPIRED = "expired"  # no end was reported in time

    @property
    def is_open(self) -> bool:
        return self in OPEN_STATES


OPEN_STATES = (JobState.REQUESTED, JobState.ACCEPTED, JobState.RUNNING)

# What the charger's words mean. `Idle` answers a trigger and says nothing of a job; others are steps on the way.
_ENDS: Mapping[str, JobState] = {
    "Installed": JobState.SUCCEEDED,
    "Uploaded": JobState.SUCCEEDED,
    **dict.fromkeys(
        (
            "DownloadFailed",
            "InstallationFailed",
            "InstallVerificationFailed",
            "InvalidSignature",
            "UploadFailed",
            "UploadFailure",
            "BadMessage",
            "NotSupportedOperation",
            "PermissionDenied",
        ),
        JobState.FAILED,
    ),
    "AcceptedCanceled": JobState.CANCELLED,
}


def state_after(word: str) -> JobState | None:
    """State of a job whose charger reports ``word``; None when the word says nothing of it."""
    return None if word == "Idle" else _ENDS.get(word, JobState.RUNNING)


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job that an operator asks for. ``location`` is what the charger gets, ``shown_location`` what people see."""

    kind: JobKind
    location: str
    shown_location: str
    requested_by: str
    lifetime: timedelta
    object_key: str | None = None
    firmware: "FirmwareFile | None" = None
    signing_certificate: str | None = None
    signature: str | None = None
    log_type: str | None = None
    retries: int | None = None
    retry_interval_s: int | None = None
    retrieve_at: datetime | None = None
    install_at: datetime | None = None
    oldest: datetime | None = None
    latest: datetime | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A row of ``station_jobs`` with what its command's row tells. ``steps``: the charger's words with their times."""

    id: str
    station_id: str
    kind: JobKind
    state: JobState
    request_id: int | None
    command_id: str | None
    firmware_id: str | None
    location: str
    object_key: str | None
    file_name: str | None
    log_type: str | None
    charger_status: str | None
    steps: tuple[Mapping[str, Any], ...]
    error: str | None
    requested_by: str
    expires_at: datetime
    finished_at: datetime | None
    created_at: datetime
    updated_at: datetime
    command_status: CommandStatus | None = None
    command_error: str | None = None

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        values = {name: row[name] for name in cls.__slots__}
        status = values["command_status"]
        return cls(
            **{
                **values,
                "kind": JobKind(row["kind"]),
                "state": JobState(row["state"]),
                "steps": tuple(row["steps"]),
                "command_status": CommandStatus(status) if status else None,
            }
        )

    def seen(self, now: datetime) -> tuple[JobState, str | None]:
        """State and error as they are now: an end that nobody had to write down is read from the command and clock."""
        if self.state is JobState.REQUESTED and self.command_status is not None:
            found = _UNANSWERED.get(self.command_status)
            if found is not None:
                return found, self.command_error
        if self.state.is_open and self.expires_at <= now:
            return JobState.EXPIRED, NO_END
        return self.state, self.error


NO_END = "the charger reported no end in time"
# `timed_out` is not among them: the charger may do what it did not answer, and tell.
_UNANSWERED = {
    CommandStatus.FAILED: JobState.FAILED,
    CommandStatus.EXPIRED: JobState.EXPIRED,
    CommandStatus.CANCELLED: JobState.CANCELLED,
}


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs of a station are wanted. ``before`` (exclusive) is a row's place."""

    kinds: tuple[JobKind, ...] = tuple(JobKind)
    is_open: bool | None = None
    before: tuple[datetime, str] | None = None


@dataclass(frozen=True, slots=True)
class Started:
    """A job and its command, which the caller hands to the queue after the commit."""

    job: Job
    command: Command


class FirmwareState(StrEnum):
    """Column ``firmware_files.state``."""

    ANNOUNCED = "announced"  # known here, not in the store yet
    STORED = "stored"
    RETIRED = "retired"  # taken out of use; its file is gone


@dataclass(frozen=True, slots=True)
class NewFirmware:
    """A firmware file that an operator is about to upload. ``sha256`` is hex."""

    name: str
    version: str
    vendor: str | None
    model: str | None
    size_bytes: int
    sha256: str
    signature: str | None
    signing_certificate: str | None


@dataclass(frozen=True, slots=True)
class FirmwareFile:
    """A row of ``firmware_files``. Without an owner it is everybody's."""

    id: str
    owner_id: str | None
    name: str
    version: str
    vendor: str | None
    model: str | None
    object_key: str
    size_bytes: int
    sha256: str
    signature: str | None
    signing_certificate: str | None
    state: FirmwareState
    created_by: str
    stored_at: datetime | None
    created_at: datetime
    updated_at: datetime

    @property
    def is_signed(self) -> bool:
        return self.signature is not None and self.signing_certificate is not None

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        return cls(**{**{name: row[name] for name in cls.__slots__}, "state": FirmwareState(row["state"])})
