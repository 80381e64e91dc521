"""Commands that operators write by hand: what is safe to send as it is, and what goes another way.

Every command of OCPP 1.6 may be sent. Its outcome is seen by whatever depends on it, so that stored reservations,
lists, profiles and certificates stay true. Three kinds are more than a message:

- RemoteStopTransaction of a charging session stops the session, so that its money is settled as usual.
- RemoteStartTransaction is a start by a client's card: the charger's StartTransaction reserves from that client's
  balance. A tag that would be refused then is refused here, before a car draws power that nobody pays for.
- ChangeConfiguration does not carry keys and security profiles: a key that is only half changed locks the charger out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from evpower.charging import service as charging
from evpower.charging.service.by_operator import stop_of_transaction
from evpower.commands import service as commands
from evpower.commands.models import REMOTE_START, REMOTE_STOP, Command, NewCommand
from evpower.db import Conn
from evpower.errors import ValidationFailed
from evpower.jobs import service as jobs

MANAGED = frozenset(
    {
        "ChangeConfiguration",
        "DataTransfer",
        "SendLocalList",
        "UpdateFirmware",
        "SignedUpdateFirmware",
        "CertificateSigned",
        "InstallCertificate",
        "DeleteCertificate",
    }
)
"""Commands that can change who pays, what the charger trusts or what it runs: for managers only."""
_CREDENTIALS = frozenset({"authorizationkey", "securityprofile"})


@dataclass(frozen=True, slots=True)
class Order:
    """A command as an operator wants it. ``command_id`` makes a repeated request the same command."""

    station_id: str
    action: str
    payload: Mapping[str, Any]
    lifetime: timedelta
    by: str
    command_id: str | None = None


async def send(conn: Conn, order: Order, now: datetime) -> Command:
    """Queue the command, or what stands for it; the caller hands it to the queue after the commit.

    Raises:
        ValidationFailed: not this way, or the tag may not charge.
        IdempotencyConflict: the id is another command's.
    """
    new = NewCommand(order.station_id, order.action, order.payload, now + order.lifetime, order.by)
    if order.command_id is None or await commands.get(conn, order.command_id) is None:
        instead = await _judge(conn, order, now)
        if instead is not None:
            return instead
    command = await commands.enqueue(conn, new, now, command_id=order.command_id)
    await jobs.track(conn, command, now)
    return command


async def _judge(conn: Conn, order: Order, now: datetime) -> Command | None:
    """Refuse what must not be sent as it is. The command that stands for it, where there is one."""
    payload = order.payload
    if order.action == "ChangeConfiguration" and str(payload["key"]).strip().lower() in _CREDENTIALS:
        raise ValidationFailed(
            f"{payload['key']} is changed at /api/v1/admin/stations/{{station_id}}/credentials, "
            "which does not lock the charger out",
            field="key",
        )
    if order.action == REMOTE_STOP:
        stopping = await stop_of_transaction(conn, order.station_id, int(payload["transactionId"]), order.by, now)
        return None if stopping is None else await commands.get(conn, stopping)
    if order.action == REMOTE_START:
        verdict = await charging.start_verdict(conn, order.station_id, str(payload["idTag"]), now)
        if verdict.status != "Accepted":
            raise ValidationFailed(f"the tag may not charge here now ({verdict.status}): {verdict.why}", field="idTag")
    return None
