"""What was said to and by a charger, frame by frame, for operators."""

from typing import Annotated, Literal

from fastapi import Query
from pydantic import AfterValidator, Field

from evpower.admin import service as admin
from evpower.db import Conn
from evpower.message_log import service as message_log
from evpower.message_log.models import Direction, Entry, EntryFilter, EntryPage, Place
from functions.api import cursor as cursors
from functions.api.cursor import CursorIn
from functions.api.periods import PeriodBound, period
from functions.api.routing import Limit
from functions.api.schemas.admin_messages import MessagesAnswer, MessagesData
from functions.api.schemas.admin_station import LatestMessage
from functions.api.schemas.base import IdIn, clean_text
from functions.api.schemas.patterns import asks_for
from functions.api.staff import StaffParam, staff_router

routes = staff_router("/api/v1/admin/stations")

ActionIn = Annotated[
    str,
    Field(min_length=1, max_length=60, pattern=asks_for(r"^[A-Za-z]+$", "letters"), examples=["StatusNotification"]),
]
MessageIdIn = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(clean_text)]


@routes.get("/{station_id}/messages", response_model=MessagesAnswer, summary="The message log of a station")
async def messages(
    station_id: IdIn,
    staff: StaffParam,
    direction: Annotated[Direction | None, Query(description="in: CALLs of the charger, out: ours")] = None,
    action: Annotated[ActionIn | None, Query(description="in any letter case")] = None,
    message_id: Annotated[MessageIdIn | None, Query()] = None,
    only_errors: Annotated[bool, Query(description="CALLERRORs, unanswered CALLs, connections that broke")] = False,
    since: Annotated[PeriodBound | None, Query()] = None,
    until: Annotated[PeriodBound | None, Query()] = None,
    order: Annotated[Literal["newest", "oldest"], Query(description="which come first")] = "newest",
    cursor: Annotated[CursorIn | None, Query()] = None,
    limit: Annotated[Limit, Query()] = 50,
) -> MessagesAnswer:
    """Each CALL with its answer, and each connection opened, closed or refused, for MESSAGE_LOG_DAYS days.

    Secrets are masked. The newest of the last second may still be missing. Days count whole, the last one included.
    """
    begin, end = period(("since", "until"), since, until)
    wanted = EntryFilter(
        direction=direction,
        action=action,
        message_id=message_id,
        since=begin,
        until=end,
        only_errors=only_errors,
    )
    place = cursors.after_place(cursor)
    after = None if place is None else Place(*place)

    async def look(conn: Conn) -> EntryPage:
        station = await admin.station(conn, staff.scope, station_id)
        return await message_log.page(
            conn, station.id, wanted, after=after, newest_first=order == "newest", limit=limit
        )

    found = await staff.run(look)
    following = cursors.encode(found.next.at, str(found.next.id)) if found.next is not None else None
    return MessagesAnswer(
        data=MessagesData(messages=[message_view(item) for item in found.items], next_cursor=following)
    )


def message_view(entry: Entry) -> LatestMessage:
    """An entry of the log as staff sees it."""
    return LatestMessage(
        at=entry.at,
        direction=entry.direction.value,
        action=entry.action,
        message_id=entry.message_id,
        request=entry.request,
        response=entry.response,
        error=entry.error,
        latency_ms=None if entry.latency_ms is None else round(entry.latency_ms, 3),
        is_truncated=entry.is_truncated,
    )
