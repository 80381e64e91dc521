"""Bounds of a period as a query gives them: a day of Bishkek (``2026-01-15``) or a date-time."""

import re
from datetime import date, datetime, timedelta
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from evpower.clock import BISHKEK
from evpower.errors import ValidationFailed

_SPACE_FOR_PLUS = re.compile(r"\d [0-9]{2}:?[0-9]{2}$")
_YEARS = range(2000, 2101)


def _parsed(text: str) -> date | datetime:
    try:
        found = date.fromisoformat(text) if len(text) <= len("2026-01-15") else datetime.fromisoformat(text)
    except ValueError as error:
        # Use case: ?since=2026-01-15T12:00:00+06:00. In a query a plus is a space.
        escape = "; write the + of its offset as %2B" if _SPACE_FOR_PLUS.search(text) else ""
        raise PydanticCustomError("datetime_parsing", f"must be a date or a date-time{escape}") from error
    if found.year not in _YEARS:
        raise PydanticCustomError("datetime_parsing", "must be a date of this century")
    return found


def _checked(text: str) -> str:
    _parsed(text)
    return text


PeriodBound = Annotated[
    str,
    Field(
        max_length=40,
        description="a day of Bishkek, or a date-time; one without a zone is Bishkek's (UTC+6). A + is written %2B",
        examples=["2026-01-15", "2026-01-15T06:00:00Z"],
    ),
    AfterValidator(_checked),
]


def begin_of(text: str) -> datetime:
    """The moment, or the begin of the day. A date-time without a zone is Bishkek's."""
    found = _parsed(text)
    if not isinstance(found, datetime):
        return datetime(found.year, found.month, found.day, tzinfo=BISHKEK)
    return found if found.tzinfo else found.replace(tzinfo=BISHKEK)


def end_of(text: str) -> datetime:
    """The moment, or the end of the day."""
    is_day = not isinstance(_parsed(text), datetime)
    return begin_of(text) + timedelta(days=1) if is_day else begin_of(text)


def period(names: tuple[str, str], since: str | None, until: str | None) -> tuple[datetime | None, datetime | None]:
    """Where a period begins and ends, None where it is open; ``names`` are those of its bounds in the query.

    Raises:
        ValidationFailed: it ends before it begins. An empty list would read as if nothing had happened.
    """
    begin, end = begin_of(since) if since else None, end_of(until) if until else None
    if since and until and begin and end and (begin > end or (begin_of(since) > begin_of(until) and begin == end)):
        first, last = names
        reason = f"{first} is after {last}"
        wrong = {"problem": "period_order", "detail": f"{first} must not be after {last}"}
        raise ValidationFailed(reason, field=first, fields=[{"field": name, **wrong} for name in names])
    return begin, end
