"""Dataclasses for values of which several are made per message.

A frozen dataclass sets each of its members through ``object.__setattr__``: eleven members take 2 µs, which for a meter
reading added up to a tenth of all its work in the socket tier. ``record(frozen=True, slots=True)`` is frozen for the
type checker, which sees an ordinary ``dataclass``, and plain when it runs. Equality, hash and ``replace`` are the same.
"""

from typing import TYPE_CHECKING

__all__ = ["record"]

if TYPE_CHECKING:
    from dataclasses import dataclass as record
else:
    from dataclasses import dataclass

    def record(*, frozen: bool, slots: bool):
        """As ``dataclass``, with ``frozen`` left to the type checker."""
        return dataclass(unsafe_hash=frozen, slots=slots)
