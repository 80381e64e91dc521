"""Identifiers, and the correlation id that follows one action from the phone to the charger."""

import re
import secrets
import uuid
from contextvars import ContextVar

# Crockford's alphabet without I, L, O, U: a tag read over the phone stays unambiguous.
_TAG_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_CORRELATION = re.compile(r"[A-Za-z0-9._:-]{1,64}")

correlation_id: ContextVar[str | None] = ContextVar("correlation_id", default=None)


def new_id() -> str:
    """Random UUID text; ids are opaque strings everywhere (mobile-api.md §1.12)."""
    return str(uuid.uuid4())


def new_id_tag() -> str:
    """Random OCPP idTag of one app session: 16 characters, 80 random bits (OCPP 1.6 CiString20Type allows 20)."""
    return "".join(secrets.choice(_TAG_ALPHABET) for _ in range(16))


def new_order_id() -> str:
    """Order id of a top-up at the payment provider, at most 64 characters (payments.md §1)."""
    return f"evp-{uuid.uuid4().hex}"


def new_numeric_order_id() -> str:
    """Order id of 18 random digits, for a provider whose payment ids are numbers in a signed 64-bit integer."""
    return str(10**17 + secrets.randbelow(9 * 10**17))


def accept_correlation_id(value: str | None) -> str:
    """The caller's correlation id when it is harmless to log, otherwise a new one."""
    return value if value and _CORRELATION.fullmatch(value) else uuid.uuid4().hex
