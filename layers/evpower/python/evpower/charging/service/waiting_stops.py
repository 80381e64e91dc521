"""Stops that name only a card and wait: used when nothing speaks against them, given up when something does.

What waits stands in the row of its transaction, so it outlives every process; a sweep looks after it.
"""

from datetime import datetime, timedelta

from evpower.accounts.models import Client
from evpower.charging.autostop import OVERDUE_INTERVALS
from evpower.charging.models import BY_CARD, Session, StartTransaction, StopTransaction
from evpower.charging.repository import meter_values, quarantine, sessions, transactions
from evpower.charging.repository import sweeps as queries
from evpower.charging.repository.transactions import Transaction
from evpower.charging.service import stops_by_card
from evpower.charging.service.common import fence, lock_with_client
from evpower.charging.service.stop_transaction import end_session
from evpower.config import get_settings
from evpower.db import Conn
from evpower.stations.listening import hearing_at

_LONGEST_SILENCE = timedelta(days=1)  # beyond any three sample intervals


async def use_waiting_stop(conn: Conn, client: Client, session: Session, why: str, now: datetime) -> Session | None:
    """Settle a session by the stop that waits for its transaction; None when there is none, or it cannot be its end.

    Client and session are locked. ``why`` is the reason in words, for staff.
    """
    if session.ocpp_transaction_id is None:
        return None
    seen = await transactions.get(conn, session.station_id, session.ocpp_transaction_id)
    if seen is None or seen.guess_state != "waiting":
        return None
    transaction = await transactions.lock(conn, seen.id)
    if transaction.guess_state != "waiting":
        return None
    if transaction.status == "stopped":
        await transactions.decide_guess(conn, transaction.id, "superseded")  # staff applied a stop
        return None
    if not await stops_by_card.stands(conn, transaction, now):
        await transactions.decide_guess(conn, transaction.id, "refuted")  # the message stays for staff
        return None
    assert transaction.guessed_message_id is not None
    kept = await quarantine.get(conn, transaction.guessed_message_id, lock=True)
    if kept is None or kept.resolved_at is not None:
        await transactions.decide_guess(conn, transaction.id, "withdrawn")  # staff decided otherwise
        return None
    settled = await end_session(
        conn,
        client,
        session,
        transaction,
        await _message(conn, transaction, session),
        source=BY_CARD,
        initiator="station",
        now=now,
    )
    await sessions.flag_for_review(conn, session.id, [BY_CARD], now)
    await transactions.decide_guess(conn, transaction.id, "used")
    await quarantine.resolve(
        conn,
        kept.id,
        resolved_as="automatic",
        actor="system",
        note=f"taken for the end of transaction {transaction.id} by its card: {why}",
        transaction_id=transaction.id,
        now=now,
    )
    return settled


async def find_waiting(conn: Conn, now: datetime, limit: int) -> list[str]:
    if not (await hearing_at(conn, now)).lasted(get_settings().station_offline_after_s):
        return []  # the readings that refute the stop may be on their way
    return await queries.waiting_stops(conn, now - _LONGEST_SILENCE, now, OVERDUE_INTERVALS, limit)


async def settle_waiting(conn: Conn, session_id: str, now: datetime) -> None:
    """No reading has come for three sample intervals since the stop: the charge is over."""
    client, session = await lock_with_client(conn, session_id)
    transaction = await transactions.get(conn, session.station_id, session.ocpp_transaction_id or 0)
    quiet_since = now - timedelta(seconds=OVERDUE_INTERVALS * session.sample_interval_s)
    if transaction is None or transaction.guessed_received_at is None or transaction.guessed_received_at > quiet_since:
        return
    if not await meter_values.read_since(conn, session_id, quiet_since, now):
        await use_waiting_stop(conn, client, session, "no reading came for three sample intervals", now)


async def settle_before_start(conn: Conn, message: StartTransaction) -> None:
    """Use the stops that wait on the connector of a StartTransaction: another charge begins there, so the last is over.

    A unit of work of its own, before that of the start: each locks one client.

    Raises:
        ConnectionLost: the station has connected elsewhere.
    """
    waiting = await queries.waiting_on_connector(conn, message.station_id, message.connector_id)
    if waiting:
        await fence(conn, message.station_id, message.epoch)
    for session_id in waiting:
        client, session = await lock_with_client(conn, session_id)
        transaction = await transactions.get(conn, message.station_id, session.ocpp_transaction_id or 0)
        if transaction is not None and _is_next(transaction, message):
            await use_waiting_stop(conn, client, session, "another charge began on its connector", message.received_at)


def _is_next(transaction: Transaction, message: StartTransaction) -> bool:
    """Whether the start is that of a later charge, not the same again because its answer was lost."""
    again = (transaction.id_tag.upper(), transaction.meter_start, transaction.started_at)
    return again != (message.id_tag.upper(), message.meter_start_wh, message.started_at) and (
        message.started_at >= transaction.started_at
    )


async def _message(conn: Conn, transaction: Transaction, session: Session) -> StopTransaction:
    """The stop as if it had named the transaction."""
    assert transaction.guessed_meter_stop is not None
    assert transaction.guessed_stopped_at is not None
    assert transaction.guessed_received_at is not None
    return StopTransaction(
        station_id=transaction.station_id,
        transaction_id=transaction.id,
        meter_stop_wh=transaction.guessed_meter_stop,
        stopped_at=transaction.guessed_stopped_at,
        received_at=transaction.guessed_received_at,
        epoch=0,
        reason=transaction.guessed_reason,
        readings=await meter_values.data_of_stop(conn, session.id, transaction.guessed_received_at),
    )
