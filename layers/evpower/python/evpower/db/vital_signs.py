"""How the system stands at this moment, as the database knows it: one read-only statement over partial indexes.

A queue's own age says how long a message waits; these say how long a driver does, whatever the message went through.
"""

from datetime import datetime, timedelta

from evpower.db.connection import Conn

_REFUND_GRACE = timedelta(minutes=15)

_QUERY = """
    SELECT (SELECT count(*) FROM stations
             WHERE status = 'active' AND last_heartbeat_at > %(online_since)s) AS "StationsOnline",
           (SELECT count(*) FROM stations
             WHERE status = 'active' AND last_heartbeat_at IS NOT NULL) AS "StationsExpected",
           (SELECT count(*) FROM charging_sessions
             WHERE state IN ('pending', 'charging', 'stopping')) AS "LiveSessions",
           (SELECT min(created_at) FROM charging_sessions WHERE state = 'pending') AS "OldestPendingStartAge",
           (SELECT min(c.created_at) FROM station_commands c JOIN stations s ON s.id = c.station_id
             WHERE c.status IN ('queued', 'sent') AND s.connected_instance IS NOT NULL
               AND s.last_heartbeat_at > %(online_since)s) AS "OldestCommandAge",
           (SELECT min(received_at) FROM payment_inbox WHERE state = 'received') AS "OldestCallbackAge",
           (SELECT min(next_attempt_at) FROM push_outbox
             WHERE state = 'queued' AND next_attempt_at <= %(now)s) AS "OldestPushAge",
           (SELECT count(*) FROM topup_refunds WHERE state IN ('debited', 'sent', 'unknown')
               AND created_at < %(refund_overdue)s) AS "RefundsOpen",
           (SELECT count(*) FROM charging_sessions WHERE needs_review) AS "SessionsForReview",
           (SELECT count(*) FROM quarantined_messages WHERE resolved_at IS NULL) AS "MessagesQuarantined"
"""


async def measure(conn: Conn, now: datetime, *, offline_after: timedelta) -> dict[str, float]:
    """Metric -> value; ages are seconds, 0 when nothing waits (names and meanings: evpower.metric_names)."""
    parameters = {"now": now, "online_since": now - offline_after, "refund_overdue": now - _REFUND_GRACE}
    row = await (await conn.execute(_QUERY, parameters)).fetchone()
    assert row is not None
    return {name: _number(value, now) for name, value in row.items()}


def _number(value: datetime | int | None, now: datetime) -> float:
    if isinstance(value, datetime):
        return round(max(0.0, (now - value).total_seconds()), 1)
    return float(value or 0)
