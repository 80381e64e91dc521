"""Every minute: the backstop of the queue ``payment-checks``: due callbacks, due top-ups, open refunds."""

from datetime import datetime

from evpower.payments.checks import sweep_checks
from evpower.payments.refunds import sweep_refunds
from functions.sweeps.deps import SweepDeps


async def run(deps: SweepDeps, now: datetime) -> dict[str, int]:
    """Ask the provider about everything whose time has come; what was worked on and what failed."""
    return {**await sweep_checks(deps.payments), **await sweep_refunds(deps.payments)}
