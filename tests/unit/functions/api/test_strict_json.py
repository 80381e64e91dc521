"""The strict JSON parser: whatever arrives is a value or a refusal, never a crash."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evpower.errors import InvalidRequest
from functions.api import strict_json

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@given(st.binary(max_size=200))
def test_arbitrary_bytes(body: bytes) -> None:
    try:
        strict_json.parse(body)
    except InvalidRequest:
        return
    json.loads(body)  # what we take, everybody takes


@given(JSON_VALUES)
def test_what_is_json_comes_back(value: object) -> None:
    text = json.dumps(value)
    if "\\u0000" in text:
        with pytest.raises(InvalidRequest):
            strict_json.parse(text.encode())
    else:
        assert strict_json.parse(text.encode()) == value


@given(st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-(10**9), max_value=10**9))
def test_money_is_exact(amount: Decimal) -> None:
    parsed = strict_json.parse(f'{{"amount": {amount}}}'.encode())
    assert parsed["amount"] == amount
    assert isinstance(parsed["amount"], Decimal)


def test_depth_is_bounded_and_counted() -> None:
    strict_json.parse(b"[" * 31 + b"]" * 31)
    with pytest.raises(InvalidRequest):
        strict_json.parse(b"[" * 33 + b"]" * 33)
