"""Settings that a charger does not keep: set a few times, then given up and shown to staff. Pure.

Use case: a charger accepts a value, and has its old one again after the next boot. Set at every boot it is for ever; a
charger that restarts at each change would restart for ever.
"""

from dataclasses import dataclass
from enum import StrEnum

MAX_ATTEMPTS = 3


class Step(StrEnum):
    """What to do about a key that has another value than we want."""

    SET = "set"
    GIVE_UP = "give_up"  # and tell staff
    LEAVE = "leave"  # given up before


@dataclass(frozen=True, slots=True)
class Dispute:
    """What was tried so far for one key and one wanted value."""

    wanted: str
    attempts: int
    given_up: bool


def next_step(known: Dispute | None, wanted: str, *, readonly: bool) -> Step:
    """The step for a key that differs. Another wanted value than before begins anew."""
    if known is not None and known.wanted != wanted:
        known = None
    if known is not None and known.given_up:
        return Step.LEAVE
    if readonly or (known is not None and known.attempts >= MAX_ATTEMPTS):
        return Step.GIVE_UP
    return Step.SET
