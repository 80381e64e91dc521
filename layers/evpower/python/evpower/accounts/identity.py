"""Who a phone number belongs to (mobile-api.md §4.2: staff, else existing client, else a new client)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from evpower.accounts import repository, service
from evpower.accounts.models import Client, Staff
from evpower.db import Conn
from evpower.errors import ClientBlocked, ClientNotFound
from evpower.ids import new_id


@dataclass(frozen=True, slots=True)
class Account:
    """A person who may sign in: the client, and the member of staff if it is one. Both have the same id."""

    client: Client
    staff: Staff | None = None
    is_new: bool = False


async def account_of_phone(conn: Conn, spellings: Sequence[str], now: datetime) -> Account:
    """The account of a phone whose owner just proved to hold it; made when there is none. Locks the client.

    ``spellings`` are the ways in which the number may be stored, the normal one first.

    Raises:
        ClientBlocked: blocked or inactive.
        ClientDeleted: deletion is pending.
    """
    staff = await repository.staff_by_phone(conn, spellings)
    if staff is not None:
        return await _staff_account(conn, staff, spellings, now)
    client = await repository.lock_client_by_phone(conn, spellings)
    if client is None:
        client_id = new_id()
        if await repository.insert_client(conn, client_id, spellings[0], None, now):
            return Account(await service.lock_client(conn, client_id), is_new=True)
        # Use case: another login made the account in the meantime; the insert has waited for it.
        client = await repository.lock_client_by_phone(conn, spellings)
        if client is None:
            raise ClientNotFound
    service.require_active(client)
    return Account(client)


async def has_account(conn: Conn, spellings: Sequence[str]) -> bool:
    """Whether the phone belongs to an active client or member of staff. Whoever asks must not show the answer."""
    return await repository.is_phone_of_account(conn, spellings)


async def _staff_account(conn: Conn, staff: Staff, spellings: Sequence[str], now: datetime) -> Account:
    """Staff charge like everybody else, so a client with their id is made at the first login."""
    if not staff.is_active:
        raise ClientBlocked
    client = await repository.lock_client(conn, staff.id)
    if client is None:
        # Use case: the person was a client before and that row has the phone. It keeps it, and its own balance.
        holder = await repository.lock_client_by_phone(conn, spellings)
        phone = None if holder else spellings[0]
        await repository.insert_client(conn, staff.id, phone, staff.name, now)
        client = await service.lock_client(conn, staff.id)
    return Account(client, staff)


async def account_of_id(conn: Conn, account_id: str) -> tuple[Client | None, Staff | None]:
    """The client and the member of staff with this id; at least one of them.

    Staff that signed in at Supabase and never by a code may have no client.

    Raises:
        ClientNotFound: neither exists.
        ClientBlocked: blocked, inactive, or staff that was deactivated.
        ClientDeleted: deletion is pending or done.
    """
    client = await repository.get_client(conn, account_id)
    staff = await repository.get_staff(conn, account_id)
    if staff is not None:
        if not staff.is_active:
            raise ClientBlocked
    elif client is None:
        raise ClientNotFound
    else:
        service.require_active(client)
    return client, staff
