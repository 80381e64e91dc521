"""Every minute: how the system stands, as metrics, and a 0 for each failure that has not happened.

Without the zeros an alarm on a failure that never happened would have no data, and a dashboard no line.
"""

from datetime import datetime, timedelta

from evpower import metrics
from evpower.db import vital_signs
from evpower.metric_names import resting
from functions.sweeps.deps import SweepDeps


async def run(deps: SweepDeps, now: datetime) -> dict[str, int]:
    """Measure and write; a database that is away fails the run, which is its own alarm."""
    metrics.emit(resting("functions", "both"))
    offline_after = timedelta(seconds=deps.settings.station_offline_after_s)
    signs = await deps.database.run(lambda conn: vital_signs.measure(conn, now, offline_after=offline_after))
    metrics.emit(signs)
    return {"measured": len(signs)}
