"""MeterValues: normalised, applied to the session's meter, committed with the group, judged, answered.

The running transaction is kept in memory (OCPP 1.6 section 4.7; ocpp.md §3): a reading needs no query, and what is
kept moves on only after the commit. After a reconnect, on any instance, it is loaded again.
"""

import time
from datetime import datetime

from msgspec.structs import replace

from evpower.charging import autostop, meter
from evpower.charging import service as charging
from evpower.charging.autostop import Decision
from evpower.charging.models import MeterUpdate, Reading, SessionState
from evpower.charging.running import MeterContext
from evpower.db import Conn
from socket_tier import normalise
from socket_tier.charger import Charger
from socket_tier.dialect import Done, Payload
from socket_tier.ocpp16 import meter_frames, values
from socket_tier.ocpp16.meter_frames import MeterFrame

_MAX_TRANSACTIONS = 64
_OF_TRANSACTION = frozenset({None, "Sample.Periodic", "Transaction.Begin", "Transaction.End"})
_ENERGY_UNUSABLE = frozenset({normalise.UNREADABLE, normalise.UNKNOWN_UNIT, normalise.OUT_OF_RANGE})


async def handle(charger: Charger, payload: Payload) -> Payload:
    now = charger.services.clock.now()
    connector_id = values.connector(payload, lowest=0)
    readings = normalise.readings(payload["meterValue"])
    transaction_id = payload.get("transactionId")
    if not values.is_int32(transaction_id):
        transaction_id = None
    named = transaction_id is not None and transaction_id > 0
    if named:
        charger.unnamed.clear()
    context = await _context(charger, transaction_id if named else await _unnamed(charger, connector_id, readings, now))
    if context is None:
        update = MeterUpdate(charger.station_id, charger.epoch, connector_id, transaction_id, None, now, readings)
        await charger.services.flush.store(update)
        return {}
    measured_at = context.measured(now, time.monotonic())
    decision, update = judge(context, readings, now, measured_at, epoch=charger.epoch, connector_id=connector_id)
    if not named:
        update = replace(update, transaction_id=transaction_id)  # as it was sent
    _follow(charger, context, update, decision, await charger.services.flush.store(update))
    return {}


async def _unnamed(charger: Charger, connector_id: int, readings: tuple[Reading, ...], now: datetime) -> int | None:
    """The transaction that runs on the connector, if this station never says which one its readings belong to.

    Use case: ``transactionId`` is optional in MeterValues (OCPP 1.6 MeterValues.req), and some chargers never send it.
    Without their readings nothing stops such a session in time. Clock-aligned samples are not taken: they are the
    meter's, also between transactions (section 4.7). Neither are those of connector 0, the whole station.
    """
    if connector_id < 1 or not all(reading.context in _OF_TRANSACTION for reading in readings):
        return None
    if connector_id in charger.unnamed:
        return charger.unnamed[connector_id]

    async def work(conn: Conn) -> int | None:
        return await charging.unnamed_transaction(conn, charger.station_id, connector_id, now)

    found = charger.unnamed[connector_id] = await charger.services.database.run(work)
    return found


def quick(charger: Charger, frame: MeterFrame, done: Done) -> bool:
    """:func:`handle` for a reading of a transaction that is in memory: no task, no query, one callback."""
    payload = frame.payload
    context = charger.transactions.get(payload.transactionId)
    connector_id = payload.connectorId
    if context is None or not 0 <= connector_id <= values.MAX_CONNECTOR:
        return False
    readings = meter_frames.readings(frame)
    if readings is None:
        return False
    if charger.unnamed:
        charger.unnamed.clear()
    now = charger.services.clock.now()
    measured_at = context.measured(now, time.monotonic())
    decision, update = judge(context, readings, now, measured_at, epoch=charger.epoch, connector_id=connector_id)

    def stored(outcome: bool | Exception) -> None:
        if isinstance(outcome, Exception):
            done(outcome)
        else:
            _follow(charger, context, update, decision, outcome)
            done({})

    charger.services.flush.add(update, stored)
    return True


def _follow(charger: Charger, context: MeterContext, update: MeterUpdate, decision: Decision, current: bool) -> None:
    """After the commit: what is kept moves on, and what the decision asks for is started once the answer is out."""
    if current:
        assert update.meter is not None
        interval_s = context.gaps.new_interval(
            context.sample_interval_s, context.meter.since_charger, update.meter.since_charger
        )
        context.meter = update.meter
        if interval_s is not None:
            context.sample_every(interval_s)
            charger.defer(lambda: _sampling_observed(charger, interval_s))
        if decision.stop or decision.extend:
            _act(charger, context, decision)
    else:
        # The session has ended, or the station is elsewhere: what is known here is out of date.
        charger.transactions.pop(context.transaction_id, None)
        charger.unnamed.clear()
        charger.defer(lambda: _stop_closed(charger, context.session_id))


def judge(
    context: MeterContext,
    readings: tuple[Reading, ...],
    now: datetime,
    measured_at: datetime,
    *,
    epoch: int,
    connector_id: int,
) -> tuple[Decision, MeterUpdate]:
    """What a message does to a running transaction: what follows, what is stored. Pure: ``context`` stays.

    Energy and minutes are judged by ``measured_at`` (:meth:`MeterContext.measured`); ``now`` says when the next is due.
    """
    state, faults = meter.apply_all(
        context.meter, readings, measured_at, context.max_power_w, context.started_at, context.charger_started_at
    )
    decision = autostop.judge(context, state, measured_at)
    for reading in readings:
        if reading.flags and reading.energy_wh is None and not _ENERGY_UNUSABLE.isdisjoint(reading.flags):
            faults = (*faults, "energy_unreadable")
    update = MeterUpdate(
        context.station_id,
        epoch,
        connector_id,
        context.transaction_id,
        context.session_id,
        now,
        readings,
        state,
        decision.cost,
        autostop.overdue_at(context, now),
        faults,
    )
    return decision, update


async def _context(charger: Charger, transaction_id: int | None) -> MeterContext | None:
    """The running transaction, from memory or, after a reconnect, from the database."""
    if transaction_id is None or transaction_id <= 0:
        return None
    known = charger.transactions
    if transaction_id in known:
        return known[transaction_id]

    async def work(conn: Conn) -> MeterContext | None:
        return await charging.meter_context(conn, charger.station_id, transaction_id)

    found = await charger.services.database.run(work)
    if found is not None:
        found.keep_time(charger.services.clock.now(), time.monotonic())
    if len(known) >= _MAX_TRANSACTIONS:
        known.pop(next(iter(known)))  # a charger that invents transaction ids costs no memory
    known[transaction_id] = found
    return found


def _act(charger: Charger, context: MeterContext, decision: Decision) -> None:
    if context.state is not SessionState.CHARGING:
        return
    if decision.extend:
        charger.defer(lambda: _extend(charger, context))
    elif decision.stop:
        charger.defer(lambda: _auto_stop(charger, context))


async def _sampling_observed(charger: Charger, interval_s: int) -> None:
    station_id, now = charger.station_id, charger.services.clock.now()
    await charger.services.database.run(lambda conn: charging.sampling_observed(conn, station_id, interval_s, now))


async def _extend(charger: Charger, context: MeterContext) -> None:
    """Use case: an unlimited session nears the end of its reserve. Reserve more, or stop when nothing is left."""
    now = charger.services.clock.now()
    measured_at = context.measured(now, time.monotonic())

    async def work(conn: Conn) -> MeterContext | None:
        return await charging.extend_reserve(conn, context.session_id, charger.epoch, now, measured_at=measured_at)

    extended = await charger.services.database.run(work)
    if extended is None:
        await _auto_stop(charger, context)
        return
    present = charger.transactions.get(context.transaction_id)
    if present is not None:
        present.reserve(extended.reserved_amount)


async def _auto_stop(charger: Charger, context: MeterContext) -> None:
    now = charger.services.clock.now()

    async def work(conn: Conn) -> str | None:
        return await charging.auto_stop(conn, context.session_id, now)

    command_id = await charger.services.database.run(work)
    present = charger.transactions.get(context.transaction_id)
    if present is not None:
        present.state = SessionState.STOPPING  # asked once; if the stop is lost, the sweep asks again
    charger.dispatch(command_id)


async def _stop_closed(charger: Charger, session_id: str) -> None:
    """Use case: a sweep settled the session while the station was away, and the station still charges."""
    now = charger.services.clock.now()

    async def work(conn: Conn) -> str | None:
        return await charging.stop_closed(conn, session_id, now)

    charger.dispatch(await charger.services.database.run(work))
