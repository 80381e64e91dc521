"""Entries of MeterValues and transactionData that cannot be used: kept as they came, beside the good ones. Pure."""

from collections.abc import Iterable
from typing import Any

from evpower.charging.models import UNUSABLE, Reading
from socket_tier import normalise
from socket_tier.schemas import Lost


def unusable(lost: Iterable[Lost], member: str, *, is_torn: bool = False) -> tuple[Reading, ...]:
    """A reading without a value for each part of ``member`` that was left out, and for the end of a torn message."""
    found: list[Any] = [loss.value for loss in lost if loss.place[0] == member]
    if is_torn:
        found.append("the rest of the message")
    return tuple(Reading(None, flags=(UNUSABLE,), raw=normalise.raw_text({"unusable": part})) for part in found)
