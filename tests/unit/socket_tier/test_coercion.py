"""The same message in another form is the same message."""

from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from socket_tier.coercion import Coercion
from socket_tier.ocpp16.schema import SCHEMAS
from tests.unit.socket_tier.test_fuzz import SAMPLES

MESSAGES: dict[str, dict[str, Any]] = {
    **SAMPLES,
    "StopTransaction": {
        "transactionId": 10,
        "meterStop": 4000,
        "timestamp": "2026-01-15T06:00:00Z",
        "idTag": "1234",
        "reason": "EVDisconnected",
        "transactionData": [
            {
                "timestamp": "2026-01-15T06:00:00Z",
                "sampledValue": [{"value": "3900", "unit": "Wh", "context": "Sample.Periodic"}],
            }
        ],
    },
}
TEXTS = frozenset({"timestamp"})  # a moment is no number


def disguised(schema: dict[str, Any], value: Any, draw: Any) -> Any:
    """``value`` in another form that says the same."""
    kind = schema.get("type")
    if kind == "object":
        result = {}
        for name, item in value.items():
            sent = draw(st.sampled_from([name, name.lower(), name.upper()]))
            result[sent] = disguised(schema["properties"][name], item, draw)
        return draw(st.sampled_from([result, [result], orjson.dumps(result).decode()]))
    if kind == "array":
        items = [disguised(schema["items"], item, draw) for item in value]
        positions = {str(position): item for position, item in enumerate(items)}
        alone = items if len(items) != 1 or isinstance(items[0], list | str) else items[0]
        return draw(st.sampled_from([items, positions or items, alone]))
    if kind == "integer":
        return draw(st.sampled_from([value, float(value), str(value), f" {value} ", f"{value}.0"]))
    if "enum" in schema:
        return draw(st.sampled_from([value, value.lower(), value.upper(), value.replace(".", "_")]))
    if isinstance(value, str) and value.isdigit():
        return draw(st.sampled_from([value, int(value)]))
    return value


@given(st.sampled_from(sorted(MESSAGES)), st.data())
def test_another_form_without_loss_is_brought_back(action: str, data: st.DataObject) -> None:
    payload = MESSAGES[action]
    sent = disguised(SCHEMAS.request(action), payload, data.draw)
    kept = orjson.dumps(sent)
    assert Coercion(SCHEMAS.request(action)).apply(sent) == payload
    assert orjson.dumps(sent) == kept, "the message as it was sent is not touched"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(st.sampled_from(sorted(SCHEMAS.actions)), st.dictionaries(st.text(), json_values), st.booleans(), st.data())
def test_nothing_raises_and_once_is_enough(
    action: str, payload: dict[str, Any], is_answer: bool, data: st.DataObject
) -> None:
    schema = SCHEMAS._schema(action + ("Response" if is_answer else ""))
    for name in schema.get("properties", {}):
        if data.draw(st.booleans()):
            payload[name] = data.draw(json_values)
    once = Coercion(schema).apply(payload)
    assert repr(Coercion(schema).apply(once)) == repr(once)
    (SCHEMAS.check_response if is_answer else SCHEMAS.check_request)(action, payload)
