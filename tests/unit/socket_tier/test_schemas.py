"""Strict out, lenient in (ocpp.md §2)."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from socket_tier.ocpp16.schema import SCHEMAS
from socket_tier.schemas import Lost, OutboundInvalid

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


def test_a_written_out_boolean_is_one_and_a_key_without_one_costs_only_itself() -> None:
    keys = [{"key": "A", "readonly": "False", "value": "1"}, {"key": "B", "readonly": True}]
    checked = SCHEMAS.check_response("GetConfiguration", {"configurationKey": keys})
    assert [item["readonly"] for item in checked.payload["configurationKey"]] == [False, True]
    keys[0]["readonly"] = "no"
    checked = SCHEMAS.check_response("GetConfiguration", {"configurationKey": keys})
    assert checked.fault is None
    assert [item["key"] for item in checked.payload["configurationKey"]] == ["B"]
    assert checked.lost == (Lost(("configurationKey", 0), {"key": "A", "readonly": "no", "value": "1"}),)


def test_an_answer_without_one_usable_entry_is_refused() -> None:
    """Taken for an empty one, the whole stored configuration would be forgotten."""
    fault = SCHEMAS.check_response("GetConfiguration", {"configurationKey": [{"key": "A", "readonly": "no"}]}).fault
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


def test_no_two_words_of_an_enumeration_differ_by_their_case_or_marks_only() -> None:
    def enumerations(schema: Any) -> Iterator[list[str]]:
        if isinstance(schema, dict):
            if isinstance(schema.get("enum"), list):
                yield schema["enum"]
            for member in schema.values():
                yield from enumerations(member)

    for action in SCHEMAS.actions:
        for suffix in ("", "Response"):
            for words in enumerations(SCHEMAS._schema(action + suffix)):
                assert len({re.sub("[^0-9a-z]", "", word.casefold()) for word in words}) == len(set(words)), action


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
        ("MeterValues", meter(connectorId="1"), "text instead of integer"),
        ("MeterValues", meter({"value": True}), "true or false instead"),
        ("MeterValues", meter({"value": ["1"]}), "unusable"),
        ("MeterValues", meter(transactionId=1.5), "unusable"),
        ("MeterValues", {"connectorId": 1, "meterValue": []}, "unusable"),
        ("Authorize", {"idTag": 7}, "number instead of text"),
        ("StartTransaction", {"connectorId": 1, "idTag": "A", "meterStart": 0}, "missing timestamp"),
        ("StopTransaction", {"transactionId": 1, "meterStop": 1, "timestamp": -0.0}, "unreadable timestamp"),
        ("StopTransaction", {"transactionId": 1, "meterStop": 1.5, "timestamp": "yesterday"}, "fraction"),
        ("StopTransaction", {"transactionId": 1, "meterStop": 1, "idTag": "X" * 21}, "over-long"),
        ("StatusNotification", {"connectorId": 1, "status": "Available"}, "missing errorCode"),
        ("StatusNotification", {"connectorId": "1", "errorCode": "NoError", "status": "Occupied"}, "unknown status"),
        ("StatusNotification", {"connectorId": 1, "status": "Faulted", "vendorErrorCode": 77}, "number instead"),
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
        ("StatusNotification", {"connectorId": 1, "errorCode": "NoError"}, "OccurenceConstraintViolation"),
        ("StatusNotification", {"connectorId": 1.5, "status": "Available"}, "TypeConstraintViolation"),
        ("Authorize", {"idTag": ["A", "B"]}, "TypeConstraintViolation"),
        # Of so many digits a number does not keep them all: it may be another card's.
        ("Authorize", {"idTag": 2.0**70}, "TypeConstraintViolation"),
        ("Authorize", {"idTag": "X" * 21}, "PropertyConstraintViolation"),
        ("Authorize", {"idTag": None}, "PropertyConstraintViolation"),
        ("FirmwareStatusNotification", {"status": "Sleeping"}, "PropertyConstraintViolation"),
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


def test_one_unusable_entry_among_good_ones_costs_only_itself() -> None:
    good = {"timestamp": "2026-01-15T06:00:00Z", "sampledValue": [{"value": "1"}, {"value": "2", "unit": "Wh"}]}
    halved = {"timestamp": "2026-01-15T06:00:00Z", "sampledValue": [{"value": "1"}, {"measurand": {}, "value": "2"}]}
    entries = [good, "nonsense", halved, {"timestamp": 5, "sampledValue": [{"value": 3}]}, {"sampledValue": []}]
    checked = SCHEMAS.check_request("MeterValues", {"connectorId": 1, "meterValue": entries})
    assert checked.fault is None
    assert checked.payload["meterValue"] == [
        good,
        {"timestamp": "2026-01-15T06:00:00Z", "sampledValue": [{"value": "1"}]},
        {"timestamp": 5, "sampledValue": [{"value": "3"}]},
    ]
    # A sample whose measurand is unusable is not taken for one that names none, which would be energy.
    assert {loss.place for loss in checked.lost} == {
        ("meterValue", 1), ("meterValue", 2, "sampledValue", 1), ("meterValue", 4)
    }  # fmt: skip


def test_what_depends_on_its_neighbours_is_not_taken_without_one() -> None:
    periods = [{"startPeriod": 0, "limit": 16.0}, {"startPeriod": 60, "limit": {}}]
    schedule = {"chargingRateUnit": "A", "chargingSchedulePeriod": periods}
    checked = SCHEMAS.check_response("GetCompositeSchedule", {"status": "Accepted", "chargingSchedule": schedule})
    assert checked.payload == {"status": "Accepted"}


def test_so_many_faults_that_looking_at_them_would_hold_up_others_are_one() -> None:
    entries = [{"vendor": 1}] * 20_001
    fault = SCHEMAS.check_request("MeterValues", {"connectorId": 1, "meterValue": entries}).fault
    assert fault is not None
    assert fault.description == "wrong in too many places"
