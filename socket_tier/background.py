"""Work that goes on as long as the process: every loop shows when it is at work, and one that stands is started anew.

A loop wraps what it does, other than waiting for something to do, in :meth:`Work.step`. A step has a deadline, as every
question inside it has one of its own; a step that outlasts even that is a defect, which :meth:`Background.watch` finds:
the loop is cancelled and begins again, and ``/health`` fails until one of its steps ends.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeAlias

from evpower.logging import get_logger
from socket_tier import metrics
from socket_tier.tasks import cancel_all

log = get_logger(__name__)

STEP_S = 15.0
"""Longest step: a wait for a connection of the pool and for one answer that does not come, and some more."""
STUCK_AFTER_S = 18.0
WATCH_S = 1.0
_BLAMED_FOR_S = 30.0  # longer than any loop waits for its next step, so that one which stands each time stays blamed
_PAUSE_AFTER_END_S = 1.0
_ATTEMPTS = 3


class Work:
    """One piece of background work and its sign of progress. Times are readings of ``time.monotonic``."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.steps = 0
        self.stuck_after_s = STUCK_AFTER_S
        self.given_up = 0  # steps since the last one that ended
        self._since: float | None = None
        self._number = 0
        self._blamed_until = 0.0

    @asynccontextmanager
    async def step(self, within_s: float = STEP_S) -> AsyncIterator[None]:
        """One step of a loop on the event loop. Raises TimeoutError when it takes longer than ``within_s``."""
        with self.step_of_thread():
            async with asyncio.timeout(within_s):
                yield

    @contextmanager
    def step_of_thread(self) -> Iterator[None]:
        """One step whose calls have their own deadlines, as those of a thread."""
        self._number += 1
        number = self._number
        self._since = time.monotonic()
        try:
            yield
        finally:
            if number == self._number:  # else it was given up, and another has begun
                self._since = None
                self._blamed_until = 0.0
                self.given_up = 0
                self.steps += 1

    def stands(self, now: float) -> bool:
        """Whether the present step should have ended long ago."""
        return self._since is not None and now - self._since >= self.stuck_after_s

    def in_trouble(self, now: float) -> bool:
        """Whether it stands, or stood and has not ended a step since."""
        return self.stands(now) or now < self._blamed_until

    def give_up(self, now: float) -> None:
        """Forget the present step: the work begins anew."""
        self._number += 1
        self.given_up += 1
        self._since = None
        self._blamed_until = now + _BLAMED_FOR_S


Loop: TypeAlias = Callable[[Work], Coroutine[Any, Any, None]]


class Background:
    """All background work of one instance."""

    def __init__(self) -> None:
        self.works: dict[str, Work] = {}
        self._again: dict[str, Callable[[], None]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._given_up: set[asyncio.Task[None]] = set()

    def register(self, name: str, again: Callable[[], None]) -> Work:
        """Work that somebody else runs; ``again`` starts it anew after it stood."""
        self._again[name] = again
        work = self.works[name] = Work(name)
        return work

    def start(self, name: str, loop: Loop) -> None:
        """Run ``loop`` until it is stopped."""
        self.register(name, lambda: self._run(name, loop))
        self._run(name, loop)

    def _run(self, name: str, loop: Loop) -> None:
        old = self._tasks.get(name)
        if old is not None and not old.done():
            old.cancel()
            self._given_up.add(old)  # not waited for: perhaps it cannot be ended
            old.add_done_callback(self._given_up.discard)
        task = asyncio.get_running_loop().create_task(loop(self.works[name]), name=f"background: {name}")
        self._tasks[name] = task
        task.add_done_callback(lambda ended: self._ended(name, ended))

    def _ended(self, name: str, task: asyncio.Task[None]) -> None:
        """A loop that ends by itself is a defect; it begins again all the same."""
        if task.cancelled() or self._tasks.get(name) is not task:
            return
        log.error("background work ended", extra={"work": name}, exc_info=task.exception())
        metrics.background_restarts.inc()
        asyncio.get_running_loop().call_later(_PAUSE_AFTER_END_S, self._resume, name, task)

    def _resume(self, name: str, ended: asyncio.Task[None]) -> None:
        if self._tasks.get(name) is ended:
            self._again[name]()

    async def stop(self, *names: str) -> None:
        """End these loops; all of them without names."""
        chosen = [name for name in names or tuple(self._tasks) if name in self._tasks]
        for name in chosen:
            self.works.pop(name)
        await cancel_all([self._tasks.pop(name) for name in chosen])
        if not names:
            await cancel_all(list(self._given_up))

    def in_trouble(self) -> list[str]:
        """Names of the work that stands, or stood and has done nothing since."""
        now = time.monotonic()
        return [name for name, work in self.works.items() if work.in_trouble(now)]

    async def watch(self, _work: Work) -> None:
        """Start anew what stands, until cancelled."""
        while True:
            await asyncio.sleep(WATCH_S)
            now = time.monotonic()
            for name, work in list(self.works.items()):
                # What stands each time is left as it is: /health fails until somebody replaces this process.
                if work.stands(now) and work.given_up < _ATTEMPTS:
                    self.restart(name)

    def restart(self, name: str) -> None:
        """Give up what this work does now and let it begin anew."""
        log.error("background work stands and begins anew", extra={"work": name})
        metrics.background_restarts.inc()
        self.works[name].give_up(time.monotonic())
        self._again[name]()
