"""The server's clock is set while cars charge: no energy is lost, none is made (docs/decisions/0018)."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evpower.charging import bounds, meter
from evpower.charging.models import LimitType, MeterState, Reading, SessionState
from evpower.charging.running import MeterContext
from evpower.pricing.models import Price

T0 = datetime(2026, 1, 15, 6, 0, tzinfo=UTC)
NO_CLOCK = datetime(1970, 1, 1, tzinfo=UTC)
POWER = Decimal(150_000)


def context_of(state: MeterState) -> MeterContext:
    return MeterContext(
        transaction_id=1,
        session_id="s",
        client_id="c",
        station_id="p",
        connector_id=1,
        state=SessionState.CHARGING,
        limit_type=LimitType.ENERGY,
        limit_value=Decimal(100),
        price=Price(rate_per_kwh=Decimal(10)),
        reserved_amount=Decimal(1000),
        started_at=T0,
        max_power_w=POWER,
        sample_interval_s=10,
        meter=state,
        charger_started_at=T0,
    )


@dataclass
class Charge:
    """A car that charges, its charger, and the instances of the server that keep its meter one after the other."""

    true_s: float = 0
    wall: datetime = T0
    register: Decimal = Decimal(1000)
    clock_is_dead: bool = False
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        began = NO_CLOCK if self.clock_is_dead else T0
        self.context = context_of(meter.begin(self.register, T0, began))
        self.context.charger_started_at = began
        self.context.keep_time(T0, 0)

    @property
    def billed(self) -> Decimal:
        return self.context.meter.energy_wh

    @property
    def delivered(self) -> Decimal:
        return self.register - 1000

    def charge(self, seconds: float, wh: Decimal | int) -> None:
        self.true_s += seconds
        self.wall += timedelta(seconds=seconds)
        self.register += wh

    def step(self, seconds: float) -> None:
        """The server's clock is set."""
        self.wall += timedelta(seconds=seconds)

    def move(self) -> None:
        """Another instance has the charger: what it knows is what is stored."""
        state = self.context.meter
        began = self.context.charger_started_at
        self.context = context_of(state)
        self.context.charger_started_at = began
        self.context.keep_time(self.wall, self.true_s)

    def read(self) -> None:
        at = NO_CLOCK if self.clock_is_dead else T0 + timedelta(seconds=self.true_s)
        reading = Reading(at, energy_wh=self.register)
        measured_at = self.context.measured(self.wall, self.true_s, at)
        state, faults = meter.apply_all(
            self.context.meter, (reading,), measured_at, POWER, T0, self.context.charger_started_at
        )
        self.faults += faults
        self.context.advance(state, self.true_s)


@pytest.mark.parametrize("hours", [-1, -9, 1, 9])
@pytest.mark.parametrize("clock_is_dead", [False, True])
@pytest.mark.parametrize("moves", [False, True])
def test_1560_wh_are_billed_whatever_the_clock_of_the_server_says(hours: int, clock_is_dead: bool, moves: bool) -> None:
    """At -1 h 960 of them were dropped for good."""
    charge = Charge(clock_is_dead=clock_is_dead)
    charge.charge(60, 600)
    charge.read()
    charge.step(3600 * hours)
    if moves:
        charge.move()
    for _ in range(8):
        charge.charge(10, 120)
        charge.read()
    assert charge.billed == charge.delivered == 1560
    assert charge.faults == []


def test_without_any_clock_the_energy_of_the_hour_is_owed_until_the_hour_is_over() -> None:
    """The clock is set back at every message, by instances that forget at once, and the charger has no clock."""
    state = meter.begin(Decimal(0), T0, NO_CLOCK)
    power = Decimal(22_000)

    def read(register: int, minutes: float) -> None:
        nonlocal state
        at = T0 + timedelta(minutes=minutes)
        reading = Reading(NO_CLOCK, energy_wh=Decimal(register))
        state, _ = meter.apply(state, reading, at, power, T0, charger_began_at=NO_CLOCK)

    read(3000, 10)
    for minute in range(1, 61):
        read(3000 + minute * 360, 10 + minute - 60)
    most = meter.plausible_wh(timedelta(minutes=11), power)
    assert 3000 < state.energy_wh <= most
    for minute in range(1, 61):  # an hour later the clock is where it was
        read(24_600, 10 + minute)
    assert state.energy_wh == 24_600
    assert state.memory is None


def test_a_jump_that_is_impossible_since_the_begin_is_never_owed() -> None:
    charge = Charge()
    charge.charge(60, 600)
    charge.read()
    charge.register += 500_000
    charge.charge(10, 100)
    charge.read()
    for _ in range(600):
        charge.charge(60, 0)
        charge.read()
    charge.charge(60, 100)
    charge.read()
    assert charge.billed == 700
    assert charge.faults == [meter.JUMP]


def test_the_stop_at_another_instance_is_judged_by_the_charger_s_time() -> None:
    state = meter.begin(Decimal(0), T0, T0)
    state, _ = meter.apply(
        state, Reading(T0 + timedelta(minutes=1), Decimal(600)), T0 + timedelta(minutes=1), POWER, T0
    )
    an_hour_ago = T0 + timedelta(minutes=3) - timedelta(hours=1)
    ended, faults = meter.finish(state, Decimal(1560), T0 + timedelta(minutes=3), an_hour_ago, POWER, T0, T0)
    assert (ended.energy_wh, faults) == (1560, ())


steps = st.one_of(st.just(0), st.sampled_from([-9, -1, 1, 9]).map(lambda hours: hours * 3600), st.integers(-4000, 4000))
moments = st.tuples(st.integers(1, 600), st.integers(0, 100), steps, st.booleans())


@given(st.lists(moments, max_size=40), st.booleans())
def test_energy_billed_is_energy_delivered_whatever_steps_and_moves(
    story: list[tuple[int, int, int, bool]], is_dead: bool
) -> None:
    """Only what no instance can see costs energy, and is flagged: a clock that went back by less than the time since
    the last reading, while the charger changed instances. What then seems to come too soon is a jump (decisions/0002).
    """
    charge = Charge(clock_is_dead=is_dead)
    may_hide = is_dead
    for seconds, percent, step, moves in story:
        charge.step(0 if abs(step) < 10 else step)
        if moves:
            charge.move()
        before, since = charge.billed, charge.context.meter.since
        charge.charge(seconds, (POWER * percent * seconds / 360_000).quantize(Decimal("0.1")))
        assert since is not None
        seems = (charge.wall - since).total_seconds()
        may_hide = may_hide or (moves and -bounds._CLOCKS_DIFFER.total_seconds() <= seems < seconds - 1)
        # Steps that add up to more than a day make the charger's clock look dead (decisions/0008).
        may_hide = may_hide or meter.clock_is_dead(T0 + timedelta(seconds=charge.true_s), charge.wall)
        charge.read()
        assert before <= charge.billed <= charge.delivered
    if not may_hide:
        assert charge.billed == charge.delivered
        assert charge.faults == []
    elif charge.billed != charge.delivered:
        assert charge.faults


@given(st.lists(st.tuples(st.integers(1, 600), st.integers(0, 900_000), steps), max_size=40))
def test_a_register_that_lies_is_never_billed_above_what_the_time_allows_however_the_clock_is_set(
    story: list[tuple[int, int, int]],
) -> None:
    charge = Charge()
    for seconds, register, step in story:
        charge.step(step)
        charge.charge(seconds, 0)
        charge.register = Decimal(register)
        charge.read()
        assert charge.billed <= meter.plausible_wh(timedelta(seconds=charge.true_s), POWER)
