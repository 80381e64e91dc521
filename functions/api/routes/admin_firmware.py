"""Firmware files of the operators: announce, upload through a signed link, confirm, retire."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any

from fastapi import Query

from evpower.db import Conn
from evpower.errors import ValidationFailed
from evpower.ids import new_id
from evpower.jobs import firmware
from evpower.jobs.models import FirmwareFile, FirmwareState, NewFirmware
from evpower.storage.store import SignedLink
from functions.api import cursor as cursors
from functions.api.cursor import CursorIn
from functions.api.deps import Deps
from functions.api.routes.admin_commands import KeyHeader, once_id
from functions.api.routing import DepsParam, Limit
from functions.api.schemas.admin_jobs import (
    FirmwareAnswer,
    FirmwareBody,
    FirmwareFilesAnswer,
    FirmwareFilesData,
    FirmwareView,
    link_view,
)
from functions.api.schemas.base import IdIn
from functions.api.staff import Act, ManagerParam, staff_router

routes = staff_router("/api/v1/admin/firmware")

_UPLOAD_FOR = timedelta(hours=1)
_Told = tuple[FirmwareFile, Mapping[str, Any]]


def _view(file: FirmwareFile, upload: SignedLink | None = None) -> FirmwareView:
    return FirmwareView(
        id=file.id,
        name=file.name,
        version=file.version,
        vendor=file.vendor,
        model=file.model,
        size_bytes=file.size_bytes,
        sha256=file.sha256,
        is_signed=file.is_signed,
        state=file.state.value,
        created_by=file.created_by,
        created_at=file.created_at,
        stored_at=file.stored_at,
        upload=None if upload is None else link_view(upload),
    )


async def _with_upload(deps: Deps, file: FirmwareFile) -> FirmwareAnswer:
    """The file, and while it is not in the store the link that takes exactly this file."""
    link = None
    if file.state is FirmwareState.ANNOUNCED:
        link = await deps.files.upload_link(
            file.object_key, _UPLOAD_FOR, size_bytes=file.size_bytes, sha256=file.sha256
        )
    return FirmwareAnswer(data=_view(file, link))


@routes.post("", response_model=FirmwareAnswer, summary="Announce a firmware file")
async def announce(
    body: FirmwareBody, staff: ManagerParam, deps: DepsParam, idempotency_key: KeyHeader = None
) -> FirmwareAnswer:
    """Register a file; ``upload`` is where to PUT it within an hour. An admin's files are its own."""
    if body.size_bytes > deps.settings.firmware_max_bytes:
        raise ValidationFailed(f"at most {deps.settings.firmware_max_bytes} bytes", field="size_bytes")
    now = deps.clock.now()
    firmware_id = once_id(staff, "firmware", idempotency_key) or new_id()
    new = NewFirmware(
        name=body.name,
        version=body.version,
        vendor=body.vendor or None,
        model=body.model or None,
        size_bytes=body.size_bytes,
        sha256=body.sha256.lower(),
        signature=body.signature,
        signing_certificate=body.signing_certificate,
    )

    async def work(conn: Conn) -> _Told:
        file = await firmware.announce(conn, staff.scope, f"staff:{staff.member.id}", firmware_id, new, now)
        return file, {"firmware_id": file.id}

    act = Act("admin.firmware_announce", details={"name": body.name, "version": body.version, "sha256": new.sha256})
    return await _with_upload(deps, await staff.act(act, work))


@routes.get("", response_model=FirmwareFilesAnswer, summary="Firmware files")
async def list_files(
    staff: ManagerParam,
    cursor: Annotated[CursorIn | None, Query()] = None,
    limit: Annotated[Limit, Query()] = 50,
) -> FirmwareFilesAnswer:
    """Files that the caller may use, newest first; retired ones too."""
    before = cursors.after_moment(cursor)
    found = await staff.run(lambda conn: firmware.page(conn, staff.scope, before, limit + 1))
    items = found[:limit]
    more = cursors.encode(items[-1].created_at, items[-1].id) if len(found) > limit else None
    return FirmwareFilesAnswer(data=FirmwareFilesData(files=[_view(item) for item in items], next_cursor=more))


@routes.get("/{firmware_id}", response_model=FirmwareAnswer, summary="One firmware file")
async def one_file(firmware_id: IdIn, staff: ManagerParam, deps: DepsParam) -> FirmwareAnswer:
    """A file; with a new ``upload`` link while it is not in the store."""
    return await _with_upload(deps, await staff.run(lambda conn: firmware.find(conn, staff.scope, firmware_id)))


@routes.post("/{firmware_id}/confirm", response_model=FirmwareAnswer, summary="Confirm an upload")
async def confirm(firmware_id: IdIn, staff: ManagerParam, deps: DepsParam) -> FirmwareAnswer:
    """Take the file into use: 409 unless the store has it in the announced size (and checksum, where it keeps one)."""
    file = await staff.run(lambda conn: firmware.find(conn, staff.scope, firmware_id))
    stored = await deps.files.find(file.object_key)
    now = deps.clock.now()

    async def work(conn: Conn) -> _Told:
        return await firmware.confirm(conn, staff.scope, firmware_id, stored, now), {"sha256": file.sha256}

    act = Act("admin.firmware_confirm", details={"firmware_id": firmware_id})
    return FirmwareAnswer(data=_view(await staff.act(act, work)))


@routes.delete("/{firmware_id}", response_model=FirmwareAnswer, summary="Retire a firmware file")
async def retire(firmware_id: IdIn, staff: ManagerParam, deps: DepsParam) -> FirmwareAnswer:
    """Take the file out of use and out of the store; 409 while a charger may still download it."""
    now = deps.clock.now()

    async def work(conn: Conn) -> _Told:
        return await firmware.retire(conn, staff.scope, firmware_id, now), {}

    file = await staff.act(Act("admin.firmware_retire", details={"firmware_id": firmware_id}), work)
    await deps.files.delete(file.object_key)
    return FirmwareAnswer(data=_view(file))
