"""SQL of ``id_tags``: RFID cards."""

from datetime import datetime
from typing import Any

from psycopg import sql

from evpower.charging.staff_models import Card, NewCard
from evpower.db import Conn

_COLUMNS = ", ".join(Card.__dataclass_fields__)


async def by_tag(conn: Conn, tag: str) -> Card | None:
    cursor = await conn.execute(f"SELECT {_COLUMNS} FROM id_tags WHERE id_tag_folded = upper(%s)", (tag,))  # noqa: S608 - constant column list
    row = await cursor.fetchone()
    return Card(**row) if row else None


async def lock(conn: Conn, card_id: int) -> Card | None:
    cursor = await conn.execute(f"SELECT {_COLUMNS} FROM id_tags WHERE id = %s FOR UPDATE", (card_id,))  # noqa: S608 - constant column list
    row = await cursor.fetchone()
    return Card(**row) if row else None


async def insert(conn: Conn, card: NewCard, now: datetime) -> Card | None:
    """The new card; None when the tag is taken, in whatever letter case."""
    cursor = await conn.execute(
        f"""INSERT INTO id_tags (id_tag, client_id, name, expires_at, parent_id_tag, created_at, updated_at)
            VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING RETURNING {_COLUMNS}""",  # noqa: S608 - constant column list
        (card.id_tag, card.client_id, card.name, card.expires_at, card.parent_id_tag, now, now),
    )
    row = await cursor.fetchone()
    return Card(**row) if row else None


async def change(conn: Conn, card_id: int, values: dict[str, Any], now: datetime) -> Card:
    """Set columns by name; the names are the service's, never a client's."""
    assignments = sql.SQL(", ").join(
        sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder(name)) for name in (*values, "updated_at")
    )
    query = sql.SQL("UPDATE id_tags SET {} WHERE id = {} RETURNING {}").format(
        assignments, sql.Placeholder("card"), sql.SQL(_COLUMNS)
    )
    row = await (await conn.execute(query, {**values, "updated_at": now, "card": card_id})).fetchone()
    assert row is not None
    return Card(**row)


async def delete(conn: Conn, card_id: int) -> None:
    await conn.execute("DELETE FROM id_tags WHERE id = %s", (card_id,))


async def delete_of_client(conn: Conn, client_id: str) -> None:
    await conn.execute("DELETE FROM id_tags WHERE client_id = %s", (client_id,))


async def was_used(conn: Conn, tag: str) -> bool:
    """Whether a charger ever started a transaction with the tag."""
    cursor = await conn.execute("SELECT FROM ocpp_transactions WHERE id_tag_folded = upper(%s) LIMIT 1", (tag,))
    return await cursor.fetchone() is not None
