"""What staff look through and change: RFID cards, messages put aside, acts on sessions. Money som, registers Wh."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any


@dataclass(frozen=True, slots=True)
class Card:
    """A row of ``id_tags``: an RFID card. ``status``: active, blocked. Id tags are case-insensitive."""

    id: int
    id_tag: str
    client_id: str | None
    status: str
    expires_at: datetime | None
    parent_id_tag: str | None
    name: str | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class NewCard:
    """A card to be given to a client."""

    id_tag: str
    client_id: str
    name: str | None = None
    expires_at: datetime | None = None
    parent_id_tag: str | None = None


@dataclass(frozen=True, slots=True)
class CardChange:
    """An edit of a card: the members to be set, ``None`` where they are to be emptied.

    Members: status, client_id, name, expires_at, parent_id_tag.
    """

    values: dict[str, Any] = field(default_factory=dict)


DECIDED = ("dismissed", "applied")
"""By people, who have to look again when the message comes again. Use case: a charger without a clock says the same at
the end of every charge; one that was dismissed must not hide all that follow."""
USED = ("applied", "automatic")
"""For one transaction, and never for another."""


@dataclass(frozen=True, slots=True)
class QuarantinedMessage:
    """A row of ``quarantined_messages``. ``resolved_as``: dismissed, applied, automatic; None until it was decided on.

    ``resolved_at`` is None while somebody has to look at it, also when it came again after it was decided on.
    """

    id: int
    station_id: str
    action: str
    reason: str
    payload: dict[str, Any]
    repeat_count: int
    received_at: datetime
    last_received_at: datetime
    resolved_at: datetime | None
    resolved_by: str | None
    resolved_as: str | None
    resolution: str | None
    resolved_transaction_id: int | None


@dataclass(frozen=True, slots=True)
class StopToApply:
    """A member of staff says which transaction a StopTransaction put aside belongs to.

    Exactly one of ``transaction_id`` and ``session_id`` is given. ``meter_stop_wh`` stands in for a register that the
    message does not have.
    """

    message_id: int
    transaction_id: int | None
    session_id: str | None
    meter_stop_wh: Decimal | None
    note: str
    actor: str


@dataclass(frozen=True, slots=True)
class AppliedStop:
    """What :func:`~evpower.charging.service.apply_quarantined_stop` did. ``repeated``: it had been done before."""

    message: QuarantinedMessage
    transaction_id: int
    session_id: str | None
    settlement_revision: int | None
    final_amount: Decimal | None
    repeated: bool


@dataclass(frozen=True, slots=True)
class ReviewAct:
    """A row of ``session_reviews``: what a member of staff did about a session."""

    id: int
    session_id: str
    action: str
    actor: str
    note: str
    amount: Decimal | None
    ledger_id: int | None
    quarantined_message_id: int | None
    created_at: datetime
