"""Hourly: close top-ups that are long over. Their late money is still credited (payments.md §2.4)."""

from datetime import datetime

from evpower.payments.checks import sweep_cleanup
from functions.sweeps.deps import SweepDeps


async def run(deps: SweepDeps, now: datetime) -> dict[str, int]:
    """Expire what nobody answered for, give forgotten rows a time; the numbers of rows."""
    return await sweep_cleanup(deps.payments)
