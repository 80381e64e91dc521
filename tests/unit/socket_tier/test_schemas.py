"""Strict out, lenient in (ocpp.md §2)."""

from collections.abc import Iterator
from typing import Any

import pytest

from socket_tier.schemas import OutboundInvalid, SchemaSet

SCHEMAS = SchemaSet("v16")
SAMPLE = {"value": "1"}


def meter(sample: dict[str, Any] | None = None, **members: Any) -> dict[str, Any]:
    return {
        "connectorId": 1,
        "transactionId": 5,
        "meterValue": [{"timestamp": "2026-01-15T06:00:00Z", "sampledValue": [sample or SAMPLE]}],
        **members,
    }


def test_the_schemas_cover_the_whole_of_ocpp_16_with_its_security_extension() -> None:
    assert {"BootNotification", "SetChargingProfile", "SignCertificate", "GetLog"} <= SCHEMAS.actions
    assert len(SCHEMAS.actions) == 39


def test_a_valid_message_passes_unchanged() -> None:
    payload = meter()
    checked = SCHEMAS.check_request("MeterValues", payload)
    assert checked.payload is payload
    assert not checked.quirks


@pytest.mark.parametrize("word", ["accepted", "ACCEPTED", " Accepted"])
def test_a_word_in_other_letter_case_is_that_word(word: str) -> None:
    """Taken for a refusal, the driver would get the money back and the car its energy."""
    checked = SCHEMAS.check_response("RemoteStartTransaction", {"status": word})
    assert checked.payload == {"status": "Accepted"}
    assert checked.quirks == (f"spelling of status {word}",)
    status = {"connectorId": 1, "errorCode": "noerror", "status": "suspendedEV"}
    checked = SCHEMAS.check_request("StatusNotification", status)
    assert (checked.payload["errorCode"], checked.payload["status"]) == ("NoError", "SuspendedEV")
    checked = SCHEMAS.check_request("MeterValues", meter({"value": "1", "measurand": "soc", "unit": "percent"}))
    assert checked.payload["meterValue"][0]["sampledValue"] == [{"value": "1", "measurand": "SoC", "unit": "Percent"}]


@pytest.mark.parametrize("word", ["Acepted", "yes", "A" * 60, 1, ["Accepted"]])
def test_a_word_that_is_none_of_the_specification_is_refused(word: Any) -> None:
    assert SCHEMAS.check_response("RemoteStartTransaction", {"status": word}).fault is not None


def test_a_written_out_boolean_is_one() -> None:
    """One such key would cost all the others of the answer."""
    keys = [{"key": "A", "readonly": "False", "value": "1"}, {"key": "B", "readonly": True}]
    checked = SCHEMAS.check_response("GetConfiguration", {"configurationKey": keys})
    assert [item["readonly"] for item in checked.payload["configurationKey"]] == [False, True]
    keys[0]["readonly"] = "no"
    fault = SCHEMAS.check_response("GetConfiguration", {"configurationKey": keys}).fault
    assert fault is not None
    assert fault.code == "TypeConstraintViolation"


def test_the_number_of_a_key_is_its_text_and_what_is_no_value_is_not_told() -> None:
    """The value may be a PIN; the fault is kept as the command's error."""
    keys: list[dict[str, Any]] = [{"key": "HeartbeatInterval", "readonly": False, "value": 300}]
    checked = SCHEMAS.check_response("GetConfiguration", {"configurationKey": keys})
    assert checked.payload["configurationKey"][0]["value"] == "300"
    keys[0] = {"key": "Pin", "readonly": False, "value": [4711]}
    fault = SCHEMAS.check_response("GetConfiguration", {"configurationKey": keys}).fault
    assert fault is not None
    assert "4711" not in fault.description
    assert fault.description == 'configurationKey.0.value: what it told is not of type "string"'


def test_no_two_words_of_an_enumeration_differ_by_their_case_only() -> None:
    def enumerations(schema: Any) -> Iterator[list[str]]:
        if isinstance(schema, dict):
            if isinstance(schema.get("enum"), list):
                yield schema["enum"]
            for member in schema.values():
                yield from enumerations(member)

    for action in SCHEMAS.actions:
        for suffix in ("", "Response"):
            for words in enumerations(SCHEMAS._schema(action + suffix)):
                assert len({word.casefold() for word in words}) == len(set(words)), (action, words)


@pytest.mark.parametrize(
    ("action", "payload", "quirk"),
    [
        ("MeterValues", meter(extra=1), "extra member"),
        ("MeterValues", meter({"value": "1", "vendorThing": {"a": []}}), "extra member"),
        ("MeterValues", meter({"value": "1", "measurand": "Vendor.Magic"}), "unknown"),
        ("MeterValues", meter({"value": "1", "unit": "Furlong"}), "unknown"),
        ("MeterValues", meter({"value": "1", "phase": "L9"}), "unknown"),
        ("MeterValues", meter({"value": 12.5}), "number instead of text"),
        ("MeterValues", meter({"value": "1", "unit": ""}), "empty member"),
        ("MeterValues", meter({"value": "1", "context": None}), "empty member"),
        ("MeterValues", meter(transactionId=None), "empty member"),
        ("MeterValues", meter(connectorId=1.0), "decimal instead of integer"),
        ("BootNotification", {"chargePointVendor": "v" * 21, "chargePointModel": "m"}, "over-long"),
        ("BootNotification", {"chargePointVendor": "v", "chargePointModel": "m", "iccid": ""}, None),
        (
            "StatusNotification",
            {"connectorId": 1, "errorCode": "VendorFault", "status": "Available", "info": "i" * 51, "timestamp": ""},
            "unknown",
        ),
    ],
)
def test_what_harms_nobody_is_tolerated(action: str, payload: dict[str, Any], quirk: str | None) -> None:
    checked = SCHEMAS.check_request(action, payload)
    assert checked.fault is None
    if quirk is not None:
        assert any(found.startswith(quirk) for found in checked.quirks)


@pytest.mark.parametrize(
    "timestamp",
    ["2026-01-15T06:00:00Z", "2026-01-15T06:00:00.5Z", "2026-01-15T12:00:00+06:00", "2026-01-15T06:00:00",
     "2026-01-15 06:00:00Z", "1970-01-01T00:00:00Z"],
)  # fmt: skip
def test_every_usual_form_of_a_date_time_is_read(timestamp: str) -> None:
    payload = {"connectorId": 1, "idTag": "A", "meterStart": 0, "timestamp": timestamp}
    assert SCHEMAS.check_request("StartTransaction", payload).fault is None


@pytest.mark.parametrize(
    ("action", "payload", "code"),
    [
        ("StartTransaction", {"connectorId": 1, "idTag": "A", "meterStart": 0}, "OccurenceConstraintViolation"),
        ("MeterValues", {"connectorId": 1, "meterValue": []}, "OccurenceConstraintViolation"),
        ("MeterValues", meter(connectorId="1"), "TypeConstraintViolation"),
        ("MeterValues", meter({"value": True}), "TypeConstraintViolation"),
        ("MeterValues", meter({"value": ["1"]}), "TypeConstraintViolation"),
        ("MeterValues", meter(transactionId=1.5), "TypeConstraintViolation"),
        ("MeterValues", meter(transactionId=2.0**70), "TypeConstraintViolation"),
        # A number is no text, also one that a sloppy charger might have meant as an integer.
        ("Authorize", {"idTag": 7.0}, "TypeConstraintViolation"),
        (
            "StopTransaction",
            {"transactionId": 1, "meterStop": 1, "timestamp": -0.0},
            "TypeConstraintViolation",
        ),
        ("Authorize", {"idTag": "X" * 21}, "PropertyConstraintViolation"),
        ("Authorize", {"idTag": None}, "PropertyConstraintViolation"),
        (
            "StatusNotification",
            {"connectorId": 1, "errorCode": "NoError", "status": "Sleeping"},
            "PropertyConstraintViolation",
        ),
        (
            "StartTransaction",
            {"connectorId": 1, "idTag": "A", "meterStart": 0, "timestamp": "yesterday"},
            "PropertyConstraintViolation",
        ),
        (
            "StartTransaction",
            {"connectorId": 1, "idTag": "A", "meterStart": "12", "timestamp": "2026-01-15T06:00:00Z"},
            "TypeConstraintViolation",
        ),
    ],
)
def test_what_would_be_guessed_is_refused_by_its_name(action: str, payload: dict[str, Any], code: str) -> None:
    fault = SCHEMAS.check_request(action, payload).fault
    assert fault is not None
    assert fault.code == code


def test_repairs_do_not_touch_the_message_as_sent() -> None:
    payload = meter({"value": 12.5})
    checked = SCHEMAS.check_request("MeterValues", payload)
    assert payload["meterValue"][0]["sampledValue"][0]["value"] == 12.5
    assert checked.payload["meterValue"][0]["sampledValue"][0]["value"] == "12.5"


def test_nothing_invalid_leaves() -> None:
    SCHEMAS.require_request("Reset", {"type": "Soft"})
    with pytest.raises(OutboundInvalid):
        SCHEMAS.require_request("Reset", {"type": "Gentle"})
    with pytest.raises(OutboundInvalid):
        SCHEMAS.require_response("Heartbeat", {})
    with pytest.raises(OutboundInvalid):
        SCHEMAS.require_request("RemoteStartTransaction", {"idTag": "x" * 36})
