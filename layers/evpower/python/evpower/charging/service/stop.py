"""Stop of a session: by its driver, by its limit, or because the charger refused a command."""

from datetime import datetime
from decimal import Decimal

from evpower.accounts import service as accounts
from evpower.charging import meter
from evpower.charging.models import EndReason, Session, SessionState, StopRequested
from evpower.charging.repository import sessions, transactions
from evpower.charging.service.common import ask_to_stop, lock_with_client
from evpower.charging.service.set_aside import end_by_set_aside_stop
from evpower.charging.service.settle import settle
from evpower.charging.service.waiting_stops import use_waiting_stop
from evpower.db import Conn
from evpower.errors import Forbidden


async def request_stop(
    conn: Conn,
    session_id: str,
    *,
    client_id: str | None,
    initiator: str,
    reason: EndReason | str,
    now: datetime,
    requested_by: str | None = None,
) -> StopRequested:
    """Ask the charger to stop, or end at once a session whose transaction has not begun.

    ``initiator`` is the kind of who asks, for the session's row; ``requested_by`` who it is, for the command's.

    Stopping an ended session changes nothing and answers its final figures. A StartTransaction that comes after the
    driver gave up is answered Blocked, followed by RemoteStop, and billed by its StopTransaction.

    Raises:
        SessionNotFound: no such session.
        Forbidden: another client's session.
    """
    client, session = await lock_with_client(conn, session_id)
    if client_id is not None and session.user_id != client_id:
        raise Forbidden
    if session.state is SessionState.PENDING:
        session = await settle(
            conn,
            client,
            session,
            source="cancelled",
            reason=str(reason),
            initiator=initiator,
            minutes=Decimal(0),
            stopped_at=now,
            now=now,
        )
        client = await accounts.get_client(conn, client.id)
        return StopRequested(session, None, client.balance)
    if not session.state.live:
        return StopRequested(session, None, client.balance)
    command_id = await ask_to_stop(
        conn,
        session,
        reason=reason,
        initiator=initiator,
        limit_reached=reason == EndReason.LIMIT,
        now=now,
        requested_by=requested_by,
    )
    stopping = await sessions.get(conn, session_id)
    assert stopping is not None
    return StopRequested(stopping, command_id, client.balance)


async def remote_start_rejected(conn: Conn, session_id: str, reason: str, now: datetime) -> None:
    """The charger answered RemoteStartTransaction with Rejected: give the money back at once."""
    client, session = await lock_with_client(conn, session_id)
    if session.state is SessionState.PENDING:
        await settle(
            conn,
            client,
            session,
            source=f"remote_start_{reason.lower()}"[:60],
            reason=EndReason.START_REJECTED,
            initiator="station",
            minutes=Decimal(0),
            stopped_at=now,
            now=now,
        )


async def remote_stop_rejected(conn: Conn, session_id: str, now: datetime) -> None:
    """The charger does not know the transaction any more: settle from the last reading (ocpp.md §4).

    A StopTransaction that still comes later reconciles the bill.
    """
    _client, session = await lock_with_client(conn, session_id)
    if session.state in (SessionState.CHARGING, SessionState.STOPPING):
        await settle_from_last_reading(
            conn,
            session_id,
            source="remote_stop_rejected",
            reason=EndReason.STOP_REJECTED,
            initiator="station",
            now=now,
        )


async def settle_from_last_reading(
    conn: Conn, session_id: str, *, source: str, reason: EndReason | str, initiator: str, now: datetime
) -> Session:
    """Close a session whose StopTransaction may never come. Time is billed up to the last reading only.

    One that came and was put aside is used, if it can be no other's.
    """
    client, session = await lock_with_client(conn, session_id)
    if not session.state.live:
        return session
    ended = await use_waiting_stop(conn, client, session, f"the session ended ({source})", now)
    ended = ended or await end_by_set_aside_stop(conn, client, session, initiator=initiator, now=now)
    if ended is not None:
        return ended
    last_reading_at = session.last_meter_at or session.charging_started_at or now
    return await settle(
        conn,
        client,
        session,
        source=source,
        reason=str(reason),
        initiator=initiator,
        minutes=await reading_minutes(conn, session),
        stopped_at=last_reading_at,
        now=now,
    )


async def reading_minutes(conn: Conn, session: Session) -> Decimal:
    """Minutes from the begin of the transaction to its end, else to its last reading (ocpp.md §3: clocks lie).

    Use case: a station comes back after hours and sends the readings that it had kept. The hours in which it was
    silent are not billed, so the charger's own difference counts; the server's where its clock stands still.
    """
    began, last = session.charging_started_at, session.last_meter_at
    if began is None or last is None or session.ocpp_transaction_id is None:
        return Decimal(0)
    transaction = await transactions.get(conn, session.station_id, session.ocpp_transaction_id)
    if transaction is not None:
        begun, seen = transaction.started_at, session.last_meter_charger_at
        if transaction.stopped_at is not None and transaction.stop_received_at is not None:
            if transaction.stopped_at < begun:  # its clock fell back: what was billed then stands
                return await sessions.settled_minutes(conn, session.id)
            return meter.billable_minutes(begun, transaction.stopped_at, began, transaction.stop_received_at)
        if seen is not None and seen > begun:
            return meter.billable_minutes(begun, seen, began, last)
    return meter.billable_minutes(began, last, began, last)
