"""Sums over a client's sessions."""

from datetime import datetime
from typing import Any

from evpower.db import Conn


async def of_client(conn: Conn, client_id: str, now: datetime) -> dict[str, Any]:
    cursor = await conn.execute(
        """SELECT count(*) AS sessions, coalesce(sum(energy), 0) AS energy_kwh,
                  coalesce(sum(coalesce(final_amount, amount)), 0) AS amount,
                  round(coalesce(avg(extract(epoch FROM coalesce(stop_time, %(now)s) - charging_started_at))
                      FILTER (WHERE charging_started_at <= coalesce(stop_time, %(now)s)), 0) / 60, 1)
                      AS average_minutes
             FROM charging_sessions WHERE user_id = %(client)s AND state <> 'error'""",
        {"client": client_id, "now": now},
    )
    row = await cursor.fetchone()
    assert row is not None
    return row
