"""What runs at a station now."""

from datetime import datetime, timedelta

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


async def places_to_go_on(
    conn: Conn, client_id: str, now: datetime, *, around: timedelta
) -> frozenset[tuple[str, int]]:
    """Station and connector where the client's charge has ended and its cable is still in.

    The connector said Finishing within ``around`` of the end: one that said so later may be another driver's by now,
    whose charges row security hides.
    """
    cursor = await conn.execute(
        """SELECT s.station_id, s.connector_id
             FROM charging_sessions s
             JOIN ocpp_transactions t ON t.id = s.ocpp_transaction_id
             JOIN connectors c ON c.station_id = s.station_id AND c.connector_number = s.connector_id
            WHERE s.user_id = %(client)s AND s.created_at > %(now)s - interval '2 days'
              AND c.ocpp_status = 'Finishing' AND c.live_session_id IS NULL
              AND t.stop_received_at BETWEEN c.status_received_at - %(around)s AND c.status_received_at + %(around)s""",
        {"client": client_id, "now": now, "around": around},
    )
    return frozenset((row["station_id"], row["connector_id"]) for row in await cursor.fetchall())
