"""The audit finds each kind of broken book, and nothing in sound ones."""

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta

import orjson
import psycopg
import pytest

from evpower.clock import FrozenClock
from evpower.config import Settings
from evpower.db import PooledDatabase
from evpower.db import ledger_audit as questions
from functions.sweeps import ledger_audit
from functions.sweeps.deps import SweepDeps
from tests.fakes.network import build
from tests.integration.evpower.charging.driver import Driver
from tests.integration.functions.sweeps.parts import sweep_deps

# The ledger refuses changes even by its owner; only somebody who switches that off can break it.
TAMPER = "ALTER TABLE payment_transactions_odengi DISABLE TRIGGER payment_transactions_append_only; "


@pytest.fixture(autouse=True)
def _short_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two slices of the clients instead of twenty-four."""
    monkeypatch.setattr(questions, "SLICES", 2)


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


async def all_day(deps: SweepDeps, driver: Driver) -> dict[str, int]:
    """Every slice of the clients once; findings of the checks that look at everybody count each time."""
    total: dict[str, int] = {}
    for hour in range(questions.SLICES):
        for name, count in (await ledger_audit.run(deps, driver.now + timedelta(hours=hour))).items():
            total[name] = max(total.get(name, 0), count)
    return total


def as_owner(dsn: str, statement: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        assert conn.execute((TAMPER + statement).encode()) is not None


async def test_sound_books_have_no_findings(
    deps: SweepDeps, driver: Driver, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await all_day(deps, driver) == {"findings": 0}
    metrics = [orjson.loads(line) for line in capsys.readouterr().out.splitlines() if "LedgerFindings" in line]
    assert len(metrics) == questions.SLICES
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
    assert sorted(BROKEN) == sorted(check.name for check in questions.CHECKS)


@pytest.mark.parametrize("check", sorted(BROKEN))
async def test_each_kind_of_fault_is_found_and_reported(
    deps: SweepDeps, driver: Driver, database_url: str, check: str, caplog: pytest.LogCaptureFixture
) -> None:
    as_owner(database_url, BROKEN[check])
    with caplog.at_level(logging.ERROR):
        found = await all_day(deps, driver)
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
    assert lines[0]["LedgerDifferenceSom"] in (12.34, 24.68)  # the client's slice may be this hour's


async def test_an_audit_beside_running_business_sees_no_ghosts(deps: SweepDeps, driver: Driver) -> None:
    """Each check is one snapshot: a movement is seen whole or not at all."""

    async def business() -> None:
        for _ in range(15):
            started = await driver.start("client-3", 1, energy="1")
            await driver.stop(started.session.id, "client-3")

    async def audits() -> list[dict[str, int]]:
        return [await ledger_audit.run(deps, driver.now + timedelta(hours=hour)) for hour in range(12)]

    _, found = await asyncio.gather(business(), audits())
    assert [counts for counts in found if counts["findings"]] == []
