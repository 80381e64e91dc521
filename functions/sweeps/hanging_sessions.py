"""Every minute: sessions that hang are refunded, settled by the meter, or asked to stop (design.md §3 Sweeps)."""

import time
from datetime import datetime

from evpower.charging import service as charging
from evpower.charging.service import Sweep
from evpower.commands import service as commands
from evpower.commands.models import Command
from evpower.db import Conn
from evpower.logging import get_logger
from functions.sweeps.deps import SweepDeps

_log = get_logger(__name__)
_BATCH = 100
_BUDGET_S = 40.0


async def run(deps: SweepDeps, now: datetime) -> dict[str, int]:
    """Treat each session in a transaction of its own; one that fails is left to the next run and counted.

    Counts by sweep (never_started, too_long, station_offline, ...) and ``failures``.
    """
    counts: dict[str, int] = {}
    deadline = time.monotonic() + _BUDGET_S
    failures = 0
    for sweep in charging.SWEEPS:
        done, failed = await _all(deps, sweep, now, deadline)
        counts[sweep.name] = done
        failures += failed
    return counts | {"failures": failures}


async def _all(deps: SweepDeps, sweep: Sweep, now: datetime, deadline: float) -> tuple[int, int]:
    """Batches until none is left or time is up. Sessions treated, sessions failed."""
    seen: set[str] = set()
    done = 0
    while time.monotonic() < deadline:
        # Use case: a session that fails stays at the front of the result; the others must come up behind it.
        limit = _BATCH + len(seen) - done
        found = await deps.database.run(lambda conn, limit=limit: sweep.find(conn, now, limit))  # type: ignore[misc]
        ids = [session_id for session_id in found if session_id not in seen]
        for session_id in ids:
            seen.add(session_id)
            done += await _one(deps, sweep, session_id, now)
        if len(found) < limit or not ids:
            break
    return done, len(seen) - done


async def _one(deps: SweepDeps, sweep: Sweep, session_id: str, now: datetime) -> bool:
    async def treat(conn: Conn) -> tuple[Command | None, str]:
        command_id = await sweep.handle(conn, session_id, now)
        session = await charging.get_session(conn, session_id, None)
        return await commands.get(conn, command_id) if command_id else None, session.station_id

    try:
        command, station_id = await deps.database.run(treat)
    except Exception:
        _log.exception("hanging session not treated", extra={"sweep": sweep.name, "session_id": session_id})
        return False
    _log.info("hanging session treated", extra={"sweep": sweep.name, "session_id": session_id})
    if command is not None:
        await deps.commands.send(command)
    await deps.publisher.stations_changed([station_id])
    return True
