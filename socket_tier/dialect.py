"""What makes one OCPP version: its schemas, its routing table and its commands, as data.

Adding an action is one file with a handler and one row in the version's routing table; adding a command is one row in
its command table. The connection knows neither by name.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from evpower.commands.models import Command, CommandStatus
from evpower.db import Conn
from socket_tier.coercion import spelled
from socket_tier.pacing import Pace
from socket_tier.schemas import SchemaSet

if TYPE_CHECKING:
    from socket_tier.charger import Charger

Payload: TypeAlias = dict[str, Any]
Handler: TypeAlias = "Callable[[Charger, Payload], Awaitable[Payload]]"
Done: TypeAlias = "Callable[[Payload | Exception], None]"
FaultHandler: TypeAlias = "Callable[[Charger, Any, str], Awaitable[Payload]]"
OutcomeHook: TypeAlias = Callable[[Conn, Command, CommandStatus, Mapping[str, Any] | None], Awaitable[None]]


class CallFault(Exception):
    """A handler's finding that a message passes its schema and is still wrong; ``code`` names the CALLERROR."""

    def __init__(self, code: str, description: str) -> None:
        super().__init__(description)
        self.code = code
        self.description = description


class Durability(Enum):
    """What an answer promises."""

    NONE = "none"
    """Answered from memory; a failure of ours is a CALLERROR InternalError."""
    RETRY = "retry"
    """Tried again for 20 s while the database is away, then InternalError."""
    COMMIT = "commit"
    """A transaction message: no durable commit, no answer. The charger keeps it and sends it again."""


@dataclass(frozen=True, slots=True)
class Route:
    """One inbound action.

    Attributes:
        handler: gets the charger and the checked payload, returns the answer's payload.
        durability: what happens to the answer while the database is away.
        before_accepted: processed although the station's registration is not accepted (boots).
        on_fault: takes a message that breaks its schema or comes from a station that is not accepted, where the
            specification forbids to refuse it (StopTransaction); gets the raw payload and the reason.
        is_saved: saved member by member, also what can be read of a text that is no JSON.
        pace: how often one charger may have the action handled; more of them wait.
        of_the_moment: the answer is true now and perhaps not later, and giving it changes nothing that matters: a
            repeated message gets a new one. Use case: a charger gives one id to all its messages. Its clock would stand
            still, its boot stay Pending after it was accepted, its driver's card blocked after a top-up.
    """

    handler: Handler
    durability: Durability = Durability.NONE
    before_accepted: bool = False
    on_fault: "FaultHandler | None" = None
    is_saved: bool = False
    pace: Pace | None = None
    of_the_moment: bool = False


class QuickCall(Protocol):
    """A CALL as :attr:`QuickPath.read` finds it."""

    @property
    def id(self) -> str: ...

    @property
    def action(self) -> str: ...


@dataclass(frozen=True, slots=True)
class QuickPath:
    """The common case of the action that makes up nearly all the load: no parsing twice, no task, one callback.

    Attributes:
        read: the CALL in a frame, if it is of the action and exactly as its schema wants it; else None.
        take: handle what ``read`` returned. True: taken over; it then calls back once, with the answer, or with the
            error that sends the message to the action's handler. False: the handler must look at it.
    """

    read: Callable[[bytes], QuickCall | None]
    take: "Callable[[Charger, Any, Done], bool]"


# Words of status that say no, whatever the command.
_REFUSALS = frozenset({"Failed", "NotImplemented", "NotSupported", "Rejected"})


class Outcome(Enum):
    """What a charger's answer means for a command."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """One outbound command.

    Attributes:
        accepted: values of the answer's ``status`` that mean success; empty when any answer is one.
        patience: how many times ``OCPP_CALL_TIMEOUT_S`` the answer may take. More than once only for work that
            chargers do before they answer; other commands of the station, a stop among them, wait for it.
        on_outcome: changes stored state that depends on the outcome, in the transaction that records it and before
            the command's row is locked. Gets the command as it ends (``finished_at`` is the present moment), the
            outcome, and the answer: None when the charger gave an error (failed) or nothing in time (timed_out).
            Not called for commands that end without their connection (expired, lost): such an end is read from the
            command's row. When it fails, the outcome is recorded without it, and operators are told.
    """

    accepted: frozenset[str] = frozenset({"Accepted"})
    patience: float = 1.0
    on_outcome: OutcomeHook | None = None

    def outcome(self, answer: Mapping[str, Any]) -> Outcome:
        """Map the charger's answer to accepted or rejected.

        Use case: a charger answers UpdateFirmware, whose answer has no members, with ``{"status": "Rejected"}``. Taken
        for a success, the operator would wait for the update until its job expires.
        """
        status = answer.get("status")
        if self.accepted:
            return Outcome.ACCEPTED if status in self.accepted else Outcome.REJECTED
        # Not in the schema, hence of any type.
        return Outcome.REJECTED if isinstance(status, str) and status in _REFUSALS else Outcome.ACCEPTED


@dataclass(frozen=True, slots=True)
class Dialect:
    """One OCPP version."""

    subprotocol: str
    schemas: SchemaSet
    routes: Mapping[str, Route]
    commands: Mapping[str, CommandSpec]
    quick: QuickPath | None = None

    def spelled(self, action: str) -> str:
        """The specification's spelling of an action; as it was sent when it is none (``bootNotification``)."""
        return spelled(action, self.schemas.actions) or action

    def patience(self, action: str | None = None) -> float:
        """Patience for ``action``, 1 when there is no such command; without an action the longest of all."""
        if action is None:
            return max((spec.patience for spec in self.commands.values()), default=1.0)
        return self.commands[action].patience if action in self.commands else 1.0
