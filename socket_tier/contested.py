"""Stations whose sockets take each other's place again and again: two chargers with one id, one that dials twice, or a
network that drops.

The newest socket wins. Two that both come back at once would displace each other for ever, and neither could work: then
the one that is there is left in peace for a while, as long as it answers.
"""

from collections import deque

DISPLACED = 5
"""Sockets of one station that newer ones displace ..."""
WITHIN_S = 60.0
"""... within this time are an event for operators ..."""
FLAPPING_S = 10.0
"""... and within this time make newcomers wait ..."""
PEACE_S = 30.0
"""... for this long at the most."""
QUIET_S = 600.0
"""Operators are told once in this time."""
_MAX_STATIONS = 10_000


class ContestedStations:
    """Counts displaced sockets, of one instance and in memory: a warning may be late or come twice.

    An instance hears of each displacement in which it holds the older or the newer socket. Times are monotonic seconds.
    """

    def __init__(self) -> None:
        self._displaced: dict[str, deque[float]] = {}
        self._reported: dict[str, float] = {}
        self._peace_until: dict[str, float] = {}

    def displaced(self, station_id: str, now: float) -> bool:
        """Note a displaced socket; whether operators should be told of the station."""
        times = self._displaced.pop(station_id, None) or deque(maxlen=DISPLACED)
        times.append(now)
        self._displaced[station_id] = times  # the one that was displaced last stands last
        if len(self._displaced) > _MAX_STATIONS:
            forgotten = next(iter(self._displaced))
            for known in (self._displaced, self._reported, self._peace_until):
                known.pop(forgotten, None)
        if len(times) < DISPLACED:
            return False
        if now - times[0] <= FLAPPING_S and self._peace_until.get(station_id, 0.0) <= now:
            self._peace_until[station_id] = now + PEACE_S
        if now - times[0] > WITHIN_S or now - self._reported.get(station_id, -QUIET_S) < QUIET_S:
            return False
        self._reported[station_id] = now
        return True

    def peace(self, station_id: str, now: float) -> float:
        """Seconds for which the socket that is there should stay; 0: the newest wins."""
        until = self._peace_until.get(station_id)
        if until is None:
            return 0.0
        if until <= now:
            # Counted anew: whoever comes now wins, and five more displacements are needed for the next peace.
            del self._peace_until[station_id]
            self._displaced.pop(station_id, None)
            return 0.0
        return until - now
