"""Phone numbers in one form: E.164. Pure."""

import re

_SEPARATORS = re.compile(r"[\s().\-\u00a0\u2010-\u2015]")
_E164 = re.compile(r"\+[1-9][0-9]{7,14}")
_COUNTRY = "+996"
_NATIONAL_DIGITS = 9


class BadPhone(Exception):
    """Not a phone number."""


def normalise(text: str) -> str:
    """The number in E.164, e.g. ``+996700000001``.

    Separators are dropped, ``00`` is ``+``, and a number of 9 digits (with or without a leading 0) is a Kyrgyz one.

    Raises:
        BadPhone: anything else, and a Kyrgyz number that has not 9 digits.
    """
    digits = _SEPARATORS.sub("", text)
    if digits.startswith("00"):
        digits = f"+{digits[2:]}"
    elif len(digits) == _NATIONAL_DIGITS + 1 and digits.startswith("0"):
        digits = f"{_COUNTRY}{digits[1:]}"
    elif len(digits) == _NATIONAL_DIGITS and not digits.startswith(("+", "0")):
        digits = f"{_COUNTRY}{digits}"
    elif not digits.startswith("+"):
        digits = f"+{digits}"
    if not _E164.fullmatch(digits):
        raise BadPhone
    if digits.startswith(_COUNTRY) and len(digits) != len(_COUNTRY) + _NATIONAL_DIGITS:
        raise BadPhone
    return digits


def spellings(phone: str) -> tuple[str, ...]:
    """How a normalised number may be written in rows of the earlier system, the normal form first."""
    found = [phone, phone[1:]]
    if phone.startswith(_COUNTRY):
        found.append(f"0{phone.removeprefix(_COUNTRY)}")
    return tuple(found)
