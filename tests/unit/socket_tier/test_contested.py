"""When sockets of a station displace each other: what operators hear, and when newcomers wait."""

from hypothesis import given
from hypothesis import strategies as st

from socket_tier import contested
from socket_tier.contested import DISPLACED, FLAPPING_S, PEACE_S, QUIET_S, WITHIN_S, ContestedStations


def test_reported_once_when_sockets_displace_each_other_quickly() -> None:
    stations = ContestedStations()
    reported = [stations.displaced("a", second) for second in range(DISPLACED + 20)]
    assert reported.index(True) == DISPLACED - 1
    assert reported.count(True) == 1
    assert not stations.displaced("b", 1.0)


def test_a_charger_that_comes_back_now_and_then_is_not_reported() -> None:
    stations = ContestedStations()
    assert not any(stations.displaced("a", number * WITHIN_S / (DISPLACED - 2)) for number in range(100))


def test_reported_again_after_a_while() -> None:
    stations = ContestedStations()
    reported = [second for second in range(int(QUIET_S) + 20) if stations.displaced("a", second)]
    assert reported == [DISPLACED - 1, DISPLACED - 1 + QUIET_S]


def test_what_is_kept_is_bounded() -> None:
    stations = ContestedStations()
    for number in range(contested._MAX_STATIONS + 50):
        for second in range(DISPLACED):
            stations.displaced(f"s{number}", second)
    for kept in (stations._displaced, stations._reported, stations._peace_until):
        assert len(kept) <= contested._MAX_STATIONS


def test_after_five_displacements_in_ten_seconds_the_present_socket_stays_for_thirty() -> None:
    stations = ContestedStations()
    for second in range(DISPLACED):
        assert stations.peace("a", second) == 0
        stations.displaced("a", second)
    now = DISPLACED - 1
    assert stations.peace("a", now) == PEACE_S
    assert stations.peace("a", now + PEACE_S - 1) == 1
    assert stations.peace("b", now) == 0
    assert stations.peace("a", now + PEACE_S) == 0, "the newest wins again"
    stations.displaced("a", now + PEACE_S)
    assert stations.peace("a", now + PEACE_S + 1) == 0, "and is not sent away at once"


@given(gaps=st.lists(st.floats(0, 40), max_size=60))
def test_newcomers_never_wait_longer_than_the_peace(gaps: list[float]) -> None:
    """Whoever knocks until he is let in, however sockets displaced each other before, waits at most that long."""
    stations, now = ContestedStations(), 0.0
    recent: list[float] = []
    for gap in gaps:
        now += gap
        wait = stations.peace("a", now)
        assert wait <= PEACE_S + 1e-9
        if wait:
            assert len([at for at in recent if now - at <= FLAPPING_S + PEACE_S]) >= DISPLACED
            continue
        stations.displaced("a", now)
        recent.append(now)
