"""Shutdown ends every background task."""

import asyncio
import contextlib

from socket_tier.tasks import cancel_all


async def test_a_task_that_loses_its_first_cancellation_is_ended_all_the_same() -> None:
    lost = asyncio.Event()

    async def loop_that_swallows_one() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        lost.set()
        await asyncio.Event().wait()

    async def fails() -> None:
        raise ConnectionError

    tasks = [asyncio.create_task(loop_that_swallows_one()), asyncio.create_task(fails())]
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await cancel_all(tasks)
    assert lost.is_set()
    assert all(task.done() for task in tasks)
