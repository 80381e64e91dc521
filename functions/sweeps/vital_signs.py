"""Every minute: how the system stands, as metrics, and a 0 for each failure that has not happened.

Without the zeros an alarm on a failure that never happened would have no data, and a dashboard no line.
"""

from datetime import datetime, timedelta

from evpower import metrics
from evpower.certificates import expiry
from evpower.db import Conn, vital_signs
from evpower.metric_names import resting
from functions.sweeps.deps import SweepDeps


async def run(deps: SweepDeps, now: datetime) -> dict[str, int]:
    """Measure and write; a database that is away fails the run, which is its own alarm."""
    settings = deps.settings
    offline_after = timedelta(seconds=settings.station_offline_after_s)
    soon = max(settings.certificate_warnings)

    async def measure(conn: Conn) -> dict[str, float]:
        signs = await vital_signs.measure(conn, now, offline_after=offline_after)
        ending = await expiry.count(conn, [soon], now)
        return signs | {"CertificatesExpiring": ending[soon]}

    metrics.emit(resting("functions", "both"))
    signs = await deps.database.run(measure)
    metrics.emit(signs)
    return {"measured": len(signs)}
