"""SQL of the balance reads."""

from datetime import datetime
from decimal import Decimal

from evpower.balance.models import HistoryItem
from evpower.db import Conn

# The ledger, and the top-ups that never reached it (waiting, canceled, expired).
_LINES = """
    SELECT t.id::text AS id, t.transaction_type, t.amount,
           coalesce(b.requested_amount, abs(t.amount)) AS requested_amount,
           t.balance_before, t.balance_after, t.created_at, t.created_at AS completed_at,
           CASE WHEN t.transaction_type = 'balance_topup' THEN 'approved' ELSE 'completed' END AS status,
           b.payment_provider AS payment_method, b.invoice_id, t.id AS position
      FROM payment_transactions_odengi t
      LEFT JOIN balance_topups b ON b.id = t.balance_topup_id
     WHERE t.client_id = %(client_id)s
    UNION ALL
    SELECT 'topup-' || b.id, 'balance_topup', 0, b.requested_amount, NULL, NULL, b.created_at, b.completed_at, b.status,
           b.payment_provider, b.invoice_id, b.id
      FROM balance_topups b
     WHERE b.client_id = %(client_id)s
       AND NOT EXISTS (SELECT FROM payment_transactions_odengi t WHERE t.balance_topup_id = b.id)"""


async def totals(conn: Conn, client_id: str) -> tuple[datetime | None, Decimal]:
    """Time of the last credited top-up, and som spent on charging."""
    cursor = await conn.execute(
        """
        SELECT max(created_at) FILTER (WHERE transaction_type = 'balance_topup') AS last_topup_at,
               coalesce(-sum(amount) FILTER (WHERE transaction_type IN
                   ('charge_reserve', 'charge_refund', 'charge_payment')), 0) AS total_spent
          FROM payment_transactions_odengi WHERE client_id = %s""",
        (client_id,),
    )
    row = await cursor.fetchone()
    assert row is not None
    return row["last_topup_at"], row["total_spent"]


async def history(conn: Conn, client_id: str, limit: int, offset: int) -> list[HistoryItem]:
    cursor = await conn.execute(
        f"SELECT * FROM ({_LINES}) lines ORDER BY created_at DESC, position DESC, id LIMIT %(limit)s OFFSET %(offset)s",  # noqa: S608 - constant text
        {"client_id": client_id, "limit": limit, "offset": offset},
    )
    rows = await cursor.fetchall()
    return [HistoryItem(**{name: value for name, value in row.items() if name != "position"}) for row in rows]


async def history_length(conn: Conn, client_id: str) -> int:
    cursor = await conn.execute(f"SELECT count(*) AS total FROM ({_LINES}) lines", {"client_id": client_id})  # noqa: S608 - constant text
    row = await cursor.fetchone()
    assert row is not None
    total: int = row["total"]
    return total
