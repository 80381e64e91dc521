"""Whatever app, charger and sweeps do, in any order, twice or at once: no tyiyn is lost or invented.

A hypothesis state machine plays two clients and one lying charger against real PostgreSQL; after every step the
balance is the sum of the ledger, never negative, and every ended session is settled.
"""

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from evpower.accounts import deletion
from evpower.accounts import service as accounts
from evpower.accounts.models import LedgerType, Movement
from evpower.charging import service
from evpower.clock import FrozenClock
from evpower.config import Settings
from evpower.db import Conn, PooledDatabase
from evpower.errors import EvPowerError
from evpower.ids import new_id
from tests.fakes.network import balance_of, build, money_faults
from tests.integration.evpower.charging.driver import Driver

CLIENTS = ("client-1", "client-2")
NO_CLOCK = datetime(1970, 1, 1, tzinfo=UTC)
CARDS = ("CARD-1", "CARD-2")  # of these clients
clients = st.sampled_from(CLIENTS)
connectors = st.sampled_from((1, 2))
registers = st.integers(-10, 60_000)
ages = st.sampled_from((0, 0, 40, 4000, 10**9))  # of what a charger tells, s
picks = st.integers(0, 7)


class MoneyMachine(RuleBasedStateMachine):
    """Rules are units of work of real entries; ``settings_of_test`` is set by the test."""

    settings_of_test: Settings
    owner_dsn: str

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.sessions: list[str] = []
        self.tags: list[str] = list(CARDS)
        self.transactions: list[int] = []
        self.stops: list[tuple[int, int, Any]] = []
        self.topups = 0
        self.driver: Driver = self.do(self.prepare())

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    async def prepare(self) -> Driver:
        with psycopg.connect(self.owner_dsn, autocommit=True) as conn:
            conn.execute("TRUNCATE clients, stations, locations, quarantined_messages, push_outbox CASCADE")
        self.db = PooledDatabase(self.settings_of_test, size=6)
        await self.db.open()
        clock = FrozenClock()
        driver = Driver(self.db, await build(self.db, clock.now(), balances=(300, 60)), clock)
        for card, client in zip(CARDS, CLIENTS, strict=True):
            await self.sql(driver, "INSERT INTO id_tags (id_tag, client_id) VALUES (%s, %s)", card, client)
        return driver

    async def sql(self, driver: Driver, statement: str, *parameters: Any) -> None:
        async def work(conn: Conn) -> None:
            await conn.execute(statement, parameters)  # type: ignore[call-overload]

        await driver.run(work)

    def teardown(self) -> None:
        self.do(self.finale())
        self.do(self.db.close())
        self.runner.close()

    async def finale(self) -> None:
        """A day later every reserve is settled."""
        for _ in range(4):
            self.driver.wait(hours=6)
            await self.driver.sweep()
        for session_id in self.sessions:
            assert not (await self.driver.session(session_id)).state.live
        assert await money_faults(self.db) == []

    async def attempt(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a unit of work whose refusal by a rule of the product is as good as its success."""
        try:
            return await work
        except (EvPowerError, service.ConnectionLost):
            return None

    @initialize()
    def seen(self) -> None:
        self.do(self.driver.alive())

    @rule(client=clients, amount=st.decimals(1, 300, places=2))
    def top_up(self, client: str, amount: Decimal) -> None:
        self.topups += 1
        movement = Movement(client, LedgerType.BALANCE_TOPUP, amount, f"topup:{self.topups}")

        async def twice() -> None:
            await asyncio.gather(*(self.driver.run(lambda conn: accounts.move(conn, movement)) for _ in range(2)))

        self.do(twice())

    @rule(
        client=clients,
        connector=connectors,
        limit=st.sampled_from(("amount", "energy", "none")),
        value=st.integers(1, 120),
    )
    def start(self, client: str, connector: int, limit: str, value: int) -> None:
        limits = {} if limit == "none" else {limit: str(value)}
        started = self.do(self.attempt(self.driver.start(client, connector, **limits)))
        if started:
            self.sessions.append(started.session.id)
            self.tags.append(started.session.id_tag)

    @rule(client=clients, connector=connectors)
    def two_starts_at_once(self, client: str, connector: int) -> None:
        async def both() -> list[Any]:
            return await asyncio.gather(
                self.attempt(self.driver.start(client, connector, amount="20")),
                self.attempt(self.driver.start(client, 3 - connector, amount="20")),
                self.attempt(self.driver.start(CLIENTS[0], connector, amount="20")),
            )

        for started in self.do(both()):
            if started:
                self.sessions.append(started.session.id)
                self.tags.append(started.session.id_tag)

    @rule(
        pick=picks, connector=connectors, register=st.integers(-5, 50_000), age=st.sampled_from((0, 0, 40, 4000, 10**9))
    )
    def plug(self, pick: int, connector: int, register: int, age: int) -> None:
        tag = self.tags[pick % len(self.tags)]
        # A thousand million seconds ago: the charger has no clock, and each of its charges says the same.
        when = self.driver.now - timedelta(seconds=age) if age < 10**9 else NO_CLOCK

        async def twice() -> list[Any]:
            return await asyncio.gather(
                *(
                    self.attempt(self.driver.plug(tag, connector, register, charger_time=when, message_id=new_id()))
                    for _ in range(2)
                )
            )

        first, second = self.do(twice())
        assert first.transaction_id == second.transaction_id
        if first.transaction_id not in self.transactions:
            self.transactions.append(first.transaction_id)
        if first.session_id is not None and first.session_id not in self.sessions:
            self.sessions.append(first.session_id)  # of a card

    @precondition(lambda self: self.transactions)
    @rule(pick=picks, register=registers)
    def read(self, pick: int, register: int) -> None:
        transaction = self.transactions[pick % len(self.transactions)]
        context = self.do(
            self.driver.run(lambda conn: service.meter_context(conn, self.driver.network.station_id, transaction))
        )
        if context is not None:
            self.do(self.driver.read(transaction, register))

    @precondition(lambda self: self.transactions)
    @rule(pick=picks, register=registers)
    def unplug(self, pick: int, register: int) -> None:
        transaction = self.transactions[pick % len(self.transactions)]
        self.stops.append((transaction, register, self.driver.now))
        self.do(self.driver.unplug(transaction, register))

    @precondition(lambda self: self.stops)
    @rule(pick=picks)
    def stop_message_again(self, pick: int) -> None:
        transaction, register, when = self.stops[pick % len(self.stops)]
        self.do(self.driver.unplug(transaction, register, charger_time=when))

    @precondition(lambda self: self.sessions)
    @rule(pick=picks)
    def driver_stops(self, pick: int) -> None:
        self.do(self.driver.stop(self.sessions[pick % len(self.sessions)]))

    @precondition(lambda self: self.sessions)
    @rule(pick=picks)
    def command_refused(self, pick: int) -> None:
        session_id = self.sessions[pick % len(self.sessions)]
        now = self.driver.now
        self.do(self.driver.run(lambda conn: service.remote_start_rejected(conn, session_id, "Rejected", now)))
        self.do(self.driver.run(lambda conn: service.remote_stop_rejected(conn, session_id, now)))

    @precondition(lambda self: self.sessions)
    @rule(pick=picks)
    def reserve_more(self, pick: int) -> None:
        session_id, epoch = self.sessions[pick % len(self.sessions)], self.driver.network.epoch
        self.do(self.driver.run(lambda conn: service.extend_reserve(conn, session_id, epoch, self.driver.now)))

    @rule(client=clients, status=st.sampled_from(("active", "active", "blocked")))
    def staff_blocks_or_unblocks(self, client: str, status: str) -> None:
        change = "UPDATE clients SET status = %s WHERE id = %s AND status <> 'deleted'"
        self.do(self.sql(self.driver, change, status, client))

    @rule(online=st.booleans())
    def station_reconnects(self, online: bool) -> None:
        """What it sends in the next minutes may be its offline queue."""
        self.do(self.sql(self.driver, "UPDATE stations SET connected_at = %s", self.driver.now if online else None))

    @precondition(lambda self: self.topups > 2)  # not what a race decides: hypothesis plays a run again
    @rule()
    def second_client_leaves(self) -> None:
        """Whatever comes after that ends in ``unclaimed`` or in write-offs."""
        now = self.driver.now
        leave = self.driver.run(lambda conn: deletion.delete_account(conn, CLIENTS[1], now=now, client_ip=None))
        self.do(self.attempt(leave))

    @precondition(lambda self: self.sessions and self.transactions)
    @rule(pick=picks, register=registers)
    def everybody_stops_at_once(self, pick: int, register: int) -> None:
        session_id = self.sessions[pick % len(self.sessions)]
        transaction = self.transactions[pick % len(self.transactions)]

        async def race() -> None:
            await asyncio.gather(
                self.driver.unplug(transaction, register),
                self.driver.stop(session_id),
                self.driver.sweep(),
                self.driver.unplug(transaction, register),
                self.driver.sweep(),
            )

        self.do(race())

    @rule(minutes=st.integers(1, 15), silent=st.booleans())
    def time_passes(self, minutes: int, silent: bool) -> None:
        self.driver.wait(minutes=minutes)
        if not silent:
            self.do(self.driver.alive())
        self.do(self.driver.sweep())

    @rule()
    def crash_before_commit(self) -> None:
        """The process dies on the last line before the commit: nothing of it remains."""
        before = [self.do(balance_of(self.db, client)) for client in CLIENTS]

        async def die(conn: Conn) -> None:
            for client in CLIENTS:
                await accounts.move(conn, Movement(client, LedgerType.BALANCE_TOPUP, Decimal(5), f"lost:{client}"))
            raise ConnectionError

        with pytest.raises(ConnectionError):
            self.do(self.driver.run(die))
        assert [self.do(balance_of(self.db, client)) for client in CLIENTS] == before

    @invariant()
    def every_tyiyn_is_accounted_for(self) -> None:
        assert self.do(money_faults(self.db)) == []

    @invariant()
    def nobody_who_left_has_money(self) -> None:
        async def left(conn: Conn) -> list[Any]:
            query = "SELECT id, balance FROM clients WHERE status = 'deleted' AND balance <> 0"
            return await (await conn.execute(query)).fetchall()

        assert self.do(self.driver.run(left)) == []


@pytest.mark.property
@pytest.mark.timeout(600)
def test_no_tyiyn_is_lost_or_invented(make_settings: Any, database_url: str) -> None:
    MoneyMachine.settings_of_test = make_settings()
    MoneyMachine.owner_dsn = database_url
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(MoneyMachine, settings=settings(max_examples=25, stateful_step_count=25))
