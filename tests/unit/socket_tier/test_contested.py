"""When operators are told that sockets of a station replace each other."""

from socket_tier import contested
from socket_tier.contested import QUIET_S, REPLACED, WITHIN_S, ContestedStations


def test_told_once_when_sockets_replace_each_other_quickly() -> None:
    stations = ContestedStations()
    told = [stations.replaced("a", second) for second in range(REPLACED + 20)]
    assert told.index(True) == REPLACED - 1
    assert told.count(True) == 1
    assert not stations.replaced("b", 1.0)


def test_a_charger_that_comes_back_now_and_then_is_not_told_of() -> None:
    stations = ContestedStations()
    assert not any(stations.replaced("a", number * WITHIN_S / (REPLACED - 2)) for number in range(100))


def test_told_again_after_a_while() -> None:
    stations = ContestedStations()
    told = [second for second in range(int(QUIET_S) + 20) if stations.replaced("a", second)]
    assert told == [REPLACED - 1, REPLACED - 1 + QUIET_S]


def test_what_is_kept_is_bounded() -> None:
    stations = ContestedStations()
    for number in range(contested._MAX_STATIONS + 50):
        for second in range(REPLACED):
            stations.replaced(f"s{number}", second)
    assert max(len(stations._replaced), len(stations._told)) <= contested._MAX_STATIONS
