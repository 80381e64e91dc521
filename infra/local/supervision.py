"""Watches the long-lived processes of the local system: replaces what can be replaced, reports what cannot."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from infra.local.processes import Child, LocalSystemError

_BACKOFF_S = (0.0, 0.2, 1.0)
_START_TIMEOUT_S = 60.0


@dataclass(slots=True)
class _Supervised:
    """A replaceable process and how to make it again."""

    name: str
    make: Callable[[], Child]
    ready: Callable[[], bool]
    stop_timeout_s: float
    child: Child | None = None
    task: asyncio.Task[None] | None = None
    is_ready: asyncio.Event = field(default_factory=asyncio.Event)
    stopping: bool = False


class Supervisor:
    """Use from the main thread: children are tied to the thread that starts them."""

    def __init__(self) -> None:
        self._entries: dict[str, _Supervised] = {}
        self._watching: list[asyncio.Task[None]] = []
        self._failure: asyncio.Future[LocalSystemError] | None = None
        self.stopping = False

    @property
    def failure(self) -> "asyncio.Future[LocalSystemError]":
        """Result: why the system cannot go on."""
        if self._failure is None:
            self._failure = asyncio.get_running_loop().create_future()
        return self._failure

    @property
    def pids(self) -> dict[str, list[int]]:
        return {e.name: [e.child.pid] if e.child is not None and e.child.alive else [] for e in self._entries.values()}

    async def start(
        self, name: str, make: Callable[[], Child], ready: Callable[[], bool], *, stop_timeout_s: float = 10.0
    ) -> None:
        """Start a process, wait until ``ready()`` (called in a thread), and keep it running from then on."""
        entry = _Supervised(name, make, ready, stop_timeout_s)
        self._entries[name] = entry
        await self._launch(entry)
        entry.task = asyncio.get_running_loop().create_task(self._keep(entry))

    async def restart(self, name: str) -> None:
        """Ask the process to end, and wait until its successor is ready."""
        entry = self._entries[name]
        assert entry.child is not None
        before = entry.child.pid
        await entry.child.stop_async(timeout_s=entry.stop_timeout_s)
        await self.wait_back(name, before)

    async def wait_back(self, name: str, than: int) -> None:
        """Wait until ``name`` is ready again with another process id than ``than``."""
        entry = self._entries[name]
        async with asyncio.timeout(_START_TIMEOUT_S):
            while entry.child is None or entry.child.pid == than or not entry.is_ready.is_set():
                if self.failure.done():
                    raise self.failure.result()
                await asyncio.sleep(0.02)

    async def stop(self, name: str) -> None:
        """End a process for good; nothing happens when it was never started."""
        entry = self._entries.get(name)
        if entry is None:
            return
        entry.stopping = True
        if entry.child is not None:
            await entry.child.stop_async(timeout_s=entry.stop_timeout_s)
        if entry.task is not None:
            entry.task.cancel()
            await asyncio.gather(entry.task, return_exceptions=True)
        if entry.child is not None:  # a successor may have been on its way
            await entry.child.stop_async(timeout_s=entry.stop_timeout_s)

    async def stop_all(self) -> None:
        """End everything, side by side, and stop watching."""
        self.stopping = True
        for task in self._watching:
            task.cancel()
        await asyncio.gather(*(self.stop(name) for name in self._entries))

    def watch_irreplaceable(self, name: str, child: Child) -> None:
        """Report a failure when ``child`` (a service that holds state) ends by itself."""

        async def watch() -> None:
            status = await child.wait()
            if not self.stopping:
                self._fail(name, status, child)

        self._watching.append(asyncio.get_running_loop().create_task(watch()))

    def _fail(self, name: str, status: int | None, child: Child) -> None:
        if not self.failure.done():
            text = f"{name} ended (status {status}); its last lines:\n{child.log_tail()}"
            self.failure.set_result(LocalSystemError(text))

    async def _launch(self, entry: _Supervised) -> None:
        entry.is_ready.clear()
        entry.child = entry.make()
        entry.child.start()
        await entry.child.wait_ready_async(entry.ready, timeout_s=_START_TIMEOUT_S)
        entry.is_ready.set()

    async def _keep(self, entry: _Supervised) -> None:
        failed = 0
        while True:
            assert entry.child is not None
            await entry.child.wait()
            entry.is_ready.clear()
            if entry.stopping or self.stopping:
                return
            await asyncio.sleep(_BACKOFF_S[failed])
            try:
                await self._launch(entry)
                failed = 0
            except LocalSystemError:
                failed += 1
                if failed == len(_BACKOFF_S):
                    self._fail(entry.name, entry.child.returncode, entry.child)
                    return
