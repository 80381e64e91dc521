"""Stations whose sockets take each other's place again and again: two chargers with one id, or a network that drops."""

from collections import deque

REPLACED = 5
"""Sockets of one station that newer ones replace ..."""
WITHIN_S = 60.0
"""... within this time."""
QUIET_S = 600.0
"""Operators are told once in this time."""
_MAX_STATIONS = 10_000


class ContestedStations:
    """Counts replaced sockets, of one instance and in memory: a warning may be late or come twice."""

    def __init__(self) -> None:
        self._replaced: dict[str, deque[float]] = {}
        self._told: dict[str, float] = {}

    def replaced(self, station_id: str, now: float) -> bool:
        """Note a replaced socket at ``now`` (monotonic seconds); whether operators should be told of the station."""
        times = self._replaced.pop(station_id, None) or deque(maxlen=REPLACED)
        times.append(now)
        self._replaced[station_id] = times  # the one that was replaced last stands last
        if len(self._replaced) > _MAX_STATIONS:
            forgotten = next(iter(self._replaced))
            del self._replaced[forgotten]
            self._told.pop(forgotten, None)
        if len(times) < REPLACED or now - times[0] > WITHIN_S or now - self._told.get(station_id, -QUIET_S) < QUIET_S:
            return False
        self._told[station_id] = now
        return True
