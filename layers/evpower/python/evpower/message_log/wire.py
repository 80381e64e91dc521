"""Frames as they may be kept: secrets masked, length bounded, storable. Pure.

What is masked: values of secret configuration keys, members with secret names, private keys, and in links the name and
password and the query, which is what makes a signed link work.
"""

import re
from typing import Any

import orjson

from evpower import json_text
from evpower.commands.shown import MASK, is_secret_key

MAX_CHARS = 16 * 1024

# Messages without a member that could hold a secret; nearly all of the load, kept as they are.
_PLAIN = frozenset({"MeterValues", "Heartbeat", "StatusNotification", "StartTransaction", "StopTransaction"})
_SECRET_MEMBER = re.compile(r"passw|passphrase|secret|authori[sz]ationkey|private_?key|api_?key|(?<!id)token", re.I)
_PRIVATE_KEY = re.compile(r"-----BEGIN[^-]*PRIVATE KEY-----.*?(?:-----END[^-]*PRIVATE KEY-----|\Z)", re.S)
_LINK = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s\"'<>\\]+", re.I)
_USER = re.compile(r"://[^/?#]*@")
_VALUE = re.compile(r'("value"\s*:\s*)"[^"]*"?', re.I)
# Of a text that is not JSON, what follows the first word of this kind is not kept.
_SECRET_WORD = re.compile(
    r'authori[sz]ationkey|passw|passphrase|secret|private.?key|api.?key|(?<!id)token|psk|pin(?:code)?"', re.I
)
_ASSIGNED = re.compile(_SECRET_WORD.pattern.join(("((?:", r")\w*\s*[=:]\s*)[^\s,;&]+")), re.I)
_NOT_STORABLE = re.compile("[\x00\ud800-\udfff]")


def kept(frame: bytes | None, action: str | None) -> tuple[str | None, bool]:
    """The text of a frame of ``action`` as it is stored, and whether it was cut."""
    if frame is None:
        return None, False
    if is_plain(frame, action) and b"\x00" not in frame:
        try:
            return frame.decode(), False
        except UnicodeDecodeError:
            return storable(frame.decode(errors="replace")), False
    text = storable(_masked_text(frame))
    return text[:MAX_CHARS], len(text) > MAX_CHARS


def is_plain(frame: bytes, action: str | None) -> bool:
    """Whether nothing of it needs masking or cutting."""
    return action in _PLAIN and len(frame) <= MAX_CHARS


def storable(text: str) -> str:
    """The text without what PostgreSQL cannot hold."""
    return _NOT_STORABLE.sub("\ufffd", text)


def _masked_text(frame: bytes) -> str:
    try:
        return orjson.dumps(masked(_document(frame))).decode()
    except (orjson.JSONDecodeError, orjson.JSONEncodeError, RecursionError):
        text = _mask_string(frame.decode(errors="replace"))
        found = _SECRET_WORD.search(text)
        return text if found is None else _VALUE.sub(rf"\g<1>{MASK}", text[: found.end()]) + MASK


def _document(frame: bytes) -> Any:
    """What the frame says, read as the socket tier reads it: what counted as an answer is masked as one.

    Raises:
        orjson.JSONDecodeError: nothing.
    """
    try:
        return orjson.loads(frame)
    except orjson.JSONDecodeError:
        found = json_text.within(frame)
        if found is not None:
            return orjson.loads(found)
        loose = json_text.loosely(frame)
        if loose is None or not loose.is_whole:
            raise
        return loose.value


def masked(value: Any) -> Any:
    """Copy of a JSON value without secrets."""
    if isinstance(value, dict):
        found = {name: MASK if _is_secret(name, item) else masked(item) for name, item in value.items()}
        key = value.get("key")
        if isinstance(key, str) and "value" in value and is_secret_key(key):
            found["value"] = MASK
        return found
    if isinstance(value, list):
        return [masked(item) for item in value]
    if isinstance(value, str):
        return _mask_string(value)
    return value


def _is_secret(name: str, item: Any) -> bool:
    return item is not None and _SECRET_MEMBER.search(name) is not None


def _mask_string(text: str) -> str:
    if len(text) < 8:
        return text
    if text[0] in "{[" and _SECRET_WORD.search(text):
        # Use case: DataTransfer, whose data is often JSON in a text.
        try:
            return orjson.dumps(masked(orjson.loads(text))).decode()
        except (orjson.JSONDecodeError, orjson.JSONEncodeError, RecursionError):
            pass
    if "PRIVATE KEY" in text:
        text = _PRIVATE_KEY.sub(MASK, text)
    if "://" in text:
        text = _LINK.sub(lambda link: _mask_link(link.group()), text)
    return _ASSIGNED.sub(rf"\g<1>{MASK}", text)


def _mask_link(link: str) -> str:
    """Use case: ``ftp://user:password@host/logs`` and signed links, which are a password as a whole."""
    place, question, query = link.partition("?")
    place = _USER.sub(f"://{MASK}@", place)
    return f"{place}?{MASK}" if question and query else place
