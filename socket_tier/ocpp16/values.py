"""Members of OCPP 1.6 messages read with the bounds that the schemas leave open."""

from typing import Any

from evpower.charging import members
from socket_tier import rpc
from socket_tier.dialect import CallFault, Payload

MAX_CONNECTOR = 100


def connector_or_none(value: Any, *, lowest: int) -> int | None:
    """A connector's number from ``lowest`` (0 where the whole charger may be meant) to 100; None outside of it."""
    number = members.identifier(value)
    return number if number is not None and lowest <= number <= MAX_CONNECTOR else None


def connector(payload: Payload, *, lowest: int) -> int:
    """``connectorId`` from ``lowest`` to 100.

    Raises:
        CallFault: outside these bounds.
    """
    number = connector_or_none(payload.get("connectorId"), lowest=lowest)
    if number is None:
        raise CallFault(rpc.PROPERTY_VIOLATION, f"connectorId must be {lowest} to {MAX_CONNECTOR}")
    return number


def tag(text: str | None) -> str | None:
    """An id tag as it can be stored."""
    return text.replace("\x00", "").strip() if text is not None else None
