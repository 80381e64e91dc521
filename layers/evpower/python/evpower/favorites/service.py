"""Rules of favourites. Adding and removing are idempotent: the app decides from a list that may be old."""

from psycopg.errors import ForeignKeyViolation

from evpower.db import Conn
from evpower.errors import NotFound
from evpower.favorites import repository


async def location_ids(conn: Conn, client_id: str) -> list[str]:
    """The client's favourite locations, newest first."""
    return await repository.location_ids(conn, client_id)


async def add(conn: Conn, client_id: str, location_id: str) -> bool:
    """Add a location; false when it was a favourite before.

    Raises:
        NotFound: no such location.
    """
    try:
        return await repository.insert(conn, client_id, location_id)
    except ForeignKeyViolation as error:
        raise NotFound from error


async def remove(conn: Conn, client_id: str, location_id: str) -> bool:
    """Remove a location; false when it was no favourite. It need not exist any more."""
    return await repository.delete(conn, client_id, location_id)


async def contains(conn: Conn, client_id: str, location_id: str) -> bool:
    """Whether the location is a favourite."""
    return await repository.exists(conn, client_id, location_id)


async def toggle(conn: Conn, client_id: str, location_id: str) -> bool:
    """Remove it if it is a favourite, else add it; whether it is one now.

    Raises:
        NotFound: no such location.
    """
    if await repository.delete(conn, client_id, location_id):
        return False
    await add(conn, client_id, location_id)
    return True
