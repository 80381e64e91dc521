"""Daily housekeeping: what goes, what stays."""

from collections.abc import Callable
from datetime import UTC, datetime

import psycopg
import pytest

from evpower.clock import FrozenClock
from evpower.config import Settings
from evpower.db import PooledDatabase, retention
from evpower.errors import ServiceUnavailable
from functions.sweeps import housekeeping
from functions.sweeps.deps import SweepDeps
from tests.fakes.file_store import MemoryFileStore
from tests.integration.functions.sweeps.parts import sweep_deps

NOW = datetime.now(UTC)
# name -> (insert of a row that is $age days old, days after which it goes; None: it stays)
AGED = {
    "station_events": ("INSERT INTO station_events (station_id, type, received_at) VALUES ('s', 't', %(at)s)", 90),
    "audit_logs": ("INSERT INTO audit_logs (operation, created_at) VALUES ('o', %(at)s)", 1095),
    "idempotency_keys": ("INSERT INTO idempotency_keys (scope, key, fingerprint, created_at)"
                         " VALUES ('s', %(name)s, 'f', %(at)s)", 7),
    "used_nonces": ("INSERT INTO used_nonces VALUES (%(name)s, %(at)s)", 0),
    "rate_counters": ("INSERT INTO rate_counters VALUES (%(name)s, %(at)s, 1)", 2),
    "otp_codes": ("INSERT INTO otp_codes (phone, code_hash, expires_at, created_at)"
                  " VALUES ('+996700000031', '', %(at)s, %(at)s)", 1),
    "refresh_tokens": ("INSERT INTO refresh_tokens (id, client_id, token_hash, created_at, last_used_at, expires_at)"
                       " VALUES (%(name)s, 'c', convert_to(%(name)s, 'UTF8'), %(at)s, %(at)s, %(at)s)", 0),
    "push_outbox": ("INSERT INTO push_outbox (user_id, event, dedup_key, state, created_at)"
                    " VALUES ('c', 'e', %(name)s, 'done', %(at)s)", 90),
    "station_commands": ("INSERT INTO station_commands (station_id, action, status, expires_at, requested_by,"
                         " created_at) VALUES ('s-1', 'Reset', 'accepted', %(at)s, 'test', %(at)s)", 90),
    "station_jobs": ("INSERT INTO station_jobs (id, station_id, kind, state, location, requested_by, expires_at,"
                     " created_at, updated_at) VALUES (%(name)s, 's-1', 'log', 'failed', '', 'test', %(at)s, %(at)s,"
                     " %(at)s)", 90),
    "station_certificates": ("INSERT INTO station_certificates (id, station_id, state, csr, csr_fingerprint,"
                             " requested_at) VALUES (%(name)s, 's-1', 'failed', '', '', %(at)s)", 90),
    "payment_inbox": ("INSERT INTO payment_inbox (provider, order_id, fingerprint, payload, signature_scheme, state,"
                      " received_at) VALUES ('ODENGI', 'o', %(name)s, '{}', 'hash', 'processed', %(at)s)", 90),
}  # fmt: skip
KEPT_FOR_BOOKS = (
    "INSERT INTO payment_inbox (provider, order_id, fingerprint, payload, signature_scheme, state, received_at)"
    " VALUES ('ODENGI', 'o', 'unexplained', '{}', 'hash', 'unknown_order', %(at)s)"
)
NEVER = {
    "an open command": "INSERT INTO station_commands (station_id, action, expires_at, requested_by, created_at)"
    " VALUES ('s-1', 'Reset', %(at)s, 'test', %(at)s)",
    "an open job": "INSERT INTO station_jobs (id, station_id, kind, location, requested_by, expires_at, created_at,"
    " updated_at) VALUES ('j', 's-1', 'log', '', 'test', %(at)s, %(at)s, %(at)s)",
    "a push to send": "INSERT INTO push_outbox (user_id, event, dedup_key, created_at) VALUES ('c', 'e', 'k', %(at)s)",
    "a callback to work on": "INSERT INTO payment_inbox (provider, order_id, fingerprint, payload, signature_scheme,"
    " received_at) VALUES ('ODENGI', 'o', 'open', '{}', 'hash', %(at)s)",
    "the ledger": "INSERT INTO payment_transactions_odengi (client_id, transaction_type, amount, balance_before,"
    " balance_after, source_key, created_at) VALUES ('c', 'opening_balance', 0, 0, 0, 'k', %(at)s)",
    "a certificate in use": "INSERT INTO station_certificates (id, station_id, state, csr, csr_fingerprint,"
    " requested_at) VALUES ('c', 's-1', 'accepted', '', '', %(at)s)",
    "a revoked certificate": "INSERT INTO station_certificates (id, station_id, state, csr, csr_fingerprint,"
    " requested_at, revoked_at) VALUES ('r', 's-1', 'failed', '', '', %(at)s, %(at)s)",
    "a top-up": "INSERT INTO balance_topups (client_id, order_id, requested_amount, created_at)"
    " VALUES ('c', 'o', 1, %(at)s)",
}


JOB = (
    "INSERT INTO station_jobs (id, station_id, kind, state, location, object_key, requested_by, expires_at, created_at,"
    " updated_at) VALUES (%(name)s, 's-1', 'log', '{state}', '', 'logs/' || %(name)s, 'test',"
    " %(at)s + interval '1 hour', %(at)s, %(at)s)"
)


@pytest.fixture
def deps(make_settings: Callable[..., Settings], db: PooledDatabase) -> SweepDeps:
    return sweep_deps(make_settings, db, FrozenClock(NOW))[0]


@pytest.fixture
def owner(database_url: str) -> psycopg.Connection[tuple[object, ...]]:
    conn = psycopg.connect(database_url, autocommit=True)
    conn.execute("INSERT INTO clients (id) VALUES ('c')")
    conn.execute("INSERT INTO stations (id, serial_number) VALUES ('s-1', 'sn-1')")
    return conn


def insert(conn: psycopg.Connection[tuple[object, ...]], statement: str, days: float, name: str) -> None:
    moment = NOW.timestamp() - days * 86400
    conn.execute(statement.encode(), {"at": datetime.fromtimestamp(moment, UTC), "name": name})


@pytest.mark.parametrize("table", sorted(AGED))
async def test_rows_leave_at_their_age(
    deps: SweepDeps, owner: psycopg.Connection[tuple[object, ...]], table: str
) -> None:
    statement, days = AGED[table]
    insert(owner, statement, days + 0.01, "old")
    insert(owner, statement, days - 0.01, "young")
    counts = await housekeeping.run(deps, NOW)
    assert counts[table] == 1
    assert {name: count for name, count in counts.items() if count and name != table} == {}
    assert owner.execute(f"SELECT count(*) FROM {table}".encode()).fetchone() == (1,)


async def test_what_is_open_or_booked_stays_however_old_it_is(
    deps: SweepDeps, owner: psycopg.Connection[tuple[object, ...]]
) -> None:
    for statement in NEVER.values():
        insert(owner, statement, 4000, "x")
    counts = await housekeeping.run(deps, NOW)
    assert {name: count for name, count in counts.items() if count} == {}


async def test_unexplained_callbacks_stay_as_long_as_the_books(
    deps: SweepDeps, owner: psycopg.Connection[tuple[object, ...]]
) -> None:
    insert(owner, KEPT_FOR_BOOKS, 1000, "x")
    assert (await housekeeping.run(deps, NOW))["payment_inbox"] == 0
    insert(owner, KEPT_FOR_BOOKS.replace("unexplained", "older"), 1096, "x")
    assert (await housekeeping.run(deps, NOW))["payment_inbox"] == 1


async def test_many_rows_leave_in_batches(
    deps: SweepDeps, owner: psycopg.Connection[tuple[object, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", 10)
    for number in range(25):
        insert(owner, AGED["station_events"][0], 100, str(number))
    assert (await housekeeping.run(deps, NOW))["station_events"] == 25


async def test_months_come_and_go(deps: SweepDeps, owner: psycopg.Connection[tuple[object, ...]]) -> None:
    owner.execute("DROP TABLE ocpp_meter_values_" + NOW.strftime("%Y_%m"))  # type: ignore[arg-type]
    for month in ("2021-01-15", "2021-02-15"):
        owner.execute("SELECT evpower_make_meter_partition(%s)", (month,))
    owner.execute(
        "INSERT INTO ocpp_meter_values (station_id, connector_id, received_at, raw) VALUES ('s', 1, '1970-01-01', '{}')"
    )
    counts = await housekeeping.run(deps, NOW)
    assert (counts["partitions_made"], counts["partitions_dropped"], counts["ocpp_meter_values"]) == (1, 2, 1)
    counts = await housekeeping.run(deps, NOW)
    assert (counts["partitions_made"], counts["partitions_dropped"]) == (0, 0)


def files(deps: SweepDeps) -> MemoryFileStore:
    assert isinstance(deps.files, MemoryFileStore)
    return deps.files


def add_job(conn: psycopg.Connection[tuple[object, ...]], deps: SweepDeps, state: str, days: float, name: str) -> None:
    """A job whose link ends an hour after its begin, and whose charger has uploaded its file."""
    insert(conn, JOB.replace("{state}", state), days, name)
    files(deps).put(f"logs/{name}", 12)


def job_files(conn: psycopg.Connection[tuple[object, ...]]) -> dict[object, object]:
    return dict(conn.execute("SELECT id, object_key FROM station_jobs").fetchall())  # type: ignore[arg-type]


async def test_uploads_leave_with_their_jobs_and_those_of_cancelled_jobs_when_their_links_end(
    deps: SweepDeps, owner: psycopg.Connection[tuple[object, ...]]
) -> None:
    hour = 1 / 24
    add_job(owner, deps, "cancelled", 2.1 * hour, "cancelled")
    add_job(owner, deps, "cancelled", 1.9 * hour, "cancelled-with-an-upload-on-its-way")
    add_job(owner, deps, "running", 1000, "open")
    for state in ("succeeded", "failed", "expired", "cancelled"):
        add_job(owner, deps, state, 90.01, f"{state}-old")
        if state != "cancelled":
            add_job(owner, deps, state, 89.99, f"{state}-young")
    counts = await housekeeping.run(deps, NOW)
    assert (counts["files_removed"], counts["station_jobs"]) == (5, 4)
    young = {"cancelled-with-an-upload-on-its-way", "open", "succeeded-young", "failed-young", "expired-young"}
    assert job_files(owner) == {"cancelled": None, **{name: f"logs/{name}" for name in young}}
    assert set(files(deps).files) == {f"logs/{name}" for name in young}
    counts = await housekeeping.run(deps, NOW)
    assert (counts["files_removed"], counts["station_jobs"]) == (0, 0)


async def test_a_job_stays_as_long_as_its_file(
    deps: SweepDeps, owner: psycopg.Connection[tuple[object, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store is away, or the process dies between store and database: nothing is forgotten."""
    add_job(owner, deps, "succeeded", 100, "old")
    whole = files(deps).delete

    async def away(key: str) -> None:
        raise ServiceUnavailable("the file store does not answer")

    monkeypatch.setattr(files(deps), "delete", away)
    counts = await housekeeping.run(deps, NOW)
    assert (counts["files_removed"], counts["station_jobs"]) == (0, 0)

    async def dies_after(key: str) -> None:
        await whole(key)
        raise KeyboardInterrupt

    monkeypatch.setattr(files(deps), "delete", dies_after)
    with pytest.raises(KeyboardInterrupt):
        await housekeeping.run(deps, NOW)
    assert job_files(owner) == {"old": "logs/old"}
    monkeypatch.setattr(files(deps), "delete", whole)
    counts = await housekeeping.run(deps, NOW)
    assert (counts["files_removed"], counts["station_jobs"]) == (1, 1)
    assert (job_files(owner), files(deps).files) == ({}, {})


async def test_many_files_leave_in_batches(
    deps: SweepDeps, owner: psycopg.Connection[tuple[object, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(housekeeping, "_FILES", 10)
    for number in range(25):
        add_job(owner, deps, "failed", 100, str(number))
    assert (await housekeeping.run(deps, NOW))["files_removed"] == 25
    assert files(deps).files == {}
