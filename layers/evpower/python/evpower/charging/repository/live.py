"""What runs at a station now."""

from evpower.charging.models import Session
from evpower.charging.repository.sessions import session_of
from evpower.db import Conn


async def live_at_station(conn: Conn, station_id: str) -> list[Session]:
    """Live sessions of the station, by connector."""
    cursor = await conn.execute(
        """SELECT * FROM charging_sessions
            WHERE station_id = %s AND state IN ('pending', 'charging', 'stopping') ORDER BY connector_id, created_at""",
        (station_id,),
    )
    return [session_of(row) for row in await cursor.fetchall()]
