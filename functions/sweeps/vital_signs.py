"""Every minute: how the system stands, as metrics, and a 0 for each failure that has not happened.

Without the zeros an alarm on a failure that never happened would have no data, and a dashboard no line.
"""

from datetime import datetime, timedelta

from evpower import metrics
from evpower.auth import code_caps
from evpower.certificates import expiry
from evpower.db import Conn, vital_signs
from evpower.metric_names import resting
from evpower.stations.listening import hearing_at
from functions.sweeps.deps import SweepDeps


async def run(deps: SweepDeps, now: datetime) -> dict[str, int]:
    """Measure and write; a database that is away fails the run, which is its own alarm."""
    settings = deps.settings
    offline_after = timedelta(seconds=settings.station_offline_after_s)
    soon = max(settings.certificate_warnings)

    async def measure(conn: Conn) -> tuple[dict[str, float], float, int]:
        signs = await vital_signs.measure(conn, now, offline_after=offline_after)
        since = (await hearing_at(conn, now)).since
        lasts = (now - since).total_seconds() if since is not None else 0.0
        return signs, lasts, (await expiry.count(conn, [soon], now))[soon]

    metrics.emit(resting("functions", "both"))
    for reason in code_caps.SHARED:
        metrics.emit({"LoginCodesRefused": 0}, Reason=reason)
    signs, hearing_lasts, certificates = await deps.database.run(measure)
    metrics.emit(signs)
    metrics.emit({"HearingLasts": hearing_lasts})
    metrics.emit({"CertificatesExpiring": certificates})
    return {"measured": len(signs) + 2}
