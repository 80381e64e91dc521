"""Clients, with the sums of their sessions at the stations of somebody's scope."""

import re

from evpower.admin.models import ClientRecord, Page, Scope, Slice
from evpower.admin.repository.stations import scope_values, sessions_in
from evpower.db import Conn

_PHONE_LIKE = re.compile(r"[\d\s()+\-]{3,}")
_CLIENT = "k.id, k.name, k.email, k.phone, k.balance, k.status, k.anonymized, k.created_at, k.updated_at"
_MATCHES = """(%(active)s::boolean IS NULL OR (k.status = 'active') = %(active)s)
    AND (%(text)s::text IS NULL OR k.id = %(exact)s OR k.name ILIKE %(text)s OR k.email ILIKE %(text)s
         OR (%(digits)s::text IS NOT NULL AND regexp_replace(k.phone, '[^0-9]', '', 'g') LIKE %(digits)s))"""


def _sums(scope: Scope) -> str:
    return f"""LEFT JOIN LATERAL (
        SELECT count(*) AS sessions_count, coalesce(sum(c.energy), 0) AS total_energy_kwh,
               coalesce(sum(c.taken_amount) FILTER (WHERE c.status <> 'started'), 0) AS total_spent
          FROM charging_sessions c WHERE c.user_id = k.id AND {sessions_in(scope)}) sums ON true"""  # noqa: S608 - constant parts


def pattern(text: str) -> str:
    """LIKE pattern for "contains ``text``"; the wildcards in it are characters like any other."""
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


async def page(conn: Conn, scope: Scope, search: str | None, active: bool | None, part: Slice) -> Page[ClientRecord]:
    """Newest first."""
    values = {
        **scope_values(scope),
        "active": active,
        "text": pattern(search) if search else None,
        "exact": search,
        "digits": pattern(re.sub(r"\D", "", search)) if search and _PHONE_LIKE.fullmatch(search) else None,
        "limit": part.limit,
        "offset": part.offset,
    }
    cursor = await conn.execute(
        f"""SELECT {_CLIENT}, sums.* FROM (
                SELECT * FROM clients k WHERE {_MATCHES}
                 ORDER BY k.created_at DESC, k.id LIMIT %(limit)s OFFSET %(offset)s) k {_sums(scope)}
             ORDER BY k.created_at DESC, k.id""",  # noqa: S608 - constant parts
        values,
    )
    records = tuple([ClientRecord(**row) async for row in cursor])
    counted = await (
        await conn.execute(f"SELECT count(*) AS total FROM clients k WHERE {_MATCHES}", values)  # noqa: S608 - constant parts
    ).fetchone()
    assert counted is not None
    return Page(records, int(counted["total"]))


async def find(conn: Conn, scope: Scope, client_id: str) -> ClientRecord | None:
    cursor = await conn.execute(
        f"SELECT {_CLIENT}, sums.* FROM clients k {_sums(scope)} WHERE k.id = %(id)s",  # noqa: S608 - constant parts
        {**scope_values(scope), "id": client_id},
    )
    row = await cursor.fetchone()
    return ClientRecord(**row) if row else None


async def set_status(conn: Conn, client_id: str, status: str) -> None:
    await conn.execute("UPDATE clients SET status = %s, updated_at = now() WHERE id = %s", (status, client_id))


async def set_staff_client_active(conn: Conn, user_id: str, *, active: bool) -> None:
    """The client of a staff account follows it, but a blocked one stays blocked."""
    await conn.execute(
        "UPDATE clients SET status = %s, updated_at = now() WHERE id = %s AND status = %s",
        ("active", user_id, "inactive") if active else ("inactive", user_id, "active"),
    )
