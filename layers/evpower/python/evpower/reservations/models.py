"""A connector that is kept for somebody, and how that stands."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

MAX_DURATION = timedelta(days=7)
"""Longest time that a connector is kept: a forgotten reservation must not take it from drivers for ever."""


class ReservationState(StrEnum):
    """Column ``reservations.state``."""

    REQUESTED = "requested"  # the charger has not answered yet
    ACCEPTED = "accepted"  # it keeps the connector
    REJECTED = "rejected"  # it does not; `refusal` is its word: Faulted, Occupied, Rejected, Unavailable
    USED = "used"  # a transaction has begun with it
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    FAILED = "failed"  # no usable answer; `refusal` tells why

    @property
    def live(self) -> bool:
        return self in (ReservationState.REQUESTED, ReservationState.ACCEPTED)


@dataclass(frozen=True, slots=True)
class NewReservation:
    """What an operator asks for. Exactly one of ``id_tag`` (a card) and ``client_id`` (starts from the app)."""

    station_id: str
    connector_id: int
    expires_at: datetime
    requested_by: str
    id_tag: str | None = None
    client_id: str | None = None
    parent_id_tag: str | None = None


@dataclass(frozen=True, slots=True)
class Reservation:
    """A row of ``reservations`` with its state as of now: what the clock or its command decided counts already.

    ``is_for_app``: the id tag was made for a client, whose start from the app uses it.
    ``cancelling``: CancelReservation is on its way.
    """

    station_id: str
    reservation_id: int
    connector_id: int
    id_tag: str
    parent_id_tag: str | None
    client_id: str | None
    is_for_app: bool
    expires_at: datetime
    state: ReservationState
    refusal: str | None
    cancelling: bool
    command_id: str | None
    cancel_command_id: str | None
    transaction_id: int | None
    session_id: str | None
    requested_by: str
    created_at: datetime
    updated_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class CardOfReservation:
    """What a reservation by card needs to know of it. ``status``: active or blocked."""

    client_id: str | None
    status: str
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Hold:
    """A reservation that concerns a start from the app. ``id_tag`` is told only to its owner."""

    connector_id: int
    is_own: bool
    is_for_app: bool
    id_tag: str | None


@dataclass(frozen=True, slots=True)
class Begun:
    """A transaction that has begun, for the reservation that it uses up."""

    station_id: str
    connector_id: int
    id_tag: str
    transaction_id: int
    session_id: str | None
    reservation_id: int | None
