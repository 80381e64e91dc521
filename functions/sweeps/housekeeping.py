"""Every day: meter partitions ahead, old partitions, old rows and files that nobody wants out (retention settings)."""

import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from evpower.db import Conn, retention
from evpower.errors import ServiceUnavailable
from evpower.jobs import service as jobs
from evpower.logging import get_logger
from functions.sweeps.deps import SweepDeps

_log = get_logger(__name__)

_BUDGET_S = 240.0
_FILES = 50


async def run(deps: SweepDeps, now: datetime) -> dict[str, int]:
    """Prepare first, delete after; each batch is a transaction of its own, and what is left waits for tomorrow.

    Counts: partitions made and dropped, files removed, and the rows deleted by table.
    """
    deadline = time.monotonic() + _BUDGET_S
    counts = {"partitions_made": await deps.database.run(retention.ensure_partitions), "partitions_dropped": 0}
    while await deps.database.run(lambda conn: retention.drop_partition(conn, deps.settings, now)):
        counts["partitions_dropped"] += 1
    while await deps.database.run(lambda conn: retention.drop_message_partition(conn, deps.settings, now)):
        counts["partitions_dropped"] += 1
    counts["files_removed"] = await _remove_files(deps, now, deadline)
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


async def _remove_files(deps: SweepDeps, now: datetime, deadline: float) -> int:
    """Remove uploads of chargers from the store; how many. What a store that is away keeps, its rows remember."""
    kept_for = timedelta(days=deps.settings.event_retention_days)
    removed = 0
    while time.monotonic() < deadline:
        found = await deps.database.run(lambda conn: jobs.files_to_remove(conn, now, kept_for, _FILES))
        try:
            for key in found.values():
                await deps.files.delete(key)
        except ServiceUnavailable as error:
            _log.warning("files of jobs stay for now: %s", error)
            break
        await deps.database.run(lambda conn, ids=tuple(found): jobs.files_removed(conn, ids))  # type: ignore[misc]
        removed += len(found)
        if len(found) < _FILES:
            break
    return removed


async def _batches(deps: SweepDeps, batch: Callable[[Conn], Awaitable[int]], deadline: float) -> int:
    """Repeat a batch until it is not full, or time is up; the rows deleted."""
    deleted = 0
    while time.monotonic() < deadline:
        done = await deps.database.run(batch)
        deleted += done
        if done < retention.BATCH:
            break
    return deleted
