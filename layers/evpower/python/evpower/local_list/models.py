"""What a charger's local list shall hold, what it holds, and how far an update has come."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeAlias

Item: TypeAlias = dict[str, Any]
"""AuthorizationData (OCPP 1.6 section 7.1): ``idTag`` and, unless the tag shall go, ``idTagInfo``."""
Content: TypeAlias = dict[str, Item]
"""Items by their id tag in upper case: id tags are case-insensitive, chargers are not always."""

UNKNOWN_MAX_LENGTH = 1000
"""Entries of a list whose charger has not told LocalAuthListMaxLength."""
UNKNOWN_PART_LENGTH = 20
"""Entries of one SendLocalList to a charger that has not told SendLocalListMaxLength."""
LONGEST_PART = 200
"""A frame stays far below 64 KiB, whatever the charger says it can take."""


class Selection(StrEnum):
    """Which id tags the list shall hold (column ``local_lists.selection``)."""

    CHOSEN = "chosen"  # those that an operator named
    ALL_ACTIVE = "all_active"  # every card that may charge


class ListState(StrEnum):
    """How the last update went (column ``local_lists.state``)."""

    IDLE = "idle"  # none has been asked for, or what the charger holds was changed past us
    SENDING = "sending"
    VERIFYING = "verifying"  # all parts were taken; the charger is asked for its version
    SYNCED = "synced"
    FAILED = "failed"

    @property
    def busy(self) -> bool:
        return self in (ListState.SENDING, ListState.VERIFYING)


class UpdateType(StrEnum):
    """OCPP 1.6 section 7.46."""

    FULL = "Full"
    DIFFERENTIAL = "Differential"


@dataclass(frozen=True, slots=True)
class PlannedPart:
    """One SendLocalList."""

    list_version: int
    update_type: UpdateType
    entries: list[Item]


@dataclass(frozen=True, slots=True)
class Part:
    """A row of ``local_list_parts``. ``state``: waiting, sent, accepted, refused; ``answer`` is the charger's word."""

    list_version: int
    update_type: UpdateType
    entries: list[Item]
    state: str
    answer: str | None
    command_id: str | None


@dataclass(frozen=True, slots=True)
class LocalList:
    """A row of ``local_lists`` with its state as of now: a command that ended without an answer counts already.

    ``version``: the last number that we gave; ``held_version``: the last one that the charger took; ``told_version``:
    what it said when it was asked (0: empty, -1: not supported). ``is_uncertain``: nobody knows what it holds.
    """

    station_id: str
    is_enabled: bool
    selection: Selection
    version: int
    held_version: int
    told_version: int | None
    told_at: datetime | None
    state: ListState
    failure: str | None
    is_uncertain: bool
    is_retry: bool
    command_id: str | None
    requested_by: str
    synced_at: datetime | None
    updated_at: datetime

    @property
    def newest_version(self) -> int:
        """The next number is above this one."""
        return max(self.version, self.held_version, self.told_version or 0)


@dataclass(frozen=True, slots=True)
class Limits:
    """What the charger said of its list; None: its configuration has not been read."""

    max_length: int | None
    part_length: int | None
    enabled_at_charger: bool | None

    @property
    def longest_list(self) -> int:
        return UNKNOWN_MAX_LENGTH if self.max_length is None else self.max_length

    @property
    def longest_part(self) -> int:
        return UNKNOWN_PART_LENGTH if self.part_length is None else max(1, min(self.part_length, LONGEST_PART))


@dataclass(frozen=True, slots=True)
class ListView:
    """The list as operators see it. ``differs``: an update would change something at the charger."""

    list: LocalList
    limits: Limits
    wanted: int
    held: int
    differs: bool
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """One id tag: what the list shall say of it, and what the charger holds. None: nothing."""

    id_tag: str
    is_chosen: bool
    wanted: Item | None
    held: Item | None


@dataclass(frozen=True, slots=True)
class Card:
    """An RFID card as far as the list cares. ``is_open``: its owner's account may charge."""

    id_tag: str
    status: str
    expires_at: datetime | None
    parent_id_tag: str | None
    is_open: bool
