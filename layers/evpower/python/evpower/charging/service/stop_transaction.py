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
from evpower.charging import meter, repeats
from evpower.charging.models import (
    TRANSACTION_DATA,
    UNUSABLE,
    ZERO,
    EndReason,
    MeterState,
    MeterUpdate,
    Reading,
    Session,
    StopTransaction,
    TransactionStopped,
)
from evpower.charging.repository import meter_values, quarantine, sessions, transactions
from evpower.charging.repository.transactions import Transaction
from evpower.charging.service.common import fence, lock_with_client, max_power_w
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


async def stop_transaction(conn: Conn, message: StopTransaction) -> TransactionStopped:
    """Close the transaction and settle its session, or keep a message that nothing explains.

    Use cases: a repeat (the charger did not see the answer) changes nothing; a stop that comes after a sweep closed
    the session books the difference; an unknown, -1 or huge id is quarantined and shown to operators.

    Raises:
        ConnectionLost: the station has connected elsewhere.
    """
    await fence(conn, message.station_id, message.epoch)
    transaction, matched = await _find(conn, message)
    if matched and await quarantine.is_known(conn, message.station_id, _STOP, _fingerprint(message)):
        # Use case: the answer to a stop that names only its card was lost, and the card's next charge has begun where
        # the last one ended. A repeat must not end it; whether it is one, somebody has to tell.
        await _quarantine(conn, message, "unknown transaction id", reopens=(*DECIDED, "automatic"))
        return TransactionStopped(None, quarantined=True)
    if transaction is None:
        await _quarantine(conn, message, "unknown transaction id")
        return TransactionStopped(None, quarantined=True)
    if transaction.session_id is None:
        return await _stop_without_session(conn, transaction, message)
    client, session = await lock_with_client(conn, transaction.session_id)
    transaction = await transactions.lock(conn, transaction.id)
    if transaction.status == "stopped":
        return await _stop_again(conn, transaction, message)
    if matched:
        await _quarantine(conn, message, "unknown transaction id", f"matched transaction {transaction.id} by its tag")
    await _close(conn, transaction, message)
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


async def stop_verdict(conn: Conn, message: StopTransaction) -> TagVerdict | None:
    """What the answer says of the tag that stopped (idTagInfo, for the charger's cache); None: no tag was named."""
    if not message.id_tag:
        return None
    return await authorize(conn, message.station_id, message.id_tag, message.received_at)


async def _find(conn: Conn, message: StopTransaction) -> tuple[Transaction | None, bool]:
    """The transaction, and whether it was found by its tag only.

    Use case: the charger stops before it saw the answer to its StartTransaction, so it has no id to name. The one
    transaction that runs with this tag on this station is meant, unless the stop is older than it: then it is that of
    an earlier charge with the same card.
    """
    if 0 < message.transaction_id < 2**31:
        found = await transactions.get(conn, message.station_id, message.transaction_id)
        if found is not None:
            return found, False
    if message.id_tag:
        candidates = await transactions.active_with_tag(conn, message.station_id, message.id_tag)
        if len(candidates) == 1 and _may_end(candidates[0], message):
            return candidates[0], True
    return None, False


def _may_end(transaction: Transaction, message: StopTransaction) -> bool:
    """Whether a stop that names no id of ours can be the end of ``transaction``; both times are the charger's."""
    tells_time = not (
        meter.clock_is_dead(message.stopped_at, message.received_at)
        or meter.clock_is_dead(transaction.started_at, transaction.received_at)
    )
    is_older = tells_time and message.stopped_at < transaction.started_at
    return message.meter_stop_wh >= transaction.meter_start and not is_older


async def _stop_without_session(conn: Conn, transaction: Transaction, message: StopTransaction) -> TransactionStopped:
    transaction = await transactions.lock(conn, transaction.id)
    if transaction.status == "stopped":
        return await _stop_again(conn, transaction, message)
    await _close(conn, transaction, message)
    if message.meter_stop_wh > transaction.meter_start:
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
    if transaction.meter_stop != message.meter_stop_wh or transaction.stopped_at != message.stopped_at:
        await _quarantine(conn, message, "another stop of a stopped transaction")
        return TransactionStopped(transaction.session_id, quarantined=True)
    return TransactionStopped(transaction.session_id, repeated=True)


async def _close(conn: Conn, transaction: Transaction, message: StopTransaction) -> None:
    """Write the end of a transaction, and store its transactionData beside the readings that came live."""
    await transactions.stop(conn, transaction.id, message, named_id=message.transaction_id == transaction.id)
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
    state = session.meter() or meter.begin(transaction.meter_start, began_at, transaction.started_at)
    if transaction.repetition > 0 and await _plays_an_earlier_charge(conn, transaction, message, bound):
        state, found = replace(state, energy_wh=Decimal(0)), {REPLAYED}
    else:
        data = _data_in_order(state, transaction, message)
        said = transaction.started_at
        received_at = message.measured_at or message.received_at
        state, faults = meter.apply_all(state, data or (), received_at, bound, began_at, said)
        last_faults: tuple[str, ...] = ()
        # Use case: staff apply another stop to a charge that has ended. A register below the known one did not restart.
        if transaction.status != "stopped" or message.meter_stop_wh >= state.register_wh:
            state, last_faults = meter.finish(
                state, message.meter_stop_wh, message.stopped_at, received_at, bound, began_at, said
            )
        found = {*faults, *last_faults} | ({_DATA_UNUSABLE} if data is None else set())
    if any(UNUSABLE in reading.flags for reading in message.readings):
        found.add(_DATA_UNUSABLE)
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
            payload={"session_id": session.id, "faults": reasons, "meter_stop": str(message.meter_stop_wh)},
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
    if len({reading.sampled_at for reading in data}) == 1:
        # The clock stands still: what can have been delivered from one to the next nobody knows. The last tells all.
        data = tuple(reading for reading in data if reading.energy_wh is not None)[-1:]
    times = [state.since_charger, *(reading.sampled_at for reading in data)]
    fell_back = any(meter.fell_back(time, transaction.started_at) for time in times)
    if meter.clock_is_dead(transaction.started_at, transaction.received_at):
        said = [reading.sampled_at for reading in data if reading.sampled_at is not None]
        fell_back = fell_back or any(later < earlier for earlier, later in pairwise(said))
    if data and fell_back:
        return None
    if state.since_charger is None or (not state.energy_wh and state.register_wh == max(transaction.meter_start, ZERO)):
        return data
    # What was counted live is not counted again. Use case: the register restarted in the middle of the charge, and the
    # entries from before it look as if it had jumped back.
    counted = state.since_charger
    return tuple(reading for reading in data if reading.sampled_at is None or reading.sampled_at > counted)


async def _plays_an_earlier_charge(
    conn: Conn, transaction: Transaction, message: StopTransaction, max_power_w: Decimal
) -> bool:
    """Whether a charger without a clock plays a charge from its queue again that was billed (decisions/0008)."""
    energy = message.meter_stop_wh - transaction.meter_start
    return not repeats.could_deliver(
        energy, transaction.received_at, message.received_at, max_power_w
    ) and await transactions.same_stop_before(
        conn, transaction, meter_stop=message.meter_stop_wh, stopped_at=message.stopped_at
    )


def _minutes(session: Session, transaction: Transaction, message: StopTransaction) -> Decimal:
    """Minutes to bill; ``session`` as it was before this stop."""
    began = session.charging_started_at or session.created_at
    if message.stopped_at < transaction.started_at:
        # Use case: the power failed in the middle of the charge, and the charger's clock fell back to 1970. The
        # server's time counts, up to the last reading: the stop may have waited for hours in the charger.
        last = min(session.last_meter_at or began, message.bound_at(None))
        return meter.billable_minutes(began, last, began, last)
    bound = message.bound_at(session.last_meter_at)
    return meter.billable_minutes(transaction.started_at, message.stopped_at, began, bound)


def _stopped_at(session: Session, transaction: Transaction, message: StopTransaction) -> datetime:
    """End for display: the charger's time where it fits between begin and receipt, else the receipt."""
    began = session.charging_started_at or session.created_at
    received = message.bound_at(session.last_meter_at)
    return message.stopped_at if began <= message.stopped_at <= received else max(received, began)


def _fingerprint(message: StopTransaction) -> str:
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
) -> None:
    to_look_at = await quarantine.insert(
        conn,
        station_id=message.station_id,
        action=_STOP,
        reason=reason,
        payload=message.raw,
        fingerprint=_fingerprint(message),
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
