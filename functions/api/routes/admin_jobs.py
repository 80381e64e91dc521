"""Firmware updates and uploads of logs, by operators: begin, follow, fetch the file."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import Query

from evpower.admin import service as admin
from evpower.commands.shown import shown_link
from evpower.db import Conn
from evpower.errors import NotFound, ValidationFailed
from evpower.ids import new_id
from evpower.jobs import firmware, service
from evpower.jobs.models import FirmwareFile, Job, JobFilter, JobKind, JobState, NewJob, Started
from evpower.storage.store import FileStore
from functions.api import cursor as cursors
from functions.api.cursor import CursorIn
from functions.api.routes.admin_commands import KeyHeader, dispatch, once_id
from functions.api.routing import DepsParam, Limit
from functions.api.schemas.admin_jobs import (
    FirmwareJobBody,
    JobAnswer,
    JobFile,
    JobFileAnswer,
    JobKindWord,
    JobsAnswer,
    JobsData,
    JobStep,
    JobView,
    LogJobBody,
    link_view,
)
from functions.api.schemas.base import IdIn
from functions.api.staff import Act, ManagerParam, StaffCaller, StaffParam, staff_router

routes = staff_router("/api/v1/admin/stations")

_DOWNLOAD_FOR = timedelta(minutes=15)


def job_view(job: Job, now: datetime) -> JobView:
    """A job as staff sees it at ``now``."""
    state, error = job.seen(now)
    return JobView(
        id=job.id,
        station_id=job.station_id,
        kind=job.kind.value,
        state=state.value,
        request_id=job.request_id,
        command_id=job.command_id,
        command_status=job.command_status.value if job.command_status else None,
        firmware_id=job.firmware_id,
        location=job.location,
        file_name=job.file_name,
        file_ready=job.object_key is not None and state is JobState.SUCCEEDED,
        log_type=job.log_type,
        charger_status=job.charger_status,
        steps=[JobStep(at=datetime.fromisoformat(step["at"]), status=step["status"]) for step in job.steps],
        error=error,
        requested_by=job.requested_by,
        created_at=job.created_at,
        updated_at=job.updated_at,
        expires_at=job.expires_at,
        finished_at=job.finished_at,
    )


@routes.post("/{station_id}/firmware-jobs", response_model=JobAnswer, summary="Update the firmware")
async def start_firmware_job(
    station_id: IdIn, body: FirmwareJobBody, staff: ManagerParam, deps: DepsParam, idempotency_key: KeyHeader = None
) -> JobAnswer:
    """Ask the charger to download and install firmware (UpdateFirmware, or SignedUpdateFirmware with ``signed``)."""
    job_id = once_id(staff, station_id, idempotency_key) or new_id()
    lifetime = timedelta(seconds=body.expires_in_s)
    file: FirmwareFile | None = None
    location = body.location or ""
    if body.firmware_id is not None:
        file = await _usable(staff, body.firmware_id)
        location = (await deps.files.download_link(file.object_key, lifetime)).url
    certificate = file.signing_certificate if file else body.signing_certificate
    signature = file.signature if file else body.signature
    if body.signed and not (certificate and signature):
        raise ValidationFailed("the file has no signature: it cannot be sent signed", field="signed")
    new = NewJob(
        kind=JobKind.SIGNED_FIRMWARE if body.signed else JobKind.FIRMWARE,
        location=location,
        shown_location=shown_link(location),
        requested_by=f"staff:{staff.member.id}",
        lifetime=lifetime,
        firmware=file,
        signing_certificate=certificate,
        signature=signature,
        retries=body.retries,
        retry_interval_s=body.retry_interval_s,
        retrieve_at=body.retrieve_at,
        install_at=body.install_at,
    )
    return await _start(staff, deps, station_id, job_id, new)


async def _usable(staff: StaffCaller, firmware_id: str) -> FirmwareFile:
    file = await staff.run(lambda conn: firmware.find(conn, staff.scope, firmware_id))
    firmware.require_usable(file)
    return file


@routes.post("/{station_id}/log-jobs", response_model=JobAnswer, summary="Upload a log")
async def start_log_job(
    station_id: IdIn, body: LogJobBody, staff: StaffParam, deps: DepsParam, idempotency_key: KeyHeader = None
) -> JobAnswer:
    """Ask the charger to upload diagnostics (GetDiagnostics) or a log (GetLog); to our store without ``location``."""
    job_id = once_id(staff, station_id, idempotency_key) or new_id()
    lifetime = timedelta(seconds=body.expires_in_s)
    object_key = None if body.location else f"logs/{job_id}/{body.type}.log"
    location = body.location or (await deps.files.upload_link(object_key or "", lifetime)).url
    is_core = body.type == "diagnostics"
    new = NewJob(
        kind=JobKind.DIAGNOSTICS if is_core else JobKind.LOG,
        location=location,
        shown_location=shown_link(location),
        requested_by=f"staff:{staff.member.id}",
        lifetime=lifetime,
        object_key=object_key,
        log_type=None if is_core else body.type,
        retries=body.retries,
        retry_interval_s=body.retry_interval_s,
        oldest=body.oldest,
        latest=body.latest,
    )
    return await _start(staff, deps, station_id, job_id, new)


async def _start(staff: StaffCaller, deps: DepsParam, station_id: str, job_id: str, new: NewJob) -> JobAnswer:
    now = deps.clock.now()

    async def work(conn: Conn) -> tuple[Started, Mapping[str, Any]]:
        station = await admin.station(conn, staff.scope, station_id)
        if new.firmware is not None:  # it may have been retired while its link was signed
            firmware.require_usable(await firmware.find(conn, staff.scope, new.firmware.id, lock=True))
        started = await service.start(conn, station.id, job_id, new, now)
        return started, {"job_id": started.job.id, "command_id": started.command.id}

    told = {"station_id": station_id, "kind": new.kind.value, "location": new.shown_location}
    if new.firmware is not None:
        told["firmware_id"] = new.firmware.id
    started = await staff.act(Act("admin.job", details=told), work)
    await dispatch(deps, started.command)
    return JobAnswer(data=job_view(started.job, now))


@routes.get("/{station_id}/jobs", response_model=JobsAnswer, summary="Jobs of a station")
async def list_jobs(
    station_id: IdIn,
    staff: StaffParam,
    deps: DepsParam,
    kind: JobKindWord | None = None,
    is_open: Annotated[bool | None, Query(description="those whose end is waited for, or the others")] = None,
    cursor: Annotated[CursorIn | None, Query()] = None,
    limit: Annotated[Limit, Query()] = 50,
) -> JobsAnswer:
    """Firmware updates and uploads, newest first."""
    now = deps.clock.now()
    kinds = (JobKind(kind),) if kind else tuple(JobKind)
    wanted = JobFilter(kinds, is_open, cursors.after_moment(cursor))

    async def work(conn: Conn) -> list[Job]:
        station = await admin.station(conn, staff.scope, station_id)
        return await service.page(conn, station.id, wanted, now, limit + 1)

    found = await staff.run(work)
    items = found[:limit]
    more = cursors.encode(items[-1].created_at, items[-1].id) if len(found) > limit else None
    return JobsAnswer(data=JobsData(jobs=[job_view(item, now) for item in items], next_cursor=more))


async def _job(staff: StaffCaller, station_id: str, job_id: str) -> Job:
    async def work(conn: Conn) -> Job:
        station = await admin.station(conn, staff.scope, station_id)
        return await service.find(conn, station.id, job_id)

    return await staff.run(work)


@routes.get("/{station_id}/jobs/{job_id}", response_model=JobAnswer, summary="One job")
async def one_job(station_id: IdIn, job_id: IdIn, staff: StaffParam, deps: DepsParam) -> JobAnswer:
    """A job with every step that the charger reported."""
    return JobAnswer(data=job_view(await _job(staff, station_id, job_id), deps.clock.now()))


@routes.get("/{station_id}/jobs/{job_id}/file", response_model=JobFileAnswer, summary="The uploaded file")
async def job_file(station_id: IdIn, job_id: IdIn, staff: StaffParam, deps: DepsParam) -> JobFileAnswer:
    """A link to the uploaded log, for 15 minutes; 404 while there is none in our store, and for cancelled jobs."""
    job = await _job(staff, station_id, job_id)
    key = service.require_file(job, deps.clock.now())
    store: FileStore = deps.files
    stored = await store.find(key)
    if stored is None:
        raise NotFound("the charger has uploaded nothing to our store (yet)")
    name = _safe_name(job)
    link = await store.download_link(key, _DOWNLOAD_FOR, file_name=name)
    data = JobFile(file_name=name, size_bytes=stored.size_bytes, stored_at=stored.stored_at, link=link_view(link))
    return JobFileAnswer(data=data)


def _safe_name(job: Job) -> str:
    """What a browser calls the file: the charger's name as far as it is harmless in a header."""
    own = "".join(c for c in job.file_name or "" if c.isascii() and (c.isalnum() or c in "._-"))
    return own.lstrip(".")[:100] or f"{job.kind.value}-{job.id}.log"
