"""Messages of the payment-checks queue."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evpower.payments.queue import CheckMessage


@pytest.mark.parametrize(
    "message", [CheckMessage(topup_id=7), CheckMessage(inbox_id=9), CheckMessage(topup_id=7, correlation_id="phone-1")]
)
def test_round_trip(message: CheckMessage) -> None:
    assert CheckMessage.parse(message.body()) == message


@pytest.mark.parametrize(
    "body", ["", "[]", "{}", '{"topup_id": "7"}', '{"topup_id": true}', '{"topup_id": 1, "inbox_id": 2}', "null"]
)
def test_foreign_messages(body: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        CheckMessage.parse(body)


@given(st.text())
def test_any_text_is_a_message_or_a_value_error(body: str) -> None:
    try:
        CheckMessage.parse(body)
    except ValueError:
        return
    raise AssertionError("random text must not be one of ours")
