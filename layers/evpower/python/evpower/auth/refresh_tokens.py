"""Logins: a random refresh token per signed-in phone (mobile-api.md §0.12, §2.2).

90 days, sliding with use, never rotated (the app keeps the first one), stored hashed. Ending a login deletes its row
and with it the devices that were registered under it.
"""

import hashlib
import secrets
from datetime import datetime, timedelta

from evpower.auth import repository
from evpower.db import Conn
from evpower.ids import new_id

LIFETIME = timedelta(days=90)
MAX_LOGINS = 20
"""Per client; the least recently used one makes room."""
_USER_AGENT_CHARS = 200


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogatepass")).digest()


async def open_login(conn: Conn, client_id: str, user_agent: str | None, now: datetime) -> tuple[str, str]:
    """Sign a phone in: the login's id and its refresh token, which exists nowhere else."""
    token = f"evr_{secrets.token_urlsafe(32)}"
    login_id = new_id()
    await repository.delete_logins(conn, client_id, keep=MAX_LOGINS - 1)
    await repository.insert_login(
        conn,
        login_id=login_id,
        client_id=client_id,
        token_hash=_hash(token),
        user_agent="".join(filter(str.isprintable, user_agent or ""))[:_USER_AGENT_CHARS] or None,
        now=now,
        expires_at=now + LIFETIME,
    )
    return login_id, token


async def use(conn: Conn, token: str, now: datetime) -> tuple[str, str] | None:
    """Prolong a login: its id and client id; None for a token that is unknown, ended or expired."""
    return await repository.use_login(conn, _hash(token), now=now, expires_at=now + LIFETIME)


async def revoke(conn: Conn, token: str) -> str | None:
    """End one login; whose it was, None when there was none."""
    return await repository.delete_login(conn, _hash(token))


async def revoke_all(conn: Conn, client_id: str) -> int:
    """End every login of a client (logout everywhere, block, deletion); how many there were.

    Access tokens live on for at most 30 minutes; a blocked or deleted account is refused at their use.
    """
    return await repository.delete_logins(conn, client_id)
