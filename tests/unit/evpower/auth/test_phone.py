"""Phone numbers: one form for every spelling, and none for what is no number."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evpower.auth.phone import BadPhone, normalise, spellings


@pytest.mark.parametrize(
    "text",
    ["+996700000001", "996700000001", "0700000001", "700000001", "00996700000001", "+996 (700) 00-00-01",
     " +996\u00a0700 000\u2011001 "],
)  # fmt: skip
def test_every_spelling_of_a_kyrgyz_number_is_one_number(text: str) -> None:
    assert normalise(text) == "+996700000001"


@pytest.mark.parametrize("text", ["+77010000001", "+12025550100", "+4930000001"])
def test_numbers_of_other_countries_are_taken(text: str) -> None:
    assert normalise(text) == text


@pytest.mark.parametrize(
    "text",
    ["", "+", "phone", "+99670000000", "+9967000000011", "+0700000001", "12345", "+1234567", "+1234567890123456",
     "+996７00000001", "+996700000001\x00", "+996700000001;+996700000002", "++996700000001"],
)  # fmt: skip
def test_what_is_no_phone_number(text: str) -> None:
    with pytest.raises(BadPhone):
        normalise(text)


@given(st.text(max_size=24))
def test_a_normal_form_stays_as_it_is(text: str) -> None:
    try:
        phone = normalise(text)
    except BadPhone:
        return
    assert normalise(phone) == phone
    assert phone.isascii()
    assert 9 <= len(phone) <= 16


def test_spellings_of_rows_of_the_earlier_system() -> None:
    assert spellings("+996700000001") == ("+996700000001", "996700000001", "0700000001")
    assert spellings("+77010000001") == ("+77010000001", "77010000001")
    for spelling in spellings("+996700000001"):
        assert normalise(spelling) == "+996700000001"
