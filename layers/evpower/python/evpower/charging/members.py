"""Members of transaction messages as chargers write them. Pure. Whatever is no such value is None, never an error.

Use case: a StopTransaction is the only word about the end of a charge. One member that cannot be read must not cost
the others.
"""

import hashlib
import re
from collections.abc import Mapping
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import orjson

from evpower.clock import parse_time

MAX_REGISTER_WH = 10**12
REGISTER_STEP = Decimal("0.1")  # as registers are stored
_DECIMAL = re.compile(r"[+-]?(?:\d{1,18}\.?\d{0,18}|\.\d{1,18})", re.ASCII)
_SCIENTIFIC = re.compile(r"[+-]?\d(?:\.\d{1,18})?[eE]([+-]?\d{1,2})", re.ASCII)
_LONGEST_NUMBER = 40
_INT32 = 2**31
_WORDS_CUT_AT = 500


def number(value: Any) -> Decimal | None:
    """A JSON number, or the text of one."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        value = repr(value)
    if not isinstance(value, str) or len(value) > _LONGEST_NUMBER:
        return None
    text = value.replace("\0", "").strip()
    if _DECIMAL.fullmatch(text):
        return Decimal(text)
    found = _SCIENTIFIC.fullmatch(text)
    return Decimal(text) if found and abs(int(found.group(1))) <= 18 else None


def register(value: Any) -> Decimal | None:
    """A meter's register in Wh, to a tenth. None also for what no meter shows."""
    found = number(value)
    if found is None or abs(found) > MAX_REGISTER_WH:
        return None
    return found.quantize(REGISTER_STEP, ROUND_HALF_UP)


def identifier(value: Any) -> int | None:
    """An integer of OCPP 1.6, which is 32 bits wide (section 3.1.2); JSON's are not."""
    found = number(value)
    if found is None or found != found.to_integral_value() or not -_INT32 <= found < _INT32:
        return None
    return int(found)


def moment(value: Any) -> datetime | None:
    """A date-time, in UTC."""
    return parse_time(value) if isinstance(value, str) else None


def words(value: Any) -> str | None:
    """A text as it can be stored; the text of an integer. Blanks around it, and what is over-long, are cut off."""
    if type(value) is int:
        value = str(value)
    return value.replace("\0", "").strip()[:_WORDS_CUT_AT] if isinstance(value, str) else None


def fingerprint(message: Mapping[str, Any], names: tuple[str, ...]) -> str:
    """What makes a message with members that cannot be read the same again: these members, as they were sent."""
    return hashlib.sha256(orjson.dumps([message.get(name) for name in names])).hexdigest()
