"""RFID cards of clients, as staff keep them. Id tags are case-insensitive (OCPP 1.6 §7.15)."""

from datetime import datetime

from evpower.accounts import service as accounts
from evpower.accounts.models import ClientStatus
from evpower.charging.repository import id_tags, sessions
from evpower.charging.staff_models import Card, CardChange, NewCard
from evpower.db import Conn
from evpower.errors import ClientDeleted, NotFound, SessionAlreadyActive
from evpower.errors.base import Declared, error


class CardTaken(
    Declared,
    spec=error(
        "id_tag_exists",
        409,
        "Карта с таким номером уже есть.",
        "Мындай номерлүү карта мурунтан бар.",
        "There is a card with this tag already.",
    ),
):
    """The tag belongs to a card, in whatever letter case; ``details['card_id']`` names it."""


async def create_card(conn: Conn, card: NewCard, now: datetime) -> Card:
    """Give a client a card.

    Raises:
        ClientNotFound, ClientDeleted: whose card it would be.
        CardTaken: there is a card with this tag.
    """
    await _require_holder(conn, card.client_id)
    made = await id_tags.insert(conn, card, now)
    if made is None:
        other = await id_tags.by_tag(conn, card.id_tag)
        raise CardTaken("a card has this tag already: change or remove that one", card_id=other.id if other else None)
    return made


async def change_card(conn: Conn, card_id: int, change: CardChange, now: datetime) -> tuple[Card, Card]:
    """Block, unblock, expire, rename, regroup or give to another client; the card before and after.

    What runs by the card goes on, at the expense of who started it, and the card may still stop it.

    Raises:
        NotFound: no such card.
        ClientNotFound, ClientDeleted: the new holder.
        SessionAlreadyActive: it cannot change hands while its holder charges by it.
    """
    holder = change.values.get("client_id")
    if holder is not None:
        await _require_holder(conn, holder)
    before = await id_tags.lock(conn, card_id)
    if before is None:
        raise NotFound("no such card")
    if holder is not None and holder != before.client_id:
        await _require_idle(conn, before)
    return before, await id_tags.change(conn, card_id, change.values, now) if change.values else before


async def remove_card(conn: Conn, card_id: int, now: datetime) -> tuple[Card, bool]:
    """Delete a card that was never used; one that was is blocked, so that its charges keep their card.

    Returns the card as it was (deleted) or as it is (blocked), and whether it was deleted.

    Raises:
        NotFound: no such card.
    """
    card = await id_tags.lock(conn, card_id)
    if card is None:
        raise NotFound("no such card")
    if await id_tags.was_used(conn, card.id_tag):
        return await id_tags.change(conn, card_id, {"status": "blocked"}, now), False
    await id_tags.delete(conn, card_id)
    return card, True


async def _require_holder(conn: Conn, client_id: str) -> None:
    client = await accounts.lock_client(conn, client_id)
    if client.status in (ClientStatus.PENDING_DELETION, ClientStatus.DELETED):
        raise ClientDeleted


async def _require_idle(conn: Conn, card: Card) -> None:
    live = None if card.client_id is None else await sessions.live_of_client(conn, card.client_id)
    if live is not None and live.id_tag.upper() == card.id_tag.upper():
        raise SessionAlreadyActive("its holder charges by this card now: stop that session first", session_id=live.id)
