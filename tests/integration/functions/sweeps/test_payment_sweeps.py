"""The payment sweeps, called as the schedule calls them."""

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from decimal import Decimal

import psycopg
import pytest

from evpower.clock import FrozenClock
from evpower.config import Settings
from evpower.db import PooledDatabase
from evpower.payments import flows
from evpower.payments.models import NewTopUp
from functions.sweeps import payment_checks, payment_cleanup
from functions.sweeps.deps import SweepDeps, build_deps
from infra.local.payment_standin.server import PaymentStandin


@pytest.fixture
async def standin() -> AsyncIterator[PaymentStandin]:
    async with PaymentStandin() as server:
        yield server


@pytest.fixture
async def deps(
    db: PooledDatabase, make_settings: Callable[..., Settings], standin: PaymentStandin
) -> AsyncIterator[SweepDeps]:
    """The sweeps' own container; no queue is configured, so every check is left to the sweep."""
    settings = make_settings(
        odengi_api_url=standin.api_url,
        odengi_merchant_id=standin.merchant_id,
        odengi_password=standin.password,
        aws_endpoint_url="http://127.0.0.1:9",
    )
    deps = build_deps(settings, database=db, clock=FrozenClock())
    async with db.transaction() as conn:
        await conn.execute("INSERT INTO clients (id) VALUES ('client-a')")
    yield deps
    await deps.payments.provider.close()  # type: ignore[attr-defined]


async def balance(db: PooledDatabase) -> Decimal:
    async with db.transaction() as conn:
        row = await (await conn.execute("SELECT balance FROM clients")).fetchone()
    assert row is not None
    found: Decimal = row["balance"]
    return found


@pytest.fixture
def moved(deps: SweepDeps) -> Callable[[timedelta], None]:
    def move(delta: timedelta) -> None:
        assert isinstance(deps.clock, FrozenClock)
        deps.clock.advance(delta)

    return move


async def test_payment_is_found_without_callback_and_queue(
    deps: SweepDeps, db: PooledDatabase, standin: PaymentStandin, moved: Callable[[timedelta], None]
) -> None:
    topup = (await flows.create_topup(deps.payments, NewTopUp("client-a", Decimal(120)))).topup
    assert (await payment_checks.run(deps, deps.clock.now()))["topups"] == 0
    # The stand-in lives in real time and closed the invoice long ago: the payment was under way.
    standin.pay(topup.invoice_id or "", force=True)
    moved(timedelta(seconds=15))
    counts = await payment_checks.run(deps, deps.clock.now())
    assert counts == {"callbacks": 0, "topups": 1, "failures": 0, "refunds": 0, "refund_failures": 0}
    assert await balance(db) == 120


async def test_cleanup_never_makes_a_later_approval_lose_money(
    deps: SweepDeps, db: PooledDatabase, standin: PaymentStandin, moved: Callable[[timedelta], None]
) -> None:
    """The first fix of version 1.2.2."""
    topup = (await flows.create_topup(deps.payments, NewTopUp("client-a", Decimal(120)))).topup
    moved(timedelta(minutes=30))
    assert await payment_cleanup.run(deps, deps.clock.now()) == {"expired": 1, "scheduled": 0}
    assert await payment_cleanup.run(deps, deps.clock.now()) == {"expired": 0, "scheduled": 0}
    standin.pay(topup.invoice_id or "", force=True)
    await payment_checks.run(deps, deps.clock.now())
    assert await balance(db) == 120


async def test_one_failure_does_not_stop_the_others(
    deps: SweepDeps,
    db: PooledDatabase,
    standin: PaymentStandin,
    moved: Callable[[timedelta], None],
    database_url: str,
) -> None:
    async with db.transaction() as conn:
        await conn.execute("INSERT INTO clients (id) SELECT 'client-' || n FROM generate_series(1, 9) n")
    for number in range(1, 10):
        topup = (await flows.create_topup(deps.payments, NewTopUp(f"client-{number}", Decimal(50)))).topup
        standin.pay(topup.invoice_id or "", force=True)
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as conn:
        # A client that cannot be credited.
        await conn.execute("ALTER TABLE clients ADD CONSTRAINT broken CHECK (id <> 'client-5' OR balance = 0)")
    moved(timedelta(seconds=15))
    counts = await payment_checks.run(deps, deps.clock.now())
    assert (counts["topups"], counts["failures"]) == (9, 1)
    async with db.transaction() as conn:
        rows = await (await conn.execute("SELECT id FROM clients WHERE balance = 50 ORDER BY id")).fetchall()
    assert [row["id"] for row in rows] == [f"client-{n}" for n in range(1, 10) if n != 5]
