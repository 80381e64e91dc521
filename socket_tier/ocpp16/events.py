"""What chargers report of themselves, kept as station events for operators (ocpp.md §3, last row).

Each message has a file of its own with the words it uses; this is what they share.
"""

from datetime import datetime, timedelta

from evpower.db import Conn
from evpower.jobs import service as jobs
from evpower.jobs.models import JobKind
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


# Use case: a charger that uploads says so several times a second, for hours.
_SAME_STEP = timedelta(hours=1)


async def job_step(charger: Charger, event: str, kind: JobKind, payload: Payload, *, severity: str) -> Payload:
    """Commit a step of a firmware update or upload, as an event and in its job; the empty answer."""
    now = charger.services.clock.now()
    request_id = payload.get("requestId")

    async def work(conn: Conn) -> None:
        await jobs.progress(conn, charger.station_id, kind, payload["status"], request_id, now)
        await stations.add_event(
            conn, charger.station_id, event, now, payload=payload, severity=severity, once_in=_SAME_STEP
        )

    await charger.services.database.run(work)
    return {}
