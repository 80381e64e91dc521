"""Whatever outages of ours and steps of the clock come, in any order: nobody is settled as offline, or stopped for want
of readings, who was heard whenever we could hear; and who is silent is settled once we could hear long enough.

A hypothesis state machine plays two instances, their chargers and the sweeps against real PostgreSQL whose clock is the
machine's. True time passes in small steps, in which what lives and can reach the database does its part.
"""

import asyncio
from collections.abc import Coroutine
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from evpower.charging import service
from evpower.charging.models import FlushNumber, Reading, SessionState
from evpower.clock import DatabaseClock, FrozenClock
from evpower.config import Settings, get_settings
from evpower.db import Conn, PooledDatabase
from evpower.ids import new_id
from evpower.stations import hearing, listening
from evpower.stations import service as stations
from evpower.stations.listening import Listener
from socket_tier.ocpp16 import meter_values
from tests.fakes.network import build, money_faults
from tests.integration.evpower.charging.driver import Driver

TICK_S = 15
"""Less than the longest gap between signs, so that none is missed while nothing is wrong."""
SAMPLE_S = 60
DIALS_AGAIN_S = 50
THRESHOLD_S = 600


class Instance:
    """One process of the socket tier: its signs of life and its clock; the meter of the charger that it holds."""

    def __init__(self, name: str, world: "OutageMachine") -> None:
        self.name = name
        self.listener = Listener(name, lambda: world.true_s)
        self.clock = DatabaseClock(world.database_clock, lambda: world.true_s)


class OutageMachine(RuleBasedStateMachine):
    """``settings_of_test`` and ``owner_dsn`` are set by the test."""

    settings_of_test: Settings
    owner_dsn: str

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.true_s = 0.0
        self.database_clock = FrozenClock()
        self.database_is_away = False
        self.instances: dict[str, Instance] = {}
        self.born = 0
        self.holder: Instance | None = None
        self.dials_at = 0.0
        self.said_at = 0.0
        self.register = 0
        self.set_back_unseen = False  # the clock, while no instance had the charger: nobody could know
        self.do(self.prepare())

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    async def prepare(self) -> None:
        with psycopg.connect(self.owner_dsn, autocommit=True) as conn:
            conn.execute("TRUNCATE clients, stations, locations, push_outbox, hearing_runs CASCADE")
        self.db = PooledDatabase(self.settings_of_test, size=3)
        await self.db.open()
        self.driver = Driver(
            self.db, await build(self.db, self.database_clock.now(), balances=(5000,)), self.database_clock
        )
        started = await self.driver.start("client-1", energy="100")
        self.session_id = started.session.id
        self.transaction = (await self.driver.plug(started.session.id_tag)).transaction_id
        await self.sql(
            "UPDATE charging_sessions SET auto_stop_at = %s",
            self.database_clock.now() + timedelta(seconds=3 * SAMPLE_S),
        )
        self.context: Any = None

    async def sql(self, statement: str, *parameters: object) -> None:
        async def work(conn: Conn) -> None:
            await conn.execute(statement.encode(), parameters)

        await self.db.run(work)

    def teardown(self) -> None:
        self.do(self.finale())
        self.do(self.db.close())
        self.runner.close()

    async def finale(self) -> None:
        """All is well again; then the charger goes for good, and its charge ends once that could be known."""
        self.database_is_away = False
        if not self.instances:
            self.start()
        await self.live(2 * THRESHOLD_S)
        session = await self.driver.session(self.session_id)
        assert session.state is SessionState.CHARGING
        assert session.energy_wh <= self.register
        assert session.energy_wh == self.register or (self.set_back_unseen and session.needs_review)
        self.holder, self.dials_at = None, float("inf")
        await self.live(THRESHOLD_S + 4 * TICK_S + 300)
        await self.sweep()
        session = await self.driver.session(self.session_id)
        assert session.state in (SessionState.STOPPED, SessionState.STOPPING)
        assert await money_faults(self.db) == []

    # --- True time ------------------------------------------------------------------------------------------------

    async def live(self, seconds: float) -> None:
        for _ in range(int(seconds / TICK_S)):
            self.true_s += TICK_S
            self.database_clock.advance(timedelta(seconds=TICK_S))
            if not self.database_is_away:
                for instance in self.instances.values():
                    sign = await self.db.run(instance.listener.sign)
                    instance.listener.last = sign
                    instance.clock.set(sign.look.moment, self.true_s)
                await self.charger()

    async def charger(self) -> None:
        """It is heard, and tells its readings, whenever that is possible for it."""
        if self.holder is not None and self.holder.name not in self.instances:
            self.holder, self.context, self.dials_at = None, None, self.true_s + DIALS_AGAIN_S
        if self.holder is None:
            if self.true_s < self.dials_at or not self.instances:
                return
            self.holder = sorted(self.instances.items())[self.born % len(self.instances)][1]
            now = self.holder.clock.now()
            epoch = await self.db.run(
                lambda conn: stations.claim_connection(conn, "station-1", self.holder.name, now)  # type: ignore[union-attr]
            )
            self.driver.network = type(self.driver.network)("station-1", epoch, ())
        now = self.holder.clock.now()
        await self.db.run(lambda conn: stations.touch(conn, {"station-1": now}, now))
        if self.true_s - self.said_at >= SAMPLE_S or self.context is None:
            await self.read(now)

    async def read(self, now: datetime) -> None:
        if self.context is None:
            context = await self.db.run(lambda conn: service.meter_context(conn, "station-1", self.transaction))
            assert context is not None
            context.keep_time(now, self.true_s)
            self.context = context
        self.register += int(self.true_s - self.said_at) * 5  # 18 kW
        self.said_at = self.true_s
        at = datetime.fromtimestamp(1_768_456_800 + self.true_s, tz=now.tzinfo)
        readings = (Reading(at, energy_wh=Decimal(self.register)),)
        measured = self.context.measured(now, self.true_s, at)
        _, update = meter_values.judge(
            self.context, readings, now, measured, epoch=self.driver.network.epoch, connector_id=1
        )
        number = FlushNumber(new_id(), 1)
        outcome = await self.db.run(lambda conn: service.flush_readings(conn, number, [update]))
        assert not outcome.stale
        self.context.advance(update.meter, self.true_s)

    async def sweep(self) -> None:
        if not self.database_is_away:
            await self.driver.sweep(None)

    def set_clock(self, hours: float) -> None:
        has_charger = self.holder is not None and self.holder.name in self.instances
        self.set_back_unseen |= hours < 0 and (self.database_is_away or not has_charger)
        self.database_clock.advance(timedelta(hours=hours))

    def start(self) -> None:
        self.born += 1
        self.instances[f"i{self.born}"] = Instance(f"i{self.born}", self)

    # --- Rules ----------------------------------------------------------------------------------------------------

    @initialize()
    def first(self) -> None:
        self.start()
        self.do(self.live(TICK_S))

    @rule(seconds=st.sampled_from((15, 60, 300, 660)))
    def time_passes(self, seconds: int) -> None:
        self.do(self.live(seconds))

    @rule(seconds=st.sampled_from((30, 200, 700, 1500)), hours=st.sampled_from((0, 0, 1, -1)))
    def the_database_is_away(self, seconds: int, hours: int) -> None:
        """Long enough for sockets to be closed, so the charger dials again some time after."""
        self.database_is_away = True
        self.do(self.live(seconds))
        self.set_clock(hours)
        self.database_is_away = False
        self.holder, self.context, self.dials_at = None, None, self.true_s + DIALS_AGAIN_S

    @rule(hours=st.sampled_from((-9, -1, -0.2, 0.2, 1, 9)))
    def the_clock_is_set(self, hours: float) -> None:
        self.set_clock(hours)

    @rule()
    def another_instance_starts(self) -> None:
        if len(self.instances) < 2:
            self.start()

    @rule(which=st.integers(0, 1), away_s=st.sampled_from((0, 0, 60, 900)))
    def an_instance_dies(self, which: int, away_s: int) -> None:
        names = sorted(self.instances)
        if names:
            del self.instances[names[which % len(names)]]
        self.do(self.live(away_s))
        if not self.instances:
            self.start()

    @rule()
    def the_sweeps_run(self) -> None:
        self.do(self.sweep())
        session = self.do(self.driver.session(self.session_id))
        assert session.state is SessionState.CHARGING, session.stop_reason


@pytest.mark.property
@pytest.mark.timeout(600)
def test_nobody_who_was_heard_whenever_we_could_hear_is_ended(
    make_settings: Any, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    machine: list[OutageMachine] = []

    class Watched(OutageMachine):
        def __init__(self) -> None:
            machine[:] = [self]
            super().__init__()

    async def told(_conn: Conn) -> datetime:
        return machine[0].database_clock.now()

    monkeypatch.setattr(listening, "database_time", told)
    # A charge that is too long by a clock that was set is ended by it; that is another rule's matter.
    monkeypatch.setenv("SESSION_MAX_S", str(10**9))
    get_settings.cache_clear()
    assert hearing.LONGEST_GAP.total_seconds() > TICK_S
    OutageMachine.settings_of_test = make_settings()
    OutageMachine.owner_dsn = database_url
    run_state_machine_as_test(Watched, settings=settings(max_examples=20, stateful_step_count=20))
