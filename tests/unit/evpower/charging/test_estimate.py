"""Energy without a register, and registers that their power refutes."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evpower.charging import estimate, meter
from evpower.charging.models import EnergySource, MeterMemory, MeterState, Reading

T0 = datetime(2026, 1, 15, 6, 0, tzinfo=UTC)
POWER = Decimal(11_000)


def at(
    minutes: float, wh: int | None = None, *, power: int | None = None, interval: int | None = None, **other: Decimal
) -> Reading:
    return Reading(
        T0 + timedelta(minutes=minutes),
        energy_wh=None if wh is None else Decimal(wh),
        power_w=None if power is None else Decimal(power),
        interval_wh=None if interval is None else Decimal(interval),
        **other,
    )


def live(state: MeterState, *readings: Reading) -> MeterState:
    """Each reading in a message of its own, received when it was taken."""
    for reading in readings:
        assert reading.sampled_at is not None
        state, _ = meter.apply(state, reading, reading.sampled_at, POWER, T0, charger_began_at=T0)
    return state


def run(start: int, *readings: Reading) -> MeterState:
    return live(meter.begin(Decimal(start), T0, T0), *readings)


def stop(state: MeterState, wh: int, minutes: float) -> tuple[MeterState, tuple[str, ...]]:
    when = T0 + timedelta(minutes=minutes)
    return meter.finish(state, Decimal(wh), when, when, POWER, T0, T0)


def test_power_over_time_stands_in_for_a_register() -> None:
    state = run(0, at(10, power=6000), at(20, power=6000))
    assert (state.energy_wh, state.source) == (2000, EnergySource.POWER)
    assert estimate.doubts(state) == (estimate.ESTIMATED,)


def test_between_two_powers_their_mean_counts() -> None:
    assert run(0, at(10, power=6000), at(20, power=0)).energy_wh == 1500


def test_interval_energy_goes_before_power() -> None:
    state = run(0, at(10, interval=900, power=6000), at(20, interval=800, power=6000))
    assert (state.energy_wh, state.source) == (1700, EnergySource.INTERVAL)


def test_an_interval_counts_once_whatever_the_order_and_however_often_it_comes() -> None:
    first, second, third = at(10, interval=100), at(20, interval=200), at(30, interval=300)
    state = run(0, first, third)
    for late in (second, first, third, second):
        state, _ = meter.apply(state, late, T0 + timedelta(minutes=31), POWER, T0, charger_began_at=T0)
    assert state.energy_wh == 600


def test_a_message_that_comes_again_adds_no_power_and_no_life() -> None:
    state = run(0, at(10, power=6000))
    again, _ = meter.apply(state, at(10, power=6000), T0 + timedelta(minutes=12), POWER, T0, charger_began_at=T0)
    assert again.energy_wh == state.energy_wh == 1000
    assert not meter.moved_on(state, again)


def test_the_first_register_replaces_the_estimate_and_is_not_added_to_it() -> None:
    estimated = run(5000, at(10, power=6000), at(20, interval=700, power=6000))
    state = live(estimated, at(30, 6500, power=6000))
    assert (state.energy_wh, state.source) == (1500, EnergySource.REGISTER)
    assert estimate.doubts(state) == ()


def test_a_register_that_shows_no_progress_replaces_it_as_well() -> None:
    assert run(5000, at(1, power=6000), at(2, 5000)).energy_wh == 0


def test_meter_stop_replaces_the_estimate() -> None:
    ended, flags = stop(run(5000, at(10, power=6000)), 5800, 11)
    assert (ended.energy_wh, ended.source, flags) == (800, EnergySource.REGISTER, ())


@pytest.mark.parametrize("lost", [0, -1])
def test_a_lost_meter_stop_does_not(lost: int) -> None:
    for start in (0, 5000):
        ended, _ = stop(run(start, at(10, power=6000)), lost, 11)
        assert (ended.energy_wh, ended.source) == (1000, EnergySource.POWER)


def test_an_implausible_meter_stop_does_not() -> None:
    ended, flags = stop(run(5000, at(10, power=6000)), 900_000, 11)
    assert (ended.energy_wh, flags) == (1000, (meter.JUMP,))


def test_an_unreadable_register_beside_power_leaves_the_estimate() -> None:
    assert run(0, at(10, -5, power=6000)).energy_wh == 1000


def test_once_a_register_has_come_power_alone_tells_no_energy() -> None:
    before = run(0, at(1, 100, power=6000))
    after = live(before, at(10, power=6000))
    assert after.energy_wh == 100
    assert not meter.moved_on(before, after)
    assert meter.moved_on(before, live(before, at(10, 100)))


def test_power_above_the_connectors_is_not_believed() -> None:
    assert run(0, at(6, power=500_000)).energy_wh == 1100


def test_a_clock_that_jumps_ahead_adds_no_time() -> None:
    ahead = Reading(T0 + timedelta(hours=9), power_w=Decimal(6000))
    state, _ = meter.apply(meter.begin(Decimal(0), T0, T0), ahead, T0 + timedelta(minutes=10), POWER, T0)
    assert state.energy_wh == 1000


def test_a_register_that_counts_kwh_is_known_by_its_power() -> None:
    state = run(361, at(0, 361, power=9451), at(5, 362, power=9451))
    ended, _ = stop(state, 362, 5)
    assert ended.energy_wh == 1  # nothing is multiplied before staff confirm it
    assert estimate.doubts(ended) == (estimate.BELOW_POWER,)
    assert ended.memory is not None
    assert estimate.counts_kwh(ended.energy_wh, ended.memory.power_wh)


def test_current_times_voltage_tells_as_much() -> None:
    phases = {"current_a": Decimal(41), "voltage_v": Decimal(230)}
    assert estimate.doubts(run(361, at(5, 362, **phases))) == (estimate.BELOW_POWER,)


def test_a_register_that_stands_still_under_power_is_doubted_but_proposes_nothing() -> None:
    state = run(361, at(5, 361, power=9000))
    assert estimate.doubts(state) == (estimate.BELOW_POWER,)
    assert state.memory is not None
    assert not estimate.counts_kwh(state.energy_wh, state.memory.power_wh)


def test_a_coarse_register_of_wh_is_not_doubted() -> None:
    state = run(0, at(1, 0, power=9000), at(2, 100, power=9000), at(3, 400, power=9000))
    assert estimate.doubts(state) == ()
    assert state.memory is None


def test_a_car_that_draws_nothing_is_not_doubted() -> None:
    assert estimate.doubts(run(361, at(30, 361, power=0), at(60, 361, power=0))) == ()


def test_what_is_remembered_survives_the_database() -> None:
    memory = run(0, at(10, interval=900, power=6000), at(20, interval=800)).memory
    assert memory is not None
    assert msgspec.convert(msgspec.json.decode(msgspec.json.encode(memory)), MeterMemory) == memory


_READINGS = st.lists(
    st.tuples(
        st.integers(0, 900),  # seconds until it is received
        st.integers(-4000, 4000),  # by how much the charger's clock is off
        st.one_of(st.none(), st.integers(-100, 50_000)),  # power
        st.one_of(st.none(), st.integers(-10, 5000)),  # interval
        st.one_of(st.none(), st.none(), st.integers(-5, 20_000)),  # register
    ),
    max_size=30,
)


@given(_READINGS, st.integers(0, 20_000))
def test_no_estimate_exceeds_what_the_connector_can_deliver(
    steps: list[tuple[int, int, int | None, int | None, int | None]], start: int
) -> None:
    state, now = meter.begin(Decimal(start), T0, T0), T0
    for seconds, skew, power, interval, register in steps:
        now += timedelta(seconds=seconds)
        reading = at(0, register, power=power, interval=interval)
        reading = msgspec.structs.replace(reading, sampled_at=now + timedelta(seconds=skew))
        before = state
        state, _ = meter.apply(state, reading, now, POWER, T0, charger_began_at=T0)
        assert 0 <= state.energy_wh <= meter.plausible_wh(now - T0, POWER)
        if before.source == EnergySource.REGISTER:
            assert state.source == EnergySource.REGISTER
            assert state.energy_wh >= before.energy_wh
        if state.source == EnergySource.POWER:
            assert state.energy_wh <= POWER * Decimal((now - T0).total_seconds()) / 3600 + Decimal("0.1")


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(0, 900)), max_size=20), st.randoms())
def test_intervals_make_their_sum_in_any_order_with_any_repeats(steps: list[tuple[int, int]], order: object) -> None:
    readings = [at(60 + index, interval=wh) for index, (_, wh) in enumerate(steps)]
    shuffled = readings * 2
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    state = meter.begin(Decimal(0), T0, T0)
    for reading in shuffled:
        state, _ = meter.apply(state, reading, T0 + timedelta(hours=3), POWER, T0, charger_began_at=T0)
    assert state.energy_wh == sum(wh for _, wh in steps)
