"""Since when chargers could be heard, by signs of life whose clock may jump (docs/decisions/0018)."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evpower.stations import hearing
from evpower.stations.hearing import Hearing, Look, Run

NOW = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)
GAP = hearing.LONGEST_GAP.total_seconds()


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def run(since: float, until: float, instance: str = "a") -> Run:
    """A run that began and ended so many seconds ago."""
    return Run(f"{instance}-{since}", instance, ago(since), ago(until))


@pytest.mark.parametrize(
    ("runs", "since"),
    [
        ([], None),
        ([run(900, 3)], 900),
        ([run(900, GAP + 1)], None),  # nobody hears any more
        ([run(900, 100), run(90, 2, "b")], 900),  # an instance took over at once
        ([run(900, 200), run(90, 2, "b")], 90),  # all were away in between
        ([run(900, 500), run(600, 300, "b"), run(310, 0, "c")], 900),  # a rolling deployment
        ([run(900, -3600), run(60, 1, "b")], 60),  # written before the clock went back an hour
        ([run(900, -3600)], None),
        ([run(5, 3), run(900, 100, "b"), run(120, 4, "c")], 900),
    ],
)
def test_the_time_without_a_gap_goes_on_from_instance_to_instance(runs: list[Run], since: float | None) -> None:
    assert hearing.uninterrupted_since(runs, NOW) == (None if since is None else ago(since))


@pytest.mark.parametrize(
    ("passed", "monotonic", "stepped"),
    [(5, 5, False), (5.4, 5, False), (3605, 5, True), (-3595, 5, True), (20, 5, True), (90, 90, False), (5, 90, True)],
)
def test_a_clock_that_was_set_shows_against_the_monotonic_one(passed: float, monotonic: float, stepped: bool) -> None:
    before, after = Look(NOW, 100, 100.2), Look(NOW + timedelta(seconds=passed), 100 + monotonic, 100.2 + monotonic)
    assert hearing.stepped(before, after) is stepped


def test_a_slow_look_is_no_step() -> None:
    """The question took ten seconds: the answer is from any moment of them."""
    assert not hearing.stepped(Look(NOW, 100, 100.1), Look(NOW + timedelta(seconds=15), 105, 115))
    assert not hearing.stepped(Look(NOW, 100, 100.1), Look(NOW + timedelta(seconds=5), 105, 115))


def test_what_passed_counts_within_hearing_only() -> None:
    heard = Hearing(NOW, ago(700))
    assert heard.passed(ago(601), 600)
    assert not heard.passed(ago(599), 600)
    assert heard.passed(NOW + timedelta(hours=1), 600)  # written before the clock went back
    assert not heard.passed(NOW + timedelta(seconds=2), 600)  # by a clock that is a little ahead
    assert not Hearing(NOW, ago(300)).passed(ago(5000), 600)
    assert not Hearing(NOW, None).passed(ago(5000), 600)
    assert Hearing(NOW, None).silence(600).since is None


instances = st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 4000)), max_size=8)


@given(instances, st.integers(0, 4000))
def test_within_the_found_time_somebody_always_heard(bounds: list[tuple[int, int]], probe: int) -> None:
    runs = [run(max(pair), min(pair), f"i{n}") for n, pair in enumerate(bounds)]
    since = hearing.uninterrupted_since(runs, NOW)
    if since is None or ago(probe) < since:
        return
    # Each moment of it is at most half a gap away from a sign of life, or lies inside a run.
    near = hearing.LONGEST_GAP
    assert any(one.since - near <= ago(probe) <= one.until + near for one in runs)
