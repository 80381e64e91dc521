"""Every 2 minutes: reservations and charging profiles that are over are written down as such, and local lists that
still let a closed card charge are updated.
"""

from datetime import datetime

from evpower.local_list import service as local_list
from evpower.logging import get_logger
from evpower.reservations import service as reservations
from evpower.smart_charging import service as smart_charging
from functions.sweeps.deps import SweepDeps

_log = get_logger(__name__)

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
    return {**counts, "lists_updated": await _revoke_closed_cards(deps, now)}


async def _revoke_closed_cards(deps: SweepDeps, now: datetime) -> int:
    """Begin the update of up to ``LISTS`` lists; how many. Lists that cannot be updated keep no other from it."""
    updated, after = 0, ""
    for _ in range(MAX_BATCHES):
        found = await deps.database.run(
            lambda conn, after=after: local_list.holding_closed_cards(conn, now, after=after, limit=LISTS)  # type: ignore[misc]
        )
        for station_id in found:
            updated += await _revoke_at(deps, station_id, now)
            if updated == LISTS:
                return updated
        if len(found) < LISTS:
            break
        after = found[-1]
    return updated


async def _revoke_at(deps: SweepDeps, station_id: str, now: datetime) -> bool:
    """A transaction of its own, so that no charger's answer waits for another charger's list."""
    try:
        command = await deps.database.run(lambda conn: local_list.revoke_closed_cards(conn, station_id, now))
    except Exception:
        _log.exception("local list not treated", extra={"station_id": station_id})
        return False
    if command is None:
        return False
    await deps.commands.send(command)
    return True
