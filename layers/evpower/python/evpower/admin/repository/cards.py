"""Cards with their holders, for the staff's list."""

from typing import Any

from evpower.admin.desk_models import CardFilter, CardRecord
from evpower.admin.models import Page, Slice
from evpower.admin.repository.clients import pattern
from evpower.charging.staff_models import Card
from evpower.db import Conn

_FIELDS = tuple(Card.__dataclass_fields__)
_CARD = ", ".join(f"t.{name}" for name in _FIELDS)
_AROUND = """k.name AS client_name, k.phone AS client_phone,
    (SELECT o.received_at FROM ocpp_transactions o WHERE o.id_tag_folded = t.id_tag_folded
      ORDER BY o.id DESC LIMIT 1) AS last_used_at"""


def _record(row: dict[str, Any]) -> CardRecord:
    return CardRecord(
        Card(**{name: row[name] for name in _FIELDS}), row["client_name"], row["client_phone"], row["last_used_at"]
    )


def _conditions(wanted: CardFilter) -> str:
    conditions = ["true"]
    if wanted.client_id is not None:
        conditions.append("t.client_id = %(client)s")
    if wanted.status is not None:
        conditions.append("t.status = %(status)s")
    if wanted.parent_id_tag is not None:
        conditions.append("t.parent_id_tag_folded = upper(%(parent)s)")
    if wanted.search is not None:
        conditions.append("(t.id_tag ILIKE %(text)s OR t.name ILIKE %(text)s)")
    return " AND ".join(conditions)


async def page(conn: Conn, wanted: CardFilter, part: Slice) -> Page[CardRecord]:
    """Newest first."""
    conditions = _conditions(wanted)
    values = {
        "client": wanted.client_id,
        "status": wanted.status,
        "parent": wanted.parent_id_tag,
        "text": pattern(wanted.search) if wanted.search else None,
        "limit": part.limit,
        "offset": part.offset,
    }
    cursor = await conn.execute(
        f"""SELECT {_CARD}, {_AROUND} FROM (
                SELECT * FROM id_tags t WHERE {conditions}
                 ORDER BY t.created_at DESC, t.id DESC LIMIT %(limit)s OFFSET %(offset)s) t
              LEFT JOIN clients k ON k.id = t.client_id
             ORDER BY t.created_at DESC, t.id DESC""",  # noqa: S608 - constant parts
        values,
    )
    records = tuple([_record(row) async for row in cursor])
    counted = await (
        await conn.execute(f"SELECT count(*) AS total FROM id_tags t WHERE {conditions}", values)  # noqa: S608 - constant parts
    ).fetchone()
    assert counted is not None
    return Page(records, int(counted["total"]))


async def find(conn: Conn, card_id: int) -> CardRecord | None:
    cursor = await conn.execute(
        f"SELECT {_CARD}, {_AROUND} FROM id_tags t LEFT JOIN clients k ON k.id = t.client_id WHERE t.id = %s",  # noqa: S608 - constant parts
        (card_id,),
    )
    row = await cursor.fetchone()
    return _record(row) if row else None
