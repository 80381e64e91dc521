"""Secrets inside commands: unreadable at rest, whole in the frame."""

import base64
from typing import Any

import pytest

from evpower.commands import sealed
from evpower.commands.sealed import SealBroken
from evpower.config import Settings

KEY = "00112233445566778899aabbccddeeff00112233"


def settings(**values: Any) -> Settings:
    return Settings.model_validate({"environment": "test", **values})


def test_a_sealed_member_is_opened_and_the_rest_is_left_alone() -> None:
    payload = {"key": "AuthorizationKey", "value": sealed.seal(KEY), "other": {"a": 1}, "list": [1]}
    assert KEY not in str(payload)
    assert sealed.opened(payload) == {**payload, "value": KEY}


def test_the_same_secret_looks_different_each_time() -> None:
    assert sealed.seal(KEY) != sealed.seal(KEY)


def test_the_key_is_the_setting_or_comes_from_the_token_secret() -> None:
    ours = settings(station_secrets_key="a" * 32)
    payload = {"value": sealed.seal(KEY, ours)}
    assert sealed.opened(payload, ours)["value"] == KEY
    for other in (settings(), settings(station_secrets_key="b" * 32)):
        with pytest.raises(SealBroken):
            sealed.opened(payload, other)
    rotated = settings(auth_token_secret="another secret of more than thirty-two characters")
    with pytest.raises(SealBroken):
        sealed.opened({"value": sealed.seal(KEY, settings())}, rotated)


def test_a_damaged_seal_is_told_from_a_good_one() -> None:
    box = sealed.seal(KEY)["sealed"]
    data = bytearray(base64.b64decode(box))
    data[-1] ^= 1
    for text in (base64.b64encode(data).decode(), "", "!!!", box[:8], base64.b64encode(b"short").decode()):
        with pytest.raises(SealBroken):
            sealed.opened({"value": {"sealed": text}})


@pytest.mark.parametrize("value", ["text", {"sealed": 1}, {"sealed": "x", "more": 1}, {}, None, ["sealed"]])
def test_what_is_not_sealed_is_not_opened(value: Any) -> None:
    assert sealed.opened({"value": value}) == {"value": value}


def test_keys_that_chargers_tell_are_not_kept() -> None:
    answer = {
        "configurationKey": [
            {"key": "authorizationKey", "readonly": False, "value": KEY},
            {"key": "AuthorizationKey", "readonly": False},
            {"key": "HeartbeatInterval", "readonly": False, "value": "300"},
            "rubbish",
        ],
        "unknownKey": ["x"],
    }
    shown = sealed.shown_answer("GetConfiguration", answer)
    assert shown is not None
    assert KEY not in str(shown)
    assert shown["configurationKey"][2:] == answer["configurationKey"][2:]
    assert shown["unknownKey"] == ["x"]
    for action, other in (("Reset", answer), ("GetConfiguration", None), ("GetConfiguration", {"configurationKey": 1})):
        assert sealed.shown_answer(action, other) is other


def test_short_keys_are_refused_where_it_matters() -> None:
    good = "a-token-secret-of-more-than-thirty-two-characters"
    with pytest.raises(ValueError, match="STATION_SECRETS_KEY"):
        Settings.model_validate({"environment": "stage", "auth_token_secret": good, "station_secrets_key": "short"})
    Settings.model_validate({"environment": "stage", "auth_token_secret": good, "station_secrets_key": "s" * 32})


@pytest.mark.parametrize(("text", "days"), [("30,7", (30, 7, 0)), ("", (0,)), (" 7 , 30,7", (30, 7, 0))])
def test_thresholds_of_expiry(text: str, days: tuple[int, ...]) -> None:
    assert settings(certificate_warning_days=text).certificate_warnings == days


@pytest.mark.parametrize("text", ["soon", "-1", "30;7"])
def test_thresholds_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"CERTIFICATE_WARNING_DAYS|invalid literal"):
        settings(certificate_warning_days=text)


@pytest.mark.parametrize("key", ["WifiPassword", "AuthorizationKey", "apiKey", "VendorSecret"])
def test_what_an_operator_sets_is_sealed_when_it_opens_something(key: str) -> None:
    payload = {"key": key, "value": "letmein"}
    stored = sealed.sealed_payload("ChangeConfiguration", payload)
    assert "letmein" not in str(stored)
    assert sealed.opened(stored) == payload


@pytest.mark.parametrize(
    ("action", "payload"),
    [
        ("ChangeConfiguration", {"key": "HeartbeatInterval", "value": "300"}),
        ("ChangeConfiguration", {"key": "AuthorizationKey", "value": {"sealed": "already"}}),
        ("DataTransfer", {"key": "AuthorizationKey", "value": "x"}),
        ("Reset", {"type": "Soft"}),
    ],
)
def test_everything_else_is_stored_as_it_is(action: str, payload: dict[str, Any]) -> None:
    assert sealed.sealed_payload(action, payload) == payload
