"""The Lambda Runtime API for one process, in threads, because LocalStack is no asyncio program.

Source: AWS Lambda Developer Guide, "Using the Lambda runtime API" (version 2018-06-01). One listening port per process
tells the processes apart, as one sandbox has one endpoint in AWS.
"""

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_HOST = "127.0.0.1"
_RUNTIME = "/2018-06-01/runtime"
MAX_PAYLOAD = 6 * 1024 * 1024
"""Lambda's limit for a synchronous answer, bytes."""


@dataclass(frozen=True, slots=True)
class Event:
    """One invocation: the event as JSON text, and what the runtime is told beside it."""

    request_id: str
    body: bytes
    function_arn: str
    trace: str
    deadline: float  # epoch seconds

    def headers(self) -> Mapping[str, str]:
        return {
            "Lambda-Runtime-Aws-Request-Id": self.request_id,
            "Lambda-Runtime-Deadline-Ms": str(int(self.deadline * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": self.function_arn,
            "Lambda-Runtime-Trace-Id": self.trace,
        }


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the process answered, or the error document in Lambda's form."""

    payload: bytes
    is_error: bool = False


def failure(kind: str, message: str) -> Outcome:
    """An error that Lambda itself reports."""
    return Outcome(json.dumps({"errorMessage": message, "errorType": kind}).encode(), is_error=True)


class RuntimeServer:
    """The server's side of one process: at most one invocation at a time. Thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._event: Event | None = None  # handed over, not yet taken
        self._current: Event | None = None
        self._outcome: Outcome | None = None
        self._initialised = False
        self._init_error: Outcome | None = None
        self._ended: str | None = None
        handler = type("_BoundHandler", (_Handler,), {"runtime": self})
        self._http = ThreadingHTTPServer((_HOST, 0), handler)
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, name="lambda-runtime-api", daemon=True).start()

    @property
    def address(self) -> str:
        """Value of AWS_LAMBDA_RUNTIME_API."""
        return f"{_HOST}:{self._http.server_address[1]}"

    def wait_initialised(self) -> Outcome | None:
        """Block until the process asks for its first event (None), or reports or dies of an error at init."""
        with self._changed:
            self._changed.wait_for(lambda: self._initialised or self._init_error or self._ended)
            if self._initialised:
                return None
            return self._init_error or failure("Runtime.ExitError", f"Error: {self._ended}")

    def invoke(self, event: Event) -> Outcome | None:
        """Give the process ``event`` and wait for its answer until the deadline; None: it is late."""
        with self._changed:
            self._event, self._outcome = event, None
            self._changed.notify_all()
            left = event.deadline - time.time()
            self._changed.wait_for(lambda: self._outcome or self._ended, max(0.0, left))
            if self._outcome is None and self._ended is not None:
                return failure("Runtime.ExitError", f"RequestId: {event.request_id} Error: {self._ended}")
            return self._outcome

    def process_ended(self, reason: str) -> None:
        """Nobody will ask or answer here any more."""
        with self._changed:
            self._ended = self._ended or reason
            self._changed.notify_all()

    def close(self) -> None:
        """Stop listening."""
        self.process_ended("the execution environment was shut down")
        self._http.shutdown()
        self._http.server_close()

    def next_event(self) -> Event | None:
        """For the process: block until there is an event; None when it should end."""
        with self._changed:
            if self._current is not None and self._outcome is None:
                self._outcome = failure("Runtime.NoResponse", "the runtime asked for the next event without an answer")
            self._current = None
            self._initialised = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._event or self._ended)
            if self._event is None or self._ended is not None:
                return None
            self._current, self._event = self._event, None
            return self._current

    def answer(self, request_id: str, body: bytes, *, is_error: bool) -> bool:
        """The process's answer; False for an invocation that is not running."""
        with self._changed:
            if self._current is None or self._current.request_id != request_id:
                return False
            if len(body) > MAX_PAYLOAD:
                message = f"Response payload size exceeded maximum allowed payload size ({MAX_PAYLOAD} bytes)."
                self._outcome = failure("Function.ResponseSizeTooLarge", message)
            else:
                self._outcome = Outcome(body, is_error)
            self._current = None
            self._changed.notify_all()
            return True

    def init_failed(self, body: bytes) -> None:
        with self._changed:
            self._init_error = Outcome(body, is_error=True)
            self._changed.notify_all()


class _Handler(BaseHTTPRequestHandler):
    runtime: RuntimeServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # without both, every invoke costs 40 ms and more
    wbufsize = 64 * 1024

    def do_GET(self) -> None:
        event = self.runtime.next_event() if self.path == f"{_RUNTIME}/invocation/next" else None
        if event is None:
            self._reply(410, b"{}")
            self.close_connection = True
        else:
            self._reply(200, event.body, event.headers())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = self.path.removeprefix(_RUNTIME).strip("/").split("/")
        if parts == ["init", "error"]:
            self.runtime.init_failed(body)
            accepted = True
        else:
            accepted = (
                len(parts) == 3
                and parts[2] in ("response", "error")
                and self.runtime.answer(parts[1], body, is_error=parts[2] == "error")
            )
        if accepted:
            self._reply(202, b'{"status":"OK"}')
        else:
            self._reply(400, b'{"errorMessage":"Invalid request ID","errorType":"InvalidRequestID"}')

    def _reply(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Silent: LocalStack's log is for LocalStack."""
