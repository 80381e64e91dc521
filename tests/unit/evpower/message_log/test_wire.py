"""What the message log keeps of a frame: secrets masked, length bounded, storable."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evpower.message_log import wire
from evpower.message_log.models import Direction, NewEntry
from evpower.message_log.rows import document, row_of

SECRET = "5ecre7-va1ue"
PSK = {"key": "WifiPSK", "readonly": False, "value": SECRET}
PIN = {"key": "ServicePin", "readonly": False, "value": SECRET}
PEM = f"-----BEGIN EC PRIVATE KEY-----\n{SECRET}\n-----END EC PRIVATE KEY-----\n"


def call(action: str, payload: Any) -> bytes:
    return orjson.dumps([2, "m1", action, payload])


@pytest.mark.parametrize(
    ("action", "frame"),
    [
        ("ChangeConfiguration", call("ChangeConfiguration", {"key": "AuthorizationKey", "value": SECRET})),
        ("ChangeConfiguration", call("ChangeConfiguration", {"value": SECRET, "key": "authorizationkey"})),
        ("ChangeConfiguration", call("ChangeConfiguration", {"key": "WifiPassword", "value": SECRET})),
        ("GetConfiguration", orjson.dumps(
            [3, "m1", {"configurationKey": [{"key": "AuthorizationKey", "readonly": False, "value": SECRET}]}])),
        ("GetDiagnostics", call("GetDiagnostics", {"location": f"ftp://user:{SECRET}@files.example/logs"})),
        ("GetDiagnostics", call("GetDiagnostics", {"location": f"ftp://{SECRET}@files.example/logs"})),
        ("UpdateFirmware", call("UpdateFirmware", {"location": f"https://f.example/a.bin?X-Amz-Signature={SECRET}"})),
        ("GetLog", call("GetLog", {"log": {"remoteLocation": f"https://f.example/up?sig={SECRET}&a=1"}})),
        ("InstallCertificate", call("InstallCertificate", {"certificate": PEM})),
        ("InstallCertificate", call("InstallCertificate", {"certificate": PEM[:60]})),
        ("DataTransfer", call("DataTransfer", {"vendorId": "v", "data": orjson.dumps({"apiKey": SECRET}).decode()})),
        ("DataTransfer", call("DataTransfer", {"vendorId": "v", "data": f"ssid=x password = {SECRET}, y"})),
        ("DataTransfer", call("DataTransfer", {"vendorId": "v", "data": PEM})),
        ("GetConfiguration", b"\xef\xbb\xbf" + orjson.dumps([3, "m1", {"configurationKey": [PSK, PIN]}])),
        ("GetConfiguration", orjson.dumps([3, "m1", {"configurationKey": [PSK, PIN]}]) + b"\0"),
        ("GetConfiguration", orjson.dumps([3, "caf\xe9", {"configurationKey": [PSK]}]).decode().encode("latin-1")),
        ("DataTransfer", call("DataTransfer", {"vendorId": "v", "data": orjson.dumps([PIN]).decode()})),
        (None, orjson.dumps([3, "m1", {"configurationKey": [PSK]}])[:-4]),
        (None, orjson.dumps([3, "m1", {"configurationKey": [PIN]}])[:-4]),
        (None, b'[2,"m1","ChangeConfiguration",{"key":"AuthorizationKey","value":"' + SECRET.encode()),
        (None, b'[2,"m1",{"value":"' + SECRET.encode() + b'","key":"AuthorizationKey"'),
        (None, b'[2,"m1","GetDiagnostics",{"location":"ftp://u:' + SECRET.encode() + b'@f.example/x"'),
    ],
)  # fmt: skip
def test_secrets_are_not_kept(action: str | None, frame: bytes) -> None:
    text, cut = wire.kept(frame, action)
    assert text is not None
    assert SECRET not in text
    assert wire.MASK in text
    assert not cut


def test_what_is_no_secret_is_kept() -> None:
    for payload in (
        {"key": "HeartbeatInterval", "value": "300"},
        {"key": ["AuthorizationKey"]},
        {"idTag": "CARD-1", "location": "https://f.example/a.bin", "hashAlgorithm": "SHA256", "issuerKeyHash": "ab"},
        {"certificate": "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"},
    ):
        text, _ = wire.kept(call("X", payload), "X")
        assert text is not None
        assert orjson.loads(text)[3] == payload


def test_what_is_around_the_json_does_not_hide_it() -> None:
    frame, action = call("ChangeConfiguration", {"key": "AuthorizationKey", "value": SECRET}), "ChangeConfiguration"
    assert wire.kept(b"\xef\xbb\xbf" + frame + b"\r\n\0", action) == wire.kept(frame, action)


def test_broken_json_that_counted_as_an_answer_is_masked_as_one() -> None:
    """A comma too many hides neither the answer from the dispatcher nor the secret from the mask."""
    frame = b'[3,"1",{"configurationKey":[,{"key":"AuthorizationKey","value":"%s"},{"key":"A","value":"1"}]}]'
    text, _ = wire.kept(frame % SECRET.encode(), None)
    assert text is not None
    keys = orjson.loads(text)[2]["configurationKey"]
    assert [key["value"] for key in keys] == [wire.MASK, "1"]


def test_readings_are_kept_byte_for_byte() -> None:
    frame = b'[2, "m1","MeterValues", {"connectorId":1,"meterValue":[]}]'
    assert wire.kept(frame, "MeterValues") == (frame.decode(), False)


@pytest.mark.parametrize("action", ["MeterValues", "DataTransfer", None])
def test_long_frames_are_cut_and_marked(action: str | None) -> None:
    text, cut = wire.kept(call("DataTransfer", {"data": "x" * 40_000}), action)
    assert text is not None
    assert (len(text), cut) == (wire.MAX_CHARS, True)


def test_a_secret_is_masked_before_the_frame_is_cut() -> None:
    text, cut = wire.kept(call("X", {"a": "y" * (wire.MAX_CHARS - 40), "password": SECRET, "z": "z" * 50}), "X")
    assert cut
    assert text is not None
    assert "5ecre7" not in text


def test_nesting_as_deep_as_the_parser_allows_is_kept_as_text() -> None:
    frame = b'[2,"1","X",{"a":' + b"[" * 1000 + b"]" * 1000 + b"}]"
    text, _ = wire.kept(frame, "X")
    assert text is not None
    assert text.startswith('[2,"1","X"')


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


@given(
    frame=st.binary(max_size=200) | _json.map(orjson.dumps),
    action=st.none() | st.text(max_size=300) | st.sampled_from(["MeterValues", "ChangeConfiguration"]),
    message_id=st.none() | st.text(max_size=300) | st.integers() | st.floats(allow_nan=False),
)
def test_whatever_arrives_can_be_stored(frame: bytes, action: str | None, message_id: str | int | float | None) -> None:
    entry = NewEntry("s", 1.5, Direction.IN, action, message_id, frame, frame, "E", 0.001)
    row = row_of(entry)
    for text in (row.a, row.i, row.q, row.r):
        assert "\x00" not in (text or "")
    assert len(row.a or "") <= 255
    assert len(row.i or "") <= 255
    (stored,) = orjson.loads(document([entry]))
    assert stored == {
        name: value for name in row.__struct_fields__ if (value := getattr(row, name)) not in (None, False)
    }
