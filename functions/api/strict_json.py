"""Request bodies: strict JSON only.

What two parsers may read differently is refused (duplicate names, NaN, Infinity, numbers beyond a double), so is
nesting that costs a stack.
"""

import json
import math
from decimal import Decimal
from email.message import Message
from typing import Any, NoReturn

from evpower.errors import InvalidRequest, UnsupportedMediaType

MAX_DEPTH = 32
_MAX_INTEGER_DIGITS = 40


def parse(body: bytes) -> Any:
    """The value of a JSON text (RFC 8259); fractions become ``Decimal``, so that money never is a binary float.

    Raises:
        InvalidRequest: not JSON, or one of the forms above.
    """
    try:
        value = json.loads(
            body.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
            parse_float=_finite,
            parse_int=_bounded,
        )
    except RecursionError as error:
        raise InvalidRequest("The JSON body is nested too deeply") from error
    except UnicodeDecodeError as error:
        raise InvalidRequest("The body is not UTF-8") from error
    except ValueError as error:
        raise InvalidRequest(f"The body is not valid JSON: {str(error)[:120]}") from error
    _check_contents(value)
    return value


def check_content_type(content_type: str | None) -> None:
    """Refuse a body that does not claim to be JSON; a missing header is let pass.

    Raises:
        UnsupportedMediaType: another type, or a charset that JSON does not have.
    """
    if not content_type:
        return
    message = Message()
    message["content-type"] = content_type
    kind = message.get_content_type()
    charset = str(message.get_param("charset", "utf-8")).lower()
    if not (kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))):
        raise UnsupportedMediaType
    if charset not in ("utf-8", "utf8"):
        raise UnsupportedMediaType


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("duplicate member name")
    return members


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _finite(text: str) -> Decimal:
    if len(text) > _MAX_INTEGER_DIGITS or not math.isfinite(float(text)):
        raise ValueError("number out of range")
    return Decimal(text)


def _bounded(text: str) -> int:
    if len(text) > _MAX_INTEGER_DIGITS:
        raise ValueError("number out of range")
    return int(text)


def _check_contents(value: Any) -> None:
    """Bounded depth, and only characters that a database and every other reader can hold."""
    level = [value]
    for _ in range(MAX_DEPTH):
        if not all(is_clean(item) for item in level if isinstance(item, str)):
            raise InvalidRequest("A string holds a NUL or half a surrogate pair")
        level = [child for item in level if isinstance(item, dict | list) for child in _children(item)]
        if not level:
            return
    raise InvalidRequest("The JSON body is nested too deeply")


def _children(value: dict[str, Any] | list[Any]) -> list[Any]:
    return [*value.keys(), *value.values()] if isinstance(value, dict) else value


def is_clean(text: str) -> bool:
    """Whether PostgreSQL can store the text: no NUL, no lone surrogate."""
    return "\x00" not in text and not any("\ud800" <= character <= "\udfff" for character in text)
