"""StopTransactions that nothing explains: kept when they come, decided on by staff (ocpp.md §3)."""

import hashlib
from datetime import datetime
from decimal import Decimal
from typing import Any

import orjson

from evpower.charging import members
from evpower.charging.models import Session, StopTransaction
from evpower.charging.repository import quarantine, reviews, sessions, transactions
from evpower.charging.repository.transactions import Transaction
from evpower.charging.service.common import lock_with_client
from evpower.charging.service.settle import BY_QUARANTINED_STOP
from evpower.charging.service.stop_transaction import end_session
from evpower.charging.staff_models import DECIDED, USED, AppliedStop, QuarantinedMessage, StopToApply
from evpower.db import Conn
from evpower.errors import NotFound, SessionNotFound, StateConflict, ValidationFailed
from evpower.stations import service as stations

STOP = "StopTransaction"
_MAX_WORD = 50


class AlreadyDecided(
    StateConflict,
    spec={
        "texts": {
            "ru": "По этому сообщению уже принято другое решение.",
            "ky": "Бул билдирүү боюнча башка чечим кабыл алынган.",
            "en": "Something else was decided about this message before.",
        }
    },
):
    """A message is dismissed, or applied to one transaction, once."""


class NotApplicable(
    StateConflict,
    spec={
        "texts": {
            "ru": "Это сообщение нельзя применить к выбранной зарядке.",
            "ky": "Бул билдирүүнү тандалган кубаттоого колдонууга болбойт.",
            "en": "The message cannot be applied to the chosen charge.",
        }
    },
):
    """It is no StopTransaction, or the transaction is another station's, another session's, or began after it."""


async def quarantine_stop(conn: Conn, station_id: str, payload: Any, reason: str, now: datetime) -> None:
    """Keep a StopTransaction whose content cannot be understood; operators see it. A repeat is counted."""
    new = await quarantine.insert(
        conn,
        station_id=station_id,
        action=STOP,
        reason=reason,
        payload=payload if isinstance(payload, dict) else {"payload": payload},
        fingerprint=hashlib.sha256(orjson.dumps(payload, option=orjson.OPT_SORT_KEYS)).hexdigest(),
        resolution=None,
        now=now,
        reopens=DECIDED,
    )
    if new:
        await stations.add_event(
            conn, station_id, "stop_quarantined", now, severity="error", payload={"reason": reason}
        )


async def dismiss_quarantined(
    conn: Conn, message_id: int, *, actor: str, note: str, now: datetime
) -> QuarantinedMessage:
    """Put a message away. Again is no harm. One that was used before and came again stays what it was.

    Raises:
        NotFound: no such message.
        AlreadyDecided: it was applied, or explained when it came, and has not come again.
    """
    message = await quarantine.get(conn, message_id, lock=True)
    if message is None:
        raise NotFound("no such message")
    if message.resolved_at is not None:
        if message.resolved_as != "dismissed":
            raise _decided(message)
        return message
    if message.resolved_as in USED:
        return await quarantine.seen_again(conn, message_id, now)
    return await quarantine.resolve(
        conn, message_id, resolved_as="dismissed", actor=actor, note=note, transaction_id=None, now=now
    )


async def apply_quarantined_stop(conn: Conn, wish: StopToApply, now: datetime) -> AppliedStop:
    """End the chosen transaction with the register of a StopTransaction that was put aside, and settle its session.

    The same rules bound the bill as if the message had been understood when it came: the energy never falls and never
    exceeds what the connector could have delivered by then. Once a message, also when it has come again since: the same
    choice again changes nothing.

    Raises:
        NotFound, SessionNotFound: no such message or session.
        NotApplicable: no StopTransaction, or no transaction of this station that had begun by then.
        ValidationFailed: neither the message nor the wish has a register.
        AlreadyDecided: it was dismissed, or applied to another transaction.
    """
    message = await quarantine.get(conn, wish.message_id)
    if message is None:
        raise NotFound("no such message")
    if message.resolved_at is not None and message.resolved_as != "applied":
        raise _decided(message)  # whichever transaction is named
    transaction = await _chosen(conn, wish, message.station_id)
    if message.last_received_at < min(transaction.started_at, transaction.received_at):
        # Use case: the wrong line of the list. It would end a charge that runs, and its own stop would be put aside.
        raise NotApplicable(f"transaction {transaction.id} began after the message came: it stops an earlier one")
    stop = _stop(message, transaction, wish.meter_stop_wh)
    # Client, session, transaction, message: two members of staff with the same message come one after the other.
    owner = await lock_with_client(conn, transaction.session_id) if transaction.session_id else None
    transaction = await transactions.lock(conn, transaction.id)
    message = await quarantine.get(conn, wish.message_id, lock=True)
    assert message is not None
    if message.resolved_as == "applied" and message.resolved_transaction_id == transaction.id:
        if message.resolved_at is None:
            message = await quarantine.seen_again(conn, message.id, now)
        return _applied(message, transaction, owner[1] if owner else None, repeated=True)
    if message.resolved_at is not None or message.resolved_as in USED:
        raise _decided(message)
    named_id = transaction.stop_named_id or message.payload.get("transactionId") == transaction.id
    await transactions.stop(conn, transaction.id, stop, named_id=named_id)
    session = None
    if owner is not None:
        client, session = owner
        if session.ocpp_transaction_id != transaction.id:
            raise NotApplicable(
                f"the session goes on as transaction {session.ocpp_transaction_id}: name that one",
                transaction_id=session.ocpp_transaction_id,
            )
        session = await end_session(
            conn, client, session, transaction, stop, source=BY_QUARANTINED_STOP, initiator="operator", now=now
        )
        await reviews.insert(
            conn,
            session.id,
            action="apply_stop",
            actor=wish.actor,
            note=wish.note,
            quarantined_message_id=message.id,
            now=now,
        )
    message = await quarantine.resolve(
        conn,
        message.id,
        resolved_as="applied",
        actor=wish.actor,
        note=wish.note,
        transaction_id=transaction.id,
        now=now,
    )
    return _applied(message, transaction, session, repeated=False)


def _decided(message: QuarantinedMessage) -> AlreadyDecided:
    """Names what was decided, for whoever wants something else."""
    what = f"was {message.resolved_as}" if message.resolved_as != "automatic" else "was explained when it came"
    return AlreadyDecided(
        f"the message {what}: it can be used only once",
        resolved_as=message.resolved_as,
        transaction_id=message.resolved_transaction_id,
    )


def _applied(
    message: QuarantinedMessage, transaction: Transaction, session: Session | None, *, repeated: bool
) -> AppliedStop:
    return AppliedStop(
        message=message,
        transaction_id=transaction.id,
        session_id=transaction.session_id,
        settlement_revision=session.settlement_revision if session else None,
        final_amount=session.final_amount if session else None,
        repeated=repeated,
    )


async def _chosen(conn: Conn, wish: StopToApply, station_id: str) -> Transaction:
    transaction_id = wish.transaction_id
    if wish.session_id is not None:
        session = await sessions.get(conn, wish.session_id)
        if session is None:
            raise SessionNotFound
        transaction_id = session.ocpp_transaction_id
    found = None if transaction_id is None else await transactions.get(conn, station_id, transaction_id)
    if found is None:
        what = "such transaction" if wish.session_id is None else "transaction of this session"
        raise NotApplicable(f"the message's station {station_id} has no {what}", station_id=station_id)
    return found


def _stop(message: QuarantinedMessage, transaction: Transaction, register: Decimal | None) -> StopTransaction:
    """The message as if it had named the transaction; what it says unreadably is left out."""
    if register is None:
        register = members.register(message.payload.get("meterStop"))
    if message.action != STOP:
        raise NotApplicable(f"only a StopTransaction can be applied, this is {message.action}")
    if register is None or abs(register) > members.MAX_REGISTER_WH:
        raise ValidationFailed("the message has no usable register: give meter_stop, in Wh", field="meter_stop")
    # Use case: it came again after the charge had begun. By its first receipt nothing can have been delivered.
    began = min(transaction.started_at, transaction.received_at)
    received_at = message.received_at if message.received_at >= began else message.last_received_at
    return read_stop(message, transaction, register, received_at)


def read_stop(
    message: QuarantinedMessage, transaction: Transaction, register: Decimal | None, received_at: datetime
) -> StopTransaction:
    """A message put aside, member by member, as if it had named the transaction."""
    payload = message.payload
    reason, tag = members.words(payload.get("reason")), members.words(payload.get("idTag"))
    return StopTransaction(
        station_id=message.station_id,
        transaction_id=transaction.id,
        meter_stop_wh=register,
        stopped_at=members.moment(payload.get("timestamp")),
        received_at=received_at,
        epoch=0,
        reason=reason[:_MAX_WORD] if reason is not None else None,
        id_tag=tag[:_MAX_WORD] if tag is not None else None,
        raw=payload,
    )
