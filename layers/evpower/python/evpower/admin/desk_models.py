"""What staff work through: cards, messages put aside, sessions for review. Money som, registers and energy Wh."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from evpower.admin.models import SessionRecord
from evpower.charging.staff_models import Card, QuarantinedMessage, ReviewAct


@dataclass(frozen=True, slots=True)
class CardRecord:
    """A card with its holder; ``last_used_at``: when a charger last started a transaction with it."""

    card: Card
    client_name: str | None
    client_phone: str | None
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class CardFilter:
    """``search``: a part of the tag or the name."""

    client_id: str | None = None
    status: str | None = None
    parent_id_tag: str | None = None
    search: str | None = None


@dataclass(frozen=True, slots=True)
class QuarantineFilter:
    """``is_open``: nobody has decided yet. ``station_ref`` is an id or serial number."""

    station_ref: str | None = None
    action: str | None = None
    is_open: bool | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A transaction that a StopTransaction put aside may belong to."""

    transaction_id: int
    session_id: str | None
    connector_id: int
    id_tag: str
    status: str
    meter_start: Decimal
    meter_stop: Decimal | None
    started_at: datetime
    received_at: datetime


@dataclass(frozen=True, slots=True)
class QuarantineDetail:
    """A message, and the newest transactions of its station by the time it came."""

    message: QuarantinedMessage
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True)
class MeterSummary:
    """The readings that are stored of a session."""

    count: int
    flagged: int
    first_at: datetime | None
    last_at: datetime | None
    lowest_wh: Decimal | None
    highest_wh: Decimal | None
    flags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SessionReview:
    """All that explains a session's bill. ``settlements``, ``ledger`` and ``transactions`` are rows by name."""

    session: SessionRecord
    needs_review: bool
    reasons: tuple[str, ...]
    start_source: str
    id_tag: str
    meter_start: Decimal | None
    meter_current: Decimal | None
    meter_candidate: Decimal | None
    energy_wh: Decimal
    reserved: Decimal
    taken: Decimal
    written_off: Decimal
    stop_reason: str | None
    stop_initiator: str | None
    readings: MeterSummary
    transactions: tuple[dict[str, Any], ...]
    settlements: tuple[dict[str, Any], ...]
    ledger: tuple[dict[str, Any], ...]
    acts: tuple[ReviewAct, ...]
