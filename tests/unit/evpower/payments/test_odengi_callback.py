"""Reading and verifying notifications: three formats, two schemes, hostile input."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evpower.payments.callback_body import MAX_BODY_BYTES, read_members
from evpower.payments.odengi_callback import OdengiKeys, parse_odengi_callback
from evpower.payments.odengi_signature import body_signature, callback_hash
from evpower.payments.provider import CallbackMalformed, CallbackRejected, PaymentState, RawCallback

KEYS = OdengiKeys(merchant_id="1234567890", password="callback-password", webhook_secret="webhook-secret")
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MEMBERS = {
    "trans_id": "998877",
    "status_pay": "3",
    "site_id": "1234567890",
    "order_id": "evp-1",
    "amount": "50000",
    "currency": "KGS",
    "mktime": "1767225600",
    "test": "0",
    "mobile": "996700000001",
    "fname": "Айбек",
    "email": "payer@example.com",
}


def signed(**changes: str) -> dict[str, str]:
    members = {**MEMBERS, **changes}
    return {**members, "hash": callback_hash(KEYS.password, members)}


def as_xml(members: dict[str, str]) -> bytes:
    inner = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in members.items())
    return f'<?xml version="1.0" encoding="UTF-8"?><payment>{inner}</payment>'.encode()


def raw(body: bytes, **headers: str) -> RawCallback:
    return RawCallback(body, {name.replace("_", "-"): value for name, value in headers.items()})


ENCODERS: dict[str, Any] = {
    "json": lambda members: json.dumps(members).encode(),
    "json with a byte order mark": lambda members: b"\xef\xbb\xbf" + json.dumps(members).encode(),
    "xml": as_xml,
    "xml in utf-16": lambda members: as_xml(members).decode().replace("UTF-8", "UTF-16").encode("utf-16"),
    "xml with a namespace": lambda members: as_xml(members).replace(b"<payment>", b'<payment xmlns="urn:x">'),
    "form": lambda members: urlencode(members).encode(),
}


@pytest.mark.parametrize("encoder", ENCODERS.values(), ids=ENCODERS)
@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "application/x-www-form-urlencoded", ""])
def test_the_same_members_in_every_format(encoder: Any, content_type: str) -> None:
    callback = parse_odengi_callback(raw(encoder(signed()), content_type=content_type), KEYS, NOW)
    assert (callback.order_id, callback.trans_id, callback.state) == ("evp-1", "998877", PaymentState.APPROVED)
    assert (callback.amount, callback.test, callback.scheme) == (Decimal(500), False, "hash")
    assert not {"mobile", "fname", "email", "hash"} & callback.members.keys()


def test_json_numbers_are_signed_as_they_are_written() -> None:
    members = {**MEMBERS, "amount": "50000.0", "test": "1", "mktime": ""}
    text = json.dumps(members | {"hash": callback_hash(KEYS.password, members)})
    text = text.replace('"50000.0"', "50000.0").replace('"test": "1"', '"test": true')
    text = text.replace('"mktime": ""', '"mktime": null')
    callback = parse_odengi_callback(raw(text.encode()), KEYS, NOW)
    assert (callback.test, callback.amount) == (True, None)


@pytest.mark.parametrize(
    ("code", "state"),
    [
        ("1", PaymentState.PROCESSING),
        ("2", PaymentState.CANCELED),
        ("3", PaymentState.APPROVED),
        ("9", PaymentState.PROCESSING),
    ],
)
def test_states(code: str, state: PaymentState) -> None:
    assert parse_odengi_callback(raw(json.dumps(signed(status_pay=code)).encode()), KEYS, NOW).state is state


@pytest.mark.parametrize(
    "members",
    [
        MEMBERS,
        {**signed(), "amount": "50001"},
        {**signed(), "hash": ""},
        signed(site_id="666"),
        signed(site_id=""),
    ],
    ids=["no hash", "changed amount", "empty hash", "another site", "no site"],
)
def test_without_a_valid_signature(members: dict[str, str]) -> None:
    with pytest.raises(CallbackRejected):
        parse_odengi_callback(raw(json.dumps(members).encode()), KEYS, NOW)


def test_signed_without_an_order() -> None:
    with pytest.raises(CallbackMalformed):
        parse_odengi_callback(raw(json.dumps(signed(order_id="")).encode()), KEYS, NOW)


OLDER = json.dumps(
    {
        "merchant_id": "1234567890",
        "invoice_id": "000000000017",
        "status": 1,
        "amount": 50000,
        "transaction_id": "998877",
        "user_phone": "996700000001",
    }
).encode()
STAMP = str(int(NOW.timestamp()))


@pytest.mark.parametrize("prefix", ["", "sha256="])
@pytest.mark.parametrize("stamp", ["", STAMP, str(int(STAMP) - 300), str(int(STAMP) + 300)])
def test_older_header_scheme(prefix: str, stamp: str) -> None:
    headers = {"x_o_dengi_signature": prefix + body_signature(KEYS.webhook_secret, OLDER)}
    if stamp:
        headers["x_timestamp"] = stamp
    callback = parse_odengi_callback(raw(OLDER, **headers), KEYS, NOW)
    assert (callback.order_id, callback.invoice_id, callback.trans_id) == ("", "000000000017", "998877")
    # Its status numbers mean different things to different implementations: nothing is concluded from them.
    assert (callback.state, callback.scheme) == (PaymentState.PROCESSING, "header")


@pytest.mark.parametrize("stamp", [str(int(STAMP) - 301), str(int(STAMP) + 301), "soon", "²", "9" * 400])
def test_older_scheme_with_a_bad_timestamp(stamp: str) -> None:
    signature = body_signature(KEYS.webhook_secret, OLDER)
    with pytest.raises(CallbackRejected):
        parse_odengi_callback(raw(OLDER, x_o_dengi_signature=signature, x_timestamp=stamp), KEYS, NOW)


def test_older_scheme_with_another_merchant_or_secret() -> None:
    body = OLDER.replace(b"1234567890", b"6666666666")
    with pytest.raises(CallbackRejected):
        parse_odengi_callback(raw(body, x_o_dengi_signature=body_signature(KEYS.webhook_secret, body)), KEYS, NOW)
    with pytest.raises(CallbackRejected):
        parse_odengi_callback(raw(OLDER, x_o_dengi_signature=body_signature("guess", OLDER)), KEYS, NOW)


def test_older_scheme_with_an_unreadable_body_is_malformed_not_unsigned() -> None:
    body = b"{not json"
    with pytest.raises(CallbackMalformed):
        parse_odengi_callback(raw(body, x_o_dengi_signature=body_signature(KEYS.webhook_secret, body)), KEYS, NOW)
    with pytest.raises(CallbackRejected):
        parse_odengi_callback(raw(body), KEYS, NOW)


HOSTILE = {
    "empty": b"",
    "blank": b" \r\n ",
    "array": b'["order_id"]',
    "truncated": b'{"order_id": "evp-1"',
    "duplicate JSON member": b'{"amount": "1", "amount": "50000"}',
    "duplicate form member": b"amount=1&amount=50000",
    "duplicate element": b"<p><amount>1</amount><amount>50000</amount></p>",
    "NaN": b'{"amount": NaN}',
    "long number": b'{"amount": ' + b"9" * 5000 + b"}",
    "lone surrogate": b'{"order_id": "\\ud800"}',
    "not UTF-8": b'{"order_id": "\xff"}',
    "deep JSON": b'{"a":' + b"[" * 20_000,
    "deep closed JSON": b'{"a":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
    "many members": json.dumps({str(number): "" for number in range(101)}).encode(),
    "many form members": b"&".join(b"m%d=1" % number for number in range(101)),
    "too large": b'{"a": "' + b"x" * MAX_BODY_BYTES + b'"}',
    "entity bomb": b'<!DOCTYPE p [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]><p><amount>&b;</amount></p>',
    "external entity": b'<!DOCTYPE p [<!ENTITY x SYSTEM "file:///etc/passwd">]><p><amount>&x;</amount></p>',
    "document type": b"<!DOCTYPE p><p><amount>1</amount></p>",
    "unclosed XML": b"<p><amount>1",
    "unknown encoding": b'<?xml version="1.0" encoding="nonsense"?><p/>',
    "form without a value": b"hello",
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_hostile_bodies(body: bytes) -> None:
    with pytest.raises(CallbackMalformed):
        read_members(body)
    with pytest.raises(CallbackRejected):
        parse_odengi_callback(RawCallback(body), KEYS, NOW)


@given(st.binary(max_size=300) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_refused_or_read(body: bytes) -> None:
    with pytest.raises(CallbackRejected):
        parse_odengi_callback(RawCallback(body), KEYS, NOW)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*MEMBERS, "hash", "invoice_id", "other"]), json_values))
def test_any_json_object_is_refused_without_the_password(members: dict[str, Any]) -> None:
    with pytest.raises(CallbackRejected):
        parse_odengi_callback(RawCallback(json.dumps(members).encode()), KEYS, NOW)


plain = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=20)


@given(st.fixed_dictionaries(dict.fromkeys(("trans_id", "status_pay", "order_id", "amount", "test"), plain)))
def test_what_was_signed_is_read_in_every_format(values: dict[str, str]) -> None:
    members = signed(**values)
    for encode in (ENCODERS["json"], as_xml, ENCODERS["form"]):
        callback = parse_odengi_callback(RawCallback(encode(members)), KEYS, NOW)
        assert callback.order_id == values["order_id"]
        assert callback.members["amount"] == values["amount"]
