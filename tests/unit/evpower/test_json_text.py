"""JSON as firmware writes it: what is read is what was meant, and nothing is invented."""

import json
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from evpower import json_text

_texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**17), 10**17) | _texts
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_texts, inner, max_size=4),
    max_leaves=15,
)  # fmt: skip
containers = st.lists(values, max_size=4) | st.dictionaries(_texts, values, max_size=4)


def sloppy(value: Any, draw: Any) -> str:
    """``value`` as JSON with commas too many, NULs and blanks between its tokens, and raw control characters."""
    stray = st.sampled_from(["", "", "", ",", ",,", "\0", " ", "\r\n"])
    if isinstance(value, dict):
        members = [f"{sloppy(name, draw)}{draw(stray).strip(',')}:{sloppy(item, draw)}" for name, item in value.items()]
        return "{" + draw(stray) + ("," + draw(stray)).join(members) + draw(stray) + "}"
    if isinstance(value, list):
        return "[" + draw(stray) + ("," + draw(stray)).join(sloppy(item, draw) for item in value) + draw(stray) + "]"
    text = json.dumps(value)
    return text.replace("\\n", "\n").replace("\\t", "\t") if isinstance(value, str) and "\\\\" not in text else text


@given(containers, st.data())
def test_what_is_around_and_between_the_tokens_changes_nothing(value: Any, data: st.DataObject) -> None:
    found = json_text.loosely(sloppy(value, data.draw).encode())
    assert found is not None
    assert found.is_whole
    assert found.value == value


@given(containers)
def test_what_is_json_is_read_as_a_strict_reader_reads_it(value: Any) -> None:
    found = json_text.loosely(orjson.dumps(value))
    assert found == json_text.Found(value, True)


@given(st.dictionaries(_texts, st.integers() | _texts, min_size=1), st.data())
def test_a_text_that_ends_too_early_has_no_member_that_was_not_sent(value: dict[str, Any], data: st.DataObject) -> None:
    text = json.dumps(value)
    cut = text[: data.draw(st.integers(1, len(text) - 1))]
    found = json_text.loosely(cut.encode())
    assert found is not None
    assert not found.is_whole
    assert isinstance(found.value, dict)
    assert found.value.items() <= value.items()


@given(st.binary(max_size=80) | st.text(alphabet="[]{}:,\"\\'0aE.-\0", max_size=60).map(str.encode))
def test_no_bytes_raise_and_what_is_read_can_be_written(data: bytes) -> None:
    found = json_text.loosely(data)
    if found is not None:
        orjson.dumps(found.value)


def test_work_is_bounded() -> None:
    found = json_text.loosely(b"[" + b"1," * 500_000)
    assert found is not None
    assert not found.is_whole
    assert len(found.value) <= json_text.MAX_TOKENS
    found = json_text.loosely(b"[" * 5000)
    assert found is not None
    assert not json_text.is_deep(found.value[0])


def test_what_lies_too_deep_is_pruned() -> None:
    deep: Any = 1
    for _ in range(300):
        deep = [deep]
    assert json_text.is_deep(deep)
    assert not json_text.is_deep(json_text.pruned({"a": deep}))
    assert json_text.pruned({"a": [1, {"b": None}]}) == {"a": [1, {"b": None}]}
