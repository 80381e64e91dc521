"""How often a charger samples: its configuration, its readings, and our wish last."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evpower.stations import sampling
from evpower.stations.sampling import LONGEST_S, Gaps, expected_interval_s, interval_of

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
intervals = st.integers(1, LONGEST_S)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("60", 60), (" 300 ", 300), ("0", 0), ("", None), ("60.5", None), ("-1", None), ("٣", None), ("1" * 9, None)],
)
def test_what_a_value_says(text: str, seconds: int | None) -> None:
    assert interval_of(text) == seconds


@pytest.mark.parametrize(
    ("configured", "observed", "expected"),
    [
        (None, None, 10),
        (60, None, 60),  # read-only, while 10 are wanted
        (5, None, 5),
        (0, None, LONGEST_S),  # no periodic readings
        (0, 60, 60),  # but it sends some
        (60, 300, 300),
        (60, 20, 60),  # more often than configured changes nothing
        (None, 300, 300),
        (3600, None, LONGEST_S),
    ],
)
def test_the_interval_to_count_with(configured: int | None, observed: int | None, expected: int) -> None:
    assert expected_interval_s(configured, observed, 10) == expected


def shown(gaps: Gaps, interval_s: int, steps: list[int]) -> int:
    """The interval that is counted with after readings with these distances."""
    moment = NOON
    for step in steps:
        later = moment + timedelta(seconds=step)
        interval_s = gaps.new_interval(interval_s, moment, later) or interval_s
        moment = later
    return interval_s


@given(counted=intervals, real=intervals, known=st.booleans())
def test_a_steady_charger_is_never_overdue_for_long(counted: int, real: int, known: bool) -> None:
    """Whatever was believed: after three readings none of its own is late by three intervals."""
    assert shown(Gaps(known=known), counted, [real] * 3) * 3 > real


@given(counted=intervals, real=intervals, least=intervals)
def test_readings_never_show_less_than_the_configuration(counted: int, real: int, least: int) -> None:
    assert shown(Gaps(least), max(counted, least), [real] * 5) >= least


@given(counted=intervals, lost=st.integers(2, 50))
def test_one_lost_reading_changes_nothing(counted: int, lost: int) -> None:
    assert shown(Gaps(), counted, [counted, counted * lost, counted, counted]) == counted


def test_of_an_unknown_charger_one_gap_is_enough() -> None:
    assert shown(Gaps(known=False), 60, [300]) == 300
    assert shown(Gaps(known=True), 60, [300]) == 60
    assert shown(Gaps(known=True), 60, [300, 300]) == 300


def test_a_charger_that_samples_more_often_again_is_counted_so() -> None:
    assert shown(Gaps(10), 300, [10, 10]) == 10


@given(steps=st.lists(st.integers(-100_000, 100_000), max_size=20), counted=intervals, known=st.booleans())
def test_no_clock_makes_a_silly_interval(steps: list[int], counted: int, known: bool) -> None:
    assert 1 <= shown(Gaps(known=known), counted, steps) <= LONGEST_S


def test_a_configured_interval_is_bounded() -> None:
    assert sampling.configured_interval_s(86_400, 60) == LONGEST_S
    assert sampling.configured_interval_s(None, 60) == 60
