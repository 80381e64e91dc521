"""StartTransaction: exactly once by content, bound to the session that waits for it (ocpp.md §3, design: Money)."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from evpower import metrics
from evpower.accounts import service as accounts
from evpower.accounts.models import Client, ClientStatus
from evpower.charging import autostop, meter, repeats
from evpower.charging.autostop import OVERDUE_INTERVALS
from evpower.charging.models import (
    EndReason,
    LimitType,
    Session,
    SessionState,
    StartTransaction,
    TransactionStarted,
)
from evpower.charging.repository import sessions, transactions
from evpower.charging.repository.transactions import Transaction
from evpower.charging.service.common import command_stop, fence, lock_with_client, unreadable_reasons
from evpower.charging.service.meter_updates import meter_context
from evpower.charging.service.replayed_card import open_ended_session
from evpower.charging.service.start import open_session, reserve_money
from evpower.charging.service.tags import TagVerdict, card_verdict, is_closed_to_drivers
from evpower.config import get_settings
from evpower.db import Conn
from evpower.errors import ConnectorOccupied, SessionAlreadyActive
from evpower.money import som
from evpower.notifications import service as notifications
from evpower.pricing import service as pricing
from evpower.stations import sampling
from evpower.stations import service as stations
from evpower.stations.models import Station

# A connection older than this has replayed its queue: what it sends now happens now, whatever its clock says.
_REPLAY_WINDOW = timedelta(minutes=2)
_LONGEST_CHARGE = timedelta(hours=24)  # by card; one that began earlier is over, whatever else is known of it
_REOPENABLE = (EndReason.NO_CONNECTION, EndReason.START_REJECTED)


@dataclass(frozen=True, slots=True)
class _Verdict:
    status: str
    session: Session | None = None
    live: bool = False  # the session runs with this transaction


async def start_transaction(conn: Conn, message: StartTransaction) -> TransactionStarted:
    """Record the transaction, bind it, and say whether it may go on.

    The transaction is always accepted; the id tag status says whether the tag is good. One that must not go on gets
    a RemoteStop, because not every charger stops by itself.

    Raises:
        ConnectionLost: the station has connected elsewhere.
    """
    await fence(conn, message.station_id, message.epoch)
    waiting = await sessions.latest_by_tag(conn, message.station_id, message.id_tag)
    client: Client | None = None
    card = TagVerdict("Invalid")
    if waiting is not None:
        client, waiting = await lock_with_client(conn, waiting.id)
    else:
        card = await card_verdict(conn, message.id_tag, message.received_at)
        if card.client_id is not None:
            client = await accounts.lock_client(conn, card.client_id)
    transaction, created = await _record(conn, message, None if waiting is not None else card)
    if not created:
        return TransactionStarted(
            transaction.id,
            transaction.id_tag_status,
            session_id=transaction.session_id,
            repeated=True,
            expires_at=card.expires_at,
            parent_id_tag=card.parent_id_tag,
        )
    if waiting is not None and client is not None:
        verdict = await _app_session(conn, client, waiting, message, transaction.id)
    else:
        verdict = await _card_session(conn, client, message, transaction.id)
    session = verdict.session
    await transactions.link(
        conn, transaction.id, session_id=session.id if session else None, id_tag_status=verdict.status
    )
    command_id = None
    if verdict.status != "Accepted":
        bound = session.id if session is not None and session.ocpp_transaction_id == transaction.id else None
        command_id = await command_stop(conn, message.station_id, transaction.id, bound, "system", message.received_at)
        if bound is None:
            await transactions.flag_for_review(conn, transaction.id, f"started with tag {verdict.status}")
    await _flag_unreadable(conn, message, transaction.id, session)
    if session is not None and verdict.live:
        await _await_first_reading(conn, session, transaction.id, message.received_at)
        metrics.emit_after_commit({"ChargingsStarted": 1}, Source=session.start_source)
        if session.start_source == "app":
            waited = message.received_at - session.created_at
            metrics.emit_after_commit({"StartToCharge": round(waited.total_seconds() * 1000, 1)})
        await notifications.charging_started(
            conn,
            client_id=session.user_id,
            session_id=session.id,
            station_id=session.station_id,
            connector_id=message.connector_id,
        )
    return TransactionStarted(
        transaction.id,
        verdict.status,
        session_id=session.id if session else None,
        command_id=command_id,
        expires_at=card.expires_at,
        parent_id_tag=card.parent_id_tag,
    )


async def _flag_unreadable(conn: Conn, message: StartTransaction, transaction_id: int, session: Session | None) -> None:
    """Somebody has to look at what was replaced."""
    if not message.unreadable:
        return
    reasons = unreadable_reasons("start", message.unreadable)
    if session is not None:
        await sessions.flag_for_review(conn, session.id, reasons, message.received_at)
    else:
        await transactions.flag_for_review(conn, transaction_id, ", ".join(reasons))


async def _record(conn: Conn, message: StartTransaction, card: TagVerdict | None) -> tuple[Transaction, bool]:
    """The transaction of the message, and whether it is a new one. ``card``: the verdict, unless the app started it."""
    transaction, created = await transactions.insert(conn, message)
    # The tag of an app session is for one transaction, so an equal content is always that one.
    if created or card is None:
        return transaction, created
    told_time = "timestamp" not in message.unreadable
    if repeats.is_another_charge(transaction, message.message_id, told_time=told_time) or (
        repeats.may_be_another_attempt(transaction, message.message_id, told_time=told_time)
        and await _would_begin(conn, message, card)
    ):
        return await transactions.insert_again(conn, message, transaction.repetition + 1)
    return transaction, False


async def _would_begin(conn: Conn, message: StartTransaction, card: TagVerdict) -> bool:
    """Whether a start by this card would be accepted now; the client is locked."""
    return (
        card.status == "Accepted"
        and not await is_closed_to_drivers(conn, message.station_id)
        and await sessions.live_on_connector(conn, message.station_id, message.connector_id) is None
    )


async def _app_session(
    conn: Conn, client: Client, session: Session, message: StartTransaction, transaction_id: int
) -> _Verdict:
    if session.state is SessionState.PENDING:
        if not await _take_connector(conn, session, message.connector_id):
            return _Verdict("ConcurrentTx")
        return _Verdict("Accepted", await _begin(conn, session, message, transaction_id, SessionState.CHARGING), True)
    if session.state.live:
        # Use case: a second StartTransaction with the tag of the running session. The first one goes on.
        return _Verdict("ConcurrentTx")
    if session.ocpp_transaction_id is not None:
        return _Verdict("Invalid")  # the tag was for one transaction
    if not await _is_live(conn, message):
        # Use case: the charger started offline and tells it only now. Its StopTransaction is billed by reconcile.
        # If its clock is wrong as well, it may have begun as soon as it was asked to.
        began = await _begin(conn, session, message, transaction_id, None, else_at=session.created_at)
        return _Verdict("Accepted", began)
    if session.stop_reason in _REOPENABLE and await _reopen(conn, client, session, message):
        return _Verdict("Accepted", await _begin(conn, session, message, transaction_id, SessionState.CHARGING), True)
    return _Verdict("Blocked", await _begin(conn, session, message, transaction_id, None))


async def _take_connector(conn: Conn, session: Session, connector_id: int) -> bool:
    """Hold the connector that the charger really uses. False when another session has it."""
    if session.connector_id == connector_id and session.state is SessionState.PENDING:
        return True
    # Locked before it is looked at: another start on it may be about to commit.
    await stations.ensure_connector(conn, session.station_id, connector_id)
    other = await sessions.live_on_connector(conn, session.station_id, connector_id)
    if other is not None and other.id != session.id:
        return False
    await stations.release_connector(conn, session.id)
    await stations.hold_connector(conn, session.station_id, connector_id, session.id)
    return True


async def _reopen(conn: Conn, client: Client, session: Session, message: StartTransaction) -> bool:
    """A new reserve for a session that was refunded because nobody plugged in, and now somebody did."""
    now = message.received_at
    reserve = min(session.reserved_amount, client.balance)
    # Use case: a start for 5 som, or for nothing at a free tariff. What was enough then is enough now.
    enough = min(session.reserved_amount, get_settings().minimum_reserve_som)
    if client.status is not ClientStatus.ACTIVE or reserve < enough:
        return False
    if await sessions.live_of_client(conn, client.id) is not None:
        return False
    if not await _take_connector(conn, session, message.connector_id):
        return False
    await reserve_money(conn, client.id, session.id, som(reserve), number_of_reserve=session.reserve_count + 1, now=now)
    return True


async def _begin(
    conn: Conn,
    session: Session,
    message: StartTransaction,
    transaction_id: int,
    state: SessionState | None,
    *,
    else_at: datetime | None = None,
) -> Session:
    """Bind the transaction to the session; its meter starts at the transaction's register.

    ``else_at``: when it began if the charger's clock cannot tell; else now.
    """
    now = message.received_at
    began_at = message.started_at if session.created_at <= message.started_at <= now else else_at or now
    overdue = timedelta(seconds=OVERDUE_INTERVALS * session.sample_interval_s)
    station = await stations.resolve(conn, session.station_id)
    factor = station.register_factor if station is not None else 1
    await sessions.begin_transaction(
        conn,
        session.id,
        transaction_id=transaction_id,
        connector_id=message.connector_id,
        meter=meter.begin(message.meter_start_wh * factor, began_at, message.started_at),
        register_factor=factor,
        began_at=began_at,
        auto_stop_at=now + overdue if state is SessionState.CHARGING else None,
        state=state,
        now=now,
    )
    bound = await sessions.get(conn, session.id)
    assert bound is not None
    return bound


async def _await_first_reading(conn: Conn, session: Session, transaction_id: int, now: datetime) -> None:
    """Use case: nobody knows how often this charger samples, and it is every five minutes. Stopped after three of our
    minutes it would never show that, at no charge ever. It may be silent for as long as the limit cannot be passed.
    """
    station = await stations.resolve(conn, session.station_id)
    if station is None or station.sampling_is_known:
        return
    context = await meter_context(conn, session.station_id, transaction_id)
    if context is not None:
        blind = min(autostop.longest_without_readings(context), timedelta(seconds=sampling.LONGEST_S))
        if blind > timedelta(seconds=OVERDUE_INTERVALS * session.sample_interval_s):
            await sessions.set_overdue_at(conn, session.id, now + blind)


async def _is_live(conn: Conn, message: StartTransaction) -> bool:
    """Whether the transaction starts now rather than being replayed from an offline queue."""
    distance = abs((message.received_at - message.started_at).total_seconds())
    if distance <= get_settings().late_start_live_s:
        return True
    station = await stations.resolve(conn, message.station_id)
    connected_at = station.connected_at if station else None
    return connected_at is not None and message.received_at - connected_at > _REPLAY_WINDOW


async def _card_session(conn: Conn, client: Client | None, message: StartTransaction, transaction_id: int) -> _Verdict:
    """A start by RFID card: a session with a reserve of its own, or no."""
    live = await _is_live(conn, message)
    replayed_from = None if live else _begin_of_replay(message)
    verdict = await card_verdict(conn, message.id_tag, replayed_from or message.received_at)
    if verdict.client_id != (client.id if client is not None else None):
        # Use case: staff gave the card to another client, or its first one, while this waited for a lock. Whoever has
        # it now is not locked, so nobody could be charged.
        return _Verdict("Invalid")
    if client is None:
        return _Verdict(verdict.status)
    station = await stations.resolve(conn, message.station_id)
    assert station is not None
    busy = verdict.status == "ConcurrentTx"
    # Use case: the card was good while the charger was offline and the driver has charged already. Whatever the
    # balance says now, the session exists and is billed; what cannot be collected is written off. A card that was
    # blocked, because it was stolen perhaps, is not billed to its owner.
    if verdict.status != "Accepted" and not busy and not (verdict.lacks_money and not live):
        return _Verdict(verdict.status)
    if live and await is_closed_to_drivers(conn, message.station_id):
        return _Verdict("Blocked")
    busy = busy or await sessions.live_on_connector(conn, message.station_id, message.connector_id) is not None
    is_long_over = replayed_from is not None and message.received_at - replayed_from > _LONGEST_CHARGE
    session = None
    if not (busy or is_long_over):
        session = await _open_card_session(conn, client, station, message, replayed_from or message.received_at)
    if session is not None:
        begun = await _begin(conn, session, message, transaction_id, SessionState.CHARGING)
        return _Verdict("Accepted", begun, live=True)
    if replayed_from is None:
        return _Verdict("ConcurrentTx")
    session = await open_ended_session(conn, client, station, message, replayed_from)
    return _Verdict("Accepted", await _begin(conn, session, message, transaction_id, None))


def _begin_of_replay(message: StartTransaction) -> datetime | None:
    """When a replayed charge began, if the charger's clock can be believed."""
    dead = meter.clock_is_dead(message.started_at, message.received_at)
    return None if dead else min(message.started_at, message.received_at)


async def _open_card_session(
    conn: Conn, client: Client, station: Station, message: StartTransaction, began_at: datetime
) -> Session | None:
    settings = get_settings()
    connector = await stations.ensure_connector(conn, station.id, message.connector_id)
    price = await pricing.price_for(conn, station, connector, client.id, began_at)
    reserve = som(min(client.balance, settings.unlimited_reserve_som + price.session_fee))
    try:
        async with conn.transaction():
            return await open_session(
                conn,
                client,
                station,
                message.connector_id,
                price,
                id_tag=message.id_tag,
                source="rfid",
                limit_type=LimitType.NONE,
                limit_value=Decimal(0),
                reserve=reserve,
                now=began_at,
            )
    except (ConnectorOccupied, SessionAlreadyActive):
        return None
