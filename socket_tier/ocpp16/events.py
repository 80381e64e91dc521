"""What chargers report of themselves, kept as station events for operators (ocpp.md §3, last row).

Each message has a file of its own with the words it uses; this is what they share.
"""

from datetime import datetime

from evpower.db import Conn
from evpower.stations import service as stations
from socket_tier.charger import Charger
from socket_tier.dialect import Payload


async def store(
    charger: Charger, event: str, payload: Payload, *, severity: str = "info", charger_at: datetime | None = None
) -> Payload:
    """Commit the message as an event of type ``event``; its answer, which is empty for all of them."""
    now = charger.services.clock.now()

    async def work(conn: Conn) -> None:
        await stations.add_event(
            conn, charger.station_id, event, now, payload=payload, severity=severity, charger_at=charger_at
        )

    await charger.services.database.run(work)
    return {}
