"""Everything that the database holds, as text, to prove that something is not in it."""

from psycopg import sql

from evpower.db import PooledDatabase

_TABLES = """
    SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
       AND has_table_privilege(oid, 'SELECT') ORDER BY relname"""


async def whole_database(db: PooledDatabase) -> str:
    """All rows of all tables that the worker can read."""
    found: list[str] = []
    async with db.transaction() as conn:
        names = [row["relname"] for row in await (await conn.execute(_TABLES)).fetchall()]
        for name in names:
            query = sql.SQL("SELECT t::text AS line FROM {} t").format(sql.Identifier(name))
            found += [row["line"] for row in await (await conn.execute(query)).fetchall()]
    return "\n".join(found)
