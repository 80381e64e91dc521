"""Entry of the scheduled sweeps: EventBridge rule -> the module of the same name in this folder.

Sweeps repair what the fast paths missed. They work in bounded batches, skip rows that others hold and may overlap
with themselves, so that a run that is late, repeated or killed does no harm.
"""

import asyncio
import importlib
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, cast

from aws_lambda_powertools.utilities.data_classes import EventBridgeEvent

from evpower import metrics, tracing
from evpower.config import get_settings
from evpower.ids import accept_correlation_id, correlation_id
from evpower.lambda_runtime.entry import observed
from evpower.logging import get_logger
from functions.sweeps.deps import SweepDeps, build_deps

SWEEPS = (
    "payment_checks",
    "payment_cleanup",
    "station_status",
    "hanging_sessions",
    "command_redelivery",
    "push_outbox",
    "ledger_audit",
    "certificates",
    "housekeeping",
    "vital_signs",
    "charger_state",
)
"""Names of the schedules, and of the modules that do their work."""

Run = Callable[[SweepDeps, datetime], Awaitable[dict[str, int]]]

_settings = get_settings()
observe = observed("sweeps", _settings.log_level)
_log = get_logger(__name__)
# One loop and one connection for the life of the process.
_runner = asyncio.Runner()
_deps = build_deps(_settings)


class UnknownSchedule(Exception):
    """The event names no sweep of ours: the deployment and the code disagree, and somebody must see it."""


@observe
def handler(event: dict[str, Any], context: Any) -> dict[str, int]:
    """Run the sweep that the event's rule names; what it found and did.

    Raises:
        UnknownSchedule: no sweep has that name. Whatever the sweep raises goes on to Lambda, which counts and retries.
    """
    return _runner.run(work(_deps, event))


async def work(deps: SweepDeps, event: Mapping[str, Any]) -> dict[str, int]:
    """One scheduled event."""
    name = sweep_of(event)
    correlation_id.set(accept_correlation_id(EventBridgeEvent(dict(event)).get("id")))
    tracing.annotate("sweep", name)
    run = cast(Run, importlib.import_module(f"functions.sweeps.{name}").run)
    began = time.monotonic()
    try:
        counts = await run(deps, await deps.now())
    except Exception:
        metrics.emit({"SweepFailed": 1}, Sweep=name)
        _log.exception("sweep failed", extra={"sweep": name})
        raise
    metrics.emit({"SweepRuns": 1, "SweepDuration": round((time.monotonic() - began) * 1000, 1)}, Sweep=name)
    for finding, count in counts.items():
        metrics.emit({"SweepFindings": count}, Sweep=name, Finding=finding)
    _log.info("sweep done", extra={"sweep": name, "counts": counts})
    return counts


def sweep_of(event: Mapping[str, Any]) -> str:
    """Name of the sweep from an EventBridge scheduled event.

    The rule's name ends with the sweep's: `evpower-hanging_sessions`, with or without a prefix of the environment,
    with dashes or underscores.

    Raises:
        UnknownSchedule: not a scheduled event of exactly one of our rules.
    """
    scheduled = EventBridgeEvent(dict(event))
    try:
        source, resources = scheduled.source, scheduled.resources
    except KeyError as missing:
        raise UnknownSchedule(f"not an EventBridge event: no {missing}") from missing
    if source != "aws.events" or not isinstance(resources, list) or len(resources) != 1:
        raise UnknownSchedule(f"not a scheduled event: {source!r}, {resources!r}")
    rule = str(resources[0]).rpartition("/")[2]
    words = rule.replace("-", "_")
    found = [name for name in SWEEPS if words == name or words.endswith("_" + name)]
    if ":rule/" not in str(resources[0]) or len(found) != 1:
        raise UnknownSchedule(f"no sweep for the rule {rule!r}; there are {', '.join(SWEEPS)}")
    return found[0]
