"""To which charge a message belongs: the pure rules."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evpower.charging import belonging, meter
from evpower.charging.belonging import NEVER, Begin
from evpower.charging.models import MeterState, Reading, StopTransaction

NOW = datetime(2026, 1, 15, 6, 0, tzinfo=UTC)
DEAD = datetime(1970, 1, 1, tzinfo=UTC)
POWER = Decimal(150_000)
BEGIN = Begin(NOW - timedelta(minutes=30), NOW - timedelta(minutes=30), Decimal(1000))
minutes = st.integers(-600, 600).map(lambda number: timedelta(minutes=number))
registers = st.integers(-10, 10**6).map(Decimal)


def stop(register: int | Decimal, at: datetime = NOW) -> StopTransaction:
    return StopTransaction("s", -1, Decimal(register), at, NOW, 1, id_tag="CARD")


def state(register: int, seen: datetime | None = None) -> MeterState:
    return MeterState(Decimal(1000), Decimal(register), Decimal(register - 1000), since=seen, since_charger=seen)


@pytest.mark.parametrize(
    ("message", "known", "possible"),
    [
        (stop(1000), state(1000), True),
        (stop(3000), None, True),
        (stop(1399), state(1500), True),  # coarse registers
        (stop(1200), state(1500), False),
        (stop(999), state(1000), False),
        (stop(94_000), state(1000), True),  # 75 kWh in half an hour, a quarter of tolerance
        (stop(96_000), state(1000), False),
        (stop(3000, BEGIN.at), state(1000), True),
        (stop(3000, BEGIN.at - timedelta(seconds=1)), state(1000), False),
        (stop(3000, NOW - timedelta(minutes=10)), state(1500, NOW - timedelta(minutes=9, seconds=30)), True),
        (stop(3000, NOW - timedelta(minutes=10)), state(1500, NOW - timedelta(minutes=8)), False),
        (stop(3000, DEAD), state(1500, NOW), True),  # its clock tells nothing
    ],
)
def test_what_can_be_the_end_of_a_charge_by_its_card(
    message: StopTransaction, known: MeterState | None, possible: bool
) -> None:
    assert belonging.stop_by_card_is_possible(BEGIN, BEGIN.received_at, known, message, POWER) is possible


@given(register=registers, said=minutes, known=st.integers(1000, 10**6), elapsed=st.integers(0, 600))
def test_a_stop_by_card_never_tells_more_than_the_connector_can_give(
    register: Decimal, said: timedelta, known: int, elapsed: int
) -> None:
    began = NOW - timedelta(minutes=elapsed)
    begin = Begin(began, began, Decimal(1000))
    if belonging.stop_by_card_is_possible(begin, began, state(known), stop(register, NOW + said), POWER):
        assert Decimal(0) <= register - 1000 <= meter.plausible_wh(timedelta(minutes=elapsed), POWER)
        assert NOW + said >= began
        assert register >= known - meter.ALLOWANCE_WH


@pytest.mark.parametrize(
    ("register", "counted", "plausible"),
    [(1600, 600, True), (1700, 600, True), (1500, 600, True), (1300, 600, False), (0, 600, False), (-1, 600, False),
     (0, 0, False), (1000, 0, True), (100_000, 600, False)],
)  # fmt: skip
def test_whether_meter_stop_tells_the_end(register: int, counted: int, plausible: bool) -> None:
    told = belonging.meter_stop_is_plausible(
        Decimal(register), Decimal(1000), Decimal(counted), timedelta(minutes=30), POWER
    )
    assert told is plausible


@given(
    begun=minutes,
    stopped=st.none() | minutes,
    plausible=st.sampled_from((True, False, None)),
    following=st.none() | minutes,
    dates=st.lists(st.none() | minutes, max_size=6),
)
def test_no_reading_counts_that_is_dated_outside_a_charge_that_is_over(
    begun: timedelta,
    stopped: timedelta | None,
    plausible: bool | None,
    following: timedelta | None,
    dates: list[timedelta | None],
) -> None:
    following_begin = None if following is None else Begin(NOW + following, NOW, Decimal(0))
    until = belonging.counted_until(
        stopped_at=None if stopped is None else NOW + stopped, stop_is_plausible=plausible, next_begin=following_begin
    )
    readings = [Reading(None if date is None else NOW + date) for date in dates]
    counted = belonging.counting(readings, NOW + begun, until)
    if stopped is None and following is None:
        assert counted == tuple(readings)
        return
    if stopped is not None and plausible is not False:
        assert (until, counted) == (NEVER, ())
    for reading in counted:
        assert reading.sampled_at is not None
        assert reading.sampled_at >= NOW + begun - belonging.CLOCK_STEP
        assert stopped is None or reading.sampled_at <= NOW + stopped
        assert following is None or reading.sampled_at < NOW + following


def test_readings_without_a_name_from_before_the_charge_are_left_out_if_the_clock_can_tell() -> None:
    early, late, timeless, dead = (
        Reading(NOW - timedelta(minutes=5)),
        Reading(NOW),
        Reading(None),
        Reading(DEAD),
    )
    found = belonging.not_before((early, late, timeless, dead), NOW, NOW + timedelta(minutes=1))
    assert found == (late, timeless, dead)
    assert belonging.not_before((early, dead), DEAD, NOW) == (early, dead)
    assert belonging.not_before((early, dead), None, NOW) == (early, dead)


@pytest.mark.parametrize(
    ("register", "at", "possible"),
    [
        (900, NOW, True),  # below the next begin: nothing of it
        (1000, NOW, True),
        (2500, NOW, False),
        (2500, BEGIN.at, True),
        (2500, BEGIN.at - timedelta(minutes=5), True),  # the next charge began with a register of its own
        (2500, DEAD, False),
    ],
)
def test_a_late_stop_and_the_charge_that_began_meanwhile(register: int, at: datetime, possible: bool) -> None:
    assert belonging.own_stop_is_possible(stop(register, at), BEGIN) is possible
    assert belonging.own_stop_is_possible(stop(register, at), None)


@pytest.mark.parametrize(("register", "goes_on"), [(1500, True), (1400, True), (1000, False), (10**6, False)])
def test_registers_that_go_on_from_the_meter(register: int, goes_on: bool) -> None:
    known = state(1500, NOW - timedelta(minutes=1))
    readings = (Reading(NOW, energy_wh=Decimal(register)), Reading(NOW))
    assert belonging.continues(known, readings, BEGIN.at, NOW, POWER) is goes_on
