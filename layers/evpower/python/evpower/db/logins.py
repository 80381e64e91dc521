"""Logins of the deployed parts: database users that are members of one application role (docs/database.md)."""

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql
from psycopg.rows import tuple_row

from evpower.db.bounded import KEEP_ALIVE


@dataclass(frozen=True, slots=True)
class Login:
    """A user of the server, its password in clear and the role (evpower_api, evpower_worker) that it may take."""

    name: str
    password: str
    role: str


async def ensure_logins(dsn: str, logins: Sequence[Login]) -> list[str]:
    """Make each login that is missing, and set every password and membership anew; the names that were made.

    ``dsn`` is the owner's. Safe to repeat: that is how a changed password arrives. Passwords leave this process only
    as SCRAM verifiers, so that no server log holds them. Errors: ``psycopg.Error``.
    """
    made: list[str] = []
    async with await psycopg.AsyncConnection.connect(
        dsn, autocommit=True, prepare_threshold=None, row_factory=tuple_row, **KEEP_ALIVE
    ) as conn:
        for login in logins:
            name = sql.Identifier(login.name)
            verifier = conn.pgconn.encrypt_password(login.password.encode(), login.name.encode(), b"scram-sha-256")
            async with conn.transaction():
                cursor = await conn.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (login.name,))
                if await cursor.fetchone() is None:
                    await conn.execute(sql.SQL("CREATE ROLE {} LOGIN").format(name))
                    made.append(login.name)
                await conn.execute(
                    sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(name, sql.Literal(verifier.decode()))
                )
                await conn.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(login.role), name))
    return made
