"""Many wake-ups at once become few calls."""

import asyncio
from collections.abc import Sequence

from evpower.notifications.queue import Waker


class SlowQueue:
    """Each call waits to be let through."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.open = asyncio.Event()

    async def send(self, outbox_ids: Sequence[int], delay_s: float = 0) -> bool:
        self.calls.append(list(outbox_ids))
        await self.open.wait()
        return False


async def test_what_gathers_during_a_call_goes_with_the_next() -> None:
    queue = SlowQueue()
    waker = Waker(queue)
    tasks = [asyncio.create_task(waker.wake([number, number + 1000])) for number in range(100)]
    while not queue.calls:
        await asyncio.sleep(0)
    assert not any(task.done() for task in tasks), "each waits until its own were sent"
    queue.open.set()
    await asyncio.gather(*tasks)
    assert len(queue.calls) <= 2
    assert sorted(number for call in queue.calls for number in call) == [*range(100), *range(1000, 1100)]


async def test_one_after_the_other_is_one_call_each() -> None:
    queue = SlowQueue()
    queue.open.set()
    waker = Waker(queue)
    await waker.wake([1])
    await waker.wake([2, 3])
    assert queue.calls == [[1], [2, 3]]
