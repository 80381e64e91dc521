"""Time in which the socket tier could hear chargers, as its signs of life would say."""

from datetime import datetime, timedelta

from evpower.db import Conn, Database

LONG = timedelta(days=2)


async def heard(db: Database, until: datetime, lasting: timedelta = LONG, instance: str = "test") -> None:
    """``instance`` has heard without a gap ``until`` then; what was said of it before is forgotten."""

    async def work(conn: Conn) -> None:
        await conn.execute(
            """INSERT INTO hearing_runs (id, instance_id, since, until)
               VALUES (%(name)s, %(name)s, %(since)s, %(until)s)
               ON CONFLICT (id) DO UPDATE SET since = excluded.since, until = excluded.until""",
            {"name": instance, "since": until - lasting, "until": until},
        )

    await db.run(work)
