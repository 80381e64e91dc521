"""Business goes on in an adopted database: chargers stop, sweeps settle, late payments arrive, the books stay sound."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

import psycopg
import pytest

from evpower.charging import service as charging
from evpower.charging.models import StopTransaction
from evpower.clock import FrozenClock
from evpower.config import Settings
from evpower.db import Conn, PooledDatabase
from evpower.db.migrate import migrate
from evpower.payments import service as payments
from evpower.payments.provider import Done, InvoiceStatus, PaymentState, ProviderPayment
from evpower.stations import service as stations
from functions.sweeps import hanging_sessions, ledger_audit
from functions.sweeps.deps import SweepDeps
from tests.fakes.hearing import heard
from tests.integration.functions.sweeps.parts import sweep_deps

EARLIER = (Path(__file__).parents[3] / "fixtures" / "earlier_database.sql").read_text(encoding="utf-8")
ONE, TWO, FOUR = (f"7b0d6c1e-0000-4000-8000-00000000000{n}" for n in (1, 2, 4))
T = TypeVar("T")


class Network:
    """The adopted network and its hands: database, sweeps, chargers, provider."""

    def __init__(self, db: PooledDatabase, deps: SweepDeps, clock: FrozenClock) -> None:
        self.db, self.deps, self.clock = db, deps, clock

    async def run(self, work: Callable[[Conn], Awaitable[T]]) -> T:
        return await self.db.run(work)

    async def balance(self, client: str) -> Decimal:
        async def work(conn: Conn) -> Decimal:
            row = await (await conn.execute("SELECT balance FROM clients WHERE id = %s", (client,))).fetchone()
            assert row is not None
            return Decimal(row["balance"])

        return await self.run(work)

    async def sweep(self) -> dict[str, int]:
        await heard(self.db, self.clock.now())
        return await hanging_sessions.run(self.deps, self.clock.now())

    async def stop(self, station: str, transaction: int, register: str) -> str | None:
        """The charger connects to us and sends its StopTransaction."""
        now = self.clock.now()

        async def work(conn: Conn) -> str | None:
            epoch = await stations.claim_connection(conn, station, "test", now)
            message = StopTransaction(station, transaction, Decimal(register), now, now, epoch, reason="Local")
            return (await charging.stop_transaction(conn, message)).session_id

        return await self.run(work)

    async def provider_says_paid(self, topup_id: int, amount: str) -> Decimal:
        payment = ProviderPayment(f"t-{topup_id}", PaymentState.APPROVED, Decimal(amount), False, self.clock.now())
        answer = Done(InvoiceStatus(PaymentState.APPROVED, (payment,)))
        checked = await self.run(
            lambda conn: payments.apply_status(conn, topup_id, answer, self.deps.settings, self.clock.now())
        )
        return checked.credited


@pytest.fixture
async def network(empty_database_url: str) -> AsyncIterator[Network]:
    with psycopg.connect(empty_database_url, autocommit=True) as conn:
        conn.execute(EARLIER.encode())
    await migrate(empty_database_url)
    settings = Settings.model_validate(
        {"environment": "test", "database_url": empty_database_url, "database_role": "evpower_worker"}
    )
    clock = FrozenClock(datetime.now(UTC))
    db = PooledDatabase(settings, size=4)
    await db.open()
    deps, _, _ = sweep_deps(lambda **_: settings, db, clock)
    network = Network(db, deps, clock)
    assert await ledger_audit.run(deps, clock.now()) == {"findings": 0}
    yield network
    assert await ledger_audit.run(deps, clock.now()) == {"findings": 0}
    await db.close()


async def test_the_hanging_session_is_billed_by_its_meter_and_the_rest_returned(network: Network) -> None:
    before = await network.balance(TWO)
    counts = await network.sweep()
    assert (counts["too_long"], counts["never_started"], counts["failures"]) == (1, 0, 0)
    assert await network.balance(TWO) == before + 150 - Decimal("87.75")  # 6.5 kWh at 13.5


async def test_the_waiting_session_is_refunded_ten_minutes_after_its_start(network: Network) -> None:
    network.clock.advance(timedelta(minutes=8))
    assert (await network.sweep())["never_started"] == 0
    network.clock.advance(timedelta(minutes=2))
    assert (await network.sweep())["never_started"] == 1
    assert await network.balance("staff-admin") == 400


async def test_the_charging_session_ends_by_its_own_stop_transaction(network: Network) -> None:
    assert await network.stop("CHR-BGK-001", 1757052000, "36000.5") == "s-live"
    assert await network.balance(ONE) == Decimal("1500.50") + 270 - 81  # 6 kWh
    assert await network.stop("CHR-BGK-001", 1757052000, "36000.5") == "s-live"  # a repeat
    assert await network.balance(ONE) == Decimal("1689.50")


async def test_a_late_stop_corrects_the_bill_of_a_session_closed_at_the_takeover(network: Network) -> None:
    before = await network.balance(FOUR)
    assert await network.stop("CHR-BGK-001", 1756800000, "19000") == "s-crowded"
    assert await network.balance(FOUR) == before - Decimal("13.50")  # 3 kWh instead of 2


async def test_a_stop_that_the_earlier_system_had_settled_is_not_billed_again(network: Network) -> None:
    before = await network.balance(ONE)
    await network.stop("CHR-BGK-001", 1756706400, "15815")
    await network.stop("CHR-BGK-001", 1756706400, "99999")
    assert await network.balance(ONE) == before


async def test_late_approvals_are_credited_once(network: Network) -> None:
    before = await network.balance(TWO)
    assert await network.provider_says_paid(9, "150.56") == Decimal("150.56")
    assert await network.provider_says_paid(9, "150.56") == 0
    assert await network.provider_says_paid(3, "300") == 300  # canceled long ago, paid at the last moment
    assert await network.balance(TWO) == before + Decimal("450.56")


@pytest.mark.parametrize("topup_id", [1, 2, 6])
async def test_what_the_earlier_system_credited_is_not_credited_again(network: Network, topup_id: int) -> None:
    """Use case: an old callback is repeated, or somebody asks for the status of an old invoice."""
    before = await network.balance(ONE), await network.balance(FOUR)
    assert await network.provider_says_paid(topup_id, "500") == 0
    assert (await network.balance(ONE), await network.balance(FOUR)) == before


async def test_everything_at_once_leaves_sound_books(network: Network) -> None:
    await network.sweep()
    await network.stop("CHR-BGK-001", 1757052000, "36000.5")
    await network.stop("CHR-BGK-001", 1756800000, "19000")
    network.clock.advance(timedelta(minutes=30))
    await network.sweep()
    await network.stop("CHR-BGK-002", 1756965600, "26600")
    await network.provider_says_paid(9, "150.56")

    async def live(conn: Conn) -> int:
        row = await (
            await conn.execute("SELECT count(*) AS n FROM charging_sessions WHERE status = 'started'")
        ).fetchone()
        assert row is not None
        return int(row["n"])

    assert await network.run(live) == 0
