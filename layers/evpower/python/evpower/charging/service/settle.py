"""Settlement: the one place where a session's bill becomes money. Caller holds the locks of client and session."""

from datetime import datetime
from decimal import Decimal

from evpower import metrics
from evpower.accounts import service as accounts
from evpower.accounts.models import Client, LedgerType, Movement
from evpower.charging import estimate, settlement
from evpower.charging.models import BY_CARD, Session, SessionState
from evpower.charging.repository import sessions, transactions
from evpower.db import Conn
from evpower.notifications import service as notifications
from evpower.pricing import service as pricing
from evpower.stations import service as stations

BY_TRANSACTION = "stop_transaction"
"""Source of a settlement that StopTransaction causes: no other knows when the session really ended."""
BY_QUARANTINED_STOP = "quarantined_stop"
"""The same, when staff say which transaction the message belongs to."""
_BY_STOP = (BY_TRANSACTION, BY_QUARANTINED_STOP, BY_CARD)

_START_FAILURES = ("NO_CONNECTION", "start_rejected")


async def settle(
    conn: Conn,
    client: Client,
    session: Session,
    *,
    source: str,
    reason: str,
    initiator: str,
    minutes: Decimal,
    stopped_at: datetime,
    now: datetime,
) -> Session:
    """Book what ``session.energy_wh`` and ``minutes`` cost against what was taken, and close the session.

    The first call settles the reserve. Later ones book only the difference; one that changes nothing writes nothing,
    so that a repeated StopTransaction, a sweep and a route may all come here.
    """
    bill = settlement.bill(session.price, session.energy_wh, minutes)
    outcome = settlement.settle(bill.amount, session.taken_amount, client.balance)
    first = session.settlement_revision == 0 or session.state.live
    written_off_before = session.written_off_amount if not first else Decimal(0)
    state = _final_state(session, reason)
    if not first and outcome.movement == 0 and outcome.written_off == written_off_before and state is session.state:
        await sessions.mark_energy_settled(conn, session.id)  # e.g. a few Wh more within the same tyiyn
        return session
    await _flag_doubts(conn, session, now, first=first)
    revision = session.settlement_revision + 1
    if outcome.movement != 0:
        await accounts.move(conn, _movement(session, outcome.movement, revision, source))
    if outcome.written_off != written_off_before:
        await sessions.insert_write_off(
            conn, session, outcome.written_off - written_off_before, revision=revision, reason=source, now=now
        )
    await sessions.insert_settlement(
        conn, session, outcome, revision=revision, source=source, energy_wh=session.energy_wh, minutes=minutes, now=now
    )
    await sessions.close(
        conn,
        session,
        outcome,
        state=state,
        revision=revision,
        base=bill.base_amount,
        reason=reason,
        initiator=initiator,
        stopped_at=stopped_at,
        by_transaction=source in _BY_STOP,
        now=now,
    )
    if session.ocpp_transaction_id is not None:
        await transactions.end_without_stop(conn, session.ocpp_transaction_id, source, now)
    await pricing.record_promo_use(
        conn, session.price, client_id=client.id, session_id=session.id, discount=bill.discount_amount
    )
    await stations.release_connector(conn, session.id)
    _count(session, outcome, first=first, state=state, reason=reason, written_off_before=written_off_before)
    await _tell(conn, session, state, reason, outcome.taken)
    await notifications.warn_of_low_balance(conn, client.id, now)
    settled = await sessions.get(conn, session.id)
    assert settled is not None
    return settled


async def _flag_doubts(conn: Conn, session: Session, now: datetime, *, first: bool) -> None:
    """Mark a bill that no register, or one that cannot be right, stands behind; propose what may mend it.

    Use case: the station's registers count kWh. Staff confirm that by ``PUT /admin/stations/{station_id}`` with
    ``register_factor``; until then nothing is multiplied.
    """
    state = session.meter()
    doubts = () if state is None else estimate.doubts(state)
    if state is None or not doubts:
        return
    await sessions.flag_for_review(conn, session.id, list(doubts), now)
    power_wh = state.memory.power_wh if state.memory is not None else Decimal(0)
    if not (first and session.register_factor == 1 and estimate.BELOW_POWER in doubts):
        return
    if not estimate.counts_kwh(state.energy_wh, power_wh):
        return
    await stations.add_event(
        conn,
        session.station_id,
        "register_unit_suspected",
        now,
        severity="warning",
        connector=session.connector_id,
        payload={
            "session_id": session.id,
            "register_wh": str(state.energy_wh),
            "power_wh": str(power_wh),
            "proposed_register_factor": estimate.KWH_IN_WH,
        },
    )


def _count(
    session: Session,
    outcome: settlement.Settlement,
    *,
    first: bool,
    state: SessionState,
    reason: str,
    written_off_before: Decimal,
) -> None:
    """Revenue is what the session's bill took: at first all of it (the reserve was none yet), later the difference."""
    billed_before = Decimal(0) if first else session.taken_amount
    metrics.emit_after_commit(
        {
            "SessionsSettled" if first else "SettlementsRevised": 1,
            "RevenueSom": float(outcome.taken - billed_before),
            "WrittenOffSom": float(outcome.written_off - written_off_before),
        }
    )
    if first:
        metrics.emit_after_commit({"EnergyDeliveredKwh": float(session.energy_kwh)})
        if state is SessionState.ERROR:
            known = reason in _START_FAILURES
            metrics.emit_after_commit({"StartsFailed": 1}, Reason=str(reason) if known else "other")


def _movement(session: Session, amount: Decimal, revision: int, source: str) -> Movement:
    return Movement(
        client_id=session.user_id,
        type=LedgerType.CHARGE_REFUND if amount > 0 else LedgerType.CHARGE_PAYMENT,
        amount=amount,
        source_key=f"settle:{session.id}:{revision}",
        session_id=session.id,
        description=source,
    )


def _final_state(session: Session, reason: str) -> SessionState:
    """`error` only for a session that never delivered energy and cannot go on (mobile-api.md §0.15)."""
    if session.energy_wh <= 0 and (reason in _START_FAILURES or session.state is SessionState.ERROR):
        return SessionState.ERROR
    return SessionState.STOPPED


async def _tell(conn: Conn, session: Session, state: SessionState, reason: str, amount: Decimal) -> None:
    if state is SessionState.ERROR:
        await notifications.charging_error(conn, client_id=session.user_id, session_id=session.id, error_code=reason)
    else:
        await notifications.charging_completed(
            conn,
            client_id=session.user_id,
            session_id=session.id,
            station_id=session.station_id,
            energy_kwh=session.energy_kwh,
            amount=amount,
        )
