"""What operators do with running charges, and see of them."""

from datetime import datetime

from evpower.charging.models import EndReason, Session
from evpower.charging.repository import sessions, transactions
from evpower.charging.repository.live import live_at_station
from evpower.charging.service.stop import request_stop
from evpower.db import Conn

INITIATOR = "operator"


async def stop_of_transaction(conn: Conn, station_id: str, transaction_id: int, by: str, now: datetime) -> str | None:
    """Stop the live session of a transaction, as its driver would; the id of the RemoteStop that does it.

    ``by`` is who asks, for the command's row.

    None when no live session belongs to the transaction: there is no money to settle, and the charger may be told by
    a RemoteStop of its own.
    """
    transaction = await transactions.get(conn, station_id, transaction_id)
    if transaction is None or transaction.session_id is None:
        return None
    session = await sessions.get(conn, transaction.session_id)
    if session is None or not session.state.live or session.ocpp_transaction_id != transaction_id:
        return None
    asked = await request_stop(
        conn, session.id, client_id=None, initiator=INITIATOR, requested_by=by, reason=EndReason.OPERATOR, now=now
    )
    return asked.command_id


async def live_sessions(conn: Conn, station_id: str) -> list[Session]:
    """Live sessions at the station, by connector."""
    return await live_at_station(conn, station_id)
