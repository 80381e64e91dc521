"""How often a charger samples, by its own word rather than by our wish. Pure; seconds.

The predictive stop needs the time of the next reading, and a reading is overdue only by the interval that the charger
really has. Three sources, the later wins: what we want, what its configuration says (GetConfiguration,
ChangeConfiguration), what its readings show where they come less often than that.
"""

from datetime import datetime

INTERVAL_KEY = "MeterValueSampleInterval"
"""OCPP 1.6 section 9.1.17; 0: no periodic readings."""
LONGEST_S = 900
"""No interval counts for more, whatever the charger says: without readings a prepaid charge is blind."""
_RATIO = 1.5  # a gap that differs by less is jitter of clocks


def interval_of(value: str) -> int | None:
    """The seconds that a configuration value says; None when it is no number of seconds."""
    text = value.strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 5 and int(text) <= 86_400 else None


def configured_interval_s(configured_s: int | None, wanted_s: int) -> int:
    """The interval by the charger's configuration, by our wish where it has none."""
    return min(configured_s or wanted_s, LONGEST_S)


def expected_interval_s(configured_s: int | None, observed_s: int | None, wanted_s: int) -> int:
    """The interval to count with.

    Args:
        configured_s: by the charger's configuration (0: no periodic readings); None while nobody knows.
        observed_s: by its readings; None while they showed nothing else.
        wanted_s: what we want it to be.
    """
    if observed_s is not None:
        return min(max(observed_s, configured_interval_s(configured_s, wanted_s)), LONGEST_S)
    return LONGEST_S if configured_s == 0 else configured_interval_s(configured_s, wanted_s)


class Gaps:
    """The gaps between the readings of one transaction, by the charger's clock.

    Two in a row that agree show another interval: a single one may be a reading that was lost. Of a charger that
    nothing is known of, one is enough.
    """

    __slots__ = ("_before", "_known", "_least_s")

    def __init__(self, least_s: int = 1, *, known: bool = True) -> None:
        """``least_s``: the configured interval. Readings that come more often than that change nothing."""
        self._least_s = least_s
        self._known = known
        self._before: int | None = None

    def new_interval(self, interval_s: int, earlier: datetime | None, later: datetime | None) -> int | None:
        """The interval that the readings show instead of ``interval_s``; None while they show no other."""
        if earlier is None or later is None:
            return None
        gap = int((later - earlier).total_seconds())
        if gap <= 0:
            return None
        before, self._before = self._before, gap
        if not self._known:
            self._known = True
            return min(max(gap, self._least_s), LONGEST_S)
        if gap > interval_s * _RATIO and interval_s < LONGEST_S:
            return min(gap, before, LONGEST_S) if before is not None and before > interval_s * _RATIO else None
        if gap * _RATIO < interval_s and before is not None and before * _RATIO < interval_s > self._least_s:
            return max(gap, before, self._least_s)
        return None
