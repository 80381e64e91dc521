"""Steps that several services share. Lock order: client -> session -> top-up -> connector."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from evpower.accounts import service as accounts
from evpower.accounts.models import Client
from evpower.charging.models import EndReason, Session, SessionState
from evpower.charging.repository import sessions
from evpower.charging.repository import sweeps as queries
from evpower.commands import service as commands
from evpower.commands.models import REMOTE_STOP, NewCommand
from evpower.config import get_settings
from evpower.db import Conn
from evpower.errors import Forbidden, SessionNotFound
from evpower.stations import service as stations

# A stop must reach the charger whenever it comes back within a session's longest life.
STOP_EXPIRES = timedelta(hours=12)


class ConnectionLost(Exception):
    """The station has connected elsewhere since: this process must not write for it any more. The socket closes
    without an answer, and the charger sends its message again on the new one."""


async def fence(conn: Conn, station_id: str, epoch: int) -> None:
    """Refuse writes of a process that lost the station.

    Raises:
        ConnectionLost: a newer connection was admitted.
    """
    if not await stations.owns_connection(conn, station_id, epoch):
        raise ConnectionLost(station_id)


async def lock_with_client(conn: Conn, session_id: str) -> tuple[Client, Session]:
    """Client and session, locked in this order.

    Raises:
        SessionNotFound: no such session (or row security hides it).
    """
    seen = await sessions.get(conn, session_id)
    if seen is None:
        raise SessionNotFound
    client = await accounts.lock_client(conn, seen.user_id)
    session = await sessions.lock(conn, session_id)
    if session is None:
        raise SessionNotFound
    return client, session


async def lock_pending(conn: Conn, session_id: str) -> bool:
    """Lock the session and tell whether it still waits for its StartTransaction."""
    session = await sessions.lock(conn, session_id)
    return session is not None and session.state is SessionState.PENDING


async def get_session(conn: Conn, session_id: str, client_id: str | None) -> Session:
    """The session, for its owner (``client_id`` None: for staff).

    Raises:
        SessionNotFound: no such session.
        Forbidden: another client's session.
    """
    session = await sessions.get(conn, session_id)
    if session is None:
        raise SessionNotFound
    if client_id is not None and session.user_id != client_id:
        raise Forbidden
    return session


async def history(conn: Conn, client_id: str, limit: int, offset: int) -> tuple[list[dict[str, Any]], int]:
    """A page of the client's sessions, newest first, and their total number."""
    return await sessions.history(conn, client_id, limit, offset)


async def command_stop(
    conn: Conn, station_id: str, transaction_id: int, session_id: str | None, requested_by: str, now: datetime
) -> str:
    """Queue RemoteStopTransaction unless one is on its way; the id of the command to be sent after commit."""
    if session_id is not None:
        waiting = await queries.open_command(conn, session_id, REMOTE_STOP)
        if waiting is not None:
            return waiting
    command = await commands.enqueue(
        conn,
        NewCommand(
            station_id=station_id,
            action=REMOTE_STOP,
            payload={"transactionId": transaction_id},
            session_id=session_id,
            expires_at=now + STOP_EXPIRES,
            requested_by=requested_by,
        ),
        now,
    )
    return command.id


async def ask_to_stop(
    conn: Conn,
    session: Session,
    *,
    reason: EndReason | str,
    initiator: str,
    limit_reached: bool,
    now: datetime,
    requested_by: str | None = None,
) -> str:
    """Move a locked, charging session to ``stopping`` and queue its RemoteStop."""
    assert session.ocpp_transaction_id is not None
    await sessions.request_stop(
        conn, session.id, reason=str(reason), initiator=initiator, limit_reached=limit_reached, now=now
    )
    return await command_stop(
        conn, session.station_id, session.ocpp_transaction_id, session.id, requested_by or initiator, now
    )


def max_power_w(power_kw: Decimal | None) -> Decimal:
    """Plausibility bound of a connector in W; unknown power takes the network's maximum."""
    return (power_kw or get_settings().meter_max_power_kw) * 1000


_UNREADABLE = {
    "connectorId": "connector",
    "idTag": "id_tag",
    "meterStart": "register",
    "meterStop": "register",
    "timestamp": "time",
    "transactionId": "transaction",
}


def unreadable_reasons(message: str, members: Iterable[str]) -> list[str]:
    """Reasons for a review: ``stop_time_unreadable`` and its like. ``message``: start or stop."""
    return sorted(f"{message}_{_UNREADABLE.get(name, name)}_unreadable" for name in members)
