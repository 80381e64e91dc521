"""Places in a list that grows at its head: an opaque text that a client hands back for the next page."""

import base64
import binascii
from datetime import datetime
from typing import Annotated, Any

import orjson
from pydantic import AfterValidator, Field

from evpower.errors import ValidationFailed
from functions.api.schemas.base import clean_text

CursorIn = Annotated[
    str,
    Field(min_length=1, max_length=400, description="`next_cursor` of the page before"),
    AfterValidator(clean_text),
]
Moment = tuple[datetime, str]


def encode(*values: str | int | datetime) -> str:
    """The cursor that names a row by these values."""
    plain = [value.isoformat() if isinstance(value, datetime) else value for value in values]
    return base64.urlsafe_b64encode(orjson.dumps(plain)).rstrip(b"=").decode()


def after_moment(cursor: str | None) -> Moment | None:
    """Time and id of the row that the cursor names.

    Raises:
        ValidationFailed: not a cursor of such a list.
    """
    if cursor is None:
        return None
    moment, row_id = _decode(cursor, 2)
    try:
        found = datetime.fromisoformat(moment)
    except (TypeError, ValueError):
        raise _wrong() from None
    if found.tzinfo is None or not isinstance(row_id, str):
        raise _wrong()
    return found, row_id


def after_number(cursor: str | None) -> int | None:
    """Number of the row that the cursor names. Raises: ValidationFailed."""
    if cursor is None:
        return None
    (number,) = _decode(cursor, 1)
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < 2**63:
        raise _wrong()
    return number


def after_place(cursor: str | None) -> tuple[datetime, int] | None:
    """Time and number of the row that the cursor names. Raises: ValidationFailed."""
    found = after_moment(cursor)
    if found is None:
        return None
    moment, number = found
    if not number.isascii() or not number.isdigit() or len(number) > 18:
        raise _wrong()
    return moment, int(number)


def after_text(cursor: str | None) -> str | None:
    """Text of the row that the cursor names. Raises: ValidationFailed."""
    if cursor is None:
        return None
    (text,) = _decode(cursor, 1)
    if not isinstance(text, str):
        raise _wrong()
    return text


def _decode(cursor: str, length: int) -> list[Any]:
    try:
        values = orjson.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError):
        raise _wrong() from None
    if not isinstance(values, list) or len(values) != length:
        raise _wrong()
    if any(isinstance(value, str) and "\x00" in value for value in values):
        raise _wrong()
    return values


def _wrong() -> ValidationFailed:
    return ValidationFailed("not a cursor of this list", field="cursor")
