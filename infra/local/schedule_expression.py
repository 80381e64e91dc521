"""EventBridge schedule expressions, pure: `rate(value unit)` and `cron(minutes hours day month weekday year)`, UTC.

Source: Amazon EventBridge User Guide, "Cron and rate expressions". Day-of-month or weekday must be `?`.
Of cron's wildcards `* ? , - /` are read; `L`, `W` and `#` are not used by the product and are refused.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_RATE = re.compile(r"^rate\(([1-9]\d*) (minute|minutes|hour|hours|day|days)\)$")
_CRON = re.compile(r"^cron\((\S+) (\S+) (\S+) (\S+) (\S+) (\S+)\)$")
_MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
_WEEKDAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]
_UNITS = {"minute": timedelta(minutes=1), "hour": timedelta(hours=1), "day": timedelta(days=1)}
_HORIZON = timedelta(days=366 * 8)


class ScheduleError(ValueError):
    """EventBridge would refuse this expression."""


NextTime = Callable[[datetime], datetime | None]


@dataclass(frozen=True, slots=True)
class _Cron:
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int] | None
    months: frozenset[int]
    weekdays: frozenset[int] | None  # 1 = Sunday, as EventBridge counts
    years: frozenset[int]

    def _day_matches(self, moment: datetime) -> bool:
        if moment.year not in self.years or moment.month not in self.months:
            return False
        if self.weekdays is not None:
            return moment.isoweekday() % 7 + 1 in self.weekdays
        return self.days is not None and moment.day in self.days

    def after(self, moment: datetime) -> datetime | None:
        candidate = moment.astimezone(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)
        end = candidate + _HORIZON
        while candidate < end:
            if not self._day_matches(candidate):
                candidate = candidate.replace(hour=0, minute=0) + timedelta(days=1)
            elif candidate.hour not in self.hours:
                candidate = candidate.replace(minute=0) + timedelta(hours=1)
            elif candidate.minute not in self.minutes:
                candidate += timedelta(minutes=1)
            else:
                return candidate
        return None


def next_time(expression: str) -> NextTime:
    """A function from "now" to the next firing, or to None when it never fires again.

    Raises `ScheduleError` for an expression that EventBridge does not accept.
    """
    if rate := _RATE.match(expression):
        value, unit = int(rate[1]), rate[2]
        if (value == 1) == unit.endswith("s"):
            raise ScheduleError(f"{expression}: the unit is singular for 1 and plural otherwise")
        step = value * _UNITS[unit.rstrip("s")]
        return lambda now: now + step
    if cron := _CRON.match(expression):
        return _parse_cron(expression, list(cron.groups())).after
    raise ScheduleError(f"{expression}: neither rate(value unit) nor cron(six fields)")


def _parse_cron(expression: str, fields: list[str]) -> _Cron:
    minutes, hours, days, months, weekdays, years = fields
    if (days == "?") == (weekdays == "?"):
        raise ScheduleError(f"{expression}: exactly one of day-of-month and day-of-week is '?'")
    try:
        return _Cron(
            _values(minutes, 0, 59),
            _values(hours, 0, 23),
            None if days == "?" else _values(days, 1, 31),
            _values(months, 1, 12, _MONTHS),
            None if weekdays == "?" else _values(weekdays, 1, 7, _WEEKDAYS),
            _values(years, 1970, 2199),
        )
    except ValueError as exc:
        raise ScheduleError(f"{expression}: {exc}") from exc


def _values(text: str, low: int, high: int, names: list[str] | None = None) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        if first == "*":
            start, end = low, high
        else:
            start = _number(first, names)
            end = _number(last, names) if last else (high if step else start)
        if not low <= start <= end <= high or (step and int(step) < 1):
            raise ValueError(f"{part!r} is outside {low}-{high}")
        found.update(range(start, end + 1, int(step or 1)))
    return frozenset(found)


def _number(text: str, names: list[str] | None) -> int:
    if names and text.upper() in names:
        return names.index(text.upper()) + 1
    return int(text)
