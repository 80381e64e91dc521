"""Staff accounts, and the client rows with the same ids by which staff can charge."""

from collections.abc import Mapping, Sequence
from typing import Any

from evpower.admin.models import NewUser, Page, Role, Slice, UserFilter, UserRecord
from evpower.admin.repository.clients import pattern
from evpower.db import Conn

_USER = """SELECT u.id, u.email, u.phone, coalesce(u.name, c.name) AS name, u.role, u.is_active, u.admin_id,
           u.created_at,
           (SELECT count(*) FROM stations s WHERE s.user_id = u.id) AS stations_count,
           (SELECT count(*) FROM locations l WHERE l.user_id = u.id OR l.admin_id = u.id) AS locations_count
      FROM users u LEFT JOIN clients c ON c.id = u.id"""


def _user(row: Mapping[str, Any]) -> UserRecord:
    return UserRecord(**{**row, "role": Role(row["role"])})


async def access(conn: Conn, user_id: str) -> dict[str, Any] | None:
    """Role and activity of a staff member, and of the admin it works for."""
    cursor = await conn.execute(
        """SELECT u.id, u.role, u.is_active, u.admin_id, a.role AS admin_role, a.is_active AS admin_is_active
             FROM users u LEFT JOIN users a ON a.id = u.admin_id WHERE u.id = %s""",
        (user_id,),
    )
    return await cursor.fetchone()


async def find(conn: Conn, user_id: str) -> UserRecord | None:
    cursor = await conn.execute(f"{_USER} WHERE u.id = %s", (user_id,))
    row = await cursor.fetchone()
    return _user(row) if row else None


async def lock(conn: Conn, user_id: str) -> UserRecord | None:
    cursor = await conn.execute(f"{_USER} WHERE u.id = %s FOR UPDATE OF u", (user_id,))
    row = await cursor.fetchone()
    return _user(row) if row else None


async def operators(conn: Conn, admin_id: str | None, limit: int) -> list[UserRecord]:
    """Operators of one admin, or all (``None``), newest first."""
    cursor = await conn.execute(
        f"""{_USER} WHERE u.role = 'operator' AND (%(admin)s::text IS NULL OR u.admin_id = %(admin)s)
             ORDER BY u.created_at DESC, u.id LIMIT %(limit)s""",
        {"admin": admin_id, "limit": limit},
    )
    return [_user(row) async for row in cursor]


async def page(conn: Conn, wanted: UserFilter, part: Slice) -> Page[UserRecord]:
    """Newest first."""
    condition = """(%(role)s::text IS NULL OR u.role = %(role)s)
        AND (%(active)s::boolean IS NULL OR u.is_active = %(active)s)
        AND (%(text)s::text IS NULL OR u.email ILIKE %(text)s OR u.phone ILIKE %(text)s
             OR coalesce(u.name, c.name) ILIKE %(text)s)"""
    values = {
        "role": wanted.role.value if wanted.role else None,
        "active": wanted.is_active,
        "text": pattern(wanted.search) if wanted.search else None,
        "limit": part.limit,
        "offset": part.offset,
    }
    cursor = await conn.execute(
        f"{_USER} WHERE {condition} ORDER BY u.created_at DESC, u.id LIMIT %(limit)s OFFSET %(offset)s",
        values,
    )
    records = tuple([_user(row) async for row in cursor])
    counted = await (
        await conn.execute(
            f"SELECT count(*) AS total FROM users u LEFT JOIN clients c ON c.id = u.id WHERE {condition}",  # noqa: S608 - constant text
            values,
        )
    ).fetchone()
    assert counted is not None
    return Page(records, int(counted["total"]))


async def phone_is_known(conn: Conn, spellings: Sequence[str]) -> bool:
    """Whether a client or a staff member has this phone."""
    cursor = await conn.execute(
        """SELECT EXISTS (SELECT FROM users WHERE phone = ANY(%(phones)s))
                  OR EXISTS (SELECT FROM clients WHERE phone = ANY(%(phones)s)) AS known""",
        {"phones": list(spellings)},
    )
    row = await cursor.fetchone()
    return row is not None and bool(row["known"])


async def insert(conn: Conn, user_id: str, new: NewUser) -> None:
    """Add the staff member and the client row by which it can charge."""
    await conn.execute(
        """INSERT INTO users (id, email, phone, name, role, admin_id, password_hash)
           VALUES (%s, %s, %s, %s, %s, %s, %s)""",
        (user_id, new.email, new.phone, new.name, new.role.value, new.admin_id, new.password_hash),
    )
    await conn.execute(
        "INSERT INTO clients (id, phone, email, name) VALUES (%s, %s, %s, %s)",
        (user_id, new.phone, new.email, new.name),
    )


async def update(conn: Conn, user: UserRecord) -> None:
    """Store role, admin, name and activity."""
    await conn.execute(
        "UPDATE users SET role = %s, admin_id = %s, name = %s, is_active = %s, updated_at = now() WHERE id = %s",
        (user.role.value, user.admin_id, user.name, user.is_active, user.id),
    )
