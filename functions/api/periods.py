"""Bounds of a period as a query gives them: a day of Bishkek (``2026-01-15``) or a date-time."""

from datetime import date, datetime, timedelta
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from evpower.clock import BISHKEK

_YEARS = range(2000, 2101)


def _parsed(text: str) -> date | datetime:
    try:
        found = date.fromisoformat(text) if len(text) <= len("2026-01-15") else datetime.fromisoformat(text)
    except ValueError as error:
        raise PydanticCustomError("datetime_parsing", "must be a date or a date-time") from error
    if found.year not in _YEARS:
        raise PydanticCustomError("datetime_parsing", "must be a date of this century")
    return found


def _checked(text: str) -> str:
    _parsed(text)
    return text


PeriodBound = Annotated[
    str, Field(max_length=40, examples=["2026-01-15", "2026-01-15T06:00:00Z"]), AfterValidator(_checked)
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
