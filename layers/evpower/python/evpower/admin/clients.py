"""Clients as admins and superadmins see them, and their block (mobile-api.md §7.2 D8, D9, D11).

Clients belong to the network, not to one owner, so managers see all of them; sums and sessions are those of the
reader's own stations.
"""

from collections.abc import Sequence

from evpower.accounts import service as accounts
from evpower.accounts.models import ClientStatus
from evpower.admin.failures import OwnAccount
from evpower.admin.models import ClientRecord, Page, Scope, SessionRecord, Slice, StaffMember
from evpower.admin.repository import clients, sessions, users
from evpower.auth import refresh_tokens
from evpower.db import Conn
from evpower.errors import ClientDeleted, ClientNotFound, Forbidden

RECENT_SESSIONS = 10


def shown_status(status: str) -> str:
    """The screens know two words: ``active`` and ``blocked``."""
    return "active" if status == ClientStatus.ACTIVE else "blocked"


async def page(conn: Conn, scope: Scope, search: str | None, status: str | None, part: Slice) -> Page[ClientRecord]:
    """D8: clients, newest first, by a part of name, e-mail or phone, or by id."""
    active = None if status is None else status == "active"
    return await clients.page(conn, scope, search, active, part)


async def find(conn: Conn, scope: Scope, client_id: str) -> tuple[ClientRecord, Sequence[SessionRecord]]:
    """D9: a client with its latest sessions at the stations of the scope.

    Raises:
        ClientNotFound: no such client.
    """
    found = await clients.find(conn, scope, client_id)
    if found is None:
        raise ClientNotFound
    return found, await sessions.recent_of_client(conn, scope, client_id, RECENT_SESSIONS)


async def set_status(conn: Conn, by: StaffMember, client_id: str, status: str) -> tuple[str, str]:
    """D11: block (which ends all logins) or unblock; the status before and after, in the screens' words.

    A running session goes on: the driver may see and stop it.

    Raises:
        ClientNotFound: no such client.
        ClientDeleted: there is nobody left to block.
        OwnAccount: one's own.
        Forbidden: an admin and the account of other staff, whose work would end with it.
    """
    client = await accounts.lock_client(conn, client_id)
    if client.status in (ClientStatus.PENDING_DELETION, ClientStatus.DELETED):
        raise ClientDeleted
    if client_id == by.id:
        raise OwnAccount("it is your own account: ask somebody else")
    staff = await users.find(conn, client_id)
    if staff is not None and not by.is_superadmin and staff.admin_id != by.id:
        raise Forbidden
    if shown_status(client.status) != status:
        await clients.set_status(conn, client_id, status)
    if status == "blocked":
        await refresh_tokens.revoke_all(conn, client_id)
    return shown_status(client.status), status
