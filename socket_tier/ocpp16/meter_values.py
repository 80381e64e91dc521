"""MeterValues: normalised, applied to the session's meter, committed with the group, judged, answered.

The running transaction is kept in memory (OCPP 1.6 section 4.7; ocpp.md §3): a reading needs no query, and what is
kept moves on only after the commit. After a reconnect, on any instance, it is loaded again.
"""

from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime
from typing import TypeVar

from msgspec.structs import replace

from evpower.charging import autostop, belonging, members, meter
from evpower.charging import service as charging
from evpower.charging.autostop import Decision
from evpower.charging.models import AFTER_STOP, CONTRADICTION, NO_TIME, UNUSABLE, MeterUpdate, Reading, SessionState
from evpower.charging.running import MeterContext
from evpower.db import Conn
from socket_tier import normalise
from socket_tier.charger import Charger
from socket_tier.dialect import Done, Payload
from socket_tier.ocpp16 import entries, meter_frames, values
from socket_tier.ocpp16.meter_frames import MeterFrame

T = TypeVar("T")

_MAX_TRANSACTIONS = 64
_OF_TRANSACTION = frozenset({None, "Sample.Periodic", "Transaction.Begin", "Transaction.End"})
_ENERGY_UNUSABLE = frozenset({UNUSABLE, normalise.UNREADABLE, normalise.UNKNOWN_UNIT, normalise.OUT_OF_RANGE})


async def handle(charger: Charger, payload: Payload) -> Payload:
    now = charger.services.clock.now()
    readings = (
        *normalise.readings(payload.get("meterValue") or ()),
        *entries.unusable(charger.inbound.lost, "meterValue", is_torn=charger.inbound.is_torn),
    )
    transaction_id = members.identifier(payload.get("transactionId"))
    connector_id = await _connector(charger, payload, transaction_id)
    context = await _context(charger, transaction_id)
    if context is not None:
        charger.is_named(context.transaction_id)
        shown = meter.scaled(readings, context.register_factor)
        counted = belonging.counting(shown, context.charger_started_at, context.until)
        reason = AFTER_STOP if _tells_more(context, shown, counted) else None
        if _is_of_another_connector(context, connector_id, shown, _measured(charger, context, now, shown)):
            counted, reason = (), CONTRADICTION
    else:
        context = await _unnamed(charger, connector_id, transaction_id, readings, now)
        shown = meter.scaled(readings, context.register_factor if context is not None else 1)
        began_at = context.charger_started_at if context is not None else None
        counted, reason = belonging.not_before(shown, began_at, now), None
        context = context if counted else None
    if context is None:
        update = MeterUpdate(charger.station_id, charger.epoch, connector_id, transaction_id, None, now, readings)
        await charger.services.flush.store(update)
        return {}
    at = _measured(charger, context, now, counted)
    decision, update = judge(context, counted, now, at, epoch=charger.epoch, connector_id=connector_id)
    update = replace(update, transaction_id=transaction_id, readings=readings)  # as it was sent
    if counted and reason is None:
        _follow(charger, context, update, decision, await charger.services.flush.store(update))
        return {}
    review = update.review if reason is None else (*update.review, reason)
    update = replace(update, meter=update.meter if counted else None, review=review)
    current = await _run(charger, lambda conn: charging.store_readings_apart(conn, update))
    if counted:
        _follow(charger, context, update, decision, current)
    return {}


async def _connector(charger: Charger, payload: Payload, transaction_id: int | None) -> int:
    """The message's connector; where it cannot be read, that of its transaction.

    Raises:
        CallFault: neither is known.
    """
    number = values.connector_or_none(payload.get("connectorId"), lowest=0)
    if number is not None:
        return number
    context = await _context(charger, transaction_id)
    return context.connector_id if context is not None else values.connector(payload, lowest=0)


def _tells_more(context: MeterContext, readings: tuple[Reading, ...], counted: tuple[Reading, ...]) -> bool:
    """Whether what is not counted tells of more than is known. Use case: the register of the stop comes once more."""
    return len(counted) < len(readings) and any(
        reading.energy_wh is not None and reading.energy_wh > context.meter.register_wh
        for reading in readings
        if reading not in counted
    )


def _is_of_another_connector(
    context: MeterContext, connector_id: int, readings: tuple[Reading, ...], measured_at: datetime
) -> bool:
    """Whether a message that names a transaction of another connector is of what that connector delivers.

    Its registers tell. Some chargers always give the same connector, so where they go on from those of the named
    transaction, the name counts.
    """
    return connector_id not in (0, context.connector_id) and not belonging.continues(
        context.meter, readings, context.started_at, measured_at, context.max_power_w
    )


async def _unnamed(
    charger: Charger, connector_id: int, named: int | None, readings: tuple[Reading, ...], now: datetime
) -> MeterContext | None:
    """The transaction that runs on the connector, unless the station names it in other readings at the same time.

    ``named``: what the message names, none of the station's transactions with a session. Use case: ``transactionId`` is
    optional in MeterValues (OCPP 1.6 MeterValues.req); some chargers never send it, or send 0, -1 or a number of their
    own, for all charges or for those whose id they do not know (after a reboot, before the answer). Without their
    readings nothing stops such a session in time. Clock-aligned samples are not taken: they are the meter's, also
    between transactions (section 4.7). Neither are those of connector 0, the whole station.
    """
    if connector_id < 1 or not all(reading.context in _OF_TRANSACTION for reading in readings):
        return None
    number = named if named is not None and named > 0 else 0
    key = (connector_id, number)
    if key not in charger.unnamed:
        if number and await _run(charger, lambda conn: charging.is_transaction(conn, charger.station_id, number)):
            running = None  # of a card that was refused
        else:
            running = await _run(charger, lambda conn: charging.running_on(conn, charger.station_id, connector_id, now))
        if running is not None and running[1]:
            return None
        if len(charger.unnamed) >= _MAX_TRANSACTIONS:
            charger.unnamed.clear()
        charger.unnamed[key] = running[0] if running is not None else None
    return await _context(charger, charger.unnamed[key])


async def _run(charger: Charger, work: Callable[[Conn], Awaitable[T]]) -> T:
    return await charger.services.database.run(work)


def quick(charger: Charger, frame: MeterFrame, done: Done) -> bool:
    """:func:`handle` for a reading of a transaction that is in memory: no task, no query, one callback."""
    payload = frame.payload
    context = charger.transactions.get(payload.transactionId)
    connector_id = payload.connectorId
    if context is None or context.until is not None or connector_id not in (0, context.connector_id):
        return False
    if context.register_factor != 1:
        return False
    readings = meter_frames.readings(frame)
    if readings is None:
        return False
    if charger.unnamed:
        charger.is_named(context.transaction_id)
    now = charger.services.clock.now()
    at = _measured(charger, context, now, readings)
    decision, update = judge(context, readings, now, at, epoch=charger.epoch, connector_id=connector_id)

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
        context.advance(update.meter, charger.services.clock.monotonic())
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


def _measured(charger: Charger, context: MeterContext, now: datetime, readings: tuple[Reading, ...]) -> datetime:
    """``now`` as the time of the transaction: no step of the server's clock moves it."""
    at = readings[-1].sampled_at if readings else None
    return context.measured(now, charger.services.clock.monotonic(), at)


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
    tells_energy = meter.moved_on(context.meter, state)
    decision = autostop.judge(context, state, measured_at, tells_energy=tells_energy)
    for reading in readings:
        if reading.flags:
            faults = (*faults, *_unreadable(reading))
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
        autostop.overdue_at(context, now) if tells_energy else None,
        faults,
    )
    return decision, update


def _unreadable(reading: Reading) -> Iterator[str]:
    """Reasons for a review in a reading's flags."""
    if reading.energy_wh is None and not _ENERGY_UNUSABLE.isdisjoint(reading.flags):
        yield "energy_unreadable"
    if NO_TIME in reading.flags:
        yield "reading_time_unreadable"


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
        found.keep_time(charger.services.clock.now(), charger.services.clock.monotonic())
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
    at = context.measured(now, charger.services.clock.monotonic(), context.meter.since_charger)

    async def work(conn: Conn) -> MeterContext | None:
        return await charging.extend_reserve(conn, context.session_id, charger.epoch, now, measured_at=at)

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
