"""OBANK's XML: what is asked, what an answer means, and what is refused."""

from datetime import UTC, datetime
from decimal import Decimal
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evpower.payments import obank_codec as codec
from evpower.payments.obank_codec import Dialect, Verdict

DIALECT = Dialect(100, frozenset({"60"}), frozenset({"80"}), frozenset({"-2"}))
NOON = datetime(2026, 1, 15, 6, 0, tzinfo=UTC)


def answer(**attributes: str) -> bytes:
    """An answer with one result."""
    response = ET.Element("response")
    ET.SubElement(response, "result", attributes)
    return ET.tostring(response)


def test_a_payment_request_is_as_documented() -> None:
    body = codec.payment_request(
        "P1", "1330", "123", 50000, NOON, {"amount_currency": "417", "card_pan": "0" * 16, "phone_number": ""}
    )
    root = ET.fromstring(body)
    assert (root.tag, root.attrib) == ("request", {"point": "P1"})
    (payment,) = root
    assert payment.tag == "payment"
    assert payment.attrib == {
        "id": "123",
        "sum": "50000",
        "check": "0",
        "service": "1330",
        "date": "2026-01-15T12:00:00+0600",
        "account": "",
    }
    assert [dict(item.attrib) for item in payment] == [
        {"name": "amount_currency", "value": "417"},
        {"name": "card_pan", "value": "0" * 16},
    ]


def test_values_cannot_break_out_of_the_request() -> None:
    hostile = '"/><status id="9"/><attribute name="&x;'
    body = codec.payment_request("P", "S", "1", 1, NOON, {"card_name": hostile})
    root = ET.fromstring(body)
    assert [child.tag for child in root] == ["payment"]
    assert root[0][0].get("value") == hostile


def test_token_and_status_requests() -> None:
    token = ET.fromstring(codec.token_request("P", "S", 14))[0]
    assert (token.tag, token.attrib) == ("advanced", {"service": "S", "function": "stored-cards"})
    assert dict(token[0].attrib) == {"name": "days", "value": "14"}
    status = ET.fromstring(codec.status_request("P", "42"))[0]
    assert (status.tag, status.attrib) == ("status", {"id": "42"})


@pytest.mark.parametrize(
    ("state", "final", "verdict"),
    [
        ("60", "1", Verdict.SUCCESS),
        ("60", "0", Verdict.PENDING),
        ("60", "", Verdict.PENDING),
        ("60", "true", Verdict.PENDING),
        ("0", "1", Verdict.PENDING),
        ("61", "1", Verdict.PENDING),
        ("80", "1", Verdict.FAILURE),
        ("80", "0", Verdict.PENDING),
        ("-2", "0", Verdict.NO_SUCH_PAYMENT),
        ("-2", "1", Verdict.NO_SUCH_PAYMENT),
    ],
)
def test_only_final_and_a_known_state_end_a_payment(state: str, final: str, verdict: Verdict) -> None:
    result = codec.read_result(answer(id="1", trans="7", state=state, code="0", final=final), "1")
    assert result.verdict(DIALECT) is verdict


def test_the_meaning_of_a_state_is_configured() -> None:
    result = codec.read_result(answer(id="1", state="2", final="1"), "1")
    assert result.verdict(DIALECT) is Verdict.PENDING
    assert result.verdict(Dialect(100, frozenset({"2"}), frozenset(), frozenset())) is Verdict.SUCCESS


def test_members_of_a_result() -> None:
    body = b"""<?xml version="1.0" encoding="UTF-8"?><response><result id="1" trans="0" state="0" code="0" final="0"
        sum="50000"><data><input key="ACS_URL" value="https://acs.example"/><input key="Pa-Req" value="p"/>
        <input key="pareq" value="second"/></data></result></response>"""
    result = codec.read_result(body, "1")
    assert result.trans_id == ""  # 0 is no transaction
    assert result.units == "50000"
    assert result.inputs == {"acsurl": "https://acs.example", "pareq": "p"}


ENTITIES = (
    b'<!DOCTYPE r [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><r><result id="1" state="60" final="1">&b;</result></r>'
)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"<html>",
        b"<response/>",
        b'<response><result id="2" state="60" final="1"/></response>',
        b'<response><result state="60" final="1"/></response>',
        b'<response><result id="1" final="1"/></response>',
        b'<response><result id="1" state="60" final="1"/><result id="1" state="80" final="1"/></response>',
        b'<!DOCTYPE r><r><result id="1" state="60" final="1"/></r>',
        b'<!DOCTYPE r SYSTEM "file:///etc/passwd"><r><result id="1" state="60"/></r>',
        ENTITIES,
        b'<response><result id="1" state="60" final="1"/></response>' + b" " * 300_000,
        b'<?xml version="1.0" encoding="no-such"?><result id="1" state="60"/>',
    ],
)
def test_what_is_no_answer(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"answer|result"):
        codec.read_result(body, "1")


@given(st.binary(max_size=200))
def test_noise_never_does_more_than_fail(noise: bytes) -> None:
    with pytest.raises(ValueError, match=r"answer|result"):
        codec.read_result(noise, "1")


def test_texts_of_the_bank_never_show_a_card() -> None:
    pan = "4000 0000-0000 0002"
    result = codec.read_result(answer(id="1", state="80", final="1", text=f"card {pan} declined", code=pan), "1")
    assert (result.text, result.code) == ("card **** declined", "****")
    assert codec.harmless("order 12345 of 2026-01-15") == "order 12345 of 2026-01-15"


@pytest.mark.parametrize("unit", [100, 1000])
@given(tyiyn=st.integers(min_value=1, max_value=10**9))
def test_units_there_and_back(unit: int, tyiyn: int) -> None:
    amount = Decimal(tyiyn) / 100
    units = codec.to_units(amount, unit)
    assert units * 100 == tyiyn * unit
    assert codec.from_units(str(units), unit) == amount


@pytest.mark.parametrize(
    ("units", "unit"), [("-5", 100), ("1.5", 100), ("5x", 100), ("٣", 100), ("9" * 19, 100), ("5", 1000)]
)
def test_sums_that_are_no_amounts(units: str, unit: int) -> None:
    with pytest.raises(ValueError, match="sum"):
        codec.from_units(units, unit)


def test_no_sum_is_no_amount() -> None:
    assert codec.from_units("", 1000) == 0
    with pytest.raises(ValueError, match="fractions"):
        codec.to_units(Decimal("0.001"), 100)
