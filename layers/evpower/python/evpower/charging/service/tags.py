"""Id tags. Authorize: whether one may charge (OCPP 1.6 §4.1). Tags are case-insensitive."""

from dataclasses import dataclass, replace
from datetime import datetime

from evpower.accounts import service as accounts
from evpower.accounts.models import ClientStatus
from evpower.charging.models import Session, SessionState
from evpower.charging.repository import id_tags, sessions
from evpower.config import get_settings
from evpower.db import Conn
from evpower.errors import ClientNotFound, SessionAlreadyActive
from evpower.stations import service as stations
from evpower.stations.models import AdminStatus


@dataclass(frozen=True, slots=True)
class TagVerdict:
    """idTagInfo: ``status`` is an OCPP 1.6 AuthorizationStatus. ``lacks_money``: it is Blocked for that alone."""

    status: str
    expires_at: datetime | None = None
    parent_id_tag: str | None = None
    client_id: str | None = None
    lacks_money: bool = False
    why: str | None = None  # of a refusal, for operators; chargers and drivers are not told


async def authorize(conn: Conn, station_id: str, id_tag: str, now: datetime) -> TagVerdict:
    """The verdict on ``id_tag`` at ``station_id`` now; changes nothing.

    Somebody who holds a card to a charger may want to start or to stop, and the charger does not say which. A card
    that may stop what runs here is accepted; what it may start, StartTransaction decides.
    """
    session = await sessions.latest_by_tag(conn, station_id, id_tag)
    if session is not None:
        if session.state.live:
            return TagVerdict("Accepted", client_id=session.user_id)
        return TagVerdict("Invalid", client_id=session.user_id, why="it was made for one start from the app")
    verdict = await _of_card(conn, station_id, id_tag, now)
    if verdict.status == "Invalid":
        return verdict
    running = await sessions.live_of_cards(conn, station_id, id_tag, verdict.parent_id_tag)
    if _may_stop_one_of(running, id_tag, verdict):
        return replace(verdict, status="Accepted", why=None)
    return verdict


async def start_verdict(conn: Conn, station_id: str, id_tag: str, now: datetime) -> TagVerdict:
    """:func:`authorize` for somebody who wants to start, and says so (RemoteStartTransaction).

    A card whose charge runs here may stop, not start another: what flowed until StartTransaction refuses it, nobody
    would pay.
    """
    session = await sessions.latest_by_tag(conn, station_id, id_tag)
    if session is None:
        return await _of_card(conn, station_id, id_tag, now)
    if session.state.live and session.state is not SessionState.PENDING:
        return TagVerdict("ConcurrentTx", client_id=session.user_id, why="its charge has begun already")
    return await authorize(conn, station_id, id_tag, now)


async def _of_card(conn: Conn, station_id: str, id_tag: str, now: datetime) -> TagVerdict:
    verdict = await card_verdict(conn, id_tag, now)
    if verdict.status == "Accepted" and await is_closed_to_drivers(conn, station_id):
        return replace(verdict, status="Blocked", why="the station is out of service")
    return verdict


def _may_stop_one_of(running: list[Session], id_tag: str, verdict: TagVerdict) -> bool:
    """Whether the card may end one of the sessions that it, or a card of its group, started here.

    Use case: the driver holds the card to the charger again to stop. ConcurrentTx is for StartTransaction (OCPP 1.6
    §7.2); with it here, some chargers would refuse to stop. A card that was blocked meanwhile ends its own session all
    the same: the car must not go on charging on its account. Another card of the group does it in good standing only.
    """
    if any(session.id_tag.upper() == id_tag.upper() for session in running):
        return True
    return bool(running) and (verdict.status == "ConcurrentTx" or verdict.lacks_money)


async def is_closed_to_drivers(conn: Conn, station_id: str) -> bool:
    """Whether operators have taken the station out of service: cards are refused there, as starts from the app are."""
    station = await stations.resolve(conn, station_id)
    return station is not None and station.status is not AdminStatus.ACTIVE


async def card_verdict(conn: Conn, id_tag: str, now: datetime) -> TagVerdict:
    """The verdict on a client's RFID card."""
    card = await id_tags.by_tag(conn, id_tag)
    if card is None or card.client_id is None:
        return TagVerdict("Invalid", why="no client has a card with it")
    verdict = TagVerdict("Accepted", card.expires_at, card.parent_id_tag, card.client_id)
    if card.status != "active":
        return replace(verdict, status="Blocked", why="the card is blocked")
    if card.expires_at is not None and card.expires_at <= now:
        return replace(verdict, status="Expired", why="the card has expired")
    try:
        client = await accounts.get_client(conn, card.client_id)
    except ClientNotFound:
        return TagVerdict("Invalid", why="no client has a card with it")
    if client.status is not ClientStatus.ACTIVE:
        return replace(verdict, status="Blocked", why=f"its client's account is {client.status.value}")
    if await sessions.live_of_client(conn, client.id) is not None:
        return replace(verdict, status="ConcurrentTx", why="its client is charging already")
    least = get_settings().minimum_reserve_som
    if client.balance < least:
        return replace(verdict, status="Blocked", lacks_money=True, why=f"its client has less than {least} som")
    return verdict


async def forget_client(conn: Conn, client_id: str) -> None:
    """Remove the RFID cards of a client whose account is being deleted; the client is locked.

    Raises:
        SessionAlreadyActive: the client is charging.
    """
    live = await sessions.live_of_client(conn, client_id)
    if live is not None:
        raise SessionAlreadyActive(session_id=live.id)
    await id_tags.delete_of_client(conn, client_id)
