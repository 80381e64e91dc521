"""Messages put aside at the stations of somebody's scope."""

from evpower.admin.desk_models import Candidate, QuarantineFilter
from evpower.admin.models import Page, Scope, Slice
from evpower.admin.repository.stations import IN_SCOPE, PLACES, scope_values
from evpower.charging.staff_models import QuarantinedMessage
from evpower.db import Conn

_COLUMNS = ", ".join(f"q.{name}" for name in QuarantinedMessage.__dataclass_fields__)
_CANDIDATE = """id AS transaction_id, session_id, connector_id, id_tag, status, meter_start, meter_stop,
    coalesce(said_at, started_at) AS started_at, received_at"""


def _in_scope(scope: Scope) -> str:
    return "true" if scope.everything else f"q.station_id IN (SELECT s.id FROM {PLACES} WHERE {IN_SCOPE})"  # noqa: S608 - constant parts


def _conditions(scope: Scope, wanted: QuarantineFilter) -> str:
    conditions = [_in_scope(scope)]
    if wanted.station_ref is not None:
        conditions.append(
            "q.station_id = ANY (ARRAY (SELECT id FROM stations WHERE id = %(station)s OR serial_number = %(station)s))"
        )
    if wanted.action is not None:
        conditions.append("q.action = %(action)s")
    if wanted.is_open is not None:
        conditions.append(f"q.resolved_at IS {'' if wanted.is_open else 'NOT '}NULL")
    if wanted.since is not None:
        conditions.append("q.received_at >= %(since)s")
    if wanted.until is not None:
        conditions.append("q.received_at < %(until)s")
    return " AND ".join(conditions)


async def page(conn: Conn, scope: Scope, wanted: QuarantineFilter, part: Slice) -> Page[QuarantinedMessage]:
    """Newest first."""
    conditions = _conditions(scope, wanted)
    values = {
        **scope_values(scope),
        "station": wanted.station_ref,
        "action": wanted.action,
        "since": wanted.since,
        "until": wanted.until,
        "limit": part.limit,
        "offset": part.offset,
    }
    cursor = await conn.execute(
        f"""SELECT {_COLUMNS} FROM quarantined_messages q WHERE {conditions}
             ORDER BY q.received_at DESC, q.id DESC LIMIT %(limit)s OFFSET %(offset)s""",  # noqa: S608 - constant parts
        values,
    )
    records = tuple([QuarantinedMessage(**row) async for row in cursor])
    counted = await (
        await conn.execute(f"SELECT count(*) AS total FROM quarantined_messages q WHERE {conditions}", values)  # noqa: S608 - constant parts
    ).fetchone()
    assert counted is not None
    return Page(records, int(counted["total"]))


async def find(conn: Conn, scope: Scope, message_id: int) -> QuarantinedMessage | None:
    cursor = await conn.execute(
        f"SELECT {_COLUMNS} FROM quarantined_messages q WHERE q.id = %(id)s AND {_in_scope(scope)}",  # noqa: S608 - constant parts
        {**scope_values(scope), "id": message_id},
    )
    row = await cursor.fetchone()
    return QuarantinedMessage(**row) if row else None


async def candidates(conn: Conn, message: QuarantinedMessage, limit: int) -> tuple[Candidate, ...]:
    """The station's newest transactions that had begun by the time the message came."""
    cursor = await conn.execute(
        f"""SELECT {_CANDIDATE} FROM ocpp_transactions WHERE station_id = %s AND received_at <= %s
             ORDER BY received_at DESC LIMIT %s""",  # noqa: S608 - constant column list
        (message.station_id, message.last_received_at, limit),
    )
    return tuple([Candidate(**row) async for row in cursor])
