"""Time in which the socket tier could hear chargers, as its signs of life would say."""

from datetime import datetime, timedelta

from evpower.db import Conn, Database
from tests.fakes.stations import until

LONG = timedelta(days=2)


async def heard(db: Database, at: datetime, lasting: timedelta = LONG, instance: str = "test") -> None:
    """``instance`` has heard without a gap until ``at``; what was said of it before is forgotten."""

    async def work(conn: Conn) -> None:
        await conn.execute(
            """INSERT INTO hearing_runs (id, instance_id, since, until)
               VALUES (%(name)s, %(name)s, %(since)s, %(until)s)
               ON CONFLICT (id) DO UPDATE SET since = excluded.since, until = excluded.until""",
            {"name": instance, "since": at - lasting, "until": at},
        )

    await db.run(work)


async def heard_all_along(db: Database) -> None:
    """The instances that run have heard for long: their runs of signs of life began earlier."""

    async def work(conn: Conn) -> bool:
        cursor = await conn.execute("UPDATE hearing_runs SET since = since - %s", (LONG,))
        return cursor.rowcount > 0

    await until(lambda: db.run(work), "a sign of life of an instance")
