"""Fires the schedules of infra/schedules.py: real EventBridge events to function ``sweeps``."""

import asyncio
import logging
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from infra.local.lambda_pool import LambdaFunction
from infra.local.queues import REGION
from infra.local.runtime_api import Result
from infra.local.schedule_expression import next_time
from infra.schedules import SCHEDULES, Schedule

_log = logging.getLogger(__name__)
_ACCOUNT = "123456789012"
_RETRIES = 2  # an asynchronous invocation that fails is tried twice more, as Lambda does


def scheduled_event(schedule: Schedule, at: datetime) -> dict[str, Any]:
    """The event that EventBridge sends to a rule's target."""
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": _ACCOUNT,
        "time": at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": REGION,
        "resources": [f"arn:aws:events:{REGION}:{_ACCOUNT}:rule/{schedule.rule_name}"],
        "detail": {},
    }


class Scheduler:
    """One task per schedule. ``intervals`` (name -> seconds) replaces an expression, for tests."""

    def __init__(
        self,
        sweeps: LambdaFunction,
        schedules: Iterable[Schedule] = SCHEDULES,
        intervals: Mapping[str, float] | None = None,
    ) -> None:
        self._sweeps = sweeps
        self._schedules = {schedule.name: schedule for schedule in schedules}
        self._intervals = dict(intervals or {})
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self) -> None:
        for schedule in self._schedules.values():
            self._spawn(self._run(schedule))

    async def stop(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def fire(self, name: str) -> Result:
        """Invoke one sweep now and return its answer."""
        return await self._sweeps.invoke(scheduled_event(self._schedules[name], datetime.now(UTC)))

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, schedule: Schedule) -> None:
        following = next_time(schedule.expression)
        while True:
            now = datetime.now(UTC)
            if (interval := self._intervals.get(schedule.name)) is not None:
                await asyncio.sleep(interval)
            elif (moment := following(now)) is not None:
                await asyncio.sleep((moment - now).total_seconds())
            else:
                return
            # Fires again although the last run may still be at work: sweeps are safe to overlap.
            self._spawn(self._deliver(schedule))

    async def _deliver(self, schedule: Schedule) -> None:
        event = scheduled_event(schedule, datetime.now(UTC))
        for attempt in range(1 + _RETRIES):
            result = await self._sweeps.invoke(event)
            if not result.function_error:
                return
            _log.warning("schedule %s failed (attempt %d): %s", schedule.name, attempt + 1, result.payload)
            await asyncio.sleep(1 + attempt)
