"""Secrets inside commands: sealed in ``station_commands``, opened only for the frame (AES-256-GCM, RFC 5116).

Use case: ChangeConfiguration carries a new AuthorizationKey. The row of the command is read by operators, lies in
backups and stays for months; the key in it must not be readable there.
"""

import base64
import hashlib
import hmac
import os
from collections.abc import Mapping
from typing import Any

from evpower.commands.shown import MASK, is_secret_key
from evpower.config import Settings, get_settings

SHOWN = MASK
_MEMBER = "sealed"
_PURPOSE = b"evpower station secrets v1"
_NONCE_BYTES = 12


class SealBroken(ValueError):
    """The text was sealed under another key, or is damaged."""


def seal(secret: str, settings: Settings | None = None) -> dict[str, str]:
    """The member to put into a command's payload in the place of ``secret``."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = os.urandom(_NONCE_BYTES)
    box = AESGCM(_key(settings)).encrypt(nonce, secret.encode(), _PURPOSE)
    return {_MEMBER: base64.b64encode(nonce + box).decode()}


def opened(payload: Mapping[str, Any], settings: Settings | None = None) -> dict[str, Any]:
    """The payload as it goes to the charger.

    Raises:
        SealBroken: a member cannot be opened.
    """
    return {name: _open(value[_MEMBER], settings) if _is_sealed(value) else value for name, value in payload.items()}


def shown_answer(action: str, answer: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """A charger's answer without secrets. Use case: GetConfiguration of a charger that tells its AuthorizationKey."""
    if action != "GetConfiguration" or answer is None or not isinstance(answer.get("configurationKey"), list):
        return answer
    keys = [
        {**item, "value": SHOWN} if isinstance(item, dict) and is_secret_key(str(item.get("key"))) and item.get("value")
        else item
        for item in answer["configurationKey"]
    ]  # fmt: skip
    return {**answer, "configurationKey": keys}


def sealed_payload(action: str, payload: Mapping[str, Any], settings: Settings | None = None) -> dict[str, Any]:
    """The payload as it is stored: the value of a configuration key that opens something is sealed."""
    key, value = payload.get("key"), payload.get("value")
    if action == "ChangeConfiguration" and isinstance(key, str) and isinstance(value, str) and is_secret_key(key):
        return {**payload, "value": seal(value, settings)}
    return dict(payload)


def _is_sealed(value: Any) -> bool:
    return isinstance(value, Mapping) and set(value) == {_MEMBER} and isinstance(value[_MEMBER], str)


def _open(text: str, settings: Settings | None) -> str:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        data = base64.b64decode(text, validate=True)
        return AESGCM(_key(settings)).decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], _PURPOSE).decode()
    except (ValueError, InvalidTag) as error:
        raise SealBroken("a sealed member of the command cannot be opened") from error


def _key(settings: Settings | None) -> bytes:
    """32 bytes from STATION_SECRETS_KEY; while that is empty, derived from the token secret."""
    settings = settings or get_settings()
    secret = settings.station_secrets_key.get_secret_value() or settings.auth_token_secret.get_secret_value()
    return hmac.new(secret.encode(), _PURPOSE, hashlib.sha256).digest()
