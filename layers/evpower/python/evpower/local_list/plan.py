"""What to send so that a charger holds the wanted list: pure."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from evpower.clock import iso_z
from evpower.local_list.models import Card, Content, Item, Limits, PlannedPart, UpdateType


def item_of(card: Card, now: datetime) -> Item:
    """What the list says of a card (idTagInfo, OCPP 1.6 section 7.27). Money is not looked at: it changes too often."""
    if card.status != "active" or not card.is_open:
        status = "Blocked"
    elif card.expires_at is not None and card.expires_at <= now:
        status = "Expired"
    else:
        status = "Accepted"
    info: Item = {"status": status}
    if card.expires_at is not None:
        info["expiryDate"] = iso_z(card.expires_at)
    if card.parent_id_tag is not None:
        info["parentIdTag"] = card.parent_id_tag
    return {"idTag": card.id_tag, "idTagInfo": info}


def is_accepted(item: Item) -> bool:
    return bool(item["idTagInfo"]["status"] == "Accepted")


def changes(wanted: Mapping[str, Item], held: Mapping[str, Item]) -> list[Item]:
    """Items of a differential update: first the tags that go, then those that come or change."""
    gone = [{"idTag": held[tag]["idTag"]} for tag in sorted(held) if tag not in wanted]
    return gone + [wanted[tag] for tag in sorted(wanted) if held.get(tag) != wanted[tag]]


def update(wanted: Content, held: Content, *, full: bool, after_version: int, longest: int) -> list[PlannedPart]:
    """The parts of an update, each with a version of its own; empty when there is nothing to change.

    A full update replaces the list by its first part, and its further parts are differential ones.
    """
    items = [wanted[tag] for tag in sorted(wanted)] if full else changes(wanted, held)
    chunks = [items[start : start + longest] for start in range(0, len(items), longest)]
    if full and not chunks:
        chunks = [[]]
    return [
        PlannedPart(
            after_version + number,
            UpdateType.FULL if full and number == 1 else UpdateType.DIFFERENTIAL,
            chunk,
        )
        for number, chunk in enumerate(chunks, 1)
    ]


def applied(held: Content, update_type: UpdateType, items: Iterable[Item]) -> Content:
    """What a charger holds after it has taken an update."""
    result = {} if update_type is UpdateType.FULL else dict(held)
    for item in items:
        tag = str(item["idTag"]).upper()
        if "idTagInfo" in item:
            result[tag] = dict(item)
        else:
            result.pop(tag, None)
    return result


def limits(configuration: Mapping[str, str]) -> Limits:
    """Bounds of the list from the charger's configuration (keys in lower case; OCPP 1.6 section 9.2)."""
    enabled = configuration.get("localauthlistenabled")
    return Limits(
        max_length=_number(configuration.get("localauthlistmaxlength")),
        part_length=_number(configuration.get("sendlocallistmaxlength")),
        enabled_at_charger=None if enabled is None else enabled.strip().lower() == "true",
    )


def _number(value: str | None) -> int | None:
    text = (value or "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
