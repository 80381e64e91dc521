"""Members of transaction messages: read in every usual form, never an error."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evpower.charging import members

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@pytest.mark.parametrize(
    ("value", "register"),
    [
        (26008, "26008"), (26008.333, "26008.3"), ("26008.35", "26008.4"), (" 4000\0", "4000"), ("+7.", "7"),
        (-1, "-1"),
        ("2.6008e4", "26008"), (1e16, None), (True, None), ("26,008", None), ("26008 Wh", None), (None, None),
        ("NaN", None), (float("inf"), None), ([5], None), ("9" * 500, None), ("1e999999999", None), (10**12, "1e12"),
        ("٣", None),
    ],
)  # fmt: skip
def test_registers(value: Any, register: str | None) -> None:
    assert members.register(value) == (None if register is None else Decimal(register))


@pytest.mark.parametrize(
    ("value", "number"),
    [(10, 10), ("10", 10), (10.0, 10), ("10.0", 10), (1.5, None), (2**31, None), (-1, -1), (True, None), ({}, None)],
)
def test_identifiers(value: Any, number: int | None) -> None:
    assert members.identifier(value) == number


def test_moments_and_words() -> None:
    assert members.moment("2026-11-30T19:30:00+06:00") == datetime(2026, 11, 30, 13, 30, tzinfo=UTC)
    for no_time in ("222222017-10-27T19:10:11Z", "0000-00-00T00:00:00Z", "2026/11/30 19:30:00", "", None, 5, []):
        assert members.moment(no_time) is None
    assert members.words(" A1\0 ") == "A1"
    assert members.words(7) == "7"
    assert members.words(7.5) is None


@given(anything)
def test_nothing_raises(value: Any) -> None:
    register = members.register(value)
    assert register is None or abs(register) <= members.MAX_REGISTER_WH
    identifier = members.identifier(value)
    assert identifier is None or -(2**31) <= identifier < 2**31
    members.moment(value)
    words = members.words(value)
    assert words is None or "\0" not in words


@given(st.decimals(0, 10**9, places=3))
def test_a_register_is_the_same_as_number_and_as_text(value: Decimal) -> None:
    assert members.register(float(value)) == members.register(str(float(value)))
