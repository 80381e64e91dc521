"""A StopTransaction that was put aside, used when its session must end without another (docs/decisions/0012)."""

from datetime import datetime
from decimal import Decimal

from evpower.accounts.models import Client
from evpower.charging import bounds, members, meter
from evpower.charging.models import Session
from evpower.charging.repository import meter_values, quarantine, sessions, transactions
from evpower.charging.repository.transactions import Transaction
from evpower.charging.service.common import max_power_w
from evpower.charging.service.quarantine import STOP, read_stop
from evpower.charging.service.settle import BY_QUARANTINED_STOP
from evpower.charging.service.stop_transaction import end_session
from evpower.charging.staff_models import QuarantinedMessage
from evpower.db import Conn

USED = "set_aside_stop_used"
"""Reason for a review: which stop it was is a conclusion of ours."""
_MOST_MESSAGES = 20
_MOST_TRANSACTIONS = 50


async def end_by_set_aside_stop(
    conn: Conn, client: Client, session: Session, *, initiator: str, now: datetime
) -> Session | None:
    """Settle a session by the stop of its transaction that was put aside; None when there is none for certain.

    Client and session are locked. Use case: the stop named no transaction of ours. The charger thinks that it has said
    all, and refuses the RemoteStop of the driver.
    """
    if session.ocpp_transaction_id is None:
        return None
    transaction = await transactions.lock(conn, session.ocpp_transaction_id)
    if transaction.status == "stopped":
        return None
    row = await meter_values.context_row(conn, session.station_id, transaction.id)
    power = max_power_w(row["connector_power_kw"] if row else None)
    found = await quarantine.open_since(conn, session.station_id, STOP, transaction.received_at, _MOST_MESSAGES)
    # One that names only the card, and that readings refuted, is for staff (evpower.charging.service.waiting_stops).
    found = [message for message in found if message.id != transaction.guessed_message_id]
    fitting = [message for message in found if await _fits(conn, message, session, transaction, power)]
    if len(fitting) != 1:
        return None
    message = fitting[0]
    stop = read_stop(message, transaction, members.register(message.payload.get("meterStop")), message.received_at)
    await transactions.stop(conn, transaction.id, stop, named_id=False)
    ended = await end_session(
        conn, client, session, transaction, stop, source=BY_QUARANTINED_STOP, initiator=initiator, now=now
    )
    await sessions.flag_for_review(conn, session.id, [USED], now)
    await quarantine.resolve(
        conn,
        message.id,
        resolved_as="automatic",
        actor="system",
        note=f"used for transaction {transaction.id}: the charger does not know it any more",
        transaction_id=transaction.id,
        now=now,
    )
    return ended


async def _fits(
    conn: Conn, message: QuarantinedMessage, session: Session, transaction: Transaction, power_w: Decimal
) -> bool:
    """Whether the message can be the end of this transaction, and of no other that ran when it came."""
    named = members.identifier(message.payload.get("transactionId"))
    if named == transaction.id:
        return True
    if named is not None and await transactions.get(conn, session.station_id, named) is not None:
        return False
    running = await transactions.had_active(conn, session.station_id, message.received_at, _MOST_TRANSACTIONS)
    fitting = [other.id for other in running if _may_end(message, other, session, power_w)]
    return fitting == [transaction.id]


def _may_end(message: QuarantinedMessage, transaction: Transaction, session: Session, power_w: Decimal) -> bool:
    """By its card and its register; what the message does not say excludes nothing."""
    tag = members.words(message.payload.get("idTag"))
    if tag and tag.casefold() != transaction.id_tag.casefold():
        return False
    register = members.register(message.payload.get("meterStop"))
    if register is None or register <= 0:
        return True  # lost: the last reading stands
    if register < transaction.meter_start:
        return False
    if transaction.id != session.ocpp_transaction_id or (tag and session.start_source == "app"):
        return True  # the tag of an app session is for one transaction
    known, since, since_charger = transaction.meter_start, transaction.received_at, transaction.started_at
    if session.meter_current is not None and session.last_meter_at is not None:
        known, since = session.meter_current, min(session.last_meter_at, message.received_at)
        since_charger = session.last_meter_charger_at or since_charger
    stopped_at = members.moment(message.payload.get("timestamp"))
    passed = bounds.elapsed(since, since_charger, stopped_at, message.received_at, transaction.received_at)
    could = meter.plausible_wh(passed, power_w)
    return -meter.ALLOWANCE_WH <= register - known <= could
