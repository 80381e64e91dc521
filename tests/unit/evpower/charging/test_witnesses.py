"""The final bill weighs the readings against the register of the end (docs/decisions/0013)."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evpower.charging import meter
from evpower.charging.models import MeterState, Reading

T0 = datetime(2026, 1, 15, 6, 0, tzinfo=UTC)
POWER = Decimal(150_000)


def charge(start: int, *registers: int | None, minutes: float = 10) -> tuple[MeterState, datetime]:
    """The meter after readings ``minutes`` apart, and the time of the last one."""
    now, state = T0, meter.begin(Decimal(start), T0, T0)
    for register in registers:
        now += timedelta(minutes=minutes)
        reading = Reading(now, energy_wh=None if register is None else Decimal(register))
        state, _ = meter.apply(state, reading, now, POWER, T0, charger_began_at=T0)
    return state, now


def bill(start: int, *registers: int, stop: int, after_s: float = 60) -> tuple[Decimal, tuple[str, ...]]:
    state, now = charge(start, *registers)
    at = now + timedelta(seconds=after_s)
    state, flags = meter.finish(state, Decimal(stop), at, at, POWER, T0, T0)
    return state.energy_wh, flags


def test_a_register_of_the_session_in_the_readings_gives_way_to_that_of_the_end() -> None:
    assert bill(4_076_400, 104, 228, 353, stop=4_077_300) == (900, ())


def test_a_single_reading_of_the_sessions_register_does_as_well() -> None:
    assert bill(4_076_400, 104, stop=4_077_300) == (900, ())


@pytest.mark.parametrize(
    ("registers", "what"),
    [
        ((4_001_000, 0, 0, 4_001_500, 4_002_000), "in the middle"),
        ((4_001_000, 4_002_000, 0, 0), "up to the end"),
        ((0, 0, 0), "always"),
        ((4_001_000, 0, 0, 4_001_500, 0, 0, 4_002_000), "twice"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_zeros_while_the_car_pauses_cost_no_energy(registers: tuple[int, ...], what: str) -> None:
    assert bill(4_000_000, *registers, stop=4_002_500)[0] == 2500


def test_zeros_are_no_witness_where_every_register_begins_at_zero() -> None:
    assert bill(0, 0, 0, 0, stop=900, after_s=1) == (900, (meter.DIFFERS,))


def test_a_restart_that_the_readings_saw_makes_the_stop_implausible() -> None:
    assert bill(100, 3000, 0, 500, 900, stop=1000) == (2900 + 900 + 100, ())


def test_a_plausible_rise_after_the_last_reading_is_energy() -> None:
    assert bill(1000, 2000, 3000, stop=5000) == (4000, ())


def test_a_rise_that_the_connector_cannot_have_delivered_since_is_not_billed_but_looked_at() -> None:
    assert bill(1000, 2000, 3000, stop=9000, after_s=5) == (2000, (meter.DIFFERS,))


def test_of_two_plausible_witnesses_the_lower_is_billed() -> None:
    assert bill(1000, 2000, 3000, stop=2400) == (1400, (meter.DIFFERS,))


def test_a_stop_that_repeats_the_begin_is_no_witness_against_readings_that_rose() -> None:
    assert bill(1000, 2000, 3000, stop=1000) == (2000, (meter.DIFFERS,))


def test_the_rounding_of_a_register_is_no_difference() -> None:
    assert bill(1000, 2000, 3000, stop=2995) == (1995, ())


def test_a_stop_below_the_begin_is_no_witness() -> None:
    assert bill(5000, 8000, stop=4900) == (3000, (meter.JUMP,))


def test_a_stop_that_the_connector_cannot_have_delivered_is_no_witness() -> None:
    assert bill(5000, 8000, stop=9_000_000) == (3000, (meter.JUMP,))


def test_a_restart_that_only_the_end_shows_is_added() -> None:
    assert bill(50_000, 53_000, stop=1000) == (4000, (meter.RESET,))


def test_an_end_by_the_sessions_register_is_not_added_to_the_readings() -> None:
    """It shows what the readings show and some more: a restart at zero could be meant too, and the lower is billed."""
    assert bill(4_076_400, 4_076_504, 4_076_753, stop=900) == (900, (meter.RESET,))


def test_a_stop_dated_before_the_last_reading_is_weighed_like_any_other() -> None:
    state, now = charge(1000, 2000, 3000)
    ended, flags = meter.finish(state, Decimal(2500), now - timedelta(seconds=5), now, POWER, T0, T0)
    assert (ended.energy_wh, flags) == (1500, (meter.DIFFERS,))


def test_a_register_that_comes_back_after_zeros_is_counted_while_the_charge_goes_on() -> None:
    state, _ = charge(4_000_000, 4_001_000, 0, 0, 4_001_500)
    assert state.energy_wh == 1500
    assert state.memory is None


def test_two_registers_in_turn_are_not_added_up() -> None:
    state, _ = charge(4_000_000, 200, 400, 4_000_600, 800, 1000, 4_001_200)
    assert state.energy_wh == 1200


def test_a_register_that_jumped_for_two_readings_is_left_again() -> None:
    state, _ = charge(1000, 1300, 501_300, 501_600, 1900, 2500)
    assert state.energy_wh == 1500
    assert bill(1000, 1300, 501_300, 501_600, stop=1900)[0] == 900


def test_jitter_below_the_begin_leaves_the_readings() -> None:
    assert bill(1000, 1100, stop=900) == (100, ())


def test_a_register_that_restarts_twice_is_counted_twice() -> None:
    """The second time it soon shows nearly what it showed before: that is no jitter of the register that was left."""
    assert bill(7000, 7969, 7988, 12, 512, 0, 400, stop=450) == (1950, ())


def test_a_zero_between_registers_that_jitter_is_no_restart() -> None:
    state, _ = charge(7000, 7988, 0, 7980, 8000)
    assert state.energy_wh == 1000


def test_a_register_that_has_risen_past_the_one_that_was_left_may_restart_again() -> None:
    assert bill(0, 100, 0, 40, 5040, 0, 150, stop=160) == (5300, ())


restarts = st.tuples(st.integers(1, 900), st.booleans(), st.decimals(0, "0.9", places=2))


@given(st.integers(0, 100_000), st.lists(restarts, max_size=15), st.integers(0, 200))
def test_restarts_that_can_be_seen_cost_nothing(start: int, parts: list[tuple[int, bool, Decimal]], rest: int) -> None:
    """However often: each is seen at zero, and then at less than the register has shown before."""
    register = Decimal(start)
    delivered = Decimal(0)
    shown: list[int] = []
    for wh, restarts, share in parts:
        if restarts and register >= 2:
            shown.append(0)
            wh, register = max(1, min(20_000, int(register * share))), Decimal(0)
        register += wh
        delivered += wh
        shown.append(int(register))
    assert bill(start, *shown, stop=int(register) + rest)[0] == delivered + rest
