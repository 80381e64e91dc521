"""LocalStack's runtime executor that starts `awslambdaric` as a process; one object is one execution environment."""

import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from localstack.services.lambda_.invocation.executor_endpoint import StatusErrorException
from localstack.services.lambda_.invocation.lambda_models import InvocationResult
from localstack.services.lambda_.invocation.plugins import RuntimeExecutorPlugin
from localstack.services.lambda_.invocation.runtime_executor import LambdaRuntimeException, RuntimeExecutor

from infra.local.localstack_executor.runtime_server import Event, Outcome, RuntimeServer, failure

_PYTHON_SETTING = "EVPOWER_FUNCTION_PYTHON"  # the interpreter that has the functions' dependencies
_BOOTSTRAP = Path(__file__).with_name("bootstrap.py")
_HOST = "127.0.0.1"
# The kernel ends a process with the *thread* that started it, and LocalStack's threads come and go.
_starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="lambda-process-starter")


class ProcessExecutorPlugin(RuntimeExecutorPlugin):  # type: ignore[misc]  # LocalStack is in another environment
    """What the entry point names."""

    name = "process"

    def load(self, *_args: Any, **_kwargs: Any) -> type["ProcessExecutor"]:
        return ProcessExecutor


class ProcessExecutor(RuntimeExecutor):  # type: ignore[misc]
    """Starts a process at :meth:`start`, and another one after it has died or was late."""

    def __init__(self, id: str, function_version: Any) -> None:
        super().__init__(id=id, function_version=function_version)
        self._directory = Path(tempfile.mkdtemp(prefix="lambda-"))
        self._log = self._directory / "log"
        self._log.touch()
        self._environment: dict[str, str] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._server: RuntimeServer | None = None
        self._stopped = False
        self._lock = threading.Lock()

    # What LocalStack calls

    def start(self, env_vars: dict[str, Any]) -> None:
        """Start the process and wait until it is ready.

        Raises:
            StatusErrorException: the handler's module cannot be loaded; carries the error document for the caller.
            LambdaRuntimeException: stopped meanwhile (init took too long).
        """
        self._environment = {name: str(value) for name, value in env_vars.items()} | {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "en_US.UTF-8",
            "LAMBDA_TASK_ROOT": str(self._task_root),
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        error = self._launch()
        if self._stopped:
            raise LambdaRuntimeException("stopped while starting")
        if error is not None:
            raise StatusErrorException("the function cannot be loaded", payload=error.payload)

    def invoke(self, payload: dict[str, str]) -> InvocationResult:
        """Run the handler on one event. The time-out of the function is enforced by ending its process."""
        request_id, began, mark = payload["invoke-id"], time.time(), self._log.stat().st_size
        outcome = None if self._alive else self._launch()
        if outcome is None:
            outcome = self._run(request_id, payload)
        took_ms = (time.time() - began) * 1000
        report = (
            f"START RequestId: {request_id} Version: {self.function_version.id.qualifier}\n"
            f"{self._text(mark)}"
            f"END RequestId: {request_id}\n"
            f"REPORT RequestId: {request_id}\tDuration: {took_ms:.2f} ms\t"
            f"Memory Size: {self.function_version.config.memory_size} MB\n"
        )
        return InvocationResult(request_id, outcome.payload, is_error=outcome.is_error, logs=report)

    def stop(self) -> None:
        """End the process; also one that is just starting."""
        with self._lock:
            self._stopped = True
            self._end_process("the execution environment was shut down")
        shutil.rmtree(self._directory, ignore_errors=True)

    def get_address(self) -> str:
        return _HOST

    def get_endpoint_from_executor(self) -> str:
        return _HOST

    def get_runtime_endpoint(self) -> str:
        return f"http://{self._server.address}" if self._server else ""

    def get_logs(self) -> str:
        return self._text(0)

    @classmethod
    def prepare_version(cls, function_version: Any) -> None:
        """Unpack the code and the layers."""
        config = function_version.config
        for archive in (config.code, *(layer.code for layer in config.layers)):
            archive.prepare_for_execution()

    @classmethod
    def cleanup_version(cls, function_version: Any) -> None:
        """Nothing: the unpacked code belongs to the next version as well when only the settings have changed."""

    # The process

    @property
    def _task_root(self) -> Path:
        return Path(self.function_version.config.code.get_unzipped_code_location())

    @property
    def _alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _launch(self) -> Outcome | None:
        """Start a process and wait until it asks for an event; the error, if it does not come so far."""
        with self._lock:
            if self._stopped:
                return failure("Runtime.Shutdown", "the execution environment was shut down")
            self._end_process("replaced")
            server = self._server = RuntimeServer()
            layers = [str(layer.code.get_unzipped_code_location() / "python") for layer in self._layers]
            argv = [os.environ[_PYTHON_SETTING], str(_BOOTSTRAP), str(os.getpid()), str(self._task_root), *layers]
            environment = {**self._environment, "AWS_LAMBDA_RUNTIME_API": server.address}
            process = self._process = _starter.submit(self._spawn, argv, environment).result()
        threading.Thread(target=_watch, args=(process, server), name="lambda-process-watch", daemon=True).start()
        error = server.wait_initialised()
        if error is not None:
            with self._lock:
                self._end_process("failed at init")
        return error

    @property
    def _layers(self) -> list[Any]:
        layers: list[Any] = self.function_version.config.layers
        return layers

    def _spawn(self, argv: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as output:
            return subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=self._task_root,
                start_new_session=True,
            )

    def _run(self, request_id: str, payload: dict[str, str]) -> Outcome:
        assert self._server is not None
        timeout_s = self.function_version.config.timeout
        event = Event(
            request_id,
            payload["payload"].encode(),
            payload["invoked-function-arn"],
            payload["trace-id"],
            time.time() + timeout_s,
        )
        outcome = self._server.invoke(event)
        if outcome is None:
            with self._lock:
                self._end_process("timed out")
            message = f"RequestId: {request_id} Error: Task timed out after {timeout_s:.2f} seconds"
            outcome = failure("Sandbox.Timedout", message)
        return outcome

    def _end_process(self, reason: str) -> None:
        """Kill the process with all that it started; call with the lock held."""
        if self._process is not None:
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
        if self._server is not None:
            self._server.process_ended(reason)
            self._server.close()
            self._server = None

    def _text(self, offset: int) -> str:
        """The log from ``offset``: the process writes straight into the file, so what it printed is there."""
        try:
            with self._log.open("rb") as file:
                file.seek(offset)
                return file.read().decode(errors="replace")
        except FileNotFoundError:
            return ""


def _watch(process: subprocess.Popen[bytes], server: RuntimeServer) -> None:
    status = process.wait()
    how = f"signal: {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
    server.process_ended(f"Runtime exited with error: {how}")
