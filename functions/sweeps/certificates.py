"""Every 5 minutes: certificates and keys of chargers go on where a process left them; what ends is told and renewed.

How many end soon is measured by :mod:`functions.sweeps.vital_signs`.
"""

import time
from datetime import datetime

from evpower.certificates import expiry, issuing
from evpower.certificates.authority import authority_from
from evpower.logging import get_logger
from evpower.stations import key_rotation
from functions.sweeps.deps import SweepDeps

_log = get_logger(__name__)
_BATCH = 50
_BUDGET_S = 40.0


async def run(deps: SweepDeps, now: datetime) -> dict[str, int]:
    """One step with every certificate that is due; a transaction each, the authority outside of them.

    Counts: ``seen`` certificates, ``failures`` among them, ``sent`` to chargers, events (``told``), chargers asked for
    a new request (``renewals``), keys whose command never arrived (``dead_keys``).
    """
    counts = {"seen": 0, "failures": 0, "sent": 0, "told": 0, "renewals": 0, "dead_keys": 0}
    await _advance(deps, now, counts)
    thresholds = deps.settings.certificate_warnings
    counts["told"] = await deps.database.run(lambda conn: expiry.warn(conn, thresholds, now))
    renewals = await deps.database.run(lambda conn: expiry.renew(conn, deps.settings.certificate_renew_days, now))
    await deps.commands.send_all(renewals)
    counts["renewals"] = len(renewals)
    counts["dead_keys"] = await deps.database.run(key_rotation.drop_undelivered)
    return counts


async def _advance(deps: SweepDeps, now: datetime, counts: dict[str, int]) -> None:
    authority = authority_from(deps.settings)
    deadline = time.monotonic() + _BUDGET_S
    for certificate_id in await deps.database.run(lambda conn: issuing.due(conn, now, _BATCH)):
        if time.monotonic() > deadline:
            break
        counts["seen"] += 1
        try:
            command = await issuing.advance(deps.database, authority, deps.settings, certificate_id, now)
        except Exception:
            _log.exception("certificate not advanced", extra={"certificate_id": certificate_id})
            counts["failures"] += 1
            continue
        if command is not None:
            await deps.commands.send(command)
            counts["sent"] += 1
