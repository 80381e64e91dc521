"""Readings of running transactions: context for the socket tier, batch flush, further reserves, auto-stop."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import orjson
import psycopg

from evpower.charging import autostop, belonging
from evpower.charging.autostop import OVERDUE_INTERVALS
from evpower.charging.models import (
    AFTER_STOP,
    EndReason,
    FlushNumber,
    FlushOutcome,
    LimitType,
    MeterUpdate,
    SessionState,
)
from evpower.charging.repository import meter_values, quarantine, sessions, transactions
from evpower.charging.repository import sweeps as queries
from evpower.charging.repository.sessions import session_of
from evpower.charging.running import MeterContext
from evpower.charging.service.common import ask_to_stop, command_stop, fence, lock_with_client, max_power_w
from evpower.charging.service.start import reserve_money
from evpower.commands.models import REMOTE_STOP
from evpower.config import get_settings
from evpower.db import Conn
from evpower.money import ZERO, som
from evpower.stations import charger_settings, sampling
from evpower.stations import service as stations
from evpower.stations.sampling import Gaps

_STOP_AGAIN_AFTER = timedelta(minutes=1)
_ALL_STORED = FlushOutcome()
_LONGEST_CHARGE = timedelta(days=2)  # what is named longer ago is not looked through


async def meter_context(conn: Conn, station_id: str, transaction_id: int) -> MeterContext | None:
    """What judging the readings of a transaction needs; None for one without a session."""
    row = await meter_values.context_row(conn, station_id, transaction_id)
    if row is None:
        return None
    session = session_of(row)
    state = session.meter()
    if state is None:
        return None
    until = None
    if not session.state.live:
        transaction = await transactions.get(conn, station_id, transaction_id)
        assert transaction is not None
        has_stopped = transaction.status == "stopped"
        until = belonging.counted_until(
            stopped_at=transaction.stopped_at if has_stopped else None,
            stop_is_plausible=transaction.stop_plausible,
            next_begin=await transactions.next_begin(conn, transaction),
        )
    return MeterContext(
        transaction_id=transaction_id,
        session_id=session.id,
        client_id=session.user_id,
        station_id=station_id,
        connector_id=session.connector_id,
        state=session.state,
        limit_type=session.limit_type,
        limit_value=session.limit_value,
        price=session.price,
        reserved_amount=session.reserved_amount,
        started_at=session.charging_started_at or session.created_at,
        max_power_w=max_power_w(row["connector_power_kw"]),
        sample_interval_s=session.sample_interval_s,
        meter=state,
        charger_started_at=row["transaction_began_at"],
        register_factor=session.register_factor,
        gaps=_gaps(row),
        until=until,
    )


def _gaps(row: Mapping[str, Any]) -> Gaps:
    configured, observed = row["configured_interval_s"], row["observed_interval_s"]
    wanted = row["wanted_interval_s"] or get_settings().meter_sample_interval_s
    is_known = configured is not None or observed is not None
    return Gaps(sampling.configured_interval_s(configured, wanted), known=is_known)


async def is_transaction(conn: Conn, station_id: str, transaction_id: int) -> bool:
    """Whether the station was ever given this transactionId."""
    return await transactions.get(conn, station_id, transaction_id) is not None


async def running_on(conn: Conn, station_id: str, connector_id: int, now: datetime) -> tuple[int, bool] | None:
    """The transaction with a session that runs on a connector, and whether the station names it in its readings now."""
    return await meter_values.running_on(conn, station_id, connector_id, now - _LONGEST_CHARGE, now)


async def flush_readings(conn: Conn, number: FlushNumber, batch: Sequence[MeterUpdate]) -> FlushOutcome:
    """Store readings and bring the sessions' meters up to date; one statement whatever the size of the batch.

    The same number may be sent again with the same batch when its outcome is unknown: it is stored once. Sessions that
    are locked are left out, and their readings with them.
    """
    locked, stale = await meter_values.flush_numbered(conn, number, batch)
    if not locked and not stale:
        return _ALL_STORED
    sessions = [update.session_id for update in batch]
    return FlushOutcome(
        frozenset(position for position, session in enumerate(sessions) if session in locked),
        frozenset(position for position, session in enumerate(sessions) if session in stale),
    )


async def store_readings_apart(conn: Conn, update: MeterUpdate) -> bool:
    """Store readings of which some or all are not counted, and show their session to staff (``update.review``).

    Returns:
        Whether the session's meter moved as that of a live one.
    """
    try:
        async with conn.transaction():
            stale = await meter_values.flush(conn, [update])
    except (psycopg.DataError, psycopg.IntegrityError) as error:
        await quarantine_readings(conn, update, str(error))
        return False
    if update.session_id is not None and update.review:
        await sessions.flag_once(conn, update.session_id, list(update.review), update.received_at)
    return update.meter is not None and not stale


async def quarantine_readings(conn: Conn, update: MeterUpdate, error: str) -> None:
    """Keep a message that the database refuses, so that it can be acknowledged and looked at by an operator."""
    payload = {
        "connector_id": update.connector_id,
        "transaction_id": update.transaction_id,
        "session_id": update.session_id,
        "readings": [reading.raw for reading in update.readings],
        "error": error,
    }
    await quarantine.insert(
        conn,
        station_id=update.station_id,
        action="MeterValues",
        reason="the database refused the readings",
        payload=payload,
        fingerprint=hashlib.sha256(orjson.dumps(payload, option=orjson.OPT_SORT_KEYS)).hexdigest(),
        resolution=None,
        now=update.received_at,
    )
    if update.session_id is not None:
        await sessions.flag_for_review(conn, update.session_id, ["readings_quarantined"], update.received_at)


async def extend_reserve(
    conn: Conn, session_id: str, epoch: int, now: datetime, *, measured_at: datetime | None = None
) -> MeterContext | None:
    """Reserve more for an unlimited session that nears the end of its reserve: what lasts until the next reading.

    ``measured_at``: ``now`` as the caller measures the transaction's time (:meth:`MeterContext.measured`).

    Judged by what is stored, not by what the caller saw. Use case: several readings come at once, each from before the
    new reserve, and all ask for it; the first gets it, and the others neither take more nor find the balance empty.

    Returns:
        The session's new context, or None when the whole balance does not last: the session must stop.

    Raises:
        ConnectionLost: the station has connected elsewhere.
    """
    client, session = await lock_with_client(conn, session_id)
    await fence(conn, session.station_id, epoch)
    if session.state is not SessionState.CHARGING or session.limit_type is not LimitType.NONE:
        return None
    assert session.ocpp_transaction_id is not None
    context = await meter_context(conn, session.station_id, session.ocpp_transaction_id)
    if context is None:
        return None
    before, amount = context.reserved_amount, ZERO
    while autostop.decide(context, measured_at or now).extend:
        more = som(min(get_settings().unlimited_reserve_som, client.balance - amount))
        if more <= 0:
            break
        amount += more
        context.reserve(before + amount)
    # What is left is taken also when it does not last: the car draws until the contactor opens.
    await reserve_money(conn, client.id, session.id, amount, number_of_reserve=session.reserve_count + 1, now=now)
    return None if autostop.decide(context, measured_at or now).extend else context


async def sampling_changed(conn: Conn, station_id: str) -> None:
    """Count with the charger's present interval in its running charges: after it was told, or set."""
    station = await stations.resolve(conn, station_id)
    if station is not None:
        await sessions.set_sample_interval(
            conn, station_id, stations.expected_sample_interval_s(station), OVERDUE_INTERVALS
        )


async def sampling_observed(conn: Conn, station_id: str, interval_s: int, now: datetime) -> None:
    """Readings show another interval than was counted with: no charge there is overdue by the old one."""
    await charger_settings.note_observed_sampling(conn, station_id, interval_s, now)
    await sampling_changed(conn, station_id)


async def auto_stop(conn: Conn, session_id: str, now: datetime) -> str | None:
    """Stop a session whose limit is about to be reached; the RemoteStop to dispatch, None when it has ended."""
    _client, session = await lock_with_client(conn, session_id)
    if session.state is not SessionState.CHARGING:
        return None
    return await ask_to_stop(conn, session, reason=EndReason.LIMIT, initiator="limit", limit_reached=True, now=now)


async def stop_closed(conn: Conn, session_id: str, now: datetime) -> str | None:
    """RemoteStop for a transaction that goes on although its session was closed; at most one a minute.

    Use case: a sweep settled the session while the station was away; the station comes back and still charges, or it
    only replays the readings of a transaction that has ended, each of which would be answered by another RemoteStop.
    """
    session = await sessions.get(conn, session_id)
    if session is None or session.state.live or session.ocpp_transaction_id is None:
        return None
    transaction = await transactions.get(conn, session.station_id, session.ocpp_transaction_id)
    if transaction is None:
        return None
    if transaction.status == "stopped":
        # Use case: the last reading comes after StopTransaction. Some chargers stop what runs, whatever id is named,
        # and that may be the next driver's charge by now.
        if transaction.stop_plausible is not False:
            await sessions.flag_once(conn, session_id, [AFTER_STOP], now)
        return None
    if await transactions.next_begin(conn, transaction) is not None:
        return None  # its connector serves another charge
    if await queries.asked_since(conn, session_id, REMOTE_STOP, now - _STOP_AGAIN_AFTER):
        return None
    return await command_stop(conn, session.station_id, session.ocpp_transaction_id, session.id, "system", now)
