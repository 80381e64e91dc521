"""What explains a session's bill: its meter, transactions, settlements, ledger rows, and what staff did."""

from datetime import datetime, timedelta
from typing import Any

from evpower.admin.desk_models import MeterSummary
from evpower.charging.staff_models import ReviewAct
from evpower.db import Conn

# A session that was opened for a replayed start carries its begin, so nothing is older; clocks of ours may differ.
_MARGIN = timedelta(minutes=10)
_ACT = ", ".join(ReviewAct.__dataclass_fields__)


async def session_row(conn: Conn, session_id: str) -> dict[str, Any]:
    cursor = await conn.execute(
        """SELECT needs_review, review_reasons, start_source, id_tag, meter_start, meter_current, meter_candidate,
                  energy_wh, reserved_amount, taken_amount, written_off_amount, stop_reason, stop_initiator
             FROM charging_sessions WHERE id = %s""",
        (session_id,),
    )
    row = await cursor.fetchone()
    assert row is not None
    return row


async def readings(conn: Conn, session_id: str, since: datetime, until: datetime) -> MeterSummary:
    """``since``: when the session was made; what came before is not looked through."""
    cursor = await conn.execute(
        """SELECT count(*) AS count, count(*) FILTER (WHERE cardinality(flags) > 0) AS flagged,
                  min(received_at) AS first_at, max(received_at) AS last_at, min(energy_wh) AS lowest_wh,
                  max(energy_wh) AS highest_wh,
                  (SELECT coalesce(array_agg(DISTINCT flag ORDER BY flag), '{}')
                     FROM ocpp_meter_values v, unnest(flags) flag
                    WHERE v.session_id = %(id)s AND v.received_at BETWEEN %(since)s AND %(until)s) AS flags
             FROM ocpp_meter_values WHERE session_id = %(id)s AND received_at BETWEEN %(since)s AND %(until)s""",
        {"id": session_id, "since": since - _MARGIN, "until": until + _MARGIN},
    )
    row = await cursor.fetchone()
    assert row is not None
    return MeterSummary(**{**row, "flags": tuple(row["flags"])})


async def _rows(conn: Conn, query: str, session_id: str) -> tuple[dict[str, Any], ...]:
    return tuple(await (await conn.execute(query.encode(), {"id": session_id})).fetchall())


async def transactions(conn: Conn, session_id: str) -> tuple[dict[str, Any], ...]:
    return await _rows(
        conn,
        """SELECT id AS transaction_id, connector_id, id_tag, id_tag_status, status, meter_start, meter_stop,
                  coalesce(said_at, started_at) AS started_at, received_at, stopped_at, stop_received_at, stop_reason,
                  ended_by, guess_state, guessed_meter_stop, review_reason
             FROM ocpp_transactions WHERE session_id = %(id)s ORDER BY id""",
        session_id,
    )


async def settlements(conn: Conn, session_id: str) -> tuple[dict[str, Any], ...]:
    return await _rows(
        conn,
        """SELECT revision, source, energy_wh, minutes, due_amount, taken_before, taken_after, written_off, created_at
             FROM settlements WHERE session_id = %(id)s ORDER BY revision""",
        session_id,
    )


async def ledger(conn: Conn, session_id: str) -> tuple[dict[str, Any], ...]:
    """The session's own rows, and the manual adjustments that were made for it."""
    return await _rows(
        conn,
        """SELECT id, transaction_type, amount, balance_before, balance_after, description, actor, created_at
             FROM payment_transactions_odengi
            WHERE charging_session_id = %(id)s
               OR id = ANY (ARRAY (SELECT ledger_id FROM session_reviews WHERE session_id = %(id)s))
            ORDER BY id""",
        session_id,
    )


async def acts(conn: Conn, session_id: str) -> tuple[ReviewAct, ...]:
    rows = await _rows(conn, f"SELECT {_ACT} FROM session_reviews WHERE session_id = %(id)s ORDER BY id", session_id)  # noqa: S608 - constant column list
    return tuple(ReviewAct(**row) for row in rows)
