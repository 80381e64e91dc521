"""SQL of ``session_reviews`` and of the review mark of sessions."""

from datetime import datetime
from decimal import Decimal

from evpower.charging.staff_models import ReviewAct
from evpower.db import Conn

_COLUMNS = ", ".join(ReviewAct.__dataclass_fields__)


async def insert(
    conn: Conn,
    session_id: str,
    *,
    action: str,
    actor: str,
    note: str,
    now: datetime,
    amount: Decimal | None = None,
    ledger_id: int | None = None,
    quarantined_message_id: int | None = None,
) -> ReviewAct:
    cursor = await conn.execute(
        f"""INSERT INTO session_reviews (session_id, action, actor, note, amount, ledger_id, quarantined_message_id,
                   created_at)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s) RETURNING {_COLUMNS}""",  # noqa: S608 - constant column list
        (session_id, action, actor, note, amount, ledger_id, quarantined_message_id, now),
    )
    row = await cursor.fetchone()
    assert row is not None
    return ReviewAct(**row)


async def by_ledger_entry(conn: Conn, ledger_id: int) -> ReviewAct | None:
    cursor = await conn.execute(f"SELECT {_COLUMNS} FROM session_reviews WHERE ledger_id = %s", (ledger_id,))  # noqa: S608 - constant column list
    row = await cursor.fetchone()
    return ReviewAct(**row) if row else None


async def of_session(conn: Conn, session_id: str) -> list[ReviewAct]:
    cursor = await conn.execute(
        f"SELECT {_COLUMNS} FROM session_reviews WHERE session_id = %s ORDER BY id",  # noqa: S608 - constant column list
        (session_id,),
    )
    return [ReviewAct(**row) for row in await cursor.fetchall()]


async def unmark(conn: Conn, session_id: str, now: datetime) -> None:
    """The session needs no look any more; why it did stays."""
    await conn.execute(
        "UPDATE charging_sessions SET needs_review = false, updated_at = %s WHERE id = %s", (now, session_id)
    )
