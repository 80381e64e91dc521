"""Does the money add up? Questions to the database that must all have empty answers.

Read only and set-based; each check is one statement, hence one snapshot, so running movements do not disturb it.
What would cost a scan of the whole ledger is done for a slice of the clients, another one each hour: every client is
summed up once a day. What is cheap is asked about everybody, every time.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from evpower.db.connection import Conn

SLICES = 24
_LIMIT = 100
_RECENT = timedelta(days=3)
_LIVE = "('pending', 'charging', 'stopping')"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that does not add up. ``difference`` is som where the check compares amounts."""

    check: str
    subject: str
    expected: str | None
    found: str | None
    difference: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """``query`` answers rows (subject, expected, found); its parameters are slice, since, limit."""

    name: str
    query: str


CHECKS = (
    Check(
        # Every client: the balance is what the last ledger row says.
        "balance_is_last_entry",
        """SELECT c.id AS subject, l.balance_after AS expected, c.balance AS found
             FROM clients c LEFT JOIN LATERAL (
                SELECT balance_after FROM payment_transactions_odengi p WHERE p.client_id = c.id
                 ORDER BY p.id DESC LIMIT 1) l ON true
            WHERE c.balance <> coalesce(l.balance_after, 0) ORDER BY c.id LIMIT %(limit)s""",
    ),
    Check(
        # This hour's clients: the balance is the sum of the ledger.
        "balance_is_sum_of_ledger",
        """SELECT c.id AS subject, coalesce(l.total, 0) AS expected, c.balance AS found
             FROM clients c LEFT JOIN LATERAL (
                SELECT sum(amount) AS total FROM payment_transactions_odengi p WHERE p.client_id = c.id) l ON true
            WHERE abs(hashtext(c.id)::bigint) %% %(slices)s = %(slice)s AND c.balance <> coalesce(l.total, 0)
            ORDER BY c.id LIMIT %(limit)s""",
    ),
    Check(
        # This hour's clients: each row begins where the row before it ended.
        "ledger_is_a_chain",
        """SELECT 'entry ' || p.id AS subject, p.previous AS expected, p.balance_before AS found
             FROM clients c CROSS JOIN LATERAL (
                SELECT id, balance_before, lag(balance_after, 1, 0.00) OVER (ORDER BY id) AS previous
                  FROM payment_transactions_odengi e WHERE e.client_id = c.id) p
            WHERE abs(hashtext(c.id)::bigint) %% %(slices)s = %(slice)s AND p.balance_before <> p.previous
            ORDER BY p.id LIMIT %(limit)s""",
    ),
    Check(
        # What a session took is what its rows took (and what the earlier system took, for adopted ones).
        "session_is_sum_of_its_entries",
        f"""SELECT 'session ' || s.id AS subject, s.adopted_amount - coalesce(l.total, 0) AS expected,
                   s.taken_amount AS found
             FROM charging_sessions s LEFT JOIN LATERAL (
                SELECT sum(amount) AS total FROM payment_transactions_odengi p
                 WHERE p.charging_session_id = s.id) l ON true
            WHERE (s.created_at > %(since)s OR s.state IN {_LIVE})
              AND s.taken_amount <> s.adopted_amount - coalesce(l.total, 0)
            ORDER BY s.id LIMIT %(limit)s""",  # noqa: S608 - constant
    ),
    Check(
        # A session that ended was settled, and its last settlement is what it took.
        "ended_session_is_settled",
        f"""SELECT 'session ' || s.id AS subject, t.taken_after AS expected, s.taken_amount AS found
             FROM charging_sessions s
             LEFT JOIN settlements t ON t.session_id = s.id AND t.revision = s.settlement_revision
            WHERE s.created_at > %(since)s AND s.state NOT IN {_LIVE}
              AND (t.session_id IS NULL OR t.taken_after <> s.taken_amount)
            ORDER BY s.id LIMIT %(limit)s""",  # noqa: S608 - constant
    ),
    Check(
        # Nothing is billed beyond what was due, and the rest of what was due is written off.
        "settlement_is_complete",
        """SELECT 'session ' || t.session_id || ' revision ' || t.revision AS subject, t.due_amount AS expected,
                  t.taken_after + t.written_off AS found
             FROM charging_sessions s
             JOIN settlements t ON t.session_id = s.id AND t.revision = s.settlement_revision
            WHERE s.created_at > %(since)s AND t.due_amount <> t.taken_after + t.written_off
            ORDER BY t.session_id LIMIT %(limit)s""",
    ),
    Check(
        # An approved top-up was credited with what was paid.
        "topup_is_credited",
        """SELECT 'top-up ' || t.id AS subject, t.paid_amount AS expected, coalesce(l.total, 0) AS found
             FROM balance_topups t LEFT JOIN LATERAL (
                SELECT sum(amount) AS total FROM payment_transactions_odengi p
                 WHERE p.balance_topup_id = t.id AND p.transaction_type = 'balance_topup') l ON true
            WHERE t.id > (SELECT max(id) - 5000 FROM balance_topups) AND NOT t.credited_earlier
              AND coalesce(t.paid_amount, 0) <> coalesce(l.total, 0)
            ORDER BY t.id LIMIT %(limit)s""",
    ),
    Check(
        # A connector is held by a live session, or by none.
        "held_connector_has_live_session",
        f"""SELECT 'connector ' || c.station_id || '/' || c.connector_number AS subject, NULL::text AS expected,
                  c.live_session_id || ' ' || coalesce(s.state, 'unknown') AS found
             FROM connectors c LEFT JOIN charging_sessions s ON s.id = c.live_session_id
            WHERE c.live_session_id IS NOT NULL AND (s.id IS NULL OR s.state NOT IN {_LIVE}
                  OR s.station_id <> c.station_id OR s.connector_id <> c.connector_number)
            ORDER BY c.id LIMIT %(limit)s""",  # noqa: S608 - constant
    ),
    Check(
        # A live session holds its connector, where the charger has one of that number.
        "live_session_holds_connector",
        f"""SELECT 'session ' || s.id AS subject, s.station_id || '/' || s.connector_id AS expected,
                  c.live_session_id AS found
             FROM charging_sessions s
             JOIN connectors c ON c.station_id = s.station_id AND c.connector_number = s.connector_id
            WHERE s.state IN {_LIVE} AND c.live_session_id IS DISTINCT FROM s.id
            ORDER BY s.id LIMIT %(limit)s""",  # noqa: S608 - constant
    ),
)


async def run_check(conn: Conn, check: Check, now: datetime) -> list[Finding]:
    """The findings of one check, at most 100."""
    parameters: dict[str, Any] = {
        "slices": SLICES,
        "slice": now.hour % SLICES,
        "since": now - _RECENT,
        "limit": _LIMIT,
    }
    cursor = await conn.execute(check.query, parameters)
    return [_finding(check, row) for row in await cursor.fetchall()]


def _finding(check: Check, row: dict[str, Any]) -> Finding:
    expected, found = row["expected"], row["found"]
    amounts = isinstance(expected, Decimal) and isinstance(found, Decimal)
    return Finding(
        check=check.name,
        subject=row["subject"],
        expected=None if expected is None else str(expected),
        found=None if found is None else str(found),
        difference=abs(expected - found) if amounts else None,
    )
