"""Every day: meter partitions ahead, old partitions and old rows out (retention settings)."""

import time
from collections.abc import Awaitable, Callable
from datetime import datetime

from evpower.db import Conn, retention
from functions.sweeps.deps import SweepDeps

_BUDGET_S = 240.0


async def run(deps: SweepDeps, now: datetime) -> dict[str, int]:
    """Prepare first, delete after; each batch is a transaction of its own, and what is left waits for tomorrow.

    Counts: partitions made and dropped, and the rows deleted by table.
    """
    deadline = time.monotonic() + _BUDGET_S
    counts = {"partitions_made": await deps.database.run(retention.ensure_partitions), "partitions_dropped": 0}
    while await deps.database.run(lambda conn: retention.drop_partition(conn, deps.settings, now)):
        counts["partitions_dropped"] += 1
    while await deps.database.run(lambda conn: retention.drop_message_partition(conn, deps.settings, now)):
        counts["partitions_dropped"] += 1
    for purge in retention.purges(deps.settings):
        deleted = await _batches(deps, lambda conn, purge=purge: retention.purge_batch(conn, purge, now), deadline)  # type: ignore[misc]
        counts[purge.table] = counts.get(purge.table, 0) + deleted
    counts["ocpp_meter_values"] = await _batches(
        deps, lambda conn: retention.purge_unfiled_readings(conn, deps.settings, now), deadline
    )
    counts["station_messages"] = await _batches(
        deps, lambda conn: retention.purge_unfiled_messages(conn, deps.settings, now), deadline
    )
    return counts


async def _batches(deps: SweepDeps, batch: Callable[[Conn], Awaitable[int]], deadline: float) -> int:
    """Repeat a batch until it is not full, or time is up; the rows deleted."""
    deleted = 0
    while time.monotonic() < deadline:
        done = await deps.database.run(batch)
        deleted += done
        if done < retention.BATCH:
            break
    return deleted
