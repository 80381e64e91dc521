"""The audit finds each kind of broken book, and nothing in sound ones."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import orjson
import psycopg
import pytest

from evpower.clock import FrozenClock
from evpower.config import Settings
from evpower.db import Conn, Database, PooledDatabase
from evpower.db import ledger_audit as questions
from functions.sweeps import ledger_audit
from functions.sweeps.deps import SweepDeps
from tests.fakes.network import build
from tests.integration.evpower.charging.driver import Driver
from tests.integration.functions.sweeps.parts import sweep_deps

# The ledger refuses changes even by its owner; only somebody who switches that off can break it.
TAMPER = "ALTER TABLE payment_transactions_odengi DISABLE TRIGGER payment_transactions_append_only; "


@pytest.fixture(autouse=True)
def _small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two clients a run, so that three clients are a lap of two runs; two keys a statement."""
    monkeypatch.setattr(questions, "CLIENTS_PER_RUN", 2)
    monkeypatch.setattr(questions, "PER_STATEMENT", 2)


@pytest.fixture
async def driver(db: PooledDatabase) -> Driver:
    """Books with everything in them: a settled session, a live one, a refunded one, top-ups."""
    clock = FrozenClock()
    driver = Driver(db, await build(db, clock.now(), balances=(500, 500, 500)), clock)
    settled = await driver.start("client-1", 1, amount="200")
    transaction = (await driver.plug(settled.session.id_tag)).transaction_id
    driver.wait(minutes=30)
    await driver.alive()
    await driver.unplug(transaction, 8_000)
    await driver.start("client-2", 2, amount="100")
    refunded = await driver.start("client-3", 1, energy="3")
    await driver.stop(refunded.session.id, "client-3")
    return driver


@pytest.fixture
def deps(make_settings: Callable[..., Settings], driver: Driver) -> SweepDeps:
    return sweep_deps(make_settings, driver.db, driver.clock)[0]


async def lap(deps: SweepDeps, driver: Driver) -> dict[str, int]:
    """Every client's turn once; the most that each check found in one run."""
    total: dict[str, int] = {}
    for _ in range(2):
        for name, count in (await ledger_audit.run(deps, driver.now)).items():
            total[name] = max(total.get(name, 0), count)
    return total


def as_owner(dsn: str, statement: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        assert conn.execute((TAMPER + statement).encode()) is not None


async def test_sound_books_have_no_findings(
    deps: SweepDeps, driver: Driver, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await lap(deps, driver) == {"findings": 0}
    metrics = [orjson.loads(line) for line in capsys.readouterr().out.splitlines() if "LedgerFindings" in line]
    assert len(metrics) == 2
    assert {(line["LedgerFindings"], line["LedgerDifferenceSom"]) for line in metrics} == {(0, 0)}


BROKEN = {
    "balance_is_last_entry": "UPDATE clients SET balance = balance + 1 WHERE id = 'client-1'",
    "balance_is_sum_of_ledger": "UPDATE payment_transactions_odengi SET amount = amount - 1,"
    " balance_before = balance_before + 1 WHERE id = (SELECT max(id) FROM payment_transactions_odengi"
    " WHERE client_id = 'client-2')",
    "ledger_is_a_chain": "UPDATE payment_transactions_odengi SET balance_before = balance_before + 5,"
    " balance_after = balance_after + 5 WHERE id = (SELECT min(id) FROM payment_transactions_odengi"
    " WHERE client_id = 'client-3')",
    "session_is_sum_of_its_entries": "UPDATE charging_sessions SET taken_amount = taken_amount + 1"
    " WHERE user_id = 'client-2'",
    "ended_session_is_settled": "UPDATE charging_sessions SET settlement_revision = 7 WHERE user_id = 'client-1'",
    "settlement_is_complete": "ALTER TABLE settlements DISABLE TRIGGER settlements_append_only;"
    " UPDATE settlements SET due_amount = due_amount + 1 WHERE session_id ="
    " (SELECT id FROM charging_sessions WHERE user_id = 'client-1')",
    "topup_is_credited": "INSERT INTO balance_topups (client_id, order_id, requested_amount, paid_amount, status)"
    " VALUES ('client-1', 'never-booked', 10, 10, 'approved')",
    "held_connector_has_live_session": "UPDATE connectors SET live_session_id = 'nobody' WHERE connector_number = 1",
    "live_session_holds_connector": "UPDATE connectors SET live_session_id = NULL WHERE connector_number = 2",
}


def test_every_check_is_tried() -> None:
    assert set(BROKEN) == {check.name for check in questions.CHECKS}


@pytest.mark.parametrize("check", sorted(BROKEN))
async def test_each_kind_of_fault_is_found_and_reported(
    deps: SweepDeps, driver: Driver, database_url: str, check: str, caplog: pytest.LogCaptureFixture
) -> None:
    as_owner(database_url, BROKEN[check])
    with caplog.at_level(logging.ERROR):
        found = await lap(deps, driver)
    assert check in found
    assert f"the ledger does not add up: {check}" in caplog.text
    with psycopg.connect(database_url) as conn:
        rows = conn.execute("SELECT details FROM audit_logs WHERE operation = 'ledger_audit'").fetchall()
    assert any(check in row[0]["counts"] for row in rows)


async def test_the_difference_is_measured_in_som(
    deps: SweepDeps, driver: Driver, database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    as_owner(database_url, "UPDATE clients SET balance = balance + 12.34 WHERE id = 'client-1'")
    await ledger_audit.run(deps, driver.now)
    lines = [orjson.loads(line) for line in capsys.readouterr().out.splitlines() if "LedgerDifferenceSom" in line]
    assert lines[0]["LedgerDifferenceSom"] == 24.68  # neither the last row nor the sum is the balance


async def test_an_audit_beside_running_business_sees_no_ghosts(deps: SweepDeps, driver: Driver) -> None:
    """Each check is one snapshot: a movement is seen whole or not at all."""

    async def business() -> None:
        for _ in range(15):
            started = await driver.start("client-3", 1, energy="1")
            await driver.stop(started.session.id, "client-3")

    async def audits() -> list[dict[str, int]]:
        return [await ledger_audit.run(deps, driver.now) for _ in range(12)]

    _, found = await asyncio.gather(business(), audits())
    assert [counts for counts in found if counts["findings"]] == []


async def test_every_client_has_its_turn_within_a_lap(
    deps: SweepDeps, driver: Driver, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever it is, however the number of clients and the size of a portion divide."""
    as_owner(database_url, "INSERT INTO clients (id) SELECT 'extra-' || n FROM generate_series(1, 8) n")
    await ledger_audit.run(deps, driver.now)
    clients = [*(f"client-{n}" for n in (1, 2, 3)), *(f"extra-{n}" for n in range(1, 9))]
    for size in (1, 4, 11, 50):
        monkeypatch.setattr(questions, "CLIENTS_PER_RUN", size)
        seen: list[str] = []
        for _ in range(len(clients) // size + 2):
            known = await deps.database.run(questions.progress)
            seen += (await deps.database.run(lambda conn, known=known: questions.subjects(conn, known))).turn  # type: ignore[misc]
            await ledger_audit.run(deps, driver.now)
        assert set(seen) == set(clients)


# A row of client-3, who has had his turn: of the ledger, and settlements of a session that ended long ago.
NEW = {
    "ledger_is_a_chain": "INSERT INTO payment_transactions_odengi (client_id, transaction_type, amount, balance_before,"
    " balance_after, source_key) SELECT id, 'manual_adjustment', 0, balance + 5, balance + 5, 'new' FROM clients"
    " WHERE id = 'client-3'",
    "balance_is_last_entry": "INSERT INTO payment_transactions_odengi (client_id, transaction_type, amount,"
    " balance_before, balance_after, source_key) SELECT id, 'manual_adjustment', 5, balance, balance + 5, 'new'"
    " FROM clients WHERE id = 'client-3'",
    "session_is_sum_of_its_entries": "INSERT INTO payment_transactions_odengi (client_id, transaction_type, amount,"
    " balance_before, balance_after, source_key, charging_session_id) SELECT c.id, 'manual_adjustment', 5, balance,"
    " balance + 5, 'new', s.id FROM clients c JOIN charging_sessions s ON s.user_id = c.id WHERE c.id = 'client-3'",
    "topup_is_credited": "INSERT INTO balance_topups (client_id, order_id, requested_amount, paid_amount, status)"
    " VALUES ('client-3', 'never-booked', 10, 10, 'approved')",
    "settlement_is_complete": "INSERT INTO settlements (session_id, revision, source, energy_wh, minutes, due_amount,"
    " taken_before, taken_after) SELECT id, 2, 'test', 0, 0, 7, 0, 0 FROM charging_sessions WHERE user_id = 'client-3';"
    " UPDATE charging_sessions SET settlement_revision = 2 WHERE user_id = 'client-3'",
    "ended_session_is_settled": "UPDATE charging_sessions SET settlement_revision = 0 WHERE user_id = 'client-3'",
}


@pytest.fixture
async def between_turns(deps: SweepDeps, driver: Driver, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next runs of the audit look at clients that have nothing, and at nothing old."""
    monkeypatch.setattr(questions, "CLIENTS_PER_RUN", 1)
    as_owner(database_url, "INSERT INTO clients (id) SELECT 'client-4-' || n FROM generate_series(1, 9) n")
    for _ in range(4):
        await ledger_audit.run(deps, driver.now)


@pytest.mark.usefixtures("between_turns")
@pytest.mark.parametrize("check", sorted(NEW))
async def test_a_new_row_is_looked_at_by_the_next_run(
    deps: SweepDeps, driver: Driver, database_url: str, check: str
) -> None:
    assert await ledger_audit.run(deps, driver.now) == {"findings": 0}
    as_owner(database_url, NEW[check])
    assert check in await ledger_audit.run(deps, driver.now)


@pytest.mark.usefixtures("between_turns")
async def test_a_row_that_is_committed_after_later_ones_is_looked_at_too(
    deps: SweepDeps, driver: Driver, database_url: str
) -> None:
    """Its number was given before the run, and the run saw higher ones."""
    with psycopg.connect(database_url) as slow:
        slow.execute(NEW["ledger_is_a_chain"].encode())
        await driver.start("client-1", 1, amount="50")
        assert await ledger_audit.run(deps, driver.now) == {"findings": 0}
        slow.commit()
    assert "ledger_is_a_chain" in await ledger_audit.run(deps, driver.now)


@pytest.mark.usefixtures("between_turns")
async def test_a_finding_stays_until_it_is_repaired_and_is_reported_once(
    deps: SweepDeps, driver: Driver, database_url: str
) -> None:
    as_owner(database_url, NEW["ledger_is_a_chain"])
    for _ in range(4):
        assert "ledger_is_a_chain" in await ledger_audit.run(deps, driver.now)
    with psycopg.connect(database_url) as conn:
        reports = conn.execute("SELECT count(*) FROM audit_logs WHERE operation = 'ledger_audit'").fetchone()
    assert reports == (1,)
    as_owner(
        database_url,
        "UPDATE payment_transactions_odengi p SET balance_before = c.balance, balance_after = c.balance FROM clients c"
        " WHERE p.source_key = 'new' AND c.id = p.client_id",
    )
    assert await ledger_audit.run(deps, driver.now) == {"findings": 0}


async def test_a_run_that_was_overtaken_moves_nothing_back(deps: SweepDeps, driver: Driver) -> None:
    overtaken = await deps.database.run(questions.progress)
    await ledger_audit.run(deps, driver.now)
    after = await deps.database.run(questions.progress)
    await deps.database.run(lambda conn: questions.move_on(conn, overtaken, ["client-1", "client-2"], []))
    assert (await deps.database.run(questions.progress)).after_client == after.after_client


async def test_a_run_reads_the_same_number_of_rows_whatever_the_history(
    deps: SweepDeps, driver: Driver, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of tables as PostgreSQL counts them, with six times the clients, sessions and entries."""
    monkeypatch.undo()
    monkeypatch.setattr(questions, "CLIENTS_PER_RUN", 20)
    monkeypatch.setattr(questions, "NEW_TOPUPS", 20)
    counted = CountingDatabase(deps.database)
    read = []
    for begin, end in ((1, 1000), (1001, 6000)):
        as_owner(database_url, HISTORY.replace("BEGIN", str(begin)).replace("END", str(end)))
        for _ in range(2):
            await ledger_audit.run(deps, driver.now)  # what was new is known
        counted.rows = 0
        assert await ledger_audit.run(replace(deps, database=counted), driver.now) == {"findings": 0}
        read.append(counted.rows)
    assert 0 < read[1] <= 1.5 * read[0]


HISTORY = """
SET session_replication_role = replica;
INSERT INTO clients (id, balance) SELECT 'd' || n, 0 FROM generate_series(BEGIN, END) n;
INSERT INTO charging_sessions (id, user_id, station_id, connector_id, id_tag, state, price, settlement_revision)
    SELECT 'x' || n, 'd' || n, 's', 1, 'TAG' || n, 'stopped', '{}', 1 FROM generate_series(BEGIN, END) n;
INSERT INTO settlements SELECT 'x' || n, 1, 'test', 1, 1, 0, 0, 0, 0 FROM generate_series(BEGIN, END) n;
INSERT INTO payment_transactions_odengi (client_id, transaction_type, amount, balance_before, balance_after, source_key,
    charging_session_id)
    SELECT 'd' || n, 'charge_reserve', 0, 0, 0, k || 'k' || n, 'x' || n
      FROM generate_series(BEGIN, END) n, generate_series(1, 3) k;
INSERT INTO balance_topups (client_id, order_id, requested_amount, status)
    SELECT 'd' || n, 'o' || n, 10, 'expired' FROM generate_series(BEGIN, END) n;
SET session_replication_role = DEFAULT;
ANALYZE clients, charging_sessions, settlements, payment_transactions_odengi, balance_topups;
"""


class CountingDatabase:
    """Counts the rows that the statements of each transaction read from tables."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.rows = 0

    async def run(self, work: Callable[[Conn], Awaitable[Any]], **options: Any) -> Any:
        async def counted(conn: Conn) -> Any:
            before = await self._read(conn)
            result = await work(conn)
            self.rows += await self._read(conn) - before
            return result

        return await self._database.run(counted, **options)

    @staticmethod
    async def _read(conn: Conn) -> int:
        cursor = await conn.execute(
            "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) AS n FROM pg_stat_xact_user_tables"
        )
        row = await cursor.fetchone()
        assert row is not None
        return int(row["n"])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)
