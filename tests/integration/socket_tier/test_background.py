"""What a running instance does by itself, and nobody's doing else."""

import asyncio
import threading

from infra.local.queues import SqsEndpoint
from tests.integration.socket_tier.conftest import MakeTier


async def test_every_task_and_thread_of_an_instance_is_watched(make_tier: MakeTier, sqs: SqsEndpoint) -> None:
    """A task that somebody starts beside ``Background`` could stand for ever, and nobody would see it."""
    tasks, threads = asyncio.all_tasks(), set(threading.enumerate())
    tier = await make_tier(**{name.lower(): value for name, value in sqs.environment.items()})
    works = {f"background: {name}" for name in tier.background.works}
    started = asyncio.all_tasks() - tasks
    ours = {task.get_name() for task in started if "socket_tier" in task.get_coro().cr_code.co_filename}  # type: ignore[union-attr]
    assert ours <= works
    receivers = {thread.name for thread in set(threading.enumerate()) - threads if thread.name.startswith("command")}
    assert receivers == {"command queue 0", "command queue 1"}
    assert receivers <= tier.background.works.keys()
    assert works - ours == {"background: meter flush", *(f"background: {name}" for name in receivers)}
