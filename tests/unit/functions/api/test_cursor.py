"""Cursors: they come back as they went, and nothing else is taken for one."""

import base64
from datetime import UTC, datetime

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evpower.errors import ValidationFailed
from functions.api import cursor

_TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"), max_size=60)


@given(st.datetimes(timezones=st.just(UTC)), _TEXT)
def test_a_place_in_time_comes_back(moment: datetime, row_id: str) -> None:
    assert cursor.after_moment(cursor.encode(moment, row_id)) == (moment, row_id)


@given(st.integers(0, 2**63 - 1))
def test_a_number_comes_back(number: int) -> None:
    assert cursor.after_number(cursor.encode(number)) == number


@given(_TEXT)
def test_a_text_comes_back(text: str) -> None:
    assert cursor.after_text(cursor.encode(text)) == text


@given(
    st.one_of(st.text(max_size=40), st.binary(max_size=40).map(lambda data: base64.urlsafe_b64encode(data).decode()))
)
def test_noise_is_refused_and_never_a_defect(noise: str) -> None:
    for decode in (cursor.after_moment, cursor.after_number, cursor.after_text):
        with pytest.raises(ValidationFailed):
            decode(noise)


@pytest.mark.parametrize(
    "values", [[], ["x"], [True], [1.5], [-1], [2**63], ["2026-01-15T06:00:00", "id"], ["2026-01-15", 5], [{}, "x"], {}]
)
def test_other_json_is_refused(values: object) -> None:
    text = base64.urlsafe_b64encode(orjson.dumps(values)).decode()
    for decode in (cursor.after_moment, cursor.after_number):
        with pytest.raises(ValidationFailed):
            decode(text)


def test_the_first_page_has_no_cursor() -> None:
    assert (cursor.after_moment(None), cursor.after_number(None), cursor.after_text(None)) == (None, None, None)
