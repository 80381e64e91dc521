"""Amounts in the audit log tell their magnitude only, and nothing that is sent keeps an entry out of it."""

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evpower.audit.models import AuditEntry
from evpower.audit.service import mask_amount, record
from evpower.logging import json_line


@pytest.mark.parametrize(
    ("amount", "masked"),
    [
        (None, None),
        (Decimal("NaN"), None),
        (Decimal("1250.50"), "1***"),
        (Decimal("-40"), "-4*"),
        (Decimal("0.5"), "0"),
        (Decimal("1e300"), "1" + "*" * 12),
        (Decimal("-1e300"), "-1" + "*" * 12),
    ],
)
def test_an_amount_is_masked(amount: Decimal | None, masked: str | None) -> None:
    assert mask_amount(amount) == masked


class Rows:
    """A connection that keeps what would be written."""

    def __init__(self) -> None:
        self.values: list[Any] = []

    async def execute(self, _query: str, values: tuple[Any, ...]) -> None:
        self.values.append(values)


def texts_of(value: Any) -> Iterator[str]:
    """All texts within a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in [*value, *value.values()] if isinstance(value, dict) else value:
            yield from texts_of(item)


@given(st.text(), st.dictionaries(st.text(max_size=20), st.one_of(st.text(), st.lists(st.text(max_size=9)))))
async def test_whatever_is_sent_can_be_stored(text: str, details: dict[str, Any]) -> None:
    rows = Rows()
    entry = AuditEntry(text, text, text, text, text, text, text, None, 200, text, text, details)
    await record(rows, entry)  # type: ignore[arg-type]
    *columns, written = rows.values[0]
    for value in filter(lambda value: isinstance(value, str), columns):
        value.encode()  # no half of a surrogate pair
        assert value.isprintable()
        assert len(value) <= 256
    for kept in texts_of(written.obj):
        kept.encode()
        assert "\x00" not in kept
    if text.isprintable() and len(text) <= 256:
        assert columns[0] == text, "what can be stored stays as it is"


@given(st.text())
def test_a_log_line_survives_any_text(text: str) -> None:
    assert json.loads(json_line({"path": text}))["path"].encode("utf-8", "surrogatepass") == text.encode(
        "utf-8", "surrogatepass"
    )
