"""Deletion of an account (mobile-api.md §0.8, §4.4): at once and for good; what the books need stays, nameless."""

from datetime import datetime

from evpower.accounts import repository, service
from evpower.audit import service as audit
from evpower.audit.models import AuditEntry
from evpower.auth import refresh_tokens
from evpower.charging import service as charging
from evpower.db import Conn
from evpower.errors import Forbidden
from evpower.notifications import service as notifications
from evpower.payments import service as payments

PLACEHOLDER = "Удалённый аккаунт"


async def delete_account(conn: Conn, client_id: str, *, now: datetime, client_ip: str | None) -> tuple[int, ...]:
    """Anonymise the client, free the phone number, take what is left of the balance to ``unclaimed``.

    Returns the unpaid top-ups that were cancelled, for the caller to queue their checks after the commit.

    Raises:
        ClientNotFound, ClientBlocked, ClientDeleted: the client. A blocked one would come back with a clean sheet.
        Forbidden: staff, whose accounts an administrator ends.
        SessionAlreadyActive: charging, or its money is not settled.
    """
    client = await service.lock_client(conn, client_id)
    service.require_active(client)
    if await repository.get_staff(conn, client_id) is not None:
        raise Forbidden("Staff accounts are ended by an administrator")
    await charging.forget_client(conn, client_id)
    cancelled = await payments.close_for_deletion(conn, client_id, now)
    await service.unclaim(conn, client_id, client.balance, source_key=f"unclaimed:{client_id}")
    await repository.delete_favorites(conn, client_id)
    await notifications.forget_client(conn, client_id)
    await refresh_tokens.revoke_all(conn, client_id)
    await repository.anonymise(conn, client_id, PLACEHOLDER, now)
    await audit.record(
        conn,
        AuditEntry(
            "account.delete", actor=client_id, client_id=client_id, client_ip=client_ip, amount=client.balance or None
        ),
    )
    return cancelled
