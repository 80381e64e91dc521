"""Manual changes of a balance by staff (mobile-api.md §7.2 D10, design.md §3 Money)."""

from dataclasses import dataclass
from decimal import Decimal

from psycopg.errors import UniqueViolation

from evpower.accounts import service
from evpower.accounts.models import ClientStatus, LedgerEntry, LedgerType, Movement
from evpower.db import Conn
from evpower.errors import ClientDeleted, IdempotencyConflict, InvalidAmount, MaximumAmountExceeded
from evpower.money import number, som

MAX_SOM = Decimal(100_000)
"""Either way, in one step: as much as the largest top-up."""


@dataclass(frozen=True, slots=True)
class Adjustment:
    """A wish to change a balance by ``amount`` signed som. ``actor`` and ``key`` name it: it happens once."""

    client_id: str
    amount: Decimal
    reason: str
    actor: str
    key: str


async def adjust(conn: Conn, wish: Adjustment) -> LedgerEntry:
    """Book the adjustment. The same actor and key again give the first entry, whatever became of Redis.

    Raises:
        InvalidAmount: zero, or fractions of a tyiyn.
        MaximumAmountExceeded: more than ``MAX_SOM`` either way.
        ClientNotFound: no such client.
        ClientDeleted: nobody is there to spend it.
        InsufficientBalance: the balance would fall below zero.
        IdempotencyConflict: the key was used for another client or amount.
    """
    if wish.amount == 0:
        raise InvalidAmount("amount must not be 0", field="amount")
    if abs(wish.amount) > MAX_SOM:
        raise MaximumAmountExceeded(maximum_amount=number(MAX_SOM))
    if wish.amount != som(wish.amount):
        raise InvalidAmount("amount has at most 2 decimals", field="amount")
    client = await service.lock_client(conn, wish.client_id)
    if client.status in (ClientStatus.PENDING_DELETION, ClientStatus.DELETED):
        raise ClientDeleted
    movement = Movement(
        client_id=wish.client_id,
        type=LedgerType.MANUAL_ADJUSTMENT,
        amount=som(wish.amount),
        source_key=f"adjust:{wish.actor}:{wish.key}",
        description=wish.reason,
        actor=wish.actor,
    )
    try:
        entry = await service.move(conn, movement)
    except UniqueViolation as error:
        # Use case: the same key for two clients at once. Their locks do not meet; the ledger's unique key does.
        raise IdempotencyConflict from error
    if (entry.client_id, entry.amount) != (movement.client_id, movement.amount):
        raise IdempotencyConflict
    return entry
