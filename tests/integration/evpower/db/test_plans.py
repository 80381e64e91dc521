"""No sweep, list or hot path may scan a big table: each is run against a grown database and its plans are read."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import orjson
import psycopg
import pytest
from psycopg.rows import dict_row

from evpower.accounts import repository as accounts
from evpower.admin.desk_models import CardFilter, QuarantineFilter
from evpower.admin.models import Scope, SessionFilter, Slice
from evpower.admin.repository import cards as staff_cards
from evpower.admin.repository import clients as staff_clients
from evpower.admin.repository import quarantine as staff_quarantine
from evpower.admin.repository import reviews as staff_reviews
from evpower.admin.repository import sessions as staff_sessions
from evpower.admin.repository import stations as staff_stations
from evpower.balance import repository as balance
from evpower.certificates import repository as certificates
from evpower.certificates.models import CertificateState
from evpower.charging.models import StartTransaction
from evpower.charging.repository import id_tags, live, meter_values, sessions, sweeps, transactions
from evpower.commands import repository as commands
from evpower.commands.models import CommandFilter
from evpower.config import Settings
from evpower.db import Conn, retention
from evpower.db import ledger_audit as questions
from evpower.jobs import repository as jobs
from evpower.jobs.models import JobFilter, JobKind
from evpower.payments import repository as payments
from evpower.reservations import repository as reservations
from evpower.reservations.models import Begun
from evpower.smart_charging import repository as profiles
from evpower.stations.hearing import Silence
from evpower.stations.inspected import EventFilter
from evpower.stations.repository import inspection, keys, stations
from tests.conftest import create_database, drop_database
from tests.integration.evpower.db import network
from tests.integration.evpower.db.plan_reading import Explained

NOW = datetime.now(UTC)
AGO = NOW - timedelta(hours=1)
SILENT = Silence(AGO, NOW, NOW)
START = StartTransaction("s8", 1, "TAG7", Decimal(0), NOW - timedelta(days=20_000), NOW, 8, "m")

# A network some months old: 2,000 clients, 20,000 ended sessions, 40,000 ledger rows and so on, a few live ones.
_GROW = """
SET session_replication_role = replica; -- no counting triggers while loading
INSERT INTO clients (id, balance) SELECT 'c' || n, 0 FROM generate_series(1, 2000) n;
INSERT INTO locations (id, name) SELECT 'l' || n, 'L' FROM generate_series(1, 100) n;
INSERT INTO stations (id, serial_number, location_id, last_heartbeat_at, is_available, connection_epoch)
    SELECT 's' || n, 'sn' || n, 'l' || (n % 100 + 1), now(), true, n FROM generate_series(1, 1000) n;
INSERT INTO users (id, role) VALUES ('owner', 'admin'), ('root', 'superadmin');
UPDATE stations SET user_id = 'owner' WHERE id IN ('s1', 's2', 's3');
INSERT INTO connectors (station_id, connector_number) SELECT 's' || n, 1 FROM generate_series(1, 1000) n;
INSERT INTO charging_sessions (id, user_id, station_id, connector_id, id_tag, state, price, created_at,
    settlement_revision, energy_wh, settled_energy_wh, last_meter_at, ocpp_transaction_id, stop_time)
    SELECT 'x' || n, 'c' || (n % 2000 + 1), 's' || (n % 1000 + 1), 1, 'TAG' || n, 'stopped', '{"rate_per_kwh": "13"}',
           now() - n * interval '1 hour', 1, 1, 1, now() - n * interval '1 hour', n, now()
      FROM generate_series(1, 20000) n;
INSERT INTO charging_sessions (id, user_id, station_id, connector_id, id_tag, state, price, created_at,
    stop_requested_at, auto_stop_at, ocpp_transaction_id)
    SELECT 'y' || n, 'c' || n, 's' || n, 1, 'LIVE' || n, (ARRAY['pending', 'charging', 'stopping'])[n % 3 + 1],
           '{"rate_per_kwh": "13"}', now() - interval '1 day', now(), now(), 20000 + n FROM generate_series(1, 60) n;
INSERT INTO settlements SELECT 'x' || n, 1, 'test', 1, 1, 0, 0, 0, 0 FROM generate_series(1, 20000) n;
INSERT INTO payment_transactions_odengi (client_id, transaction_type, amount, balance_before, balance_after, source_key,
    charging_session_id, balance_topup_id)
    SELECT 'c' || (n % 2000 + 1), 'charge_reserve', 0, 0, 0, 'k' || n, 'x' || (n % 20000 + 1), NULL
      FROM generate_series(1, 40000) n;
INSERT INTO balance_topups (client_id, order_id, invoice_id, requested_amount, status, needs_status_check, created_at,
    invoice_expires_at)
    SELECT 'c' || (n % 2000 + 1), 'o' || n, 'i' || n, 10, 'expired', false, now() - n * interval '1 minute', now()
      FROM generate_series(1, 20000) n;
INSERT INTO balance_topups (client_id, order_id, requested_amount, next_check_at, invoice_expires_at)
    SELECT 'c' || n, 'open' || n, 10, now() - interval '1 minute', now() - interval '1 minute'
      FROM generate_series(1, 50) n;
INSERT INTO payment_inbox (provider, order_id, fingerprint, payload, signature_scheme, state, received_at)
    SELECT 'ODENGI', 'o' || n, 'f' || n, '{}', 'hash', CASE WHEN n > 19950 THEN 'received' ELSE 'processed' END,
           now() - n * interval '10 minutes' FROM generate_series(1, 20000) n;
INSERT INTO topup_refunds (topup_id, client_id, trans_id, amount, is_full, request_key, state, requested_by)
    SELECT 1, 'c1', 't', 1, false, 'r' || n, 'succeeded', 'test' FROM generate_series(1, 5000) n;
INSERT INTO station_commands (id, station_id, action, status, expires_at, requested_by, session_id, created_at)
    SELECT 'k' || n, 's' || (n % 1000 + 1), 'RemoteStopTransaction',
           CASE WHEN n > 19950 THEN 'queued' ELSE 'accepted' END, now(), 'test', 'x' || n,
           now() - n * interval '10 minutes'
      FROM generate_series(1, 20000) n;
INSERT INTO ocpp_transactions (id, station_id, connector_id, id_tag, meter_start, started_at, session_id, status)
    SELECT n, 's' || (n % 1000 + 1), 1, 'TAG' || n, 0, now() - n * interval '10 minutes', 'x' || n,
           CASE WHEN n > 19950 THEN 'active' ELSE 'stopped' END FROM generate_series(1, 20000) n;
SELECT setval('ocpp_transaction_id_seq', 100000);
INSERT INTO ocpp_meter_values (station_id, connector_id, session_id, received_at, raw)
    SELECT 's' || (n % 1000 + 1), 1, 'x' || (n % 20000 + 1), now() - n * interval '1 second', '{}'
      FROM generate_series(1, 20000) n;
INSERT INTO station_events (station_id, type, received_at)
    SELECT 's' || (n % 1000 + 1), 't', now() - n * interval '10 minutes' FROM generate_series(1, 20000) n;
INSERT INTO audit_logs (operation, client_id, created_at)
    SELECT 'o', 'c' || (n % 2000 + 1), now() - n * interval '10 minutes' FROM generate_series(1, 20000) n;
INSERT INTO push_outbox (user_id, event, dedup_key, state, created_at)
    SELECT 'c1', 'e', 'd' || n, 'done', now() - n * interval '10 minutes' FROM generate_series(1, 20000) n;
INSERT INTO idempotency_keys (scope, key, fingerprint, created_at)
    SELECT 's', 'k' || n, 'f', now() - n * interval '10 minutes' FROM generate_series(1, 20000) n;
INSERT INTO used_nonces SELECT 'n' || n, now() - n * interval '10 minutes' FROM generate_series(1, 20000) n;
INSERT INTO quarantined_messages (station_id, action, reason, payload, fingerprint, received_at, resolved_at)
    SELECT 's' || (n % 1000 + 1), 'StopTransaction', 'r', '{}', 'f' || n, now() - n * interval '10 minutes',
           CASE WHEN n > 50 THEN now() END FROM generate_series(1, 20000) n;
INSERT INTO id_tags (id_tag, client_id, created_at, parent_id_tag)
    SELECT 'TAG' || n, 'c' || (n % 2000 + 1), now() - n * interval '10 minutes', 'P' || (n % 100)
      FROM generate_series(1, 20000) n;
INSERT INTO session_reviews (session_id, action, actor, note, created_at)
    SELECT 'x' || n, 'close', 'test', 'note', now() FROM generate_series(1, 20000) n;
INSERT INTO rate_counters SELECT 'b' || n, now() - n * interval '10 minutes', 1 FROM generate_series(1, 20000) n;
INSERT INTO reservations (station_id, reservation_id, connector_id, id_tag, client_id, expires_at, state, command_id,
    requested_by, created_at, updated_at)
    SELECT 's' || (n % 1000 + 1), n, 1, 'TAG' || n, 'c' || (n % 2000 + 1), now() - n * interval '10 minutes',
           CASE WHEN n > 19950 THEN 'accepted' ELSE 'used' END, 'k' || n, 'test', now() - n * interval '10 minutes',
           now()
      FROM generate_series(1, 20000) n;
INSERT INTO charging_profiles (station_id, charging_profile_id, connector_id, purpose, stack_level, transaction_id,
    state, command_id, requested_by, created_at, updated_at)
    SELECT 's' || (n % 1000 + 1), n, 1, 'TxProfile', 0, n, CASE WHEN n > 19950 THEN 'active' ELSE 'ended' END, 'k' || n,
           'test', now() - n * interval '10 minutes', now() FROM generate_series(1, 20000) n;
INSERT INTO station_jobs (id, station_id, kind, state, location, command_id, requested_by, expires_at, created_at,
    updated_at)
    SELECT 'j' || n, 's' || (n % 1000 + 1), 'log', CASE WHEN n > 19950 THEN 'running' ELSE 'failed' END, '', 'k' || n,
           'test', now() - n * interval '10 minutes', now() - n * interval '10 minutes', now()
      FROM generate_series(1, 20000) n;
INSERT INTO station_certificates (id, station_id, state, csr, csr_fingerprint, chain, serial_number, not_after, due_at,
    requested_at)
    SELECT 'e' || n, 's' || (n % 1000 + 1), CASE WHEN n > 19950 THEN 'requested' ELSE 'accepted' END, '', n::text,
           'pem', n::text, now() + (n - 100) * interval '1 hour', CASE WHEN n > 19950 THEN now() END,
           now() - n * interval '10 minutes' FROM generate_series(1, 20000) n;
INSERT INTO installed_certificates (id, station_id, certificate_type, hash_algorithm, issuer_name_hash, issuer_key_hash,
    serial_number, not_after, seen_at)
    SELECT 'f' || n, 's' || (n % 1000 + 1), 'CentralSystemRootCertificate', 'SHA256', 'n', 'k', n::text,
           now() + (n - 50) * interval '1 day', now() FROM generate_series(1, 5000) n;
INSERT INTO station_key_candidates (id, station_id, key_hash, delivery, command_id, created_by, created_at)
    SELECT 'n' || n, 's' || (n % 1000 + 1), 'h', 'send', 'k' || n, 'test', now() FROM generate_series(1, 500) n;
SET session_replication_role = DEFAULT;
ANALYZE;
"""


@pytest.fixture(scope="module")
def grown_url(postgres: str, _template: str) -> Iterator[str]:
    name = f"{_template}_grown"
    dsn = create_database(postgres, name, _template)
    with network.owner(dsn) as conn:
        conn.execute(_GROW.encode())
    yield dsn
    drop_database(postgres, name)


@pytest.fixture
async def explain(grown_url: str) -> AsyncIterator[Callable[..., Awaitable[Explained]]]:
    """Runs a piece of work under a role in a transaction that is rolled back; what its plans did."""
    conn = await psycopg.AsyncConnection.connect(grown_url, row_factory=dict_row)

    async def run(
        work: Callable[[Any], Awaitable[object]], role: str = "evpower_worker", claims: dict[str, str] | None = None
    ) -> Explained:
        explained = Explained(conn)
        await conn.execute("SET LOCAL random_page_cost = 1.1")  # solid state disks, as everywhere by now
        await conn.execute(f"SET LOCAL ROLE {role}".encode())
        await conn.execute("SELECT set_config('request.jwt.claims', %s, true)", (orjson.dumps(claims or {}).decode(),))
        await work(explained)
        await conn.rollback()
        return explained

    yield run
    await conn.close()


Explain = Callable[..., Awaitable[Explained]]
Work = Callable[[Conn], Awaitable[object]]

SWEEPS: dict[str, tuple[Work, str]] = {
    "never_started": (lambda c: sweeps.never_started(c, AGO, NOW, 100), "charging_sessions_live_idx"),
    "too_long": (lambda c: sweeps.too_long(c, AGO, 100), "charging_sessions_live_idx"),
    "on_silent_stations": (lambda c: sweeps.on_silent_stations(c, SILENT, 100), ""),
    "readings_overdue": (lambda c: sweeps.readings_overdue(c, NOW, SILENT, 100), "charging_sessions_auto_stop_idx"),
    "stop_unanswered": (lambda c: sweeps.stop_unanswered(c, NOW, NOW, NOW, 100), "station_commands_session_idx"),
    "late_readings": (lambda c: sweeps.late_readings(c, NOW, 100), ""),
    "waiting_stops": (lambda c: sweeps.waiting_stops(c, AGO, NOW, 3, 100), "ocpp_transactions_guess_idx"),
    "left_open": (lambda c: sweeps.left_open(c, AGO, 100), ""),
    "open_command": (lambda c: sweeps.open_command(c, "x7", "RemoteStopTransaction"), "station_commands_session_idx"),
    "due_topups": (lambda c: payments.claim_due_topups(c, NOW, NOW, 40), "balance_topups_due_idx"),
    "due_callbacks": (lambda c: payments.claim_due_callbacks(c, NOW, NOW, 40), "payment_inbox_due_idx"),
    "due_refunds": (lambda c: payments.claim_due_refunds(c, NOW, NOW, 40), "topup_refunds_open_idx"),
    "expire_overdue": (lambda c: payments.expire_overdue(c, NOW, NOW, 40), ""),
    "schedule_forgotten": (lambda c: payments.schedule_forgotten(c, NOW), "balance_topups_due_idx"),
    "redelivery": (lambda c: commands.sweep(c, lease_until=NOW, now=NOW, limit=100), "station_commands_open_idx"),
    "silent_stations": (lambda c: stations.mark_silent(c, SILENT, 200), ""),
    "reservations_over": (lambda c: reservations.expire(c, NOW, 100), "reservations_due_idx"),
    "jobs_over": (lambda c: jobs.expire(c, NOW, "over", 100), "station_jobs_open_idx"),
    "certificates_due": (lambda c: certificates.due(c, NOW, 50), "station_certificates_due_idx"),
    "certificates_ending": (lambda c: certificates.expiring(c, NOW, 0, 100), "station_certificates_expiry_idx"),
    "certificates_counted": (lambda c: certificates.count_expiring(c, NOW), "station_certificates_expiry_idx"),
    "certificates_to_renew": (lambda c: certificates.to_renew(c, NOW, AGO, 100), ""),
    "dead_keys": (lambda c: keys.drop_undelivered(c, 100), ""),
    "profiles_over": (lambda c: profiles.end(c, NOW, 100), ""),
}


@pytest.mark.parametrize("name", sorted(SWEEPS))
async def test_sweeps_find_their_rows_by_index(explain: Explain, name: str) -> None:
    work, index = SWEEPS[name]
    plan = await explain(work)
    assert plan.statements > 0
    assert plan.scans == []
    assert not index or index in plan.indexes


@pytest.mark.parametrize("purge", retention.purges(Settings()), ids=lambda purge: f"{purge.table}-{purge.days}")
async def test_housekeeping_finds_old_rows_by_index(explain: Explain, purge: retention.Purge) -> None:
    # An ordinary day: the rows are up to 138.9 days old, and only the oldest are too old.
    plan = await explain(lambda c: retention.purge_batch(c, purge, NOW - timedelta(days=138 - purge.days)))
    assert plan.statements == 1
    assert plan.scans == []


async def _subjects(conn: Conn) -> questions.Subjects:
    """Those of a run in the middle of a lap, with a thousand new rows."""
    known = replace(await questions.progress(conn), after_client="c5", earlier_entry=39_000, earlier_at=AGO)
    return await questions.subjects(conn, known)


ENDS = {"balance_topups_pkey", "payment_transactions_odengi_pkey"}  # the newest rows are at the index's end


async def test_the_audit_finds_what_it_looks_at_by_index(explain: Explain) -> None:
    plan = await explain(_subjects)
    assert plan.statements > 5
    assert plan.scans == []
    # What is never settled and what is live are small indexes of their own.
    assert plan.walks <= {"charging_sessions_never_settled_idx", "charging_sessions_live_idx", *ENDS}


@pytest.mark.parametrize("check", questions.CHECKS, ids=lambda check: f"{check.name}-{check.about}")
async def test_the_audit_looks_up_every_row_by_its_key(explain: Explain, check: questions.Check) -> None:
    async def work(conn: Conn) -> None:
        found = await _subjects(conn._conn)  # type: ignore[attr-defined]  # the plans of this are read above
        parts = found.parts(check.about)
        assert [len(part) for part in parts[:-1]] == [questions.PER_STATEMENT] * (len(parts) - 1)
        await questions.run_check(conn, check, parts[0])

    plan = await explain(work)
    assert plan.statements == 1
    assert plan.scans == []
    assert plan.walks <= {"connectors_live_session_idx", "charging_sessions_live_idx"}


async def _starts(conn: Conn) -> None:
    """A start that is new, repeated, another charge with the same content, and the end of that one."""
    assert (await transactions.insert(conn, START))[1]
    assert not (await transactions.insert(conn, START))[1]
    again, created = await transactions.insert_again(conn, START, 1)
    assert created
    assert not await transactions.same_stop_before(conn, again, meter_stop=Decimal(5), stopped_at=NOW)


async def _next_begin(conn: Conn) -> None:
    transaction = await transactions.get(conn, "s8", 7)
    assert transaction is not None
    await transactions.next_begin(conn, transaction)


HOT: dict[str, Work] = {
    "admission": lambda c: stations.admission(c, "s7"),
    "certificates_of_station": lambda c: certificates.shown_before(c, "s7"),
    "certificate_used": lambda c: certificates.note_use(c, "s7", "6", NOW),
    "certificate_answered": lambda c: certificates.answer(c, "s7", "k", "6", CertificateState.ACCEPTED, NOW),
    "client": lambda c: accounts.get_client(c, "c7"),
    "client_locked": lambda c: accounts.lock_client(c, "c7"),
    "entry_by_source": lambda c: accounts.entry_by_source(c, "k7"),
    "ledger_sum": lambda c: accounts.ledger_sum(c, "c7"),
    "session": lambda c: sessions.get(c, "x7"),
    "live_of_client": lambda c: sessions.live_of_client(c, "c7"),
    "live_on_connector": lambda c: sessions.live_on_connector(c, "s7", 1),
    "reservation_used": lambda c: reservations.use(c, Begun("s7", 1, "TAG7", 7, None, 6), NOW),
    "reservation_on_connector": lambda c: reservations.live_on(c, "s7", 1, NOW),
    "profiles_of_station": lambda c: profiles.live(c, "s7"),
    "running_of_station": lambda c: profiles.running(c, "s7"),
    "latest_by_tag": lambda c: sessions.latest_by_tag(c, "s7", "TAG7"),
    "session_history": lambda c: sessions.history(c, "c7", 50, 0),
    "balance_totals": lambda c: balance.totals(c, "c7"),
    "balance_history": lambda c: balance.history(c, "c7", 50, 0),
    "balance_history_length": lambda c: balance.history_length(c, "c7"),
    "topup": lambda c: payments.find_topup(c, order_id="o7"),
    "topup_by_invoice": lambda c: payments.find_topup(c, invoice_id="i7"),
    "transaction": lambda c: transactions.get(c, "s8", 7),
    "without_stop": lambda c: transactions.without_stop(c, "s8", "TAG7", 20),
    "next_begin": _next_begin,
    "meter_context": lambda c: meter_values.context_row(c, "s8", 7),
    "start_repeated": _starts,
    "running_on": lambda c: meter_values.running_on(c, "s8", 1, AGO, NOW),
    "read_since": lambda c: meter_values.read_since(c, "x7", AGO, NOW, dated_after=AGO),
    "data_of_stop": lambda c: meter_values.data_of_stop(c, "x7", AGO),
    "waiting_on_connector": lambda c: sweeps.waiting_on_connector(c, "s8", 1),
    "card": lambda c: id_tags.by_tag(c, "tag7"),
    "card_was_used": lambda c: id_tags.was_used(c, "tag7"),
    "running_by_cards": lambda c: sessions.live_of_cards(c, "s7", "TAG7", "p7"),
    "job_of_a_command": lambda c: jobs.lock_by_command(c, "k7"),
    "job_reported": lambda c: jobs.lock_reported(c, "s7", JobKind.LOG, None, AGO),
    "jobs_of_a_station": lambda c: jobs.jobs(c, "s7", JobFilter(is_open=True, before=(NOW, "j")), NOW, 50),
    "open_jobs_of_a_station": lambda c: jobs.count_open(c, "s7", tuple(JobKind), NOW),
    "commands_of_a_station": lambda c: commands.page(c, "s7", CommandFilter(before=(NOW, "k")), 50),
    "events_of_a_station": lambda c: inspection.events(c, "s7", EventFilter(), 15000, 50),
    "live_at_station": lambda c: live.live_at_station(c, "s7"),
    "queued_for": lambda c: commands.queued_for(c, {f"s{n}": n for n in range(1, 50)}, NOW, 200),
}


@pytest.mark.parametrize("name", sorted(HOT))
async def test_hot_paths_and_lists_use_indexes(explain: Explain, name: str) -> None:
    plan = await explain(HOT[name])
    assert plan.statements > 0
    assert plan.scans == []


@pytest.mark.parametrize(
    "name",
    ["client", "client_locked", "session", "session_history", "balance_totals", "balance_history", "topup",
     "topup_by_invoice", "live_of_client"],
)  # fmt: skip
async def test_policies_of_the_api_do_not_take_the_indexes_away(explain: Explain, name: str) -> None:
    plan = await explain(HOT[name], role="evpower_api", claims={"sub": "c7"})
    assert plan.statements > 0
    assert (plan.scans, plan.per_row) == ([], [])


_EVERY_MESSAGE, _OPEN = QuarantineFilter(), QuarantineFilter(is_open=True)
OWNER, ALL = Scope(everything=False, owner_id="owner"), Scope(everything=True)
PART = Slice(50)
STAFF: dict[str, Work] = {
    "live_sessions": lambda c: staff_sessions.page(c, ALL, SessionFilter(status="started"), PART),
    "own_live_sessions": lambda c: staff_sessions.page(c, OWNER, SessionFilter(status="started"), PART),
    "own_sessions": lambda c: staff_sessions.page(c, OWNER, SessionFilter(), PART),
    "own_stopped_sessions": lambda c: staff_sessions.page(c, OWNER, SessionFilter(status="stopped", since=AGO), PART),
    "sessions_of_a_station": lambda c: staff_sessions.page(c, ALL, SessionFilter(station_ref="sn7"), PART),
    "sessions_of_an_hour": lambda c: staff_sessions.page(c, ALL, SessionFilter(since=AGO, until=NOW), PART),
    "session": lambda c: staff_sessions.find(c, OWNER, "x7"),
    "sessions_of_a_client": lambda c: staff_sessions.recent_of_client(c, OWNER, "c7", 10),
    "client": lambda c: staff_clients.find(c, OWNER, "c7"),
    "dashboard": lambda c: staff_stations.session_sums(c, ALL, AGO),
    "messages": lambda c: staff_quarantine.page(c, ALL, _OPEN, PART),
    "own_messages": lambda c: staff_quarantine.page(c, OWNER, _EVERY_MESSAGE, PART),
    "messages_of_a_station": lambda c: staff_quarantine.page(c, ALL, QuarantineFilter("sn7"), PART),
    "message": lambda c: staff_quarantine.find(c, OWNER, 7),
    "card": lambda c: staff_cards.find(c, 7),
    "cards_of_a_client": lambda c: staff_cards.page(c, CardFilter(client_id="c7"), PART),
    "sessions_for_review": lambda c: staff_sessions.page(c, ALL, SessionFilter(needs_review=True), PART),
    "readings_of_a_session": lambda c: staff_reviews.readings(c, "x7", AGO, NOW),
    "transactions_of_a_session": lambda c: staff_reviews.transactions(c, "x7"),
    "settlements_of_a_session": lambda c: staff_reviews.settlements(c, "x7"),
    "ledger_of_a_session": lambda c: staff_reviews.ledger(c, "x7"),
    "acts_of_a_session": lambda c: staff_reviews.acts(c, "x7"),
    "own_dashboard": lambda c: staff_stations.session_sums(c, OWNER, AGO),
}
LISTS: dict[str, tuple[Work, str]] = {
    "sessions": (lambda c: staff_sessions.page(c, ALL, SessionFilter(), PART), "charging_sessions"),
    "clients": (lambda c: staff_clients.page(c, ALL, None, None, PART), "clients"),
    "cards": (lambda c: staff_cards.page(c, CardFilter(), PART), "id_tags"),
    "cards_of_a_group": (lambda c: staff_cards.page(c, CardFilter(parent_id_tag="p7"), PART), ""),
    "cards_with_a_text": (lambda c: staff_cards.page(c, CardFilter(search="TAG77"), PART), "id_tags"),
    "messages": (lambda c: staff_quarantine.page(c, ALL, _EVERY_MESSAGE, PART), "quarantined_messages"),
}


@pytest.mark.parametrize("subject", ["owner", "root"])
@pytest.mark.parametrize("name", sorted(STAFF))
async def test_the_staffs_screens_use_indexes(explain: Explain, name: str, subject: str) -> None:
    plan = await explain(STAFF[name], role="evpower_api", claims={"sub": subject, "evp_scope": "staff"})
    assert plan.statements > 0
    assert (plan.scans, plan.per_row) == ([], [])


@pytest.mark.parametrize("subject", ["owner", "root"])
@pytest.mark.parametrize("name", sorted(LISTS))
async def test_whole_lists_ask_policies_once(explain: Explain, name: str, subject: str) -> None:
    """They count all rows of their own table, so they scan that; they scan no other."""
    work, table = LISTS[name]
    plan = await explain(work, role="evpower_api", claims={"sub": subject, "evp_scope": "staff"})
    assert plan.statements > 1
    assert plan.per_row == []
    assert set(plan.scans) <= {table}


async def test_the_apps_own_reads_use_indexes(explain: Explain) -> None:
    """What the app asks PostgREST for (mobile-api.md §11.2)."""

    async def reads(conn: Conn) -> None:
        await conn.execute(
            "SELECT * FROM charging_sessions WHERE user_id = %s ORDER BY created_at DESC LIMIT 50", ("c7",)
        )
        await conn.execute(
            "SELECT * FROM balance_topups WHERE client_id = %s ORDER BY created_at DESC LIMIT 50", ("c7",)
        )
        await conn.execute(
            "SELECT amount FROM payment_transactions_odengi WHERE balance_topup_id = %s AND client_id = %s", (7, "c7")
        )
        await conn.execute("SELECT balance FROM clients WHERE id = %s", ("c7",))

    plan = await explain(reads, role="authenticated", claims={"sub": "c7"})
    assert plan.statements == 4
    assert (plan.scans, plan.per_row) == ([], [])
