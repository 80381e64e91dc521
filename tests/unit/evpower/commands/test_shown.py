"""What of a command people may see."""

from typing import Any

import pytest

from evpower.commands.shown import is_secret_key, shown, shown_link


@pytest.mark.parametrize(
    ("link", "seen"),
    [
        ("https://files.example/up/x.log?X-Amz-Signature=abc", "https://files.example/up/x.log"),
        ("ftp://user:pass@files.example:2121/up", "ftp://files.example:2121/up"),
        ("sftp://files.example", "sftp://files.example"),
        ("https://files.example:99999/x", "***"),
        ("http://[broken", "***"),
    ],
)
def test_a_link_is_shown_without_what_makes_it_work(link: str, seen: str) -> None:
    assert shown_link(link) == seen


@pytest.mark.parametrize(
    "key", ["AuthorizationKey", "authorizationkey", "WiFiPassword", "ApnPasswd", "SimPin", "API_Key"]
)
def test_secret_keys_are_known_in_any_letter_case(key: str) -> None:
    assert is_secret_key(key)


@pytest.mark.parametrize(
    "key", ["GetConfigurationMaxKeys", "HeartbeatInterval", "StopTransactionOnInvalidId", "Pinout"]
)
def test_other_keys_are_no_secrets(key: str) -> None:
    assert not is_secret_key(key)


def test_secrets_are_masked_wherever_they_are() -> None:
    payload: dict[str, Any] = {
        "configurationKey": [
            {"key": "AuthorizationKey", "value": "secret", "readonly": False},
            {"key": "AuthorizationKey", "readonly": False},
            {"key": "HeartbeatInterval", "value": "300", "readonly": False},
        ],
        "firmware": {"location": "https://a.example/f?sig=secret", "signature": "c2ln"},
        "log": {"remoteLocation": "ftp://u:secret@a.example/"},
        "key": ["AuthorizationKey"],
    }
    seen = shown(payload)
    assert "secret" not in str(seen)
    assert seen["configurationKey"][0] == {"key": "AuthorizationKey", "value": "***", "readonly": False}
    assert seen["configurationKey"][1:] == payload["configurationKey"][1:]
    assert seen["key"] == ["AuthorizationKey"]
    assert seen["firmware"]["signature"] == "c2ln"  # everybody may know who signed
    assert payload["firmware"]["location"].endswith("secret")  # what is stored stays as it was
