"""StopTransaction: never refused, settled once, reconciled when it is late (ocpp.md §3)."""

import hashlib
from collections.abc import Collection
from datetime import datetime
from decimal import Decimal
from itertools import pairwise

import orjson
import psycopg
from msgspec.structs import replace

from evpower.accounts.models import Client
from evpower.charging import belonging, members, meter, repeats
from evpower.charging.models import (
    AFTER_STOP,
    NO_TIME,
    TRANSACTION_DATA,
    UNUSABLE,
    ZERO,
    EndReason,
    EnergySource,
    MeterState,
    MeterUpdate,
    Reading,
    Session,
    StopTransaction,
    TransactionStopped,
)
from evpower.charging.repository import meter_values, quarantine, sessions, transactions
from evpower.charging.repository.transactions import Transaction
from evpower.charging.service import stops_by_card
from evpower.charging.service.common import fence, lock_with_client, max_power_w, unreadable_reasons
from evpower.charging.service.meter_updates import quarantine_readings
from evpower.charging.service.settle import BY_TRANSACTION, settle
from evpower.charging.service.tags import TagVerdict, authorize
from evpower.charging.staff_models import DECIDED
from evpower.db import Conn
from evpower.stations import service as stations

_REASON_BY_STATION = EndReason.STATION
REPLAYED = "charge_replayed"
_DATA_UNUSABLE = "transaction_data_unusable"
_STOP = "StopTransaction"
_CONTENT = ("transactionId", "meterStop", "timestamp", "idTag", "reason")
_UNKNOWN = "unknown transaction id"


async def stop_transaction(conn: Conn, message: StopTransaction) -> TransactionStopped:
    """Close the transaction and settle its session, or keep a message that nothing explains.

    Use cases: a repeat (the charger did not see the answer) changes nothing; a stop that comes after a sweep closed
    the session books the difference; an unknown, -1 or huge id is quarantined and shown to operators, and waits where
    its card tells whose end it may be.

    Raises:
        ConnectionLost: the station has connected elsewhere.
    """
    await fence(conn, message.station_id, message.epoch)
    transaction = await _named(conn, message)
    if transaction is None:
        return await _without_id(conn, message)
    if transaction.session_id is None:
        return await _stop_without_session(conn, transaction, message)
    client, session = await lock_with_client(conn, transaction.session_id)
    transaction = await transactions.lock(conn, transaction.id)
    if transaction.status == "stopped":
        return await _stop_again(conn, transaction, message)
    if transaction.status == "ended_without_stop" and not belonging.own_stop_is_possible(
        message, await transactions.next_begin(conn, transaction)
    ):
        await _quarantine(conn, message, f"it tells of the time after transaction {transaction.id} was over")
        await sessions.flag_for_review(conn, session.id, [AFTER_STOP], message.received_at)
        return TransactionStopped(session.id, quarantined=True)
    await _close(conn, transaction, message, is_plausible=await _is_plausible(conn, session, transaction, message))
    if session.ocpp_transaction_id != transaction.id:
        await transactions.flag_for_review(conn, transaction.id, "transaction is not the session's")
        return TransactionStopped(session.id)
    initiator = "limit" if session.limit_reached else "station"
    await end_session(
        conn,
        client,
        session,
        transaction,
        message,
        source=BY_TRANSACTION,
        initiator=initiator,
        now=message.received_at,
    )
    return TransactionStopped(session.id)


async def end_session(
    conn: Conn,
    client: Client,
    session: Session,
    transaction: Transaction,
    message: StopTransaction,
    *,
    source: str,
    initiator: str,
    now: datetime,
) -> Session:
    """Bill a session by its StopTransaction. Client, session and transaction are locked.

    ``message.received_at`` bounds energy and time; ``now`` is when the settlement is booked.
    """
    minutes = _minutes(session, transaction, message)
    session = await _final_reading(conn, session, transaction, message)
    return await settle(
        conn,
        client,
        session,
        source=source,
        reason=message.reason or _REASON_BY_STATION,
        initiator=initiator,
        minutes=minutes,
        stopped_at=_stopped_at(session, transaction, message),
        now=now,
    )


async def has_transaction(conn: Conn, station_id: str, transaction_id: int) -> bool:
    """Whether the station has, or had, this transaction."""
    return await transactions.get(conn, station_id, transaction_id) is not None


async def stop_verdict(conn: Conn, message: StopTransaction) -> TagVerdict | None:
    """What the answer says of the tag that stopped (idTagInfo, for the charger's cache); None: no tag was named."""
    if not message.id_tag:
        return None
    return await authorize(conn, message.station_id, message.id_tag, message.received_at)


async def _named(conn: Conn, message: StopTransaction) -> Transaction | None:
    if not 0 < message.transaction_id < 2**31:
        return None
    return await transactions.get(conn, message.station_id, message.transaction_id)


async def _without_id(conn: Conn, message: StopTransaction) -> TransactionStopped:
    """A stop that names no transaction of ours: kept, and where its card tells whose end it may be, it waits there."""
    known = await quarantine.is_known(conn, message.station_id, _STOP, _fingerprint(message))
    transaction = await stops_by_card.find(conn, message)
    if transaction is None or known:
        # Use case: the answer to a stop that names only its card was lost, and the card's next charge has begun where
        # the last one ended. A repeat must not end it; whether it is one, somebody has to tell.
        reopens = (*DECIDED, "automatic") if transaction is not None else DECIDED
        await _quarantine(conn, message, _UNKNOWN, reopens=reopens)
        return TransactionStopped(None, quarantined=True)
    if transaction.session_id is None:
        await _quarantine(conn, message, _UNKNOWN, f"matched transaction {transaction.id} by its tag")
        return await _stop_without_session(conn, transaction, message)
    await lock_with_client(conn, transaction.session_id)
    transaction = await transactions.lock(conn, transaction.id)
    if transaction.status != "stopped":
        message_id = await _quarantine(
            conn, message, f"{_UNKNOWN}; by its card it may be the end of transaction {transaction.id}"
        )
        await transactions.guess(conn, transaction.id, message, message_id)
        await _store_data(conn, transaction, message)
        return TransactionStopped(transaction.session_id)
    await _quarantine(conn, message, _UNKNOWN)
    return TransactionStopped(None, quarantined=True)


async def _stop_without_session(conn: Conn, transaction: Transaction, message: StopTransaction) -> TransactionStopped:
    transaction = await transactions.lock(conn, transaction.id)
    if transaction.status == "stopped":
        return await _stop_again(conn, transaction, message)
    await _close(conn, transaction, message)
    if message.unreadable:
        reasons = unreadable_reasons("stop", message.unreadable)
        await transactions.flag_for_review(conn, transaction.id, ", ".join(reasons))
    if message.meter_stop_wh is not None and message.meter_stop_wh > transaction.meter_start:
        await transactions.flag_for_review(conn, transaction.id, "energy without a session")
        # Use case: the charger did not obey the RemoteStop of a refused card. Nobody pays; operators must know.
        await stations.add_event(
            conn,
            transaction.station_id,
            "energy_without_session",
            message.received_at,
            severity="error",
            connector=transaction.connector_id,
            payload={
                "transaction_id": transaction.id,
                "id_tag_status": transaction.id_tag_status,
                "energy_wh": str(message.meter_stop_wh - transaction.meter_start),
            },
            charger_at=message.stopped_at,
        )
    return TransactionStopped(None)


async def _stop_again(conn: Conn, transaction: Transaction, message: StopTransaction) -> TransactionStopped:
    is_same = (
        transaction.stop_as_sent == _fingerprint(message)
        if message.unreadable or transaction.stop_as_sent is not None
        else (transaction.meter_stop, transaction.stopped_at) == (message.meter_stop_wh, message.stopped_at)
    )
    if not is_same:
        await _quarantine(conn, message, "another stop of a stopped transaction")
        return TransactionStopped(transaction.session_id, quarantined=True)
    return TransactionStopped(transaction.session_id, repeated=True)


async def _close(
    conn: Conn, transaction: Transaction, message: StopTransaction, *, is_plausible: bool | None = None
) -> None:
    """Write the end of a transaction, and store its transactionData beside the readings that came live."""
    named_id = message.transaction_id == transaction.id
    as_sent = _fingerprint(message) if message.unreadable else None
    await transactions.stop(
        conn, transaction.id, message, named_id=named_id, as_sent=as_sent, is_plausible=is_plausible
    )
    if transaction.guess_state == "waiting":
        await _supersede_guess(conn, transaction, message)
    await _store_data(conn, transaction, message)


async def _supersede_guess(conn: Conn, transaction: Transaction, message: StopTransaction) -> None:
    """The charger's own stop came. The one that named only the card is explained if it told the same register."""
    await transactions.decide_guess(conn, transaction.id, "superseded")
    if transaction.guessed_message_id is None or transaction.guessed_meter_stop != message.meter_stop_wh:
        return  # what it tells of, somebody has to find out
    kept = await quarantine.get(conn, transaction.guessed_message_id, lock=True)
    if kept is not None and kept.resolved_at is None:
        await quarantine.resolve(
            conn,
            kept.id,
            resolved_as="automatic",
            actor="system",
            note=f"transaction {transaction.id} ended with this register by a stop of its own",
            transaction_id=transaction.id,
            now=message.received_at,
        )


async def _is_plausible(conn: Conn, session: Session, transaction: Transaction, message: StopTransaction) -> bool:
    """Whether meterStop can be the end of the charge; ``session`` as it was before this stop."""
    if message.meter_stop_wh is None:
        return False
    row = await meter_values.context_row(conn, session.station_id, transaction.id)
    elapsed = message.bound_at - (session.charging_started_at or session.created_at)
    bound, factor = max_power_w(row["connector_power_kw"] if row else None), session.register_factor
    return belonging.meter_stop_is_plausible(
        message.meter_stop_wh * factor, transaction.meter_start * factor, session.energy_wh, elapsed, bound
    )


async def _store_data(conn: Conn, transaction: Transaction, message: StopTransaction) -> None:
    if message.readings:
        readings = tuple(replace(reading, flags=(*reading.flags, TRANSACTION_DATA)) for reading in message.readings)
        update = MeterUpdate(
            message.station_id,
            message.epoch,
            transaction.connector_id,
            transaction.id,
            transaction.session_id,
            message.received_at,
            readings,
        )
        try:
            async with conn.transaction():
                await meter_values.flush(conn, [update])
        except (psycopg.DataError, psycopg.IntegrityError) as error:
            # A stop is never refused, whatever its data holds.
            await quarantine_readings(conn, update, str(error))


async def _final_reading(conn: Conn, session: Session, transaction: Transaction, message: StopTransaction) -> Session:
    """Count transactionData and meterStop; the session as it stands then."""
    row = await meter_values.context_row(conn, session.station_id, transaction.id)
    bound = max_power_w(row["connector_power_kw"] if row else None)
    began_at = session.charging_started_at or session.created_at
    factor = session.register_factor
    stop_wh = None if message.meter_stop_wh is None else message.meter_stop_wh * factor
    state = session.meter() or meter.begin(transaction.meter_start * factor, began_at, transaction.started_at)
    by_readings = state.energy_wh
    if transaction.repetition > 0 and await _plays_an_earlier_charge(conn, transaction, message, bound, factor):
        state, found = replace(state, energy_wh=Decimal(0)), {REPLAYED}
    else:
        data = _data_in_order(state, transaction, message)
        said = transaction.started_at
        readings = meter.scaled(data or (), factor)
        state, faults = meter.apply_all(state, readings, message.bound_at, bound, began_at, said)
        by_readings = state.energy_wh
        last_faults: tuple[str, ...] = ()
        # Use case: staff apply another stop to a charge that has ended. A register below the known one did not restart.
        if stop_wh is not None and (transaction.status != "stopped" or stop_wh >= state.register_wh):
            state, last_faults = meter.finish(
                state, stop_wh, message.stopped_at, message.bound_at, bound, began_at, said
            )
        found = {*faults, *last_faults} | ({_DATA_UNUSABLE} if data is None else set())
    if any(UNUSABLE in reading.flags for reading in message.readings):
        found.add(_DATA_UNUSABLE)
    if any(NO_TIME in reading.flags for reading in message.readings):
        found.add("reading_time_unreadable")
    found.update(unreadable_reasons("stop", message.unreadable))
    await sessions.set_meter(conn, session.id, state, message.received_at)
    reasons = sorted(found)
    if reasons:
        await sessions.flag_for_review(conn, session.id, reasons, message.received_at)
        await stations.add_event(
            conn,
            session.station_id,
            "meter_fault",
            message.received_at,
            severity="warning",
            connector=session.connector_id,
            payload={
                "session_id": session.id,
                "faults": reasons,
                "meter_stop": str(message.meter_stop_wh),
                "readings_wh": str(by_readings),
                "stop_wh": None if stop_wh is None else str(stop_wh - state.meter_start_wh),
                "billed_wh": str(state.energy_wh),
            },
            charger_at=message.stopped_at,
        )
    updated = await sessions.get(conn, session.id)
    assert updated is not None
    return updated


def _data_in_order(state: MeterState, transaction: Transaction, message: StopTransaction) -> tuple[Reading, ...] | None:
    """What of transactionData moves the meter; None when nobody can tell its order.

    Use case: the charger's clock fell back to 1970 in the middle of the charge, or began there anew. By their times the
    last entries are the first, and the register seems to restart: all of it would be billed twice. meterStop says where
    it ended.
    """
    # The begin is known, and some chargers give it the time of the end.
    data = tuple(reading for reading in message.readings if reading.context != "Transaction.Begin")
    if len(data) > 1 and len({reading.sampled_at for reading in data}) == 1:
        # The clock stands still: what can have been delivered from one to the next nobody knows. The last tells all.
        data = tuple(reading for reading in data if reading.energy_wh is not None)[-1:]
    times = [state.since_charger, *(reading.sampled_at for reading in data)]
    fell_back = any(meter.fell_back(time, transaction.started_at) for time in times)
    if meter.clock_is_dead(transaction.started_at, transaction.received_at):
        said = [reading.sampled_at for reading in data if reading.sampled_at is not None]
        fell_back = fell_back or any(later < earlier for earlier, later in pairwise(said))
    if data and fell_back:
        return None
    if state.since_charger is None or state.source != EnergySource.REGISTER or _stands_at_begin(state):
        return data
    # What was counted live is not counted again. Use case: the register restarted in the middle of the charge, and the
    # entries from before it look as if it had jumped back.
    counted = state.since_charger
    return tuple(reading for reading in data if reading.sampled_at is None or reading.sampled_at > counted)


def _stands_at_begin(state: MeterState) -> bool:
    return not state.energy_wh and state.register_wh == max(state.meter_start_wh, ZERO)


async def _plays_an_earlier_charge(
    conn: Conn, transaction: Transaction, message: StopTransaction, max_power_w: Decimal, register_factor: int
) -> bool:
    """Whether a charger without a clock plays a charge from its queue again that was billed (decisions/0008)."""
    if message.meter_stop_wh is None:
        return False
    energy = (message.meter_stop_wh - transaction.meter_start) * register_factor
    return not repeats.could_deliver(
        energy, transaction.received_at, message.received_at, max_power_w
    ) and await transactions.same_stop_before(
        conn, transaction, meter_stop=message.meter_stop_wh, stopped_at=message.stopped_at
    )


def _minutes(session: Session, transaction: Transaction, message: StopTransaction) -> Decimal:
    """Minutes to bill; ``session`` as it was before this stop."""
    began = session.charging_started_at or session.created_at
    if message.stopped_at is None:
        return _minutes_to_last_reading(session, transaction, message)
    if message.stopped_at < transaction.started_at:
        # Use case: the power failed in the middle of the charge, and the charger's clock fell back to 1970. The
        # server's time counts, up to the last reading: the stop may have waited for hours in the charger.
        last = min(session.last_meter_at or began, message.bound_at)
        return meter.billable_minutes(began, last, began, last)
    # Use case: the server's clock was set back since the last reading, and another instance has the charger now.
    bound = max(message.bound_at, session.last_meter_at or began)
    return meter.billable_minutes(transaction.started_at, message.stopped_at, began, bound)


def _minutes_to_last_reading(session: Session, transaction: Transaction, message: StopTransaction) -> Decimal:
    """Nobody knows when it ended, and the stop may have waited for hours in the charger."""
    began = session.charging_started_at or session.created_at
    last = min(session.last_meter_at or began, message.bound_at)
    minutes = meter.billable_minutes(began, last, began, last)
    for reading in message.readings:
        if reading.sampled_at is not None and reading.energy_wh is not None:
            taken = meter.billable_minutes(transaction.started_at, reading.sampled_at, began, message.bound_at)
            minutes = max(minutes, taken)
    return minutes


def _stopped_at(session: Session, transaction: Transaction, message: StopTransaction) -> datetime:
    """End for display: the charger's time where it fits between begin and receipt, else the receipt."""
    began = session.charging_started_at or session.created_at
    if message.stopped_at is not None and began <= message.stopped_at <= message.bound_at:
        return message.stopped_at
    return max(message.bound_at, began)


def _fingerprint(message: StopTransaction) -> str:
    if message.unreadable:
        return members.fingerprint(message.raw, _CONTENT)
    content = orjson.dumps(
        [message.transaction_id, str(message.meter_stop_wh), message.stopped_at, message.id_tag, message.reason]
    )
    return hashlib.sha256(content).hexdigest()


async def _quarantine(
    conn: Conn,
    message: StopTransaction,
    reason: str,
    resolution: str | None = None,
    *,
    reopens: Collection[str] = DECIDED,
) -> int:
    """Keep the message; its id there. Staff hear of one that they have not seen."""
    fingerprint = _fingerprint(message)
    to_look_at = await quarantine.insert(
        conn,
        station_id=message.station_id,
        action=_STOP,
        reason=reason,
        payload=message.raw,
        fingerprint=fingerprint,
        resolution=resolution,
        now=message.received_at,
        reopens=reopens,
    )
    if to_look_at:
        await stations.add_event(
            conn,
            message.station_id,
            "stop_quarantined",
            message.received_at,
            severity="error",
            payload={"transaction_id": message.transaction_id, "reason": reason},
            charger_at=message.stopped_at,
        )
    return await quarantine.id_of(conn, message.station_id, _STOP, fingerprint)
