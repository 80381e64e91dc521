"""Rules of jobs: how one begins, what moves it on, when it has ended (OCPP 1.6 sections 4.4, 4.5, 5.9, 5.18;
security whitepaper edition 3, GetLog and SignedUpdateFirmware).

A job's command tells whether the charger took it; the charger's notifications tell how it goes. Messages of the
security extension name the job by its requestId; those of the core name none, so they mean the newest one.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from evpower.clock import iso_z
from evpower.commands import service as commands
from evpower.commands.models import Command, CommandStatus, NewCommand
from evpower.commands.shown import shown_link
from evpower.db import Conn
from evpower.errors import IdempotencyConflict, NotFound, ServiceUnavailable, StateConflict, ValidationFailed
from evpower.jobs import repository
from evpower.jobs.models import (
    FIRMWARE_KINDS,
    KIND_OF,
    LOG_KINDS,
    NO_END,
    Job,
    JobFilter,
    JobKind,
    JobState,
    NewJob,
    Started,
    state_after,
)

MAX_OPEN = 5
"""Open jobs of one station, firmware and logs each. A charger does one at a time; more are a mistake."""
LONGEST_LINK = 512
"""Characters of a location in GetLog and SignedUpdateFirmware (security whitepaper); the core sets no bound."""
UPLOAD_TAIL = timedelta(hours=1)
"""An upload that began just before its link ended may be on its way for this long."""
_ACTION = {kind: action for action, kind in KIND_OF.items()}
_NUMBERED = (JobKind.SIGNED_FIRMWARE, JobKind.LOG)
_FILE_NAME_MAX = 255


async def start(conn: Conn, station_id: str, job_id: str, new: NewJob, now: datetime) -> Started:
    """Begin a job and queue its command. The same id again gets the first one's job.

    Raises:
        StateConflict: enough of them are open.
        ValidationFailed: it would be given up before it begins.
        IdempotencyConflict: the id is another job's.
        ServiceUnavailable: our own link is too long for the message.
    """
    if found := await _again(conn, station_id, job_id, new.kind):
        return found
    family = _family(new.kind)
    if await repository.count_open(conn, station_id, family, now) >= MAX_OPEN:
        raise StateConflict(f"{MAX_OPEN} jobs of this station are open: wait for one, or take back its command")
    begins = max(filter(None, (new.retrieve_at, new.install_at)), default=now)
    if begins >= now + new.lifetime:
        name = "retrieve_at" if begins == new.retrieve_at else "install_at"
        raise ValidationFailed(f"the job would be given up before {name}: give it a larger expires_in_s", field=name)
    if new.kind in _NUMBERED and len(new.location) > LONGEST_LINK:
        raise ServiceUnavailable("the store's link is too long for this message: set FILES_ACCESS_KEY_ID")
    request_id = await repository.next_request_id(conn) if new.kind in _NUMBERED else None
    expires_at = now + new.lifetime
    command = await commands.enqueue(
        conn,
        NewCommand(station_id, _ACTION[new.kind], _payload(new, request_id, now), expires_at, new.requested_by),
        now,
    )
    job = await _insert(
        conn,
        job_id,
        command,
        now,
        kind=new.kind,
        request_id=request_id,
        location=new.shown_location,
        object_key=new.object_key,
        firmware_id=new.firmware.id if new.firmware else None,
        log_type=new.log_type,
    )
    return Started(job, command)


async def _again(conn: Conn, station_id: str, job_id: str, kind: JobKind) -> Started | None:
    job = await repository.job(conn, station_id, job_id)
    if job is None:
        return None
    command = await commands.get(conn, job.command_id) if job.command_id else None
    if command is None or job.kind is not kind:
        raise IdempotencyConflict("The Idempotency-Key was used for another job")
    return Started(job, command)


async def track(conn: Conn, command: Command, now: datetime) -> Job | None:
    """Make a job of a command that an operator wrote by hand, so that its notifications find it.

    None for commands that begin no job. A repeated request finds the job that is there.
    """
    kind = KIND_OF.get(command.action)
    if kind is None:
        return None
    if found := await repository.job(conn, command.station_id, command.id):
        return found
    payload = command.payload
    inner = payload.get("firmware") or payload.get("log") or payload
    return await _insert(
        conn,
        command.id,
        command,
        now,
        kind=kind,
        request_id=payload.get("requestId"),
        location=shown_link(str(inner.get("location") or inner.get("remoteLocation") or "")),
        log_type=payload.get("logType"),
    )


async def _insert(conn: Conn, job_id: str, command: Command, now: datetime, **values: Any) -> Job:
    row = {
        "id": job_id,
        "station_id": command.station_id,
        "command_id": command.id,
        "requested_by": command.requested_by,
        "expires_at": command.expires_at,
        "created_at": now,
        "updated_at": now,
        **values,
    }
    await repository.insert_job(conn, row)
    job = await repository.job(conn, command.station_id, job_id)
    assert job is not None
    return job


def _family(kind: JobKind) -> tuple[JobKind, ...]:
    return LOG_KINDS if kind.uploads else FIRMWARE_KINDS


def _payload(new: NewJob, request_id: int | None, now: datetime) -> dict[str, Any]:
    """The command's members; the charger gets only those that it knows."""
    retrieve_at = iso_z(new.retrieve_at or now)
    common = _present(retries=new.retries, retryInterval=new.retry_interval_s)
    if new.kind is JobKind.FIRMWARE:
        return {"location": new.location, "retrieveDate": retrieve_at, **common}
    if new.kind is JobKind.SIGNED_FIRMWARE:
        firmware = {
            "location": new.location,
            "retrieveDateTime": retrieve_at,
            "signingCertificate": new.signing_certificate,
            "signature": new.signature,
            **_present(installDateTime=new.install_at and iso_z(new.install_at)),
        }
        return {"requestId": request_id, "firmware": firmware, **common}
    oldest, latest = new.oldest and iso_z(new.oldest), new.latest and iso_z(new.latest)
    if new.kind is JobKind.DIAGNOSTICS:
        return {"location": new.location, **_present(startTime=oldest, stopTime=latest), **common}
    log = {"remoteLocation": new.location, **_present(oldestTimestamp=oldest, latestTimestamp=latest)}
    return {"logType": new.log_type, "requestId": request_id, "log": log, **common}


def _present(**members: Any) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


# --- What the charger tells ---------------------------------------------------------------------------------------


async def command_ended(conn: Conn, command: Command, outcome: CommandStatus, answer: Mapping[str, Any] | None) -> None:
    """What the charger's answer means for the command's job; run in the transaction that records the answer.

    A charger may report its first step before it answers: the answer then only adds the file's name. Errors and
    silence change nothing here; they are read from the command's row.
    """
    if outcome not in (CommandStatus.ACCEPTED, CommandStatus.REJECTED) or answer is None:
        return
    job = await repository.lock_by_command(conn, command.id)
    if job is None:
        return
    now = command.finished_at or job.updated_at
    word = answer.get("status")
    name = str(answer.get("fileName") or answer.get("filename") or "")[:_FILE_NAME_MAX].replace("\x00", "") or None
    state, error = job.state, job.error
    if state is JobState.REQUESTED:
        state = JobState.ACCEPTED
        if outcome is CommandStatus.REJECTED:
            state, error = JobState.REJECTED, f"the charger answered {word}"
        elif job.kind is JobKind.DIAGNOSTICS and name is None:
            # OCPP 1.6 section 6.26: no file name means that there is nothing to upload.
            state, error = JobState.FAILED, "the charger has no diagnostics"
    await repository.step(conn, job.id, state, now, error=error, file_name=name)
    if word == "AcceptedCanceled":
        await repository.supersede(conn, job.station_id, _family(job.kind), job, "the charger does a newer one", now)


async def progress(
    conn: Conn, station_id: str, kind: JobKind, word: str, request_id: int | None, now: datetime
) -> Job | None:
    """A status notification moves its job on; the job as it is then, None when it is about none of ours.

    A failed attempt may be followed by another one (``retries``): a new word opens the job again until its time is
    over. An end that was a success stays.
    """
    state = state_after(word)
    if state is None:
        return None
    job = await repository.lock_reported(conn, station_id, kind, request_id, now)
    if job is None:
        return None
    error = f"the charger reported {word}" if state is JobState.FAILED else None
    await repository.step(conn, job.id, state, now, word=word, error=error)
    return replace(job, state=state, error=error, charger_status=word)


# --- Reading ------------------------------------------------------------------------------------------------------


async def find(conn: Conn, station_id: str, job_id: str) -> Job:
    """One job of the station.

    Raises:
        NotFound: the station has no such job.
    """
    job = await repository.job(conn, station_id, job_id)
    if job is None:
        raise NotFound("no such job")
    return job


async def page(conn: Conn, station_id: str, wanted: JobFilter, now: datetime, limit: int) -> list[Job]:
    """Jobs of the station, newest first."""
    return await repository.jobs(conn, station_id, wanted, now, limit)


def require_file(job: Job, now: datetime) -> str:
    """Key of the job's upload in our store, whether it has come or not.

    A job without an end may have brought its file all the same: not every charger tells. One that was cancelled is
    unwanted, and what its charger uploads by the link that it still has is removed.

    Raises:
        NotFound: the job was cancelled, uploads to another place or nothing, or its file is not kept any more.
    """
    if not job.kind.uploads:
        raise NotFound("the job is a firmware update: it brings no file")
    if job.seen(now)[0] is JobState.CANCELLED:
        raise NotFound("the job was cancelled: its file is not kept, begin a new one")
    if job.object_key is None:
        raise NotFound("the file is not in our store: the job has a location of its own, or is too old")
    return job.object_key


async def files_to_remove(conn: Conn, now: datetime, kept_for: timedelta, limit: int) -> dict[str, str]:
    """Files that nobody shall get any more, by job: of cancelled jobs, once their upload link is dead, and old ones.

    The caller removes them from the store between two transactions and tells :func:`files_removed`. A crash in between
    removes them again, which is harmless; the row is purged only after its file.
    """
    return await repository.files_to_remove(conn, now - UPLOAD_TAIL, now - kept_for, limit)


async def files_removed(conn: Conn, job_ids: Collection[str]) -> None:
    """The store has these jobs' files no more."""
    await repository.file_removed(conn, list(job_ids))


async def expire(conn: Conn, now: datetime, limit: int = 100) -> int:
    """One batch of the sweep: close jobs whose charger reported no end in time; how many."""
    return await repository.expire(conn, now, NO_END, limit)
