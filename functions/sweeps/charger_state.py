"""Every 2 minutes: reservations and charging profiles that are over are written down as such, and local lists that
still let a closed card charge are updated.
"""

from datetime import datetime

from evpower.local_list import service as local_list
from evpower.reservations import service as reservations
from evpower.smart_charging import service as smart_charging
from functions.sweeps.deps import SweepDeps

BATCH = 200
LISTS = 20
"""Lists updated in one run: each is a conversation with a charger."""
MAX_BATCHES = 50


async def run(deps: SweepDeps, now: datetime) -> dict[str, int]:
    """Bounded batches, one short transaction each; rows that another run holds are skipped."""
    counts = {"reservations_over": 0, "profiles_over": 0}
    for _ in range(MAX_BATCHES):
        over = await deps.database.run(lambda conn: reservations.expire(conn, now, BATCH))
        ended = await deps.database.run(lambda conn: smart_charging.end(conn, now, BATCH))
        counts["reservations_over"] += over
        counts["profiles_over"] += ended
        if max(over, ended) < BATCH:
            break
    commands = await deps.database.run(lambda conn: local_list.revoke_closed_cards(conn, now, LISTS))
    await deps.commands.send_all(commands)
    return {**counts, "lists_updated": len(commands)}
