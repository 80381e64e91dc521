"""Rules of local lists: off by default, sent in parts, one after the other, verified by the charger's version.

A start that a charger allows by its list while it is offline is settled afterwards by the rules of late transactions
(docs/charger-state.md): what the driver cannot pay by then is written off. So a list is something that an operator
switches on for a station, knowing that.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from evpower.commands import service as commands
from evpower.commands.models import Command, NewCommand
from evpower.db import Conn
from evpower.errors import StateConflict, ValidationFailed
from evpower.local_list import plan, repository
from evpower.local_list.models import (
    Content,
    Entry,
    ListState,
    ListView,
    LocalList,
    Part,
    Selection,
)
from evpower.logging import get_logger
from evpower.stations import service as stations

_log = get_logger(__name__)
ASK_FOR = timedelta(minutes=15)
"""How long a part waits for a charger that is away."""
TRY_AGAIN_AFTER = timedelta(minutes=20)
"""Pause of the sweep after an update that failed."""
_SEND, _ASK = "SendLocalList", "GetLocalListVersion"


async def view(conn: Conn, station_id: str, now: datetime) -> ListView:
    """The station's list as it stands."""
    found = await repository.find(conn, station_id)
    if found is None:
        found = LocalList(
            station_id, False, Selection.CHOSEN, 0, 0, None, None, ListState.IDLE, None, False, False, None, "system",
            None, now,
        )  # fmt: skip
    wanted, held = await _wanted(conn, found, now), await repository.held(conn, station_id)
    return ListView(
        list=found,
        limits=plan.limits(await stations.configuration(conn, station_id)),
        wanted=len(wanted),
        held=len(held),
        differs=found.is_uncertain or wanted != held,
        parts=tuple(await repository.parts(conn, station_id)),
    )


async def entries(conn: Conn, station_id: str, now: datetime, *, limit: int, offset: int) -> tuple[list[Entry], int]:
    """A page of the tags that the list shall hold or the charger holds, by tag, and their total number."""
    found = await repository.find(conn, station_id)
    if found is None:
        return [], 0
    wanted, held = await _wanted(conn, found, now), await repository.held(conn, station_id)
    chosen = await repository.chosen_tags(conn, station_id)
    tags = sorted({*wanted, *held, *chosen})
    page = [Entry(tag, tag in chosen, wanted.get(tag), held.get(tag)) for tag in tags[offset : offset + limit]]
    return page, len(tags)


async def configure(
    conn: Conn,
    station_id: str,
    *,
    is_enabled: bool,
    selection: Selection,
    id_tags: Sequence[str] | None,
    now: datetime,
) -> ListView:
    """Set what the list shall hold; ``id_tags`` replaces the chosen ones. Sends nothing: :func:`sync` does.

    Raises:
        ValidationFailed: tags that are no cards of ours, or more than the charger takes.
    """
    await repository.ensure(conn, station_id, now)
    await repository.configure(conn, station_id, is_enabled=is_enabled, selection=selection, now=now)
    if id_tags is not None:
        await _choose(conn, station_id, id_tags)
        await repository.leave_out_all_but(conn, station_id, [tag.upper() for tag in id_tags])
        await _check_length(conn, station_id)
    return await view(conn, station_id, now)


async def change_entries(
    conn: Conn, station_id: str, add: Sequence[str], remove: Sequence[str], now: datetime
) -> ListView:
    """Add cards to the chosen ones and take some from them.

    Raises:
        ValidationFailed: as :func:`configure`.
    """
    await repository.ensure(conn, station_id, now)
    await _choose(conn, station_id, add)
    await repository.leave_out(conn, station_id, [tag.upper() for tag in remove])
    await _check_length(conn, station_id)
    return await view(conn, station_id, now)


async def _choose(conn: Conn, station_id: str, id_tags: Sequence[str]) -> None:
    tags = sorted({tag.upper() for tag in id_tags})
    if unknown := await repository.without_card(conn, tags):
        raise ValidationFailed(
            f"no card has the tag {', '.join(unknown[:5])}: create it at /admin/id-tags", field="id_tags"
        )
    await repository.choose(conn, station_id, tags)


async def _check_length(conn: Conn, station_id: str) -> None:
    longest = plan.limits(await stations.configuration(conn, station_id)).longest_list
    if await repository.count_chosen(conn, station_id) > longest:
        raise ValidationFailed(f"the charger's list holds at most {longest} tags", field="id_tags")


async def _wanted(conn: Conn, row: LocalList, now: datetime) -> Content:
    """What the charger shall hold: nothing while the list is off."""
    if not row.is_enabled:
        return {}
    if row.selection is Selection.CHOSEN:
        cards = await repository.chosen_cards(conn, row.station_id)
    else:
        longest = plan.limits(await stations.configuration(conn, row.station_id)).longest_list
        cards = await repository.good_cards(conn, now, longest + 1)
    return {card.id_tag.upper(): plan.item_of(card, now) for card in cards}


# --- Updates ------------------------------------------------------------------------------------------------------


async def sync(
    conn: Conn, station_id: str, requested_by: str, now: datetime, *, full: bool = False
) -> tuple[ListView, Command | None]:
    """Begin to bring the charger's list to what is wanted; the first command to send, None: it has said that it does.

    ``full``: replace the list whatever the charger is said to hold. While the list is off, this empties the charger's.

    Raises:
        StateConflict: an update is on its way.
        ValidationFailed: more tags than the charger takes.
    """
    row = await repository.ensure(conn, station_id, now)
    if row.state.busy:
        raise StateConflict("an update of the list is on its way: wait for its end", state=row.state.value)
    await repository.set_requested_by(conn, station_id, requested_by)
    command = await _begin(conn, row, requested_by, now, full=full or row.is_uncertain, is_retry=False)
    return await view(conn, station_id, now), command


async def _begin(
    conn: Conn, row: LocalList, requested_by: str, now: datetime, *, full: bool, is_retry: bool
) -> Command | None:
    wanted, held = await _wanted(conn, row, now), await repository.held(conn, row.station_id)
    limits = plan.limits(await stations.configuration(conn, row.station_id))
    if len(wanted) > limits.longest_list:
        raise ValidationFailed(f"the charger's list holds at most {limits.longest_list} tags", field="selection")
    planned = plan.update(wanted, held, full=full, after_version=row.newest_version, longest=limits.longest_part)
    await repository.replace_parts(conn, row.station_id, planned)
    # Use case: a charger comes with a list of its former operator. Nothing differs from what it took from us, and still
    # it would let those cards charge while it is offline: it is asked, and gets a full update if it names a version.
    if not planned and row.told_version == row.held_version:
        await repository.set_step(
            conn, row.station_id, ListState.SYNCED, now, command_id=None, is_uncertain=False, is_retry=False
        )
        return None
    return await send_next(conn, row.station_id, requested_by, now, is_uncertain=row.is_uncertain, is_retry=is_retry)


async def send_next(
    conn: Conn, station_id: str, requested_by: str, now: datetime, *, is_uncertain: bool, is_retry: bool
) -> Command:
    """Queue the next part that waits; after the last one the question for the version. The list is locked."""
    waiting = [part for part in await repository.parts(conn, station_id) if part.state == "waiting"]
    if not waiting:
        command = await commands.enqueue(conn, _question(station_id, requested_by, now), now)
        state = ListState.VERIFYING
    else:
        command = await commands.enqueue(conn, _update(station_id, waiting[0], requested_by, now), now)
        await repository.set_part(conn, station_id, waiting[0].list_version, "sent", command_id=command.id)
        state = ListState.SENDING
    await repository.set_step(
        conn, station_id, state, now, command_id=command.id, is_uncertain=is_uncertain, is_retry=is_retry
    )
    return command


async def try_in_full(conn: Conn, row: LocalList, now: datetime) -> bool:
    """After a refused or doubtful update: one full one. False when that was it already. The list is locked."""
    if row.is_retry:
        return False
    try:
        await _begin(conn, row, row.requested_by, now, full=True, is_retry=True)
    except ValidationFailed:  # cards were added meanwhile: more than the charger takes
        return False
    return True


async def verify(conn: Conn, station_id: str, requested_by: str, now: datetime) -> tuple[ListView, Command]:
    """Ask the charger for the version of its list; the command to send."""
    await repository.ensure(conn, station_id, now)
    command = await commands.enqueue(conn, _question(station_id, requested_by, now), now)
    return await view(conn, station_id, now), command


def _update(station_id: str, part: Part, requested_by: str, now: datetime) -> NewCommand:
    payload = {
        "listVersion": part.list_version,
        "updateType": part.update_type.value,
        "localAuthorizationList": part.entries,
    }
    return NewCommand(station_id, _SEND, payload, now + ASK_FOR, requested_by)


def _question(station_id: str, requested_by: str, now: datetime) -> NewCommand:
    return NewCommand(station_id, _ASK, {}, now + ASK_FOR, requested_by)


async def holding_closed_cards(conn: Conn, now: datetime, *, after: str, limit: int) -> list[str]:
    """For the sweep: connected stations, by id from ``after`` on, whose lists still let a blocked, expired or deleted
    card charge.
    """
    return await repository.holding_closed_cards(conn, now - TRY_AGAIN_AFTER, now, after, limit)


async def revoke_closed_cards(conn: Conn, station_id: str, now: datetime) -> Command | None:
    """Update such a list; the command to send, None when that is going on, or cannot be.

    A list that cannot be updated is failed, so that operators see why, and it is tried again after a pause.
    """
    row = await repository.ensure(conn, station_id, now)
    if row.state.busy:
        return None
    await repository.set_requested_by(conn, station_id, "sweep")
    try:
        return await _begin(conn, row, "sweep", now, full=row.is_uncertain, is_retry=False)
    except ValidationFailed as error:
        _log.warning("local list not updated: %s", error, extra={"station_id": station_id})
        await repository.set_step(
            conn,
            station_id,
            ListState.FAILED,
            now,
            command_id=None,
            failure=str(error),
            is_uncertain=row.is_uncertain,
            is_retry=False,
        )
        return None
