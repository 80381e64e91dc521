"""SQL of favourites."""

from evpower.db import Conn


async def location_ids(conn: Conn, client_id: str) -> list[str]:
    """Newest first."""
    cursor = await conn.execute(
        "SELECT location_id FROM user_favorites WHERE user_id = %s ORDER BY created_at DESC, location_id", (client_id,)
    )
    return [row["location_id"] async for row in cursor]


async def insert(conn: Conn, client_id: str, location_id: str) -> bool:
    """False when it was there before."""
    cursor = await conn.execute(
        """INSERT INTO user_favorites (user_id, location_id, created_at) VALUES (%s, %s, clock_timestamp())
           ON CONFLICT (user_id, location_id) DO NOTHING""",
        (client_id, location_id),
    )
    return cursor.rowcount == 1


async def delete(conn: Conn, client_id: str, location_id: str) -> bool:
    """False when there was none."""
    cursor = await conn.execute(
        "DELETE FROM user_favorites WHERE user_id = %s AND location_id = %s", (client_id, location_id)
    )
    return cursor.rowcount == 1


async def exists(conn: Conn, client_id: str, location_id: str) -> bool:
    cursor = await conn.execute(
        "SELECT 1 FROM user_favorites WHERE user_id = %s AND location_id = %s", (client_id, location_id)
    )
    return await cursor.fetchone() is not None
