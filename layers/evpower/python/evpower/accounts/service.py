"""Rules of accounts: who may act, and how money moves.

Invariant: a client's balance = sum of its ledger = ``balance_after`` of its last row, and never below zero.
"""

from decimal import Decimal

from evpower import metrics
from evpower.accounts import repository
from evpower.accounts.models import Client, ClientStatus, LedgerEntry, LedgerType, Movement, Staff
from evpower.db import Conn
from evpower.errors import ClientBlocked, ClientDeleted, ClientNotFound, InsufficientBalance
from evpower.money import number, som


async def get_client(conn: Conn, client_id: str) -> Client:
    """The client.

    Raises:
        ClientNotFound: no such client (or row security hides it).
    """
    client = await repository.get_client(conn, client_id)
    if client is None:
        raise ClientNotFound
    return client


async def lock_client(conn: Conn, client_id: str) -> Client:
    """The client, locked to the end of the transaction. First in the lock order, before session and top-up."""
    client = await repository.lock_client(conn, client_id)
    if client is None:
        raise ClientNotFound
    return client


def require_active(client: Client) -> None:
    """Refuse clients who may not spend or top up.

    Raises:
        ClientDeleted: deletion is pending or done.
        ClientBlocked: blocked or inactive.
    """
    if client.status in (ClientStatus.PENDING_DELETION, ClientStatus.DELETED):
        raise ClientDeleted
    if client.status is not ClientStatus.ACTIVE:
        raise ClientBlocked


async def get_staff(conn: Conn, staff_id: str) -> Staff | None:
    """The member of staff with this id, active or not."""
    return await repository.get_staff(conn, staff_id)


_COMES_TOO_LATE = frozenset({LedgerType.BALANCE_TOPUP, LedgerType.CHARGE_REFUND, LedgerType.TOPUP_REFUND})


async def move(conn: Conn, movement: Movement) -> LedgerEntry:
    """Book one movement, exactly once per source key. Locks the client row.

    Use case: a callback, a poller and a sweep find the same approved payment. All three come here with the same
    source key; the lock makes them come one after the other, and only the first books.

    Use case: a payment is approved, or a refund comes back, after the client deleted the account. The money is booked
    where it belongs and then moved to ``unclaimed``: it is not lost, and the balance of nobody stays empty.

    Raises:
        ClientNotFound: no such client.
        InsufficientBalance: the balance would fall below zero.
        ValueError: a zero amount or fractions of a tyiyn, which would be a fault of the caller.
    """
    if movement.amount == 0 or movement.amount != som(movement.amount):
        raise ValueError(f"not a movement of whole tyiyn: {movement.amount}")
    client = await lock_client(conn, movement.client_id)
    earlier = await repository.entry_by_source(conn, movement.source_key)
    if earlier is not None:
        return earlier
    if client.balance + movement.amount < 0:
        raise InsufficientBalance(current_balance=number(client.balance), required_amount=number(-movement.amount))
    entry = await _book(conn, movement)
    if client.status is ClientStatus.DELETED and movement.amount > 0 and movement.type in _COMES_TOO_LATE:
        await unclaim(conn, client.id, entry.balance_after, source_key=f"unclaimed:{entry.id}")
    return entry


async def unclaim(conn: Conn, client_id: str, amount: Decimal, *, source_key: str) -> None:
    """Take ``amount`` som that nobody claims any more from a balance that is locked."""
    if amount > 0:
        await _book(
            conn,
            Movement(
                client_id, LedgerType.UNCLAIMED, -amount, source_key, description="account deleted", actor="system"
            ),
        )


async def _book(conn: Conn, movement: Movement) -> LedgerEntry:
    """The one place where a movement becomes a row, and therefore where money is counted."""
    entry = await repository.book(conn, movement)
    metrics.emit_after_commit({"MoneyMovedSom": float(abs(movement.amount))}, Type=movement.type.value)
    return entry
