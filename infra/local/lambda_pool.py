"""Lambda functions on this machine: several processes per function, replaced when they die, killed when late."""

import asyncio
import collections
import contextlib
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra.local.processes import ROOT, Child
from infra.local.runtime_api import Invocation, Result, Sandbox, function_error

_BACKOFF_S = (0.0, 0.1, 0.5, 1.0, 2.0, 5.0)
_INIT_TIMEOUT_S = 30.0  # Lambda gives 10 s; a laptop that starts everything at once gets more


def runtime_command(handler: str) -> list[str]:
    """AWS's own runtime client where it has a wheel, else a plain loop with the same protocol."""
    module = "awslambdaric" if has_awslambdaric() else "infra.local.plain_runtime"
    return [sys.executable, "-m", module, handler]


def has_awslambdaric() -> bool:
    return importlib.util.find_spec("awslambdaric") is not None


@dataclass(frozen=True, slots=True)
class FunctionDefinition:
    """One function: handler as `module.attribute`, time-out in seconds, processes kept warm and at most."""

    name: str
    handler: str
    timeout_s: float
    warm: int = 1
    maximum: int = 1
    memory_mb: int = 512
    environment: Mapping[str, str] = field(default_factory=dict)


class _Worker:
    """One process with its own Runtime API endpoint. A dead process is replaced by a new `_Worker`."""

    def __init__(
        self,
        definition: FunctionDefinition,
        environment: Mapping[str, str],
        log: Path,
        number: int,
        on_idle: Callable[[], None],
    ) -> None:
        self.sandbox = Sandbox(on_idle)
        self._definition = definition
        self._environment = environment
        self._log = log
        self.number = number
        self.child: Child | None = None

    async def start(self) -> None:
        definition = self._definition
        address = await self.sandbox.open()
        environment = {
            **self._environment,
            **definition.environment,
            "AWS_LAMBDA_RUNTIME_API": address,
            "AWS_LAMBDA_FUNCTION_NAME": f"evpower-{definition.name}",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(definition.memory_mb),
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/evpower-{definition.name}",
            "AWS_LAMBDA_LOG_STREAM_NAME": f"local/[$LATEST]{self.number}",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "LAMBDA_TASK_ROOT": str(ROOT),
            "_HANDLER": definition.handler,
            "POWERTOOLS_SERVICE_NAME": definition.name,
            "POWERTOOLS_TRACE_DISABLED": "true",
            "INSTANCE_ID": f"{definition.name}-{self.number}",
            "TZ": ":UTC",
            "PYTHONUNBUFFERED": "1",
        }
        self.child = Child(
            f"{definition.name}-{self.number}", runtime_command(definition.handler), log=self._log, env=environment
        )
        self.child.start()


class LambdaFunction:
    """A pool of processes that run one function; invocations wait in order for a free one."""

    def __init__(self, definition: FunctionDefinition, environment: Mapping[str, str], log_directory: Path) -> None:
        self.definition = definition
        self._environment = environment
        self._log = log_directory / f"function-{definition.name}.log"
        self._workers: dict[int, _Worker] = {}
        self._queue: collections.deque[Invocation] = collections.deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._numbers = 0
        self._failed_starts = 0
        self._stopping = False
        self._ready = asyncio.Event()  # set at each sign of life of a process; start() waits on it
        self.init_error: Result | None = None
        self.restarts = 0

    @property
    def pids(self) -> list[int]:
        """Process ids of the running processes."""
        return [w.child.pid for w in self._workers.values() if w.child is not None and w.child.alive]

    async def start(self) -> None:
        """Start the warm processes and wait until they ask for events; raises with the init error."""
        for _ in range(self.definition.warm):
            self._add_worker()
        try:
            async with asyncio.timeout(_INIT_TIMEOUT_S * 2):
                while sum(w.sandbox.initialised for w in self._workers.values()) < self.definition.warm:
                    self._ready.clear()
                    await self._ready.wait()
                    if self.init_error is not None and self._failed_starts >= 2:
                        raise FunctionInitError(self.definition.name, self.init_error)
        except TimeoutError:
            error = function_error("Sandbox.Timedout", "no process became ready")
            raise FunctionInitError(self.definition.name, error) from None

    async def stop(self) -> None:
        """End all processes; waiting invocations fail."""
        self._stopping = True
        while self._queue:
            self._queue.popleft().finish(function_error("Runtime.Shutdown", "the local system is stopping"))
        workers = list(self._workers.values())
        await asyncio.gather(*(w.child.stop_async(timeout_s=3) for w in workers if w.child is not None))
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def invoke(self, event: Any) -> Result:
        """Run the handler on ``event`` (JSON-able) in one of the processes. Never raises for a failing handler."""
        body = json.dumps(event, ensure_ascii=False).encode()
        invocation = Invocation(body, f"evpower-{self.definition.name}", self.definition.timeout_s)
        if self._stopping:
            return function_error("Runtime.Shutdown", "the local system is stopping")
        self._queue.append(invocation)
        self._serve_queue()
        # The limit covers the wait for a process as well, so that nobody waits for ever; an invocation that has
        # started has its own limit, which kills the process.
        waited = self.definition.timeout_s + _INIT_TIMEOUT_S
        try:
            return await asyncio.wait_for(asyncio.shield(invocation.future), waited)
        except TimeoutError:
            with contextlib.suppress(ValueError):
                self._queue.remove(invocation)
            return function_error("TooManyRequestsException", f"no process was free for {waited:.0f} s")

    def _serve_queue(self) -> None:
        for worker in self._workers.values():
            if not self._queue:
                return
            if worker.sandbox.idle:
                invocation = self._queue.popleft()
                worker.sandbox.dispatch(invocation)
                self._spawn(self._watch_deadline(worker, invocation))
        starting = sum(not w.sandbox.initialised for w in self._workers.values())
        if len(self._queue) > starting and len(self._workers) < self.definition.maximum:
            self._add_worker()  # as Lambda does: no free process, one more

    def _add_worker(self) -> None:
        self._numbers += 1
        worker = _Worker(self.definition, self._environment, self._log, self._numbers, self._worker_idle)
        self._workers[worker.number] = worker
        self._spawn(self._run_worker(worker))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run_worker(self, worker: _Worker) -> None:
        """Life of one process: start, feed it until it ends, put another one in its place."""
        await worker.start()
        assert worker.child is not None
        if self._stopping:  # stop() came while this one was starting, and could not see it
            worker.child.kill()
        status = await worker.child.wait()
        reason = f"Error: Runtime exited with error: {_describe(status)}"
        worker.sandbox.process_ended(reason)
        await worker.sandbox.close()
        self._workers.pop(worker.number, None)
        if self._stopping:
            return
        self.restarts += 1
        if not worker.sandbox.initialised:
            self._init_failed(worker.sandbox.init_error or function_error("Runtime.ExitError", reason))
        await asyncio.sleep(_BACKOFF_S[min(self._failed_starts, len(_BACKOFF_S) - 1)])
        if not self._stopping and (len(self._workers) < self.definition.warm or self._queue):
            self._add_worker()

    def _worker_idle(self) -> None:
        self._failed_starts = 0
        self.init_error = None
        self._ready.set()
        self._serve_queue()

    def _init_failed(self, error: Result) -> None:
        self._failed_starts += 1
        self.init_error = error
        self._ready.set()
        if not any(w.sandbox.initialised for w in self._workers.values()):
            while self._queue:
                self._queue.popleft().finish(error)

    async def _watch_deadline(self, worker: _Worker, invocation: Invocation) -> None:
        done, _ = await asyncio.wait([invocation.future], timeout=invocation.timeout_s)
        if not done and worker.child is not None:
            message = (
                f"RequestId: {invocation.request_id} Error: Task timed out after {invocation.timeout_s:.2f} seconds"
            )
            invocation.finish(function_error("Sandbox.Timedout", message))
            worker.child.kill()


class FunctionInitError(Exception):
    """A function's process cannot start."""

    def __init__(self, name: str, error: Result) -> None:
        super().__init__(f"function {name} cannot start: {json.dumps(error.payload, ensure_ascii=False)}")
        self.error = error


def _describe(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"exit status {status}"


def base_environment() -> dict[str, str]:
    """The caller's environment without what would confuse a function (its own AWS settings, coverage hooks)."""
    return {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "_"))}
