"""The sliding window: never more than the limit in any minute, and an honest time to come back."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from evpower.auth.rate_limit import LocalCounter
from evpower.auth.rate_rules import WINDOW_S, Bucket, Count, Window, allows, retry_after_s

START = datetime(2026, 3, 11, 6, 0, tzinfo=UTC)


def hit(counter: LocalCounter, name: str, now: datetime, limit: int, window_s: int = WINDOW_S) -> Count:
    (count,) = counter.hit_all([Bucket(name, limit, window_s)], now)
    return count


def test_the_window_and_its_weight() -> None:
    window = Window.at(START + timedelta(seconds=15))
    assert (window.start, window.previous_start, window.weight) == (START, START - timedelta(seconds=60), 0.75)
    assert Window.at(START).weight == 1.0


def test_windows_of_other_lengths() -> None:
    window = Window.at(START + timedelta(minutes=15), 3600)
    assert (window.start, window.previous_start, window.weight) == (START, START - timedelta(hours=1), 0.75)
    counter, quarter = LocalCounter(), START + timedelta(minutes=15)
    assert [hit(counter, "b", quarter, 2, 3600).has_room for _ in range(3)] == [True, True, False]
    wait = retry_after_s(2, 0, window.weight, 2, window.length_s)
    assert hit(counter, "b", quarter + timedelta(seconds=wait - 2), 2, 3600).has_room is False
    assert hit(counter, "b", quarter + timedelta(seconds=wait), 2, 3600).has_room is True


def test_a_burst_is_cut_at_the_limit_and_fades_with_the_next_minute() -> None:
    counter = LocalCounter()
    half = START + timedelta(seconds=30)
    assert [hit(counter, "b", half, 10).has_room for _ in range(12)] == [True] * 10 + [False] * 2
    assert hit(counter, "b", START + timedelta(seconds=60), 10).has_room is False
    assert hit(counter, "b", START + timedelta(seconds=66), 10).has_room is True
    assert hit(counter, "other", half, 10).has_room is True


def test_old_buckets_make_room() -> None:
    counter = LocalCounter(max_buckets=100)
    for number in range(1000):
        hit(counter, f"b{number}", START, 10)
    assert hit(counter, "b999", START, 1).has_room is False
    assert hit(counter, "b0", START, 1).has_room is True


def test_all_buckets_or_none() -> None:
    counter = LocalCounter()
    narrow, wide = Bucket("narrow", 1), Bucket("wide", 3, 3600)
    assert all(count.has_room for count in counter.hit_all([narrow, wide], START))
    assert [count.has_room for count in counter.hit_all([narrow, wide], START)] == [False, True]
    assert hit(counter, "wide", START, 3, 3600) == Count(True, 2, 0), "the refused call was not counted"
    counter.give_back([narrow, wide], START)
    assert [count.present for count in counter.hit_all([narrow, wide], START)] == [1, 2]
    for _ in range(5):
        counter.give_back([Bucket("never", 1)], START)
    assert hit(counter, "never", START, 1) == Count(True, 1, 0)


@given(st.lists(st.floats(min_value=0.01, max_value=30), min_size=1, max_size=120), st.integers(1, 10))
def test_a_polite_caller_is_never_refused(pauses: list[float], limit: int) -> None:
    """Whoever waits as long as it was told is let in."""
    counter, now = LocalCounter(), START
    for pause in pauses:
        now += timedelta(seconds=pause)
        count = hit(counter, "b", now, limit)
        if not count.has_room:
            weight = Window.at(now).weight
            wait = retry_after_s(count.present, count.before, weight, limit)
            assert 1 <= wait <= 2 * WINDOW_S
            now += timedelta(seconds=wait)
            assert hit(counter, "b", now, limit).has_room, (count, weight, wait)


@given(st.integers(0, 100), st.integers(0, 100), st.floats(0, 1), st.integers(1, 60))
def test_refused_means_at_the_limit(present: int, before: int, weight: float, limit: int) -> None:
    assert allows(present, before, weight, limit) == (present + before * weight + 1 <= limit)
