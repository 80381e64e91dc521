"""Every minute: notifications whose message to the queue ``push`` was lost are handed over again.

Use case: a process died between its commit and its message, SQS was away, or the push function could not finish. A
row that is being worked on, or waits for its next attempt, has its time in the future and is left alone.
"""

import time
from datetime import datetime, timedelta

from evpower.db import Conn
from evpower.notifications import service as notifications
from functions.sweeps.deps import SweepDeps

BATCH = 200
_BUDGET_S = 40.0
_GRACE = timedelta(seconds=30)
_HAND_AGAIN = timedelta(minutes=3)
"""A queue that is behind must not fill up with repetitions."""


async def run(deps: SweepDeps, now: datetime) -> dict[str, int]:
    """Batch after batch, the messages after each commit. A message that is lost again costs three minutes."""

    async def batch(conn: Conn) -> list[int]:
        return await notifications.take_overdue(
            conn, due_before=now - _GRACE, handed_before=now - _HAND_AGAIN, now=now, limit=BATCH
        )

    deadline = time.monotonic() + _BUDGET_S
    counts = {"seen": 0, "handed": 0}
    while time.monotonic() < deadline:
        ids = await deps.database.run(batch)
        counts["seen"] += len(ids)
        if ids and not await deps.pushes.send(ids):
            break
        counts["handed"] += len(ids)
        if len(ids) < BATCH:
            break
    return counts
