"""Reading a provider's notification: JSON, XML or form body into one flat map of strings (payments.md §2.1). Pure.

The body is hostile until its signature is checked, and the signature covers members, so it has to be read first:
size and number of members are bounded, duplicates are refused, XML is parsed without DTD and entities.
"""

import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl

from evpower.payments.provider import CallbackMalformed

MAX_BODY_BYTES = 64 * 1024
MAX_MEMBERS = 100
_XML_BYTE_ORDER_MARKS = (b"\xff\xfe", b"\xfe\xff")
_MAX_NUMBER_CHARS = 40


def read_members(body: bytes, content_type: str = "") -> dict[str, str]:
    """Flat members of a callback body; scalars keep the digits that were sent, nested values are left out.

    The first byte decides the format: senders label JSON as a form, and the label is not signed.

    Raises:
        CallbackMalformed: not one of the three formats, or beyond a bound.
    """
    if len(body) > MAX_BODY_BYTES:
        raise CallbackMalformed("body too large")
    text = body.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not text:
        raise CallbackMalformed("empty body")
    if text.startswith(b"{"):
        return _read_json(text)
    if text.startswith((b"<", *_XML_BYTE_ORDER_MARKS)) or "xml" in content_type.lower():
        return _read_xml(text)
    return _read_form(text)


def _collect(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    members: dict[str, str] = {}
    for name, value in pairs:
        if not (_is_text(name) and _is_text(value)):
            raise CallbackMalformed("not Unicode text")
        # Use case: two `amount` members, one of them signed; which one counts must not depend on the reader.
        if name in members:
            raise CallbackMalformed("duplicate member")
        members[name] = value
        if len(members) > MAX_MEMBERS:
            raise CallbackMalformed("too many members")
    return members


def _is_text(value: str) -> bool:
    """Whether it can be encoded: JSON escapes can smuggle in lone surrogates."""
    return not any("\ud800" <= character <= "\udfff" for character in value)


def _bounded_number(text: str) -> str:
    """A number as it was written: the signature covers its digits, not its value."""
    if len(text) > _MAX_NUMBER_CHARS:
        raise CallbackMalformed("number too long")
    return text


def _refuse_constant(text: str) -> Any:
    raise CallbackMalformed(f"{text} is not JSON")


def _read_json(text: bytes) -> dict[str, str]:
    try:
        pairs = json.loads(
            text.decode(),
            parse_int=_bounded_number,
            parse_float=_bounded_number,
            parse_constant=_refuse_constant,
            object_pairs_hook=list,
        )
    except (ValueError, RecursionError) as error:
        raise CallbackMalformed("not JSON") from error
    return _collect((name, scalar) for name, value in pairs if (scalar := _scalar(value)) is not None)


def _scalar(value: object) -> str | None:
    """Text of a JSON scalar, booleans and null as the provider's language joins them into the signed string."""
    if isinstance(value, bool):
        return "1" if value else ""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return None


def _read_xml(text: bytes) -> dict[str, str]:
    # Imported here: the JSON path, which the live provider uses, should not pay for it at a cold start.
    from xml.etree.ElementTree import ParseError

    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    try:
        root = fromstring(text, forbid_dtd=True, forbid_entities=True, forbid_external=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError, RecursionError) as error:
        raise CallbackMalformed("not XML") from error
    leaves = ((child.tag.rpartition("}")[2], (child.text or "").strip()) for child in root if len(child) == 0)
    return _collect(leaves)


def _read_form(text: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(
            text.decode().strip(),
            keep_blank_values=True,
            strict_parsing=True,
            max_num_fields=MAX_MEMBERS,
            errors="strict",
        )
    except ValueError as error:
        raise CallbackMalformed("not a form") from error
    return _collect(pairs)
