"""Signatures and envelope of the O!Dengi merchant API, version 1005 (payments.md §1). Pure: no I/O, no clock.

Everything is signed with HMAC-MD5 under the API password. MD5 is the provider's choice; as an HMAC it still
authenticates, and nothing here depends on collision resistance.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

API_VERSION = 1005

# Members of the callback, in the order in which they are joined and signed.
CALLBACK_SIGNED_MEMBERS = (
    "trans_id",
    "status_pay",
    "site_id",
    "order_id",
    "amount",
    "currency",
    "mktime",
    "test",
)


def compact_json(value: Any) -> bytes:
    """Compact UTF-8 JSON, non-ASCII and slashes unescaped, members in their order: the form that is signed."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def hmac_md5(password: str, message: bytes) -> str:
    """Lower-case hex HMAC-MD5 of ``message`` under the API password."""
    return hmac.new(password.encode(), message, hashlib.md5).hexdigest()


def signed_request(
    *, cmd: str, merchant_id: str, password: str, mktime: str, data: Mapping[str, Any], lang: str = "ru"
) -> bytes:
    """Bytes of one signed request, ready to be sent as they are.

    The signed text is serialised once and the hash is spliced in before the closing brace, so that no second
    serialisation can differ from what was signed.

    Args:
        cmd: command of payments.md §1, e.g. ``createInvoice``.
        mktime: milliseconds since the epoch, as a string.
        data: the command's members; amounts are integer tyiyn.
    """
    envelope = {
        "cmd": cmd,
        "version": API_VERSION,
        "sid": merchant_id,
        "mktime": mktime,
        "lang": lang,
        "data": dict(data),
    }
    message = compact_json(envelope)
    return message[:-1] + b',"hash":"' + hmac_md5(password, message).encode() + b'"}'


def callback_message(members: Mapping[str, str]) -> bytes:
    """The text that a callback's ``hash`` signs: eight members joined by ``:::``, missing ones empty."""
    return ":::".join(members.get(name, "") for name in CALLBACK_SIGNED_MEMBERS).encode()


def callback_hash(password: str, members: Mapping[str, str]) -> str:
    """Hash that the provider puts into a callback with these members."""
    return hmac_md5(password, callback_message(members))


def verify_callback_hash(password: str, members: Mapping[str, str]) -> bool:
    """Whether ``members['hash']`` is right; constant time, and never true without a configured password."""
    given = members.get("hash", "").strip().lower()
    # Use case: a deployment without ODENGI_PASSWORD must not accept what anybody can sign with an empty key.
    if not password or not given:
        return False
    return hmac.compare_digest(callback_hash(password, members).encode(), given.encode())


def body_signature(secret: str, body: bytes) -> str:
    """Hex HMAC-SHA256 of the raw body: header ``X-O-Dengi-Signature`` of the older scheme (payments.md §2.1)."""
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def verify_body_signature(secret: str, body: bytes, header: str) -> bool:
    """Whether the older scheme's header fits the raw body; an optional ``sha256=`` prefix is allowed."""
    given = header.strip().lower().removeprefix("sha256=")
    if not secret or not given:
        return False
    return hmac.compare_digest(body_signature(secret, body).encode(), given.encode())
