"""SQL of ``hearing_runs``, the signs of life of the socket tier."""

from datetime import datetime

from evpower.db import Conn
from evpower.stations.hearing import Run


async def write(conn: Conn, run: Run) -> None:
    await conn.execute(
        """INSERT INTO hearing_runs (id, instance_id, since, until) VALUES (%s, %s, %s, %s)
           ON CONFLICT (id) DO UPDATE SET until = excluded.until""",
        (run.id, run.instance_id, run.since, run.until),
    )


async def remove(conn: Conn, *, until_before: datetime, until_after: datetime) -> None:
    """Forget runs that ended before the one moment, and those that end after the other."""
    await conn.execute("DELETE FROM hearing_runs WHERE until < %s OR until > %s", (until_before, until_after))


async def remove_all(conn: Conn) -> None:
    await conn.execute("DELETE FROM hearing_runs")


async def read(conn: Conn) -> list[Run]:
    cursor = await conn.execute("SELECT id, instance_id, since, until FROM hearing_runs")
    return [Run(**row) for row in await cursor.fetchall()]
