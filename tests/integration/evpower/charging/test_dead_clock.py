"""A charger that always says 1970 and starts its register at 0 with every charge (docs/decisions/0008).

Every charge of a card is a transaction of its own and billed once, whatever is repeated or played from an old queue;
with a believable clock equal content stays one transaction.
"""

import asyncio
import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evpower.accounts import service as accounts
from evpower.accounts.models import LedgerType, Movement
from evpower.charging.models import TransactionStarted
from evpower.clock import FrozenClock
from evpower.config import Settings
from evpower.db import Conn, PooledDatabase
from evpower.money import som
from tests.fakes.network import balance_of, build, money_faults
from tests.integration.evpower.charging.driver import Driver

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CARD = "CARD-1"


@dataclass
class Clockless:
    """The charger: each charge begins at register 0 at the time 1970; message ids are never used again."""

    driver: Driver
    said: datetime | None = EPOCH  # None: the true time
    numbers: Any = field(default_factory=lambda: itertools.count(1))

    async def start(self, when: datetime) -> TransactionStarted:
        return await self.driver.plug(CARD, charger_time=when, message_id=f"m{next(self.numbers)}")

    async def stop(self, transaction_id: int, register: int, when: datetime) -> None:
        await self.driver.unplug(transaction_id, register, charger_time=when)

    async def charge(self, register: int, *, starts: int = 1, stops: int = 1) -> tuple[int, datetime]:
        """Half an hour of charging, its messages repeated; the transaction id and the time that was said."""
        when = self.said or self.driver.now
        ids = {(await self.start(when)).transaction_id for _ in range(starts)}
        assert len(ids) == 1
        (transaction_id,) = ids
        self.driver.wait(minutes=30)
        ended = self.said or self.driver.now
        for _ in range(stops):
            await self.stop(transaction_id, register, ended)
        return transaction_id, when


async def give_card(driver: Driver, client: str = "client-1", money: int = 0) -> None:
    async def work(conn: Conn) -> None:
        await conn.execute("INSERT INTO id_tags (id_tag, client_id) VALUES (%s, %s)", (CARD, client))
        if money:
            await accounts.move(conn, Movement(client, LedgerType.BALANCE_TOPUP, Decimal(money), "topup:more"))

    await driver.run(work)


async def energy(driver: Driver) -> list[Decimal]:
    """Billed Wh of every session, oldest first."""

    async def work(conn: Conn) -> list[Decimal]:
        rows = await (
            await conn.execute("SELECT settled_energy_wh AS wh FROM charging_sessions ORDER BY ocpp_transaction_id")
        ).fetchall()
        return [row["wh"] for row in rows]

    return await driver.run(work)


async def test_a_second_charge_is_not_the_first_again(driver: Driver) -> None:
    await give_card(driver)
    charger = Clockless(driver)
    first, _ = await charger.charge(5000, starts=3, stops=2)
    driver.wait(hours=5)
    second, _ = await charger.charge(7000, starts=3, stops=2)
    third, _ = await charger.charge(5000)  # just as much as the first
    assert len({first, second, third}) == 3
    assert await energy(driver) == [5000, 7000, 5000]
    assert await balance_of(driver.db, "client-1") == 500 - Decimal("13.5") * 17
    assert await money_faults(driver.db) == []


async def test_the_very_same_message_is_the_first_charge_again(driver: Driver) -> None:
    await give_card(driver)
    first = await driver.plug(CARD, charger_time=EPOCH, message_id="same")
    driver.wait(minutes=30)
    await driver.unplug(first.transaction_id, 5000, charger_time=EPOCH)
    again = await driver.plug(CARD, charger_time=EPOCH, message_id="same")
    assert (again.transaction_id, again.repeated) == (first.transaction_id, True)


async def test_a_start_whose_answer_was_lost_comes_again_after_its_stop(driver: Driver) -> None:
    """The stop came before the charger knew its transaction: it named none. The start that follows is the old one."""
    await give_card(driver)
    charger = Clockless(driver)
    first = await charger.start(EPOCH)
    driver.wait(minutes=30)
    await driver.unplug(-1, 5000, charger_time=EPOCH, tag=CARD)
    again = await charger.start(EPOCH)
    assert (again.transaction_id, again.repeated) == (first.transaction_id, True)
    driver.wait(minutes=4)
    await driver.alive()
    await driver.sweep()
    assert await energy(driver) == [5000]
    assert not (await driver.session(first.session_id or "")).state.live


@pytest.mark.parametrize("register", [150, 5000])  # below and above what is plausible in no time
@pytest.mark.parametrize("knows_new_id", [True, False])
async def test_a_restored_queue_bills_nothing_twice(driver: Driver, knows_new_id: bool, register: int) -> None:
    """After a crash the charger plays start and stop of a finished charge from a stale copy of its queue."""
    await give_card(driver)
    charger = Clockless(driver)
    first, when = await charger.charge(register)
    driver.wait(minutes=1)
    replayed = await charger.start(when)
    await charger.stop(replayed.transaction_id if knows_new_id else first, register, EPOCH)
    for _ in range(6):
        driver.wait(minutes=16)
        await driver.sweep()
    billed = await energy(driver)
    assert sum(billed) == register
    assert await balance_of(driver.db, "client-1") == 500 - som(Decimal("13.5") * register / 1000)
    assert await money_faults(driver.db) == []


async def test_with_a_true_clock_a_restored_queue_is_known_again(driver: Driver) -> None:
    await give_card(driver)
    charger = Clockless(driver, said=None)
    first, when = await charger.charge(5000)
    driver.wait(hours=30)
    replayed = await charger.start(when)
    assert (replayed.transaction_id, replayed.repeated) == (first, True)


async def test_the_tag_of_an_app_session_is_for_one_charge(driver: Driver) -> None:
    started = await driver.start("client-1", amount="100")
    tag = started.session.id_tag
    first = await driver.plug(tag, charger_time=EPOCH, message_id="a")
    driver.wait(minutes=10)
    await driver.unplug(first.transaction_id, 1000, charger_time=EPOCH)
    again = await driver.plug(tag, charger_time=EPOCH, message_id="b")
    assert (again.transaction_id, again.repeated) == (first.transaction_id, True)


charges = st.lists(
    st.tuples(
        st.sampled_from((200, 3000, 3000, 9000)),  # Wh
        st.integers(1, 3),  # times that the start is sent
        st.integers(1, 2),  # times that the stop is sent
        st.sampled_from(("no", "no", "new id", "old id")),  # plays a charge from an old queue afterwards
        st.integers(0, 5),  # which
    ),
    min_size=1,
    max_size=5,
)


@pytest.mark.property
@pytest.mark.timeout(300)
@pytest.mark.parametrize("said", [EPOCH, None], ids=["dead clock", "true clock"])
def test_every_charge_is_billed_once(make_settings: Any, database_url: str, said: datetime | None) -> None:
    with asyncio.Runner() as runner:

        @settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
        @given(charges)
        def play(plan: list[tuple[int, int, int, str, int]]) -> None:
            runner.run(_play(make_settings(), database_url, said, plan))

        play()


async def _play(
    configured: Settings, owner_dsn: str, said: datetime | None, plan: list[tuple[int, int, int, str, int]]
) -> None:
    with psycopg.connect(owner_dsn, autocommit=True) as conn:
        conn.execute("TRUNCATE clients, stations, locations, quarantined_messages, push_outbox CASCADE")
    db = PooledDatabase(configured, size=2)
    await db.open()
    try:
        clock = FrozenClock()
        driver = Driver(db, await build(db, clock.now(), balances=(500,)), clock)
        await give_card(driver, money=5000)
        charger = Clockless(driver, said)
        done: list[tuple[int, int, datetime, datetime]] = []
        for register, starts, stops, replay, which in plan:
            driver.wait(minutes=5)
            transaction_id, when = await charger.charge(register, starts=starts, stops=stops)
            done.append((transaction_id, register, when, said or driver.now))
            if replay != "no":
                driver.wait(seconds=20)
                old, again, begun, ended = done[which % len(done)]
                replayed = await charger.start(begun)
                await charger.stop(replayed.transaction_id if replay == "new id" else old, again, ended)
                for _ in range(6):  # what is left hanging is ended, and its charger answers nothing
                    driver.wait(minutes=16)
                    await driver.sweep()
        if said is None:
            assert len(await energy(driver)) == len(plan)
        total = sum(register for _, register, *_ in done)
        assert sum(await energy(driver)) == total
        assert await balance_of(db, "client-1") == 5500 - Decimal("13.5") * total / 1000
        assert await money_faults(db) == []
    finally:
        await db.close()


async def set_card(driver: Driver, status: str) -> None:
    await driver.run(lambda conn: conn.execute("UPDATE id_tags SET status = %s", (status,)))


async def transactions(driver: Driver) -> int:
    async def work(conn: Conn) -> int:
        row = await (await conn.execute("SELECT count(*) AS n FROM ocpp_transactions")).fetchone()
        assert row is not None
        return int(row["n"])

    return await driver.run(work)


async def test_a_card_that_was_refused_may_charge_once_it_is_good(driver: Driver) -> None:
    """The charger never told the end of the attempt that was refused, as not every one does."""
    await give_card(driver)
    await set_card(driver, "blocked")
    charger = Clockless(driver)
    refused = await charger.start(EPOCH)
    assert (refused.id_tag_status, refused.session_id) == ("Blocked", None)
    driver.wait(minutes=5)
    again = await charger.start(EPOCH)
    assert (again.id_tag_status, again.repeated, await transactions(driver)) == ("Blocked", True, 1)
    await set_card(driver, "active")
    accepted, _ = await charger.charge(5000, starts=3, stops=2)
    assert accepted != refused.transaction_id
    assert await energy(driver) == [5000]
    assert await balance_of(driver.db, "client-1") == 500 - Decimal("13.5") * 5
    # The end of the attempt that was refused comes after all: nobody pays for it again.
    await charger.stop(refused.transaction_id, 0, EPOCH)
    second, _ = await charger.charge(1000)
    assert second != accepted
    assert await energy(driver) == [5000, 1000]
    assert await money_faults(driver.db) == []


async def test_the_very_same_message_keeps_its_refusal(driver: Driver) -> None:
    await give_card(driver)
    await set_card(driver, "blocked")
    refused = await driver.plug(CARD, charger_time=EPOCH, message_id="same")
    await set_card(driver, "active")
    again = await driver.plug(CARD, charger_time=EPOCH, message_id="same")
    assert (again.transaction_id, again.id_tag_status) == (refused.transaction_id, "Blocked")


async def test_with_a_believable_clock_a_refused_start_keeps_its_answer(driver: Driver) -> None:
    await give_card(driver)
    await set_card(driver, "blocked")
    charger = Clockless(driver, said=None)
    when = driver.now
    refused = await charger.start(when)
    driver.wait(minutes=5)
    await set_card(driver, "active")
    again = await charger.start(when)
    assert (again.transaction_id, again.id_tag_status) == (refused.transaction_id, "Blocked")


async def test_while_the_connector_charges_another_a_refused_start_is_not_tried_again(driver: Driver) -> None:
    """Else each repeat would be a transaction more."""
    await give_card(driver)
    await set_card(driver, "blocked")
    charger = Clockless(driver)
    await charger.start(EPOCH)
    await set_card(driver, "active")
    other = await driver.start("client-2")
    await driver.plug(other.session.id_tag)
    for _ in range(3):
        assert (await charger.start(EPOCH)).id_tag_status == "Blocked"
    assert await transactions(driver) == 2
