"""Bounds of a period in a query."""

from datetime import UTC, datetime

import pytest
from pydantic import TypeAdapter, ValidationError

from evpower.errors import ValidationFailed
from functions.api.periods import PeriodBound, begin_of, end_of, period


@pytest.mark.parametrize(
    ("text", "begin", "end"),
    [
        # Days are Bishkek's, UTC+6, and count whole.
        ("2026-01-15", datetime(2026, 1, 14, 18, tzinfo=UTC), datetime(2026, 1, 15, 18, tzinfo=UTC)),
        ("2026-12-31", datetime(2026, 12, 30, 18, tzinfo=UTC), datetime(2026, 12, 31, 18, tzinfo=UTC)),
        *(
            (text, datetime(2026, 1, 15, 6, tzinfo=UTC), datetime(2026, 1, 15, 6, tzinfo=UTC))
            for text in (
                "2026-01-15T06:00:00Z",
                "2026-01-15T06:00:00.000Z",
                "2026-01-15T12:00:00+06:00",
                "2026-01-15T12:00:00",
                "2026-01-15 12:00",
            )
        ),
    ],
)
def test_bounds(text: str, begin: datetime, end: datetime) -> None:
    assert (begin_of(text), end_of(text)) == (begin, end)


@pytest.mark.parametrize(
    "text",
    ["", "today", "2026-13-01", "2026-02-30", "1999-12-31", "2101-01-01", "0001-01-01T00:00:00Z", "9999-12-31",
     "1768456800", "2026-01-15T25:00:00Z", "2026-01-15T06:00:00Z" + "0" * 30, "２０２６-01-15"],
)  # fmt: skip
def test_what_is_no_bound(text: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(PeriodBound).validate_python(text)


@pytest.mark.parametrize("text", ["2026-01-15T12:00:00 06:00", "2026-01-15T12:00:00.000 0600"])
def test_a_plus_that_was_not_escaped(text: str) -> None:
    with pytest.raises(ValidationError, match=r"write the [+] of its offset as %2B"):
        TypeAdapter(PeriodBound).validate_python(text)


def test_other_texts_hear_nothing_of_a_plus() -> None:
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(PeriodBound).validate_python("yesterday")
    assert "%2B" not in str(refused.value)


@pytest.mark.parametrize(
    ("since", "until"),
    [
        ("2026-01-16", "2026-01-15"),
        ("2026-02-01", "2026-01-15"),
        ("2026-01-15T06:00:01Z", "2026-01-15T06:00:00Z"),
        ("2026-01-15T06:00:00Z", "2026-01-15T06:00:00+06:00"),
        ("2026-01-16T00:00:00+06:00", "2026-01-15"),
        ("2026-01-16", "2026-01-15T23:59:59"),
    ],
)
def test_a_period_that_ends_before_it_begins(since: str, until: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        period(("since", "until"), since, until)
    assert [item["field"] for item in refused.value.details["fields"]] == ["since", "until"]
    assert refused.value.reason == "since is after until"


@pytest.mark.parametrize(
    ("since", "until"),
    [
        (None, None),
        ("2026-01-16", None),
        (None, "2026-01-15"),
        ("2026-01-15", "2026-01-15"),
        ("2026-01-15T20:00:00", "2026-01-15"),
        ("2026-01-15T06:00:00Z", "2026-01-15T12:00:00"),
    ],
)
def test_periods_in_order_or_open(since: str | None, until: str | None) -> None:
    begin, end = period(("date_from", "date_to"), since, until)
    assert (begin, end) == (since and begin_of(since), until and end_of(until))
