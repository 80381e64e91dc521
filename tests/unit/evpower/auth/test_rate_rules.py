"""The sliding window: never more than the limit in any minute, and an honest time to come back."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from evpower.auth.rate_limit import LocalCounter
from evpower.auth.rate_rules import WINDOW_S, Window, allows, retry_after_s

START = datetime(2026, 3, 11, 6, 0, tzinfo=UTC)


def test_the_window_and_its_weight() -> None:
    window = Window.at(START + timedelta(seconds=15))
    assert (window.start, window.previous_start, window.weight) == (START, START - timedelta(seconds=60), 0.75)
    assert Window.at(START).weight == 1.0


def test_windows_of_other_lengths() -> None:
    window = Window.at(START + timedelta(minutes=15), 3600)
    assert (window.start, window.previous_start, window.weight) == (START, START - timedelta(hours=1), 0.75)
    counter = LocalCounter()
    assert [counter.hit("b", window, 2)[0] for _ in range(3)] == [True, True, False]
    wait = retry_after_s(2, 0, window.weight, 2, window.length_s)
    assert counter.hit("b", Window.at(START + timedelta(minutes=15, seconds=wait - 2), 3600), 2)[0] is False
    assert counter.hit("b", Window.at(START + timedelta(minutes=15, seconds=wait), 3600), 2)[0] is True


def test_a_burst_is_cut_at_the_limit_and_fades_with_the_next_minute() -> None:
    counter = LocalCounter()
    window = Window.at(START + timedelta(seconds=30))
    assert [counter.hit("b", window, 10)[0] for _ in range(12)] == [True] * 10 + [False] * 2
    assert counter.hit("b", Window.at(START + timedelta(seconds=60)), 10)[0] is False
    assert counter.hit("b", Window.at(START + timedelta(seconds=66)), 10)[0] is True
    assert counter.hit("other", window, 10)[0] is True


def test_old_buckets_make_room() -> None:
    counter = LocalCounter(max_buckets=100)
    window = Window.at(START)
    for number in range(1000):
        counter.hit(f"b{number}", window, 10)
    assert counter.hit("b999", window, 1)[0] is False
    assert counter.hit("b0", window, 1)[0] is True


@given(st.lists(st.floats(min_value=0.01, max_value=30), min_size=1, max_size=120), st.integers(1, 10))
def test_a_polite_caller_is_never_refused(pauses: list[float], limit: int) -> None:
    """Whoever waits as long as it was told is let in."""
    counter, now = LocalCounter(), START
    for pause in pauses:
        now += timedelta(seconds=pause)
        window = Window.at(now)
        counted, present, before = counter.hit("b", window, limit)
        if not counted:
            wait = retry_after_s(present, before, window.weight, limit)
            assert 1 <= wait <= 2 * WINDOW_S
            now += timedelta(seconds=wait)
            later = Window.at(now)
            assert counter.hit("b", later, limit)[0], (present, before, window.weight, wait)


@given(st.integers(0, 100), st.integers(0, 100), st.floats(0, 1), st.integers(1, 60))
def test_refused_means_at_the_limit(present: int, before: int, weight: float, limit: int) -> None:
    assert allows(present, before, weight, limit) == (present + before * weight + 1 <= limit)
