"""Sessions that hang: found in batches, handled one by one in transactions of their own, safe to overlap.

Every handler takes the session's locks and checks again, so that a sweep that runs twice or races with the charger
changes nothing twice.

Whatever is judged by time in which a charger said nothing counts only time in which it could have been heard
(docs/decisions/0018): after an outage of ours its messages are on their way.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from evpower.charging.models import AFTER_STOP, EndReason, Session, SessionState
from evpower.charging.repository import sessions, transactions
from evpower.charging.repository import sweeps as queries
from evpower.charging.service.common import ask_to_stop, command_stop, lock_with_client
from evpower.charging.service.settle import settle
from evpower.charging.service.stop import reading_minutes, settle_from_last_reading
from evpower.charging.service.waiting_stops import find_waiting, settle_waiting
from evpower.config import get_settings
from evpower.db import Conn
from evpower.stations import service as stations
from evpower.stations.listening import hearing_at

_STOP_RETRY = timedelta(minutes=1)
_STOP_GIVE_UP_S = 15 * 60
_READINGS_QUIET_S = 10 * 60


@dataclass(frozen=True, slots=True)
class Sweep:
    """``find`` lists ids; ``handle`` treats one and returns the id of a command to send after the commit."""

    name: str
    find: Callable[[Conn, datetime, int], Awaitable[list[str]]]
    handle: Callable[[Conn, str, datetime], Awaitable[str | None]]


async def _find_never_started(conn: Conn, now: datetime, limit: int) -> list[str]:
    hearing = await hearing_at(conn, now)
    before = hearing.before(get_settings().no_connection_after_s)
    return [] if before is None else await queries.never_started(conn, before, hearing.ahead, limit)


async def _refund_never_started(conn: Conn, session_id: str, now: datetime) -> None:
    """Money is not blocked for hours when no cable is plugged in (fix 2 of version 1.2.2)."""
    client, session = await lock_with_client(conn, session_id)
    if session.state is SessionState.PENDING:
        await settle(
            conn,
            client,
            session,
            source="no_connection",
            reason=EndReason.NO_CONNECTION,
            initiator="sweep",
            minutes=Decimal(0),
            stopped_at=now,
            now=now,
        )


async def _find_too_long(conn: Conn, now: datetime, limit: int) -> list[str]:
    settings = get_settings()
    if not (await hearing_at(conn, now)).lasted(settings.station_offline_after_s):
        return []  # its stop may be in the charger's queue
    return await queries.too_long(conn, now - timedelta(seconds=settings.session_max_s), limit)


async def _end_too_long(conn: Conn, session_id: str, now: datetime) -> str | None:
    """Bill what the meter shows, return the rest, and stop the charger; its StopTransaction may still correct it."""
    _client, session = await lock_with_client(conn, session_id)
    if session.state not in (SessionState.CHARGING, SessionState.STOPPING):
        return None
    transaction_id = session.ocpp_transaction_id
    await settle_from_last_reading(
        conn, session_id, source="too_long", reason=EndReason.TOO_LONG, initiator="sweep", now=now
    )
    if transaction_id is None:
        return None
    return await command_stop(conn, session.station_id, transaction_id, session_id, "sweep", now)


async def _on_silent_stations(conn: Conn, now: datetime, limit: int, session_id: str | None = None) -> list[str]:
    silent = (await hearing_at(conn, now)).silence(get_settings().station_offline_after_s)
    return [] if silent.since is None else await queries.on_silent_stations(conn, silent, limit, session_id=session_id)


async def _end_offline(conn: Conn, session_id: str, now: datetime) -> None:
    await lock_with_client(conn, session_id)
    if await _on_silent_stations(conn, now, 1, session_id):
        await settle_from_last_reading(
            conn, session_id, source="station_offline", reason=EndReason.STATION_OFFLINE, initiator="sweep", now=now
        )


async def _overdue(conn: Conn, now: datetime, limit: int, session_id: str | None = None) -> list[str]:
    silent = (await hearing_at(conn, now)).silence(get_settings().station_offline_after_s)
    return await queries.readings_overdue(conn, now, silent, limit, session_id=session_id)


async def _stop_overdue(conn: Conn, session_id: str, now: datetime) -> str | None:
    """No reading for three intervals: the limit may be passed unseen, so the session is stopped."""
    _client, session = await lock_with_client(conn, session_id)
    # Use case: the database was away. All readings of that time are overdue, and come in while the sweep is on its way.
    if not await _overdue(conn, now, 1, session_id):
        return None
    silent = {"session_id": session_id, "sample_interval_s": session.sample_interval_s}
    await stations.add_event(
        conn,
        session.station_id,
        "reading_overdue",
        now,
        severity="warning",
        connector=session.connector_id,
        payload=silent,
        charger_at=session.last_meter_charger_at,
    )
    return await ask_to_stop(
        conn, session, reason=EndReason.READING_OVERDUE, initiator="sweep", limit_reached=False, now=now
    )


async def _find_stop_unanswered(conn: Conn, now: datetime, limit: int) -> list[str]:
    hearing = await hearing_at(conn, now)
    given_up = hearing.before(_STOP_GIVE_UP_S)
    return await queries.stop_unanswered(conn, now - _STOP_RETRY, given_up, hearing.ahead, limit)


async def _stop_again(conn: Conn, session_id: str, now: datetime) -> str | None:
    """RemoteStop ended without StopTransaction: ask again, and in the end settle what is known."""
    _client, session = await lock_with_client(conn, session_id)
    if session.state is not SessionState.STOPPING or session.ocpp_transaction_id is None:
        return None
    hearing = await hearing_at(conn, now)
    if session.stop_requested_at is not None and hearing.passed(session.stop_requested_at, _STOP_GIVE_UP_S):
        await sessions.flag_for_review(conn, session_id, ["stop_unanswered"], now)
        await settle_from_last_reading(
            conn, session_id, source="stop_unanswered", reason=EndReason.STATION, initiator="sweep", now=now
        )
        return None
    return await command_stop(conn, session.station_id, session.ocpp_transaction_id, session_id, "sweep", now)


async def _find_late_readings(conn: Conn, now: datetime, limit: int) -> list[str]:
    before = (await hearing_at(conn, now)).before(_READINGS_QUIET_S)
    return [] if before is None else await queries.late_readings(conn, before, limit)


async def _reconcile_late_readings(conn: Conn, session_id: str, now: datetime) -> None:
    """Readings moved the meter of a settled session and no StopTransaction followed: book the difference."""
    client, session = await lock_with_client(conn, session_id)
    if session.state.live:
        return
    if await _has_told_its_end(conn, session):
        await sessions.forget_unsettled_energy(conn, session_id)
        await sessions.flag_for_review(conn, session_id, [AFTER_STOP], now)
        return
    await settle(
        conn,
        client,
        session,
        source="late_readings",
        reason=EndReason.STATION,
        initiator="sweep",
        minutes=await reading_minutes(conn, session),
        stopped_at=session.last_meter_at or now,
        now=now,
    )


async def _has_told_its_end(conn: Conn, session: Session) -> bool:
    """Whether the charge's own StopTransaction told a register that can be its end.

    Use case: an instance of the release before counts readings that come after such a stop.
    """
    if session.ocpp_transaction_id is None:
        return False
    transaction = await transactions.get(conn, session.station_id, session.ocpp_transaction_id)
    return transaction is not None and transaction.status == "stopped" and transaction.stop_plausible is not False


async def _find_left_open(conn: Conn, now: datetime, limit: int) -> list[str]:
    settings = get_settings()
    if not (await hearing_at(conn, now)).lasted(settings.station_offline_after_s):
        return []
    return await queries.left_open(conn, now - timedelta(seconds=settings.session_max_s), limit)


async def _end_left_open(conn: Conn, session_id: str, now: datetime) -> None:
    """Use case: a charge that was over before we heard of it, or was refused, and whose StopTransaction never came."""
    _client, session = await lock_with_client(conn, session_id)
    if not session.state.live and session.ocpp_transaction_id is not None:
        await transactions.end_without_stop(conn, session.ocpp_transaction_id, "no_stop", now)


Handler = Callable[[Conn, str, datetime], Awaitable[str | None]]


def _quiet(work: Callable[[Conn, str, datetime], Awaitable[None]]) -> Handler:
    """A handler that never has a command to send."""

    async def handle(conn: Conn, session_id: str, now: datetime) -> str | None:
        await work(conn, session_id, now)
        return None

    return handle


SWEEPS = (
    Sweep("stops_by_card", find_waiting, _quiet(settle_waiting)),
    Sweep("never_started", _find_never_started, _quiet(_refund_never_started)),
    Sweep("too_long", _find_too_long, _end_too_long),
    Sweep("station_offline", _on_silent_stations, _quiet(_end_offline)),
    Sweep("readings_overdue", _overdue, _stop_overdue),
    Sweep("stop_unanswered", _find_stop_unanswered, _stop_again),
    Sweep("late_readings", _find_late_readings, _quiet(_reconcile_late_readings)),
    Sweep("left_open", _find_left_open, _quiet(_end_left_open)),
)
"""In this order: what ends a session comes before what asks its charger to stop."""
