"""Registers that lie never overbill (ocpp.md §5)."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from evpower.charging import meter
from evpower.charging.models import MeterState, Reading

T0 = datetime(2026, 1, 15, 6, 0, tzinfo=UTC)
POWER = Decimal(22_000)


def at(seconds: float, wh: float | None, **values: Decimal) -> tuple[Reading, datetime]:
    moment = T0 + timedelta(seconds=seconds)
    return Reading(moment, energy_wh=None if wh is None else Decimal(str(wh)), **values), moment


def run(start: float, *samples: tuple[Reading, datetime]) -> tuple[MeterState, list[str]]:
    state = meter.begin(Decimal(str(start)), T0, T0)
    found: list[str] = []
    for reading, received in samples:
        state, flags = meter.apply(state, reading, received, POWER, T0)
        found += flags
    return state, found


def test_energy_is_the_difference_of_registers() -> None:
    state, flags = run(1000, at(60, 1366), at(120, 1732))
    assert state.energy_wh == 732
    assert flags == []


def test_register_restarts_at_zero_after_a_power_loss() -> None:
    state, flags = run(500_000, at(60, 500_300), at(180, 40), at(240, 340))
    assert state.energy_wh == 300 + 40 + 300
    assert flags == [meter.RESET]


def test_one_zero_between_good_readings_is_a_glitch() -> None:
    state, flags = run(0, at(60, 300), at(120, 0), at(180, 600), at(240, 900))
    assert state.energy_wh == 900
    assert flags == [meter.RESET]


def test_a_register_that_stays_at_zero_after_its_restart_adds_nothing() -> None:
    state, _ = run(0, at(60, 3000), at(120, 0), at(180, 0), at(240, 0), at(300, 300))
    assert state.energy_wh == run(0, at(60, 3000))[0].energy_wh + 300


def test_a_restart_that_only_the_stop_shows_is_billed() -> None:
    state, _ = run(500_000, at(60, 500_300))
    state, flags = meter.finish(state, Decimal(120), None, T0 + timedelta(seconds=120), POWER, T0)
    assert state.energy_wh == 300 + 120
    assert flags == (meter.RESET,)


def test_a_jump_of_hundreds_of_kwh_is_not_billed() -> None:
    state, flags = run(1000, at(60, 1300), at(120, 501_300), at(180, 501_600))
    assert state.energy_wh == 300 + 300
    assert flags == [meter.JUMP]


def test_a_single_wrong_reading_is_forgotten() -> None:
    state, flags = run(1000, at(60, 1300), at(120, 901_300), at(180, 1900))
    assert state.energy_wh == 900
    assert flags == [meter.JUMP]


def test_begin_at_zero_with_a_real_register_behind_it() -> None:
    state, _ = run(0, at(60, 734_000), at(120, 734_300), at(180, 734_600))
    assert state.energy_wh == 600


def test_a_negative_register_is_ignored() -> None:
    state, flags = run(1000, at(60, 1300), at(120, -5), at(180, 1600))
    assert state.energy_wh == 600
    assert flags == [meter.NEGATIVE]


def test_an_older_sample_that_comes_late_changes_nothing() -> None:
    older, _ = at(30, 150)
    state, flags = run(0, at(60, 300), (older, T0 + timedelta(seconds=70)), at(120, 600))
    assert state.energy_wh == 600
    assert flags == []


def test_rounding_jitter_is_not_a_restart() -> None:
    state, flags = run(0, at(60, 300), at(70, 299), at(120, 600))
    assert state.energy_wh == 600
    assert flags == []


def test_an_hour_of_queued_samples_within_a_second_is_billed() -> None:
    received = T0 + timedelta(hours=1, seconds=1)
    samples = [(Reading(T0 + timedelta(minutes=m), energy_wh=Decimal(m * 300)), received) for m in range(1, 61)]
    state, flags = run(0, *samples)
    assert state.energy_wh == 18_000
    assert flags == []


def test_a_clock_hours_ahead_does_not_open_the_bound() -> None:
    reading = Reading(T0 + timedelta(hours=9), energy_wh=Decimal(150_000))
    state, flags = run(0, (reading, T0 + timedelta(seconds=60)))
    assert state.energy_wh == 0
    assert flags == [meter.JUMP]


def test_meter_stop_zero_or_minus_one_keeps_the_last_reading() -> None:
    state, _ = run(1000, at(60, 1300))
    for lost in (0, -1):
        ended, flags = meter.finish(
            state, Decimal(lost), T0 + timedelta(seconds=90), T0 + timedelta(seconds=90), POWER, T0
        )
        assert ended.energy_wh == 300
        assert flags


def test_meter_stop_below_meter_start_bills_nothing() -> None:
    state = meter.begin(Decimal(5000), T0, T0)
    later = T0 + timedelta(minutes=10)
    ended, flags = meter.finish(state, Decimal(4000), later, later, POWER, T0)
    assert ended.energy_wh == 0
    assert flags == (meter.JUMP,)


def test_readings_of_one_message_are_taken_in_the_order_of_their_times() -> None:
    late, received = at(120, 600)
    early, _ = at(60, 300)
    state, flags = meter.apply_all(meter.begin(Decimal(0), T0, T0), (late, early), received, POWER, T0)
    assert state.energy_wh == 600
    assert flags == ()


def test_telemetry_keeps_the_last_value_that_was_sent() -> None:
    state, _ = run(0, at(60, 300, power_w=Decimal(11_000), soc_percent=Decimal(40)), at(120, None))
    assert state.power_w == 11_000
    assert state.soc_percent == 40


def test_billable_minutes_are_the_chargers_difference_within_the_servers() -> None:
    charger = T0 - timedelta(days=1)
    minutes = meter.billable_minutes
    assert minutes(charger, charger + timedelta(minutes=30), T0, T0 + timedelta(minutes=31)) == 30
    assert minutes(charger, charger + timedelta(hours=30), T0, T0 + timedelta(minutes=31)) == 31
    assert minutes(charger, charger - timedelta(hours=3), T0, T0 + timedelta(minutes=31)) == 0


registers = st.integers(min_value=-1000, max_value=2_000_000)


@given(st.integers(0, 1_000_000), st.lists(st.tuples(st.integers(0, 600), registers, st.integers(-90_000, 90_000))))
def test_energy_never_falls_and_never_passes_what_the_connector_can_deliver(
    start: int, steps: list[tuple[int, int, int]]
) -> None:
    state = meter.begin(Decimal(start), T0, T0)
    now = T0
    for seconds, register, skew in steps:
        now += timedelta(seconds=seconds)
        reading = Reading(now + timedelta(seconds=skew), energy_wh=Decimal(register))
        after, _ = meter.apply(state, reading, now, POWER, T0)
        assert after.energy_wh >= state.energy_wh
        assert after.energy_wh <= meter.plausible_wh(now - T0, POWER)
        state = after


@given(st.lists(st.tuples(st.integers(1, 300), st.integers(0, 22_000)), max_size=40), st.integers(0, 900_000))
def test_an_honest_meter_is_billed_to_the_watt_hour(steps: list[tuple[int, int]], start: int) -> None:
    state = meter.begin(Decimal(start), T0, T0)
    now, register = T0, Decimal(start)
    for seconds, watts in steps:
        now += timedelta(seconds=seconds)
        register += (Decimal(watts) * seconds / 3600).quantize(Decimal("0.1"))
        state, flags = meter.apply(state, Reading(now, energy_wh=register), now, POWER, T0)
        assert flags == ()
    assert state.energy_wh == register - start
