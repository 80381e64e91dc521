"""Members of OCPP 1.6 messages read with the bounds that the schemas leave open."""

from datetime import datetime
from typing import Any

from socket_tier import rpc
from socket_tier.dialect import CallFault, Payload
from socket_tier.timestamps import parse_time

_INT32 = 2**31
MAX_CONNECTOR = 100
MAX_REGISTER_WH = 10**12


def is_int32(value: Any) -> bool:
    """Integers of OCPP 1.6 are 32 bits wide (section 3.1.2); JSON's are not."""
    return type(value) is int and -_INT32 <= value < _INT32


def connector(payload: Payload, *, lowest: int) -> int:
    """``connectorId`` from ``lowest`` (0 where the whole charger may be meant) to 100.

    Raises:
        CallFault: outside these bounds.
    """
    number = payload["connectorId"]
    if not lowest <= number <= MAX_CONNECTOR:
        raise CallFault(rpc.PROPERTY_VIOLATION, f"connectorId must be {lowest} to {MAX_CONNECTOR}")
    return int(number)


def moment(payload: Payload) -> datetime:
    """``timestamp``. Raises: CallFault when it names no moment that exists."""
    found = parse_time(payload["timestamp"])
    if found is None:
        raise CallFault(rpc.PROPERTY_VIOLATION, "timestamp is no date-time")
    return found


def tag(text: str | None) -> str | None:
    """An id tag as it can be stored."""
    return text.replace("\x00", "").strip() if text is not None else None
