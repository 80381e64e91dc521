"""Every minute: commands without a terminal state whose lease lapsed are sent again, failed or expired; the jobs that
commands began and whose chargers reported no end in time expire."""

import time
from datetime import datetime

from evpower.commands import service as commands
from evpower.jobs import service as jobs
from functions.sweeps.deps import SweepDeps

_BATCH = 100
_BUDGET_S = 40.0


async def run(deps: SweepDeps, now: datetime) -> dict[str, int]:
    """Batch after batch, each in one transaction, its messages after the commit.

    A crash between commit and message costs one lease: the rows come up again.
    """
    deadline = time.monotonic() + _BUDGET_S
    counts = {"seen": 0, "expired": 0, "failed": 0, "sent_again": 0, "jobs_expired": 0}
    while time.monotonic() < deadline:
        batch = await deps.database.run(lambda conn: commands.expire_and_redeliver(conn, now, _BATCH))
        counts["seen"] += batch.seen
        counts["expired"] += batch.expired
        counts["failed"] += batch.failed
        counts["sent_again"] += len(batch.to_send)
        await deps.commands.send_all(batch.to_send)
        if batch.seen < _BATCH:
            break
    while time.monotonic() < deadline:
        closed = await deps.database.run(lambda conn: jobs.expire(conn, now, _BATCH))
        counts["jobs_expired"] += closed
        if closed < _BATCH:
            break
    return counts
