"""The one clock that every part of the system can ask: the database's."""

from datetime import UTC, datetime

from evpower.db.connection import Conn


async def database_time(conn: Conn) -> datetime:
    """The present moment by the database's clock, also within a long transaction; in UTC."""
    row = await (await conn.execute("SELECT clock_timestamp() AS moment")).fetchone()
    assert row is not None
    moment: datetime = row["moment"]
    return moment.astimezone(UTC)
