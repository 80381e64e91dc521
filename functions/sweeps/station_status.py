"""Every 2 minutes: stations that nobody has heard of for ``STATION_OFFLINE_AFTER_S`` become unavailable.

Bounded batches, one short transaction each, rows locked with SKIP LOCKED: two runs at once share the work. The
locations stream is told after each commit.
"""

from datetime import datetime

from evpower.db import Conn
from evpower.notifications import service as notifications
from evpower.stations import service
from evpower.stations.models import StationRef
from functions.sweeps.deps import SweepDeps

BATCH = 200
MAX_BATCHES = 50  # a run must end before its function times out; the next one goes on


async def run(deps: SweepDeps, now: datetime) -> dict[str, int]:
    """Mark silent stations; the counters for the metrics."""

    async def batch(conn: Conn) -> list[StationRef]:
        stations = await service.mark_offline(conn, now, BATCH)
        await notifications.stations_offline(conn, [station.station_id for station in stations], now)
        return stations

    marked = 0
    for _ in range(MAX_BATCHES):
        stations = await deps.database.run(batch)
        await deps.publisher.stations_changed(stations)
        marked += len(stations)
        if len(stations) < BATCH:
            break
    return {"stations_offline": marked}
