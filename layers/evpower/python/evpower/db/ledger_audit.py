"""Does the money add up? Questions to the database that must all have empty answers.

A run looks at what is new, at what is live, and at the next few hundred clients with everything they ever had, so that
it costs the same however long the history is: every new row is looked at by the next run, every client once a day
(docs/decisions/0020). Read only but for its own progress; each check is one statement, hence one snapshot, so running
movements do not disturb it.

The checks are given keys and look each row up by its key. ``LIMIT 1`` and ``OFFSET 0`` inside them keep it that way:
without these the planner may join with a whole table, and with ``ORDER BY ... LIMIT`` outside it walks a whole index,
because it takes ``<>`` for a condition that nearly every row meets.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

from evpower.db.connection import Conn

CLIENTS_PER_RUN = 300
NEW_ENTRIES, NEW_SETTLEMENTS, NEW_TOPUPS = 5000, 5000, 1000
RUNS_PER_LAP = 1200
"""Runs, a minute apart, in which all clients have their turn: 20 hours, so that four hours of outage do no harm."""
LAP_AT_MOST = timedelta(days=1)
PER_STATEMENT = 500
_FINDINGS = 100
_LIVE = "('pending', 'charging', 'stopping')"

About = Literal["clients", "holders", "entries", "sessions", "topups", "connectors"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that does not add up. ``difference`` is som where the check compares amounts."""

    check: str
    subject: str
    expected: str | None
    found: str | None
    difference: Decimal | None = None
    client_id: str | None = None

    @property
    def key(self) -> str:
        """Which check, about what."""
        return f"{self.check}: {self.subject}"


@dataclass(frozen=True, slots=True)
class Check:
    """``query`` answers rows (client_id, subject, expected, found) for the keys ``ids`` of what it is ``about``.

    About connectors it has no parameter: what is held and live at this moment is few.
    """

    name: str
    about: About
    query: str


_SESSION = """FROM unnest(%(ids)s::text[]) AS asked (id)
             CROSS JOIN LATERAL (
                SELECT id, user_id, state, adopted_amount, taken_amount, settlement_revision FROM charging_sessions
                 WHERE id = asked.id LIMIT 1) s"""
_SETTLEMENT = f"""{_SESSION}
              LEFT JOIN LATERAL (
                SELECT session_id, revision, due_amount, taken_after, written_off FROM settlements
                 WHERE session_id = s.id AND revision = s.settlement_revision LIMIT 1) t ON true"""  # noqa: S608 - constant

CHECKS = (
    Check(
        # The balance is what the last ledger row says.
        "balance_is_last_entry",
        "holders",
        """SELECT c.id AS client_id, c.id AS subject, coalesce(l.balance_after, 0) AS expected, c.balance AS found
             FROM unnest(%(ids)s::text[]) AS asked (id)
             CROSS JOIN LATERAL (SELECT id, balance FROM clients WHERE id = asked.id LIMIT 1) c
              LEFT JOIN LATERAL (
                SELECT balance_after FROM payment_transactions_odengi p WHERE p.client_id = c.id
                 ORDER BY p.id DESC LIMIT 1) l ON true
            WHERE c.balance <> coalesce(l.balance_after, 0)""",
    ),
    Check(
        # The balance is the sum of the ledger.
        "balance_is_sum_of_ledger",
        "clients",
        """SELECT c.id AS client_id, c.id AS subject, coalesce(l.total, 0) AS expected, c.balance AS found
             FROM unnest(%(ids)s::text[]) AS asked (id)
             CROSS JOIN LATERAL (SELECT id, balance FROM clients WHERE id = asked.id LIMIT 1) c
             CROSS JOIN LATERAL (
                SELECT sum(amount) AS total FROM payment_transactions_odengi p WHERE p.client_id = c.id) l
            WHERE c.balance <> coalesce(l.total, 0)""",
    ),
    Check(
        # Each row of these clients begins where the row before it ended.
        "ledger_is_a_chain",
        "clients",
        """SELECT asked.id AS client_id, 'entry ' || p.id AS subject, p.previous AS expected, p.balance_before AS found
             FROM unnest(%(ids)s::text[]) AS asked (id)
             CROSS JOIN LATERAL (
                SELECT id, balance_before, lag(balance_after, 1, 0.00) OVER (ORDER BY id) AS previous
                  FROM payment_transactions_odengi e WHERE e.client_id = asked.id) p
            WHERE p.balance_before <> p.previous""",
    ),
    Check(
        # So does each new row.
        "ledger_is_a_chain",
        "entries",
        """SELECT p.client_id, 'entry ' || p.id AS subject, coalesce(b.balance_after, 0.00) AS expected,
                  p.balance_before AS found
             FROM unnest(%(ids)s::bigint[]) AS asked (id)
             CROSS JOIN LATERAL (
                SELECT id, client_id, balance_before FROM payment_transactions_odengi WHERE id = asked.id LIMIT 1) p
              LEFT JOIN LATERAL (
                SELECT balance_after FROM payment_transactions_odengi e
                 WHERE e.client_id = p.client_id AND e.id < p.id ORDER BY e.id DESC LIMIT 1) b ON true
            WHERE p.balance_before <> coalesce(b.balance_after, 0)""",
    ),
    Check(
        # What a session took is what its rows took (and what the earlier system took, for adopted ones).
        "session_is_sum_of_its_entries",
        "sessions",
        f"""SELECT s.user_id AS client_id, 'session ' || s.id AS subject,
                   s.adopted_amount - coalesce(l.total, 0) AS expected, s.taken_amount AS found
              {_SESSION}
             CROSS JOIN LATERAL (
                SELECT sum(amount) AS total FROM payment_transactions_odengi p WHERE p.charging_session_id = s.id) l
            WHERE s.taken_amount <> s.adopted_amount - coalesce(l.total, 0)""",  # noqa: S608 - constant
    ),
    Check(
        # A session that ended was settled, and its last settlement is what it took.
        "ended_session_is_settled",
        "sessions",
        f"""SELECT s.user_id AS client_id, 'session ' || s.id AS subject, t.taken_after AS expected,
                   s.taken_amount AS found
              {_SETTLEMENT}
             WHERE s.state NOT IN {_LIVE} AND (t.session_id IS NULL OR t.taken_after <> s.taken_amount)""",
    ),
    Check(
        # Nothing is billed beyond what was due, and the rest of what was due is written off.
        "settlement_is_complete",
        "sessions",
        f"""SELECT s.user_id AS client_id, 'session ' || s.id || ' revision ' || t.revision AS subject,
                   t.due_amount AS expected, t.taken_after + t.written_off AS found
              {_SETTLEMENT}
             WHERE t.due_amount <> t.taken_after + t.written_off""",
    ),
    Check(
        # An approved top-up was credited with what was paid.
        "topup_is_credited",
        "topups",
        """SELECT t.client_id, 'top-up ' || t.id AS subject, t.paid_amount AS expected, coalesce(l.total, 0) AS found
             FROM unnest(%(ids)s::bigint[]) AS asked (id)
             CROSS JOIN LATERAL (
                SELECT id, client_id, paid_amount FROM balance_topups
                 WHERE id = asked.id AND NOT credited_earlier LIMIT 1) t
             CROSS JOIN LATERAL (
                SELECT sum(amount) AS total FROM payment_transactions_odengi p
                 WHERE p.balance_topup_id = t.id AND p.transaction_type = 'balance_topup') l
            WHERE coalesce(t.paid_amount, 0) <> coalesce(l.total, 0)""",
    ),
    Check(
        # A connector is held by a live session, or by none.
        "held_connector_has_live_session",
        "connectors",
        f"""SELECT NULL AS client_id, 'connector ' || c.station_id || '/' || c.connector_number AS subject,
                  NULL::text AS expected, c.live_session_id || ' ' || coalesce(s.state, 'unknown') AS found
             FROM connectors c
              LEFT JOIN LATERAL (
                SELECT id, state, station_id, connector_id FROM charging_sessions
                 WHERE id = c.live_session_id LIMIT 1) s ON true
            WHERE c.live_session_id IS NOT NULL AND (s.id IS NULL OR s.state NOT IN {_LIVE}
                  OR s.station_id <> c.station_id OR s.connector_id <> c.connector_number)""",  # noqa: S608 - constant
    ),
    Check(
        # A live session holds its connector, where the charger has one of that number.
        "live_session_holds_connector",
        "connectors",
        f"""SELECT s.user_id AS client_id, 'session ' || s.id AS subject,
                  s.station_id || '/' || s.connector_id AS expected, c.live_session_id AS found
             FROM charging_sessions s
             CROSS JOIN LATERAL (
                SELECT live_session_id FROM connectors
                 WHERE station_id = s.station_id AND connector_number = s.connector_id LIMIT 1) c
            WHERE s.state IN {_LIVE} AND c.live_session_id IS DISTINCT FROM s.id""",  # noqa: S608 - constant
    ),
)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the audit has come, and what the database looks like to this run."""

    runs: int
    after_client: str
    lap_began_at: datetime
    earlier_entry: int
    earlier_at: datetime
    suspects: list[str]
    findings: list[str]
    newest_entry: int
    now: datetime
    known_clients: float  # as the planner estimates; -1: unknown

    @property
    def clients_wanted(self) -> int:
        """Clients of this run: a fixed number, and more only where that would not reach all of them within a lap."""
        return max(CLIENTS_PER_RUN, math.ceil(self.known_clients / RUNS_PER_LAP))


async def progress(conn: Conn) -> Progress:
    """What the last run has left."""
    cursor = await conn.execute(
        """SELECT p.runs, p.after_client, p.lap_began_at, p.earlier_entry, p.earlier_at, p.suspects, p.findings,
                  (SELECT coalesce(max(id), 0) FROM payment_transactions_odengi) AS newest_entry, now() AS now,
                  (SELECT reltuples FROM pg_class WHERE oid = 'public.clients'::regclass) AS known_clients
             FROM ledger_audit_progress p WHERE p.audit = 'ledger'"""
    )
    row = await cursor.fetchone()
    assert row is not None
    return Progress(**row)


@dataclass(slots=True)
class Subjects:
    """Keys of what a run looks at. ``turn``: the clients whose turn it is; fewer than wanted at the end of a lap."""

    turn: list[str] = field(default_factory=list)
    clients: set[str] = field(default_factory=set)
    holders: set[str] = field(default_factory=set)
    entries: set[int] = field(default_factory=set)
    sessions: set[str] = field(default_factory=set)
    topups: set[int] = field(default_factory=set)

    def parts(self, about: About) -> list[list[Any]]:
        """The keys, in portions for one statement each."""
        if about == "connectors":
            return [[]]
        keys = sorted(getattr(self, about))
        return [keys[start : start + PER_STATEMENT] for start in range(0, len(keys), PER_STATEMENT)]


async def subjects(conn: Conn, known: Progress) -> Subjects:
    """What this run looks at: what is new since the run before last, what is live, the next clients with their rows."""
    turn = await _keys(
        conn,
        "SELECT id FROM clients WHERE id > %(after)s ORDER BY id LIMIT %(wanted)s",
        after=known.after_client,
        wanted=known.clients_wanted,
    )
    found = Subjects(turn, clients={*turn, *known.suspects})
    found.holders |= found.clients
    cursor = await conn.execute(
        """SELECT id, client_id, charging_session_id, balance_topup_id FROM payment_transactions_odengi
            WHERE id > %s ORDER BY id DESC LIMIT %s""",
        (known.earlier_entry, NEW_ENTRIES),
    )
    for row in await cursor.fetchall():
        found.entries.add(row["id"])
        found.holders.add(row["client_id"])
        found.sessions |= {row["charging_session_id"]} - {None}
        found.topups |= {row["balance_topup_id"]} - {None}
    found.sessions.update(
        await _keys(
            conn,
            """SELECT session_id AS id FROM settlements WHERE created_at > %(since)s
                ORDER BY created_at DESC LIMIT %(most)s""",
            since=known.earlier_at,
            most=NEW_SETTLEMENTS,
        ),
        await _keys(
            conn,
            f"""SELECT id FROM charging_sessions WHERE state NOT IN {_LIVE} AND settlement_revision = 0
                 ORDER BY id LIMIT %(most)s""",  # noqa: S608 - constant
            most=_FINDINGS,
        ),
        await _keys(conn, f"SELECT id FROM charging_sessions WHERE state IN {_LIVE}"),  # noqa: S608 - constant
    )
    found.topups.update(
        await _keys(conn, "SELECT id FROM balance_topups ORDER BY id DESC LIMIT %(most)s", most=NEW_TOPUPS)
    )
    clients = sorted(found.clients)
    found.sessions.update(await _keys(conn, _OF_CLIENTS.format("charging_sessions", "user_id"), clients=clients))
    found.topups.update(await _keys(conn, _OF_CLIENTS.format("balance_topups", "client_id"), clients=clients))
    return found


_OF_CLIENTS = """SELECT r.id FROM unnest(%(clients)s::text[]) AS asked (id)
      CROSS JOIN LATERAL (SELECT id FROM {0} WHERE {1} = asked.id OFFSET 0) r"""


async def _keys(conn: Conn, query: str, **parameters: Any) -> list[Any]:
    cursor = await conn.execute(query.encode(), parameters)
    return [row["id"] for row in await cursor.fetchall()]


async def run_check(conn: Conn, check: Check, ids: Sequence[str | int] = ()) -> list[Finding]:
    """The findings of one check, at most 100. Not more than ``PER_STATEMENT`` keys at once."""
    cursor = await conn.execute(check.query.encode(), {"ids": list(ids)})
    return [_finding(check, row) for row in await cursor.fetchmany(_FINDINGS)]


async def move_on(conn: Conn, known: Progress, turn: Sequence[str], findings: Sequence[Finding]) -> timedelta | None:
    """Note what this run has looked at; the time that the lap took when this was its end.

    Nothing when another run has moved on meanwhile: what that one looked at counts.
    """
    is_over = len(turn) < known.clients_wanted
    suspects = {finding.client_id for finding in findings if finding.client_id is not None}
    await conn.execute(
        """UPDATE ledger_audit_progress
              SET runs = runs + 1, after_client = %(after)s,
                  lap_began_at = CASE WHEN %(is_over)s THEN %(now)s ELSE lap_began_at END,
                  earlier_entry = last_entry, earlier_at = last_at, last_entry = %(newest)s, last_at = %(now)s,
                  suspects = %(suspects)s, findings = %(findings)s
            WHERE audit = 'ledger' AND runs = %(runs)s""",
        {
            "after": "" if is_over else turn[-1],
            "is_over": is_over,
            "now": known.now,
            "newest": known.newest_entry,
            "suspects": sorted(suspects)[:_FINDINGS],
            "findings": [finding.key for finding in findings[:_FINDINGS]],
            "runs": known.runs,
        },
    )
    return known.now - known.lap_began_at if is_over else None


def _finding(check: Check, row: dict[str, Any]) -> Finding:
    expected, found = row["expected"], row["found"]
    amounts = isinstance(expected, Decimal) and isinstance(found, Decimal)
    return Finding(
        check=check.name,
        subject=row["subject"],
        expected=None if expected is None else str(expected),
        found=None if found is None else str(found),
        difference=abs(expected - found) if amounts else None,
        client_id=row["client_id"],
    )
