"""A command to a charger and its life: queued -> sent -> accepted | rejected | failed | timed_out | expired, or
queued -> cancelled."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

# Safe to write to the charger a second time when nobody knows whether the first frame arrived: a stop of a stopped
# transaction is only rejected, and reads change nothing. Everything else ends `failed` after a crash (design.md §3).
REPEATABLE_ACTIONS = frozenset(
    {
        "RemoteStopTransaction",
        "GetConfiguration",
        "TriggerMessage",
        "ExtendedTriggerMessage",
        "GetLocalListVersion",
        "GetCompositeSchedule",
        "GetInstalledCertificateIds",
    }
)
OVERTAKING_ACTIONS = frozenset({"RemoteStopTransaction"})
"""Written at once, whatever waits: what it is about has begun, and every second costs. All others keep their order."""
REMOTE_START = "RemoteStartTransaction"
REMOTE_STOP = "RemoteStopTransaction"
REPEATED_BY_BOOT = "boot"
"""``requested_by`` of a start that is repeated because the charger has booted; its refusal decides nothing."""


class CommandStatus(StrEnum):
    """Column ``station_commands.status``."""

    QUEUED = "queued"
    SENT = "sent"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    EXPIRED = "expired"
    CANCELLED = "cancelled"  # taken back by an operator before it was written

    @property
    def terminal(self) -> bool:
        return self not in (CommandStatus.QUEUED, CommandStatus.SENT)


@dataclass(frozen=True, slots=True)
class NewCommand:
    """What a service asks for. ``station_id`` is ``stations.id``; ``requested_by`` names the actor for the audit."""

    station_id: str
    action: str
    payload: Mapping[str, Any]
    expires_at: datetime
    requested_by: str
    session_id: str | None = None
    correlation_id: str | None = None


@dataclass(frozen=True, slots=True)
class Command:
    """A row of ``station_commands``. ``attempt`` counts hand-overs to the queue, from 1."""

    id: str
    station_id: str
    action: str
    payload: dict[str, Any]
    status: CommandStatus
    attempt: int
    expires_at: datetime
    requested_by: str
    created_at: datetime
    session_id: str | None = None
    correlation_id: str | None = None
    lease_until: datetime | None = None
    sent_at: datetime | None = None
    sent_epoch: int | None = None
    sent_instance: str | None = None
    finished_at: datetime | None = None
    response: dict[str, Any] | None = None
    error: str | None = None

    @property
    def repeatable(self) -> bool:
        return self.action in REPEATABLE_ACTIONS

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        return cls(**{**{name: row[name] for name in cls.__slots__}, "status": CommandStatus(row["status"])})


@dataclass(frozen=True, slots=True)
class QueuedRef:
    """A queued command of a station that this instance holds."""

    station_id: str
    command_id: str


@dataclass(frozen=True, slots=True)
class Redelivery:
    """What one batch of the redelivery sweep did."""

    seen: int = 0
    expired: int = 0
    failed: int = 0
    to_send: list[Command] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class CommandFilter:
    """Which commands of a station are wanted; ``None`` asks for nothing. ``before`` (exclusive) is a row's place."""

    status: CommandStatus | None = None
    action: str | None = None
    is_open: bool | None = None
    before: tuple[datetime, str] | None = None
