"""Conditional requests by their entity tag (RFC 9110 §13.1.2)."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from functions.api.shared_answers import KEPT_S, SharedAnswer, state_at

TAGS = st.lists(st.from_regex(r'(W/)?"[a-z0-9]{0,8}"', fullmatch=True), max_size=4)


@given(st.binary(), TAGS, TAGS, st.booleans())
def test_a_tag_in_the_list_is_enough_weak_or_not(body: bytes, before: list[str], after: list[str], weak: bool) -> None:
    answer = SharedAnswer.of(body)
    own = ("W/" if weak else "") + answer.etag.decode()
    found = answer.response(", ".join([*before, own, *after]))
    assert (found.status_code, found.body) == (304, b"")
    full = answer.response(", ".join([*before, *after]) or None)
    assert (full.status_code, full.body) == (200, body)
    assert found.headers["etag"] == full.headers["etag"]


def test_a_star_is_any_answer() -> None:
    assert SharedAnswer.of(b"{}").response("*").status_code == 304


@given(st.binary(), st.binary())
def test_different_answers_have_different_tags(one: bytes, other: bytes) -> None:
    assert (SharedAnswer.of(one).etag == SharedAnswer.of(other).etag) == (one == other)


@given(st.floats(0, 4e9), st.text(max_size=5))
def test_no_answer_is_kept_longer_than_its_seconds(seconds: float, state: str) -> None:
    now = datetime.fromtimestamp(seconds, UTC)
    assert state_at(state, now) != state_at(state, now + timedelta(seconds=KEPT_S))
