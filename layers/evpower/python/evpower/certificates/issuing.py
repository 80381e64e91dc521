"""From a charger's request to a certificate inside it, step by step, each step durable before the next.

requested -> (authority) -> issued -> CertificateSigned -> accepted | rejected. The authority is called outside every
transaction; a row is leased while somebody works on it, and the sweep takes over what a dead process left.
"""

from datetime import datetime, timedelta
from typing import Any

from evpower.certificates import repository
from evpower.certificates import x509 as reading
from evpower.certificates.authority import Authority, AuthorityAway, AuthorityRefused, SigningOrder
from evpower.certificates.models import CertificateState, Issued
from evpower.commands import service as commands
from evpower.commands.models import Command, CommandStatus, NewCommand
from evpower.config import Settings
from evpower.db import Conn, Database
from evpower.logging import get_logger
from evpower.stations import service as stations

log = get_logger(__name__)

MAX_ATTEMPTS = 10
MAX_SENDS = 5
LEASE = timedelta(minutes=2)
LOOK_AGAIN = timedelta(minutes=5)
_LIFETIME = timedelta(days=1)
_ASKED_BY = "certificates"
_WAITING = (CommandStatus.QUEUED, CommandStatus.SENT)


async def advance(
    database: Database,
    authority: Authority | None,
    settings: Settings,
    certificate_id: str,
    now: datetime,
    *,
    early: bool = False,
) -> Command | None:
    """Take one step with one certificate; the command that it caused, to be handed to the charger.

    ``early``: now, although the sweep would look at it later.
    """
    row = await database.run(lambda conn: repository.take(conn, certificate_id, now, LEASE, early=early))
    if row is None:
        return None
    if row["revoked_at"] is not None and row["ca_revoked_at"] is None and row["chain"] is not None:
        await _revoke(database, authority, row, now)
        return None
    if row["state"] == CertificateState.REQUESTED:
        return await _sign(database, authority, settings, row, now)
    if row["state"] == CertificateState.ISSUED:
        return await database.run(lambda conn: _send_again(conn, row, now))
    return None


async def _sign(
    database: Database, authority: Authority | None, settings: Settings, row: dict[str, Any], now: datetime
) -> Command | None:
    try:
        if authority is None:
            raise AuthorityRefused("no certificate authority is configured")
        facts = reading.read_csr(row["csr"], frozenset(await _names(database, row["station_id"])), settings.cpo_name)
        order = SigningOrder(row["id"], row["csr"], facts.common_name, facts.organisation, row["ca_reference"])
        issued = await authority.sign(order, now)
    except AuthorityAway as away:
        log.warning("no certificate yet", extra={"certificate_id": row["id"], "error": str(away)})
        reference, reason, attempts = away.reference, str(away)[:300], row["attempts"]

        async def later(conn: Conn) -> None:
            if attempts >= MAX_ATTEMPTS:
                await _failed(conn, row, reason, now)
            else:
                pause = timedelta(minutes=min(2**attempts, 60))
                await repository.postpone(conn, row["id"], now + pause, reason, reference)

        await database.run(later)
        return None
    except (AuthorityRefused, reading.NotUsable) as refused:
        reason = str(refused)[:300]
        await database.run(lambda conn: _failed(conn, row, reason, now))
        return None
    return await database.run(lambda conn: _issue(conn, row["station_id"], order, issued, now))


async def _names(database: Database, station_id: str) -> tuple[str, str]:
    found = await database.run(lambda conn: repository.lock_station(conn, station_id))
    if found is None:
        raise AuthorityRefused("the station was removed")
    return found


async def _issue(conn: Conn, station_id: str, order: SigningOrder, issued: Issued, now: datetime) -> Command | None:
    if not await repository.issue(conn, order, issued, now):
        return None
    return await _send(conn, order.id, station_id, issued.chain, now)


async def _send(conn: Conn, certificate_id: str, station_id: str, chain: str, now: datetime) -> Command:
    payload = {"certificateChain": chain}
    new = NewCommand(station_id, "CertificateSigned", payload, expires_at=now + _LIFETIME, requested_by=_ASKED_BY)
    command = await commands.enqueue(conn, new, now)
    await repository.sent(conn, certificate_id, command.id, now + LOOK_AGAIN)
    return command


async def _send_again(conn: Conn, row: dict[str, Any], now: datetime) -> Command | None:
    """Use case: the charger rebooted, or gave an error, while it got its certificate."""
    command = await commands.get(conn, row["command_id"]) if row["command_id"] else None
    if command is not None and command.status in _WAITING:
        await repository.postpone(conn, row["id"], now + LOOK_AGAIN)
        return None
    if command is not None and command.status is CommandStatus.CANCELLED:
        await _failed(conn, row, "an operator took the certificate back", now)
        return None
    if row["sends"] >= MAX_SENDS:
        await _failed(conn, row, f"sent {MAX_SENDS} times without an answer", now)
        return None
    return await _send(conn, row["id"], row["station_id"], row["chain"], now)


async def _failed(conn: Conn, row: dict[str, Any], reason: str, now: datetime) -> None:
    if await repository.fail(conn, row["id"], reason):
        told = {"certificate_id": row["id"], "error": reason}
        await stations.add_event(conn, row["station_id"], "certificate_failed", now, payload=told, severity="error")


async def _revoke(database: Database, authority: Authority | None, row: dict[str, Any], now: datetime) -> None:
    """Tell the authority; the gate refuses the certificate since the operator said so."""
    try:
        if authority is not None:
            await authority.revoke(str(row["serial_number"]))
    except AuthorityAway as away:
        reason = str(away)[:300]
        await database.run(lambda conn: repository.postpone(conn, row["id"], now + LOOK_AGAIN, reason))
        return
    except AuthorityRefused as refused:
        log.error("revocation refused", extra={"certificate_id": row["id"], "error": str(refused)})
    await database.run(lambda conn: repository.revoked_at_authority(conn, row["id"], now))


async def due(conn: Conn, now: datetime, limit: int) -> list[str]:
    """Certificates that the sweep has to look at."""
    return await repository.due(conn, now, limit)
