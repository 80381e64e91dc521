"""OCPP-J frames: whatever arrives is read as one of four kinds, never an exception."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from socket_tier import rpc
from socket_tier.rpc import BadFrame, Call, CallError, CallResult


def test_a_call_is_read() -> None:
    assert rpc.parse(b'[2,"19223201","Heartbeat",{}]') == Call("19223201", "Heartbeat", {})


def test_a_result_is_read() -> None:
    assert rpc.parse(b'[3,"1",{"status":"Accepted"}]') == CallResult("1", {"status": "Accepted"})


def test_an_error_is_read_even_when_its_tail_is_missing() -> None:
    assert rpc.parse(b'[4,"1","NotSupported","no",{"a":1}]') == CallError("1", "NotSupported", "no", {"a": 1})
    assert rpc.parse(b'[4,"1"]') == CallError("1", "GenericError", "", {})


@pytest.mark.parametrize("message_id", [7, 7.5, -3])
def test_numeric_ids_are_echoed_as_sent(message_id: float) -> None:
    frame = rpc.parse(orjson.dumps([2, message_id, "Heartbeat", {}]))
    assert isinstance(frame, Call)
    assert orjson.loads(rpc.result_frame(frame.id, {})) == [3, message_id, {}]


@pytest.mark.parametrize(
    "text",
    ["", "{", "null", "{}", "[]", '"text"', "12", "[2]", '[2,null,"Heartbeat",{}]', '[2,true,"Heartbeat",{}]',
     '[2,"","Heartbeat",{}]', '[2,["a"],"Heartbeat",{}]', "[NaN]", "\x00"],
)  # fmt: skip
def test_without_a_readable_id_the_answer_goes_to_minus_one(text: str) -> None:
    frame = rpc.parse(text.encode())
    assert isinstance(frame, BadFrame)
    assert (frame.id, frame.code) == ("-1", "FormationViolation")


@pytest.mark.parametrize(
    "text",
    ['[2,"5"]', '[2,"5","Heartbeat",[{},{}]]', '[2,"5","Heartbeat","x"]', '[2,"5",3,{}]', '[2,"5","Heartbeat",0]',
     '[9,"5",{}]', '["two","5","Heartbeat",{}]', '[true,"5","Heartbeat",{}]', '[2.5,"5","Heartbeat",{}]'],
)  # fmt: skip
def test_a_wrong_shape_is_answered_for_its_id(text: str) -> None:
    frame = rpc.parse(text.encode())
    assert isinstance(frame, BadFrame)
    assert (frame.id, frame.code) == ("5", "FormationViolation")


@pytest.mark.parametrize(
    "text",
    ['[2,"5","Heartbeat"]', '[2,"5","Heartbeat",{},1]', '[2,"5","Heartbeat",[]]', '[2,"5","Heartbeat",[{}]]',
     '[2,"5","Heartbeat",null]', '["2","5","Heartbeat",{}]', '[2.0,"5","Heartbeat",{}]', '[2,"5","Heartbeat","{}"]',
     r'"[2,\"5\",\"Heartbeat\",{}]"'],
)  # fmt: skip
def test_another_shape_that_says_the_same_is_read(text: str) -> None:
    assert rpc.parse(text.encode()) == Call("5", "Heartbeat", {})


@pytest.mark.parametrize(
    ("text", "payload"),
    [
        ('[2,"5","A",{"list":[,{"a":1}]}]', {"list": [{"a": 1}]}),
        ('[2,"5","A",{"a":1,},]', {"a": 1}),
        ('[2,"5","A",{"a":"line\nbreak\ttab"}]', {"a": "line\nbreak\ttab"}),
        ('[2,"5",\0"A",{"a\0":"b\0c"\0}]', {"a": "bc"}),
        ('[2,"5","A",{"a":NaN,"b":-Infinity}]', {"a": "NaN", "b": "-Infinity"}),
        ('[2,"5","A",{"path":"C:\\temp\\x"}]', {"path": "C:\temp\\x"}),
        ("[2,'5','A',{'a':'it\\'s'}]", {"a": "it's"}),
        ('[2,"5","A",{a:1}]', {"a": 1}),
        ('[2,"5","A",{"a":007}]', {"a": 7}),
        ('[2,"5","A",{"a":"\\ud83d"}]', {"a": "\ufffd"}),
        ('[2,"5","A",{"a":1}]]}', {"a": 1}),
        ('x[2,"5","A",{"a":1}]', {"a": 1}),
    ],
)  # fmt: skip
def test_what_a_tolerant_reader_can_read_is_read(text: str, payload: dict[str, object]) -> None:
    assert rpc.parse(text.encode()) == Call("5", "A", payload)


@pytest.mark.parametrize(
    ("text", "payload"),
    [
        ('{"transactionId":7,"meterStop":26008', {"transactionId": 7}),  # it may go on
        ('{"transactionId":7,"meterStop":26008,"timest', {"transactionId": 7, "meterStop": 26008}),
        ('{"transactionId":7,"meterStop":26,008,"x":1}]', {"transactionId": 7, "x": 1}),
        ('{"transactionId":7,"meterStop":26 008}]', {"transactionId": 7}),
        ('{"meterStop":,"transactionId":7}]', {"transactionId": 7}),
        ('{"transactionId":7,"data":[{"a":1},{"b"', {"transactionId": 7, "data": [{"a": 1}, {}]}),
        ('{"transactionId":7,"info":"a "quoted" word"', {"transactionId": 7}),
    ],
)
def test_what_cannot_be_read_for_certain_is_left_out(text: str, payload: dict[str, object]) -> None:
    frame = rpc.parse(b'[2,"5","StopTransaction",' + text.encode())
    assert isinstance(frame, BadFrame)
    assert (frame.id, frame.action, frame.is_torn) == ("5", "StopTransaction", True)
    assert frame.payload == payload


def test_an_answer_that_is_torn_ends_the_waiting_call() -> None:
    frame = rpc.parse(b'[3,"5",{"status":"Accep')
    assert isinstance(frame, CallError)
    assert (frame.id, frame.code) == ("5", "FormationViolation")


@given(st.data())
def test_a_frame_that_is_cut_anywhere_keeps_its_id_and_invents_nothing(data: st.DataObject) -> None:
    payload = {"transactionId": 7, "meterStop": 26008, "timestamp": "2026-01-15T06:00:00Z", "list": [{"a": "b"}]}
    text = orjson.dumps([2, "the id", "StopTransaction", payload])
    cut = data.draw(st.integers(text.index(b'"StopT'), len(text) - 1))
    frame = rpc.parse(text[:cut])
    assert isinstance(frame, BadFrame)
    assert frame.id == "the id"
    for name, value in (frame.payload or {}).items():
        assert value == payload[name] or name == "list"


def test_the_call_is_kept_when_its_id_cannot_be_read() -> None:
    frame = rpc.parse(b'[2,null,"StopTransaction",{"transactionId":7}]')
    assert isinstance(frame, BadFrame)
    assert (frame.id, frame.action, frame.payload) == ("-1", "StopTransaction", {"transactionId": 7})


def test_bytes_that_are_no_json_are_answered() -> None:
    assert isinstance(rpc.parse(b'[2,"5","Heartbeat",{"a":"\xff}]'), BadFrame)
    assert isinstance(rpc.parse(b"\0\0"), BadFrame)


@pytest.mark.parametrize(
    "data",
    [
        b'[2,"5","Authorize",{"idTag":"caf\xe9"}]',
        b'[2,"5","Authorize",{"idTag":"caf\xc3\xa9"}]\0',
        b'\xef\xbb\xbf[2,"5","Authorize",{"idTag":"caf\xc3\xa9"}]',
        b'\xef\xbb\xbf[2,"5","Authorize",{"idTag":"caf\xe9"}]\r\n\0\0',
    ],
)
def test_json_in_odd_wrapping_or_latin_letters_is_read(data: bytes) -> None:
    assert rpc.parse(data) == Call("5", "Authorize", {"idTag": "caf\u00e9"})


def test_action_and_payload_of_a_bad_call_are_kept() -> None:
    frame = rpc.parse(b'[2,"5","StopTransaction",[1]]')
    assert isinstance(frame, BadFrame)
    assert (frame.action, frame.payload) == ("StopTransaction", [1])


@pytest.mark.parametrize("text", ['[3,"5","x"]', '[3,"5",[1]]', '[3,"5",0]', '[3,"5",[{},{}]]'])
def test_a_misshapen_result_ends_the_waiting_call(text: str) -> None:
    frame = rpc.parse(text.encode())
    assert isinstance(frame, CallError)
    assert (frame.id, frame.code) == ("5", "FormationViolation")


def test_deep_nesting_is_a_bad_frame() -> None:
    assert isinstance(rpc.parse(b"[" * 60_000), BadFrame)
    assert isinstance(rpc.parse(b'[2,"1","A",' + b"[" * 2000 + b"]" * 2000 + b"]"), BadFrame)


def test_descriptions_fit_the_specification() -> None:
    assert orjson.loads(rpc.error_frame("1", "InternalError", "x" * 400))[3] == "x" * 255


@given(st.binary(max_size=200))
def test_no_bytes_raise(data: bytes) -> None:
    assert isinstance(rpc.parse(data), Call | CallResult | CallError | BadFrame)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)


@given(st.lists(st.sampled_from([2, 3, 4, 5]) | json_values, max_size=6))
def test_no_json_array_raises(message: list[object]) -> None:
    try:
        data = orjson.dumps(message)
    except orjson.JSONEncodeError:  # lone surrogates cannot be written
        return
    frame = rpc.parse(data)
    if isinstance(frame, Call):
        assert frame.action == message[2]


def test_nul_is_taken_out_of_what_must_be_stored() -> None:
    """Use case: a card reader pads its ids; PostgreSQL stores no NUL, and the message would never be acknowledged."""
    call = rpc.parse(rb'[2,"m\u0000","StartTransaction",{"idTag":"A1\u0000\u0000","list":["\u0000",{"a\u0000":1}]}]')
    assert isinstance(call, rpc.Call)
    assert call.id == "m\0", "the id is echoed as sent"
    assert call.payload == {"idTag": "A1", "list": ["", {"a": 1}]}
    result = rpc.parse(rb'[3,"m",{"status":"Accepted\u0000"}]')
    assert isinstance(result, rpc.CallResult)
    assert result.payload == {"status": "Accepted"}
