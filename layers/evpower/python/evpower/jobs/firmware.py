"""Firmware files in the store: announced with size and checksum, uploaded through a signed link, then used by jobs.

Nothing here calls the store: entries ask it between two transactions and bring its answer.
"""

from datetime import datetime
from typing import Any

from evpower.admin.models import Scope
from evpower.db import Conn
from evpower.errors import Forbidden, IdempotencyConflict, NotFound, StateConflict
from evpower.jobs import repository
from evpower.jobs.models import FirmwareFile, FirmwareState, NewFirmware
from evpower.storage.store import StoredFile

MAX_FILES = 500


async def announce(
    conn: Conn, scope: Scope, by: str, firmware_id: str, new: NewFirmware, now: datetime
) -> FirmwareFile:
    """Register a file that is about to be uploaded. The same id again gets the first one's file.

    Raises:
        StateConflict: enough files are kept.
        IdempotencyConflict: the id is another file's.
    """
    if await repository.count_firmware(conn) >= MAX_FILES:
        raise StateConflict(f"{MAX_FILES} firmware files are kept: retire one")
    values: dict[str, Any] = {name: getattr(new, name) for name in NewFirmware.__slots__}
    row = {
        **values,
        "id": firmware_id,
        "owner_id": None if scope.everything else scope.owner_id,
        "object_key": f"firmware/{firmware_id}",
        "created_by": by,
        "created_at": now,
        "updated_at": now,
    }
    created = await repository.insert_firmware(conn, row)
    file = await find(conn, scope, firmware_id)
    if not created and any(getattr(file, name) != value for name, value in values.items()):
        raise IdempotencyConflict("The Idempotency-Key was used for another file")
    return file


async def find(conn: Conn, scope: Scope, firmware_id: str, *, lock: bool = False) -> FirmwareFile:
    """A file that the caller may see.

    Raises:
        NotFound: unknown, or another owner's.
    """
    file = await repository.firmware(
        conn, firmware_id, everything=scope.everything, owner_id=scope.owner_id or None, lock=lock
    )
    if file is None:
        raise NotFound("no such firmware file")
    return file


async def _own(conn: Conn, scope: Scope, firmware_id: str) -> FirmwareFile:
    """The file, locked, for somebody who may change it. Everybody's files are changed by who sees everything."""
    file = await find(conn, scope, firmware_id, lock=True)
    if file.owner_id is None and not scope.everything:
        raise Forbidden(required_role="superadmin")  # everybody's file
    return file


async def page(conn: Conn, scope: Scope, before: tuple[datetime, str] | None, limit: int) -> list[FirmwareFile]:
    """Files that the caller may see, newest first."""
    return await repository.firmware_page(
        conn, everything=scope.everything, owner_id=scope.owner_id or None, before=before, limit=limit
    )


async def confirm(conn: Conn, scope: Scope, firmware_id: str, stored: StoredFile | None, now: datetime) -> FirmwareFile:
    """Take a file into use after its upload, if the store has what was announced.

    Raises:
        NotFound: unknown, or another owner's.
        Forbidden: everybody's.
        StateConflict: not there, another size or checksum, or retired.
    """
    file = await _own(conn, scope, firmware_id)
    if file.state is FirmwareState.RETIRED:
        raise StateConflict("the file was retired: announce it anew")
    if stored is None:
        raise StateConflict("the file was not uploaded: PUT it to upload.url with upload.headers first")
    if stored.size_bytes != file.size_bytes:
        raise StateConflict(f"the file has {stored.size_bytes} bytes, not {file.size_bytes}: upload it again")
    if stored.sha256 is not None and stored.sha256 != file.sha256:
        raise StateConflict("the file has another checksum: upload it again")
    await repository.set_firmware_state(conn, file.id, FirmwareState.STORED, now)
    return await find(conn, scope, firmware_id)


def require_usable(file: FirmwareFile) -> None:
    """Refuse a file that no charger can download.

    Raises:
        StateConflict: not confirmed, or retired.
    """
    if file.state is FirmwareState.RETIRED:
        raise StateConflict("the file was retired: announce it anew")
    if file.state is not FirmwareState.STORED:
        raise StateConflict("the file is not in the store: upload and confirm it")


async def retire(conn: Conn, scope: Scope, firmware_id: str, now: datetime) -> FirmwareFile:
    """Take a file out of use; the caller deletes it from the store after the commit. Doing it again is harmless.

    Raises:
        NotFound: unknown, or another owner's.
        Forbidden: everybody's.
        StateConflict: a charger may still download it.
    """
    file = await _own(conn, scope, firmware_id)
    if await repository.firmware_in_use(conn, file.id, now):
        raise StateConflict("a charger may still download it: wait for its job")
    await repository.set_firmware_state(conn, file.id, FirmwareState.RETIRED, now)
    return await find(conn, scope, firmware_id)
