"""Text from chargers made fit for PostgreSQL."""

import json

from hypothesis import given
from hypothesis import strategies as st

from evpower.stations.text import addressable, clean

anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(st.characters(), max_size=5)
    | st.sampled_from(["\0", "\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


@given(anything)
def test_what_is_cleaned_can_be_stored(value: object) -> None:
    text = json.dumps(clean(value), ensure_ascii=False)
    assert addressable(text)
    assert "\\u0000" not in text
    text.encode()


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_good_text_is_kept(text: str) -> None:
    assert clean(text) == text
