"""What the charger's answers change in the stored list, also for commands that were queued past these routes."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from evpower.commands.models import Command, CommandStatus
from evpower.db import Conn
from evpower.local_list import plan, repository
from evpower.local_list import service as lists
from evpower.local_list.models import Item, ListState, LocalList, Part, UpdateType
from evpower.stations.text import clean


async def sent(conn: Conn, command: Command, outcome: CommandStatus, answer: Mapping[str, Any] | None) -> None:
    """SendLocalList has ended: the next part, the question for the version, a full update instead, or a failure."""
    now = _moment(command)
    row = await repository.ensure(conn, command.station_id, now)
    part = next((p for p in await repository.parts(conn, row.station_id) if p.command_id == command.id), None)
    if part is None:
        await _sent_by_hand(conn, row, command, outcome, now)
        return
    word = str((answer or {}).get("status", outcome.value))
    if outcome is CommandStatus.ACCEPTED:
        await repository.set_part(
            conn, row.station_id, part.list_version, "accepted", answer=word, command_id=command.id
        )
        await _took(conn, row, part)
        # What is unknown stays unknown until the first part of a full update is taken.
        is_uncertain = row.is_uncertain and part.update_type is not UpdateType.FULL
        await lists.send_next(
            conn, row.station_id, row.requested_by, now, is_uncertain=is_uncertain, is_retry=row.is_retry
        )
        return
    await repository.set_part(conn, row.station_id, part.list_version, "refused", answer=word, command_id=command.id)
    # Failed and VersionMismatch: it holds something else than we think. After NotSupported or an error no list helps.
    again = outcome is CommandStatus.REJECTED and word != "NotSupported"
    if again and await lists.try_in_full(conn, row, now):
        return
    await _failed(conn, row, command.error or word, now, is_uncertain=word != "NotSupported")


async def _took(conn: Conn, row: LocalList, part: Part) -> None:
    held = await repository.held(conn, row.station_id)
    content = plan.applied(held, part.update_type, part.entries)
    await repository.set_held(conn, row.station_id, content, part.list_version)


async def _failed(conn: Conn, row: LocalList, why: str, now: datetime, *, is_uncertain: bool) -> None:
    await repository.set_step(
        conn,
        row.station_id,
        ListState.FAILED,
        now,
        command_id=None,
        failure=why,
        is_uncertain=row.is_uncertain or is_uncertain,
        is_retry=False,
    )


async def _sent_by_hand(conn: Conn, row: LocalList, command: Command, outcome: CommandStatus, now: datetime) -> None:
    content = _content(command.payload)
    if outcome is CommandStatus.ACCEPTED and content is not None:
        version, update_type, items = content
        held = plan.applied(await repository.held(conn, row.station_id), update_type, items)
        await repository.set_held(conn, row.station_id, held, version)
        is_uncertain = row.is_uncertain and update_type is not UpdateType.FULL
    elif outcome is CommandStatus.REJECTED:
        return
    else:
        is_uncertain = True
    if row.state.busy:  # our own update goes on, and notices by the versions
        return
    await repository.set_step(
        conn, row.station_id, ListState.IDLE, now, command_id=None, is_uncertain=is_uncertain, is_retry=False
    )


def _content(payload: Mapping[str, Any]) -> tuple[int, UpdateType, list[Item]] | None:
    try:
        items = [dict(item) for item in clean(payload.get("localAuthorizationList") or [])]
        if not all(0 < len(str(item["idTag"])) <= 20 for item in items):
            return None
        return int(payload["listVersion"]), UpdateType(payload["updateType"]), items
    except (KeyError, TypeError, ValueError):
        return None


async def version_told(conn: Conn, command: Command, outcome: CommandStatus, answer: Mapping[str, Any] | None) -> None:
    """GetLocalListVersion has ended: an update is complete when the charger names its version."""
    now = _moment(command)
    row = await repository.ensure(conn, command.station_id, now)
    ours = row.command_id == command.id
    if outcome is not CommandStatus.ACCEPTED or answer is None:
        if ours:  # every part was taken; only the proof is missing
            await _synced(conn, row, now, failure=f"version not confirmed: {command.error or outcome.value}")
        return
    version = int(answer["listVersion"])
    await repository.set_told(conn, row.station_id, version, now)
    row = replace(row, told_version=version)  # the next number is above it
    # -1: it has no lists at all (OCPP 1.6 section 5.10), which is as good as an empty one.
    agrees = version == row.held_version or (version < 0 and row.held_version == 0)
    if ours and agrees:
        await _synced(conn, row, now)
    elif ours:
        if not await lists.try_in_full(conn, row, now):
            why = f"the charger names version {version}, it took version {row.held_version}"
            await _failed(conn, row, why, now, is_uncertain=True)
    elif not agrees and not row.state.busy:
        await repository.set_step(
            conn, row.station_id, ListState.IDLE, now, command_id=None, is_uncertain=True, is_retry=False
        )


async def _synced(conn: Conn, row: LocalList, now: datetime, failure: str | None = None) -> None:
    await repository.set_step(
        conn,
        row.station_id,
        ListState.SYNCED,
        now,
        command_id=None,
        failure=failure,
        is_uncertain=row.is_uncertain,
        is_retry=False,
    )


def _moment(command: Command) -> datetime:
    assert command.finished_at is not None
    return command.finished_at
