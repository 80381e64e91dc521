"""Whatever comes late, again, without a name or with a wrong one: no bill holds the energy of another charge.

A hypothesis state machine plays two connectors with meters of their own and two drivers against the handlers of the
socket tier on real PostgreSQL. It knows what each charge was given; the bills may be less, never more.
"""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from evpower.charging import service
from evpower.clock import FrozenClock
from evpower.config import Settings
from evpower.db import Conn, PooledDatabase
from evpower.errors import EvPowerError
from tests.fakes.handled_charger import HandledCharger
from tests.fakes.network import build, money_faults
from tests.integration.evpower.charging.driver import Driver

CLIENTS = ("client-1", "client-2", "client-3")
CARDS = ("CARD-1", "CARD-2", "CARD-3")
BEGIN = {1: 100_000, 2: 5_000_000}  # registers of the connectors, Wh
MOST_PER_MINUTE = 2_000  # Wh; 150 kW are 2,500
connectors = st.sampled_from((1, 2))
picks = st.integers(0, 9)
# How a message names its transaction: its own id, none of ours, or that of whichever charge is picked.
names = st.sampled_from(("own", "own", 0, -1, None, 987_654, "another", "another"))
ends = st.sampled_from(("own", "own", "card", "another", "lost"))


@dataclass
class Charge:
    connector: int
    tag: str
    transaction: int
    session_id: str
    begin: int
    register: int  # where the meter stood at its end, so far

    @property
    def given(self) -> int:
        return self.register - self.begin


@dataclass(frozen=True)
class Told:
    """A reading or a stop as the charger made it."""

    charge: Charge
    register: int
    at: datetime


class BelongingMachine(RuleBasedStateMachine):
    settings_of_test: Settings
    owner_dsn: str

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.meters = dict(BEGIN)
        self.running: dict[int, Charge] = {}
        self.charges: list[Charge] = []
        self.readings: list[Told] = []
        self.stops: list[Told] = []
        self.do(self.prepare())

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    async def prepare(self) -> None:
        with psycopg.connect(self.owner_dsn, autocommit=True) as conn:
            conn.execute("TRUNCATE clients, stations, locations, quarantined_messages, push_outbox CASCADE")
            conn.execute("TRUNCATE ocpp_meter_values")
        self.db = PooledDatabase(self.settings_of_test, size=6)
        await self.db.open()
        clock = FrozenClock()
        self.driver = Driver(
            self.db, await build(self.db, clock.now(), balances=(9000, 9000, 9000), price="10", power_kw=150), clock
        )
        self.charger = await HandledCharger.connect(self.db, self.settings_of_test, clock)
        for card, client in zip(CARDS, CLIENTS, strict=True):
            await self.rows("INSERT INTO id_tags (id_tag, client_id) VALUES (%s, %s) RETURNING 1", card, client)

    async def rows(self, query: str, *parameters: Any) -> list[dict[str, Any]]:
        async def work(conn: Conn) -> list[dict[str, Any]]:
            return await (await conn.execute(query, parameters)).fetchall()  # type: ignore[arg-type]

        found: list[dict[str, Any]] = await self.driver.run(work)
        return found

    def teardown(self) -> None:
        try:
            self.do(self.finale())
        finally:
            self.do(self.db.close())
            self.runner.close()

    async def finale(self) -> None:
        """A day later everything is settled."""
        for _ in range(4):
            self.driver.wait(hours=6)
            await self.driver.sweep()
        assert await money_faults(self.db) == []
        open_ones = await self.rows(
            """SELECT t.id FROM ocpp_transactions t JOIN charging_sessions s ON s.id = t.session_id
                WHERE t.status = 'active'"""
        )
        assert open_ones == []
        await self.check()

    async def check(self) -> None:
        billed = await self.rows("SELECT id, energy_wh, coalesce(final_amount, 0) AS amount FROM charging_sessions")
        by_id = {row["id"]: row for row in billed}
        for charge in self.charges:
            row = by_id[charge.session_id]
            assert row["energy_wh"] <= charge.given, (charge, row)
            assert row["amount"] * 100 <= charge.given, (charge, row)

    @initialize()
    def seen(self) -> None:
        self.do(self.driver.alive())

    @rule(connector=connectors, client=st.sampled_from((0, 1, 2)), by_card=st.booleans(), last=ends, pick=picks)
    def another_car_comes(self, connector: int, client: int, by_card: bool, last: str, pick: int) -> None:
        self.end(connector, last, pick)
        tag = CARDS[client]
        if not by_card:
            try:
                tag = self.do(self.driver.start(CLIENTS[client], connector, energy="30")).session.id_tag
            except EvPowerError:
                return
        register = self.meters[connector]
        transaction = self.do(self.charger.start(connector, tag, register))
        found = self.do(
            self.rows(
                """SELECT s.id FROM charging_sessions s JOIN ocpp_transactions t ON t.session_id = s.id
                    WHERE t.id = %s AND s.ocpp_transaction_id = t.id AND s.state = 'charging'""",
                transaction,
            )
        )
        known = [charge for charge in self.charges if charge.transaction == transaction]
        if known:  # the card again in the same second: to the charger's eyes and ours it is the same charge
            self.running[connector] = known[0]
        elif found:  # otherwise the charger obeys, and gives nothing
            charge = Charge(connector, tag, transaction, found[0]["id"], register, register)
            self.running[connector] = charge
            self.charges.append(charge)

    @rule(first=st.integers(100, MOST_PER_MINUTE), second=st.integers(100, MOST_PER_MINUTE))
    def a_minute_passes(self, first: int, second: int) -> None:
        self.driver.wait(minutes=1)
        self.do(self.driver.alive())
        for connector, wh in ((1, first), (2, second)):
            charge = self.running.get(connector)
            if charge is not None:
                self.meters[connector] += wh
                charge.register = self.meters[connector]
                self.readings.append(Told(charge, charge.register, self.driver.now))

    def named(self, told: Told, name: Any, pick: int) -> int | None:
        if name == "own":
            return told.charge.transaction
        if name == "another":
            near = [charge for charge in self.charges if pick % 3 or charge.connector == told.charge.connector]
            return near[-1 - min(pick // 3, len(near) - 1)].transaction
        return name  # type: ignore[no-any-return]

    @precondition(lambda self: self.readings)
    @rule(name=names, pick=picks, connector=connectors, minute=st.booleans())
    def the_last_reading_comes(self, name: Any, pick: int, connector: int, minute: bool) -> None:
        if minute:
            self.a_minute_passes(1000, 700)
        newest = [told for told in self.readings if told.charge.connector == connector]
        if newest:
            self.tell(newest[-1], name, pick)

    @precondition(lambda self: self.readings)
    @rule(name=names, pick=picks, back=st.integers(1, 12))
    def an_old_reading_comes(self, name: Any, pick: int, back: int) -> None:
        """Late, or again."""
        self.tell(self.readings[-min(back, len(self.readings))], name, pick)

    def tell(self, told: Told, name: Any, pick: int) -> None:
        transaction = self.named(told, name, pick)
        self.do(self.charger.read(told.charge.connector, told.register, told.at, transaction=transaction))

    @precondition(lambda self: self.running)
    @rule(connector=connectors, name=ends, pick=picks)
    def a_car_leaves(self, connector: int, name: str, pick: int) -> None:
        self.end(connector, name, pick)

    def end(self, connector: int, name: str, pick: int) -> None:
        charge = self.running.pop(connector, None)
        if charge is None:
            return
        told = Told(charge, charge.register, self.driver.now)
        self.stops.append(told)
        if name == "card":
            self.do(self.charger.stop(-1, told.register, told.at, tag=charge.tag))
        elif name != "lost":
            self.do(self.charger.stop(self.named(told, name, pick) or 0, told.register, told.at))

    @precondition(lambda self: self.running)
    @rule(connector=connectors)
    def a_stop_by_the_card_while_it_charges(self, connector: int) -> None:
        charge = self.running.get(connector)
        if charge is not None:
            self.do(self.charger.stop(-1, charge.register, self.driver.now, tag=charge.tag))

    @precondition(lambda self: self.stops)
    @rule(pick=picks, back=st.integers(1, 4), name=st.sampled_from(("own", "card", "another")))
    def an_old_stop_comes(self, pick: int, back: int, name: str) -> None:
        told = self.stops[-min(back, len(self.stops))]
        if name == "card":
            self.do(self.charger.stop(-1, told.register, told.at, tag=told.charge.tag))
        else:
            self.do(self.charger.stop(self.named(told, name, pick) or 0, told.register, told.at))

    @precondition(lambda self: self.charges)
    @rule(pick=picks)
    def a_remote_stop_is_rejected(self, pick: int) -> None:
        session_id = self.charges[pick % len(self.charges)].session_id
        self.do(self.driver.run(lambda conn: service.remote_stop_rejected(conn, session_id, self.driver.now)))

    @rule(minutes=st.integers(1, 15), is_heard=st.booleans())
    def it_is_quiet(self, minutes: int, is_heard: bool) -> None:
        self.driver.wait(minutes=minutes)
        if is_heard:
            self.do(self.driver.alive())
        self.do(self.driver.sweep())
        self.do(self.driver.alive())

    @rule()
    def it_comes_to_another_instance(self) -> None:
        self.charger = self.do(
            HandledCharger.connect(self.db, self.settings_of_test, self.driver.clock)  # type: ignore[arg-type]
        )

    @invariant()
    def no_bill_holds_the_energy_of_another_charge(self) -> None:
        self.do(self.check())


@pytest.mark.property
@pytest.mark.timeout(600)
def test_no_bill_holds_the_energy_of_another_charge(make_settings: Any, database_url: str, redis_url: str) -> None:
    BelongingMachine.settings_of_test = make_settings(redis_url=redis_url)
    BelongingMachine.owner_dsn = database_url
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(BelongingMachine, settings=settings(max_examples=25, stateful_step_count=40))
