"""What a charger does by its own word: how often it samples, and which settings it does not keep."""

from datetime import datetime

from evpower.db import Conn
from evpower.stations.disputes import Dispute


async def set_sample_interval(conn: Conn, station_id: str, interval_s: int) -> bool:
    """Keep what the charger's configuration says; whether it said something else before.

    What its readings showed belonged to the old value.
    """
    cursor = await conn.execute(
        """UPDATE stations SET sample_interval_s = %(interval)s, observed_interval_s = NULL
            WHERE id = %(station)s AND sample_interval_s IS DISTINCT FROM %(interval)s""",
        {"station": station_id, "interval": interval_s},
    )
    return cursor.rowcount > 0


async def set_observed_interval(conn: Conn, station_id: str, interval_s: int) -> bool:
    """Keep what the readings show; whether they showed something else before."""
    cursor = await conn.execute(
        """UPDATE stations SET observed_interval_s = %(interval)s
            WHERE id = %(station)s AND observed_interval_s IS DISTINCT FROM %(interval)s""",
        {"station": station_id, "interval": interval_s},
    )
    return cursor.rowcount > 0


async def dispute(conn: Conn, station_id: str, key: str) -> Dispute | None:
    """What was tried for ``key`` (lower case); locked to the end of the transaction."""
    cursor = await conn.execute(
        """SELECT wanted, attempts, given_up_at IS NOT NULL AS given_up FROM configuration_disputes
            WHERE station_id = %s AND key = %s FOR UPDATE""",
        (station_id, key),
    )
    row = await cursor.fetchone()
    return Dispute(**row) if row else None


async def set_dispute(conn: Conn, station_id: str, key: str, known: Dispute, now: datetime) -> None:
    await conn.execute(
        """INSERT INTO configuration_disputes AS d (station_id, key, wanted, attempts, given_up_at)
           VALUES (%(station)s, %(key)s, %(wanted)s, %(attempts)s, %(given_up)s)
               ON CONFLICT (station_id, key) DO UPDATE
              SET wanted = excluded.wanted, attempts = excluded.attempts, given_up_at = excluded.given_up_at""",
        {
            "station": station_id,
            "key": key,
            "wanted": known.wanted,
            "attempts": known.attempts,
            "given_up": now if known.given_up else None,
        },
    )


async def end_disputes(conn: Conn, station_id: str, keys: list[str]) -> None:
    await conn.execute("DELETE FROM configuration_disputes WHERE station_id = %s AND key = ANY(%s)", (station_id, keys))
