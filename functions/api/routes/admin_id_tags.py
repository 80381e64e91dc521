"""RFID cards of clients, for admins and superadmins: I1-I5. Whoever holds a card charges on its client's account."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Path, Query

from evpower.admin import desk
from evpower.admin.desk_models import CardFilter, CardRecord
from evpower.admin.models import Slice
from evpower.charging import service as charging
from evpower.charging.staff_models import Card, CardChange, NewCard
from evpower.clock import iso_z
from evpower.db import Conn
from functions.api.routes.admin import PageLimit
from functions.api.routing import DepsParam, Offset
from functions.api.schemas.admin import SearchIn
from functions.api.schemas.base import IdIn
from functions.api.schemas.desk import (
    CardAnswer,
    CardBody,
    CardChangeBody,
    CardItem,
    CardRemovedAnswer,
    CardRemovedData,
    CardsAnswer,
    CardsData,
    CardWord,
    TagIn,
)
from functions.api.staff import Act, ManagerParam, staff_router

routes = staff_router("/api/v1/admin/id-tags")

CardId = Annotated[int, Path(ge=1, lt=2**63)]


def _item(record: CardRecord) -> CardItem:
    card = record.card
    return CardItem(
        id=card.id,
        id_tag=card.id_tag,
        client_id=card.client_id,
        client_name=record.client_name,
        client_phone=record.client_phone,
        status=card.status,
        expires_at=card.expires_at,
        parent_id_tag=card.parent_id_tag,
        name=card.name,
        last_used_at=record.last_used_at,
        created_at=card.created_at,
        updated_at=card.updated_at,
    )


def _masked(tag: str) -> str:
    """For the audit log: who knows a tag can make a card of it."""
    return "*" * (len(tag) - 4) + tag[-4:] if len(tag) > 4 else "*" * len(tag)


def _told(card: Card) -> dict[str, Any]:
    return {"card_id": card.id, "id_tag": _masked(card.id_tag), "client_id": card.client_id}


@routes.get("", response_model=CardsAnswer)
async def list_cards(
    staff: ManagerParam,
    client_id: Annotated[IdIn | None, Query()] = None,
    status: CardWord | None = None,
    parent_id_tag: Annotated[TagIn | None, Query()] = None,
    search: Annotated[SearchIn | None, Query()] = None,
    limit: Annotated[PageLimit, Query()] = 50,
    offset: Annotated[Offset, Query()] = 0,
) -> CardsAnswer:
    """I1: cards, newest first. ``search``: a part of the tag or the name."""
    wanted = CardFilter(client_id, status, parent_id_tag, search or None)
    page = await staff.run(lambda conn: desk.card_page(conn, wanted, Slice(limit, offset)))
    items = [_item(record) for record in page.items]
    return CardsAnswer(data=CardsData(id_tags=items, total=page.total, limit=limit, offset=offset))


@routes.post("", response_model=CardAnswer)
async def create_card(body: CardBody, staff: ManagerParam, deps: DepsParam) -> CardAnswer:
    """I2: give a client a card; a tag is one client's."""
    now = deps.clock.now()
    new = NewCard(body.id_tag, body.client_id, body.name, body.expires_at, body.parent_id_tag)

    async def work(conn: Conn) -> tuple[CardRecord, Mapping[str, Any]]:
        card = await charging.create_card(conn, new, now)
        return await desk.card(conn, card.id), _told(card)

    act = Act("admin.id_tag_create", body.client_id, details={"id_tag": _masked(body.id_tag)})
    return CardAnswer(data=_item(await staff.act(act, work)))


@routes.get("/{card_id}", response_model=CardAnswer)
async def card(card_id: CardId, staff: ManagerParam) -> CardAnswer:
    """I3: one card."""
    return CardAnswer(data=_item(await staff.run(lambda conn: desk.card(conn, card_id))))


@routes.put("/{card_id}", response_model=CardAnswer)
async def change_card(card_id: CardId, body: CardChangeBody, staff: ManagerParam, deps: DepsParam) -> CardAnswer:
    """I4: block, unblock, expire, rename, regroup, or give to another client. What runs goes on."""
    now = deps.clock.now()
    change = CardChange(body.changes())

    async def work(conn: Conn) -> tuple[CardRecord, Mapping[str, Any]]:
        before, after = await charging.change_card(conn, card_id, change, now)
        return await desk.card(conn, card_id), {**_told(after), "changes": _changes(before, after)}

    return CardAnswer(data=_item(await staff.act(Act("admin.id_tag_change", details={"card_id": card_id}), work)))


def _changes(before: Card, after: Card) -> dict[str, list[str | None]]:
    """Old and new value of every member that changed."""
    found: dict[str, list[str | None]] = {}
    for name in ("status", "client_id", "name", "expires_at", "parent_id_tag"):
        pair = (getattr(before, name), getattr(after, name))
        if pair[0] != pair[1]:
            found[name] = [iso_z(value) if name == "expires_at" and value else value for value in pair]
    return found


@routes.delete("/{card_id}", response_model=CardRemovedAnswer)
async def remove_card(card_id: CardId, staff: ManagerParam, deps: DepsParam) -> CardRemovedAnswer:
    """I5: delete a card that was never used; block one that was."""
    now = deps.clock.now()

    async def work(conn: Conn) -> tuple[tuple[Card, bool], Mapping[str, Any]]:
        card, deleted = await charging.remove_card(conn, card_id, now)
        return (card, deleted), {**_told(card), "deleted": deleted}

    card, deleted = await staff.act(Act("admin.id_tag_remove", details={"card_id": card_id}), work)
    return CardRemovedAnswer(data=CardRemovedData(id=card.id, deleted=deleted, status=card.status))
