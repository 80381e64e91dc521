"""The AWS Lambda Runtime API for the processes of the local system.

Source: the AWS Lambda Developer Guide, "Using the Lambda runtime API" (version 2018-06-01). One listening port per
process tells the processes apart, as one sandbox has one endpoint in AWS. aiohttp sets TCP_NODELAY and writes an answer
at once; without both, every invoke would cost 88 ms more.
"""

import asyncio
import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from infra.local.processes import LOOPBACK

_VERSION = "/2018-06-01"
_ACCOUNT = "123456789012"
_MAX_PAYLOAD = 6 * 1024 * 1024  # Lambda's limit for synchronous payloads
_TERMINATED = web.HTTPGone  # answer to a process that is to end; awslambdaric then exits


@dataclass(slots=True)
class Result:
    """Outcome of one invocation: the handler's JSON answer, or the error document with `errorType`/`errorMessage`."""

    payload: Any
    function_error: bool = False

    @property
    def error_type(self) -> str:
        return str(self.payload.get("errorType", "")) if self.function_error else ""


def function_error(error_type: str, message: str) -> Result:
    """An error in Lambda's form."""
    return Result({"errorType": error_type, "errorMessage": message}, function_error=True)


@dataclass(slots=True, eq=False)
class Invocation:
    """One event on its way through a function; ``deadline`` is epoch seconds, set when a process takes it."""

    body: bytes
    function: str
    timeout_s: float
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    deadline: float = 0.0
    future: asyncio.Future[Result] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def finish(self, result: Result) -> None:
        """Set the outcome; a later one (answer after a time-out) is ignored."""
        if not self.future.done():
            self.future.set_result(result)

    def headers(self) -> dict[str, str]:
        return {
            "Lambda-Runtime-Aws-Request-Id": self.request_id,
            "Lambda-Runtime-Deadline-Ms": str(int(self.deadline * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": f"arn:aws:lambda:eu-central-1:{_ACCOUNT}:function:{self.function}",
            "Lambda-Runtime-Trace-Id": trace_header(),
        }


def trace_header() -> str:
    """An X-Ray trace header, not sampled."""
    return f"Root=1-{int(time.time()):08x}-{uuid.uuid4().hex[:24]};Parent={uuid.uuid4().hex[:16]};Sampled=0"


class Sandbox:
    """The server's side of one process: at most one invocation at a time."""

    def __init__(self, on_idle: Callable[[], None]) -> None:
        self._on_idle = on_idle
        self.current: Invocation | None = None
        self.initialised = False
        self.init_error: Result | None = None
        self._next: asyncio.Future[Invocation] | None = None
        self._runner: web.AppRunner | None = None
        self.address = ""

    @property
    def idle(self) -> bool:
        """Whether the process waits for an event."""
        return self._next is not None

    async def open(self) -> str:
        """Listen on a free loopback port; the value of AWS_LAMBDA_RUNTIME_API."""
        app = web.Application(client_max_size=0)  # 0 = no bound: the payload limit is answered below
        runtime = f"{_VERSION}/runtime"
        app.router.add_get(f"{runtime}/invocation/next", self._handle_next)
        app.router.add_post(f"{runtime}/invocation/{{request_id}}/response", self._handle_response)
        app.router.add_post(f"{runtime}/invocation/{{request_id}}/error", self._handle_error)
        app.router.add_post(f"{runtime}/init/error", self._handle_init_error)
        # Lambda keeps a waiting `next` open for as long as there is no event.
        self._runner = web.AppRunner(app, access_log=None, keepalive_timeout=3600, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, LOOPBACK, 0)
        await site.start()
        port = self._runner.addresses[0][1]
        self.address = f"{LOOPBACK}:{port}"
        return self.address

    async def close(self) -> None:
        """Stop listening; whatever was in flight fails."""
        self.process_ended("the runtime was shut down")
        if self._runner is not None:
            await self._runner.cleanup()

    def dispatch(self, invocation: Invocation) -> None:
        """Hand ``invocation`` to the process, which must be idle."""
        assert self._next is not None
        assert self.current is None
        self.current = invocation
        invocation.deadline = time.time() + invocation.timeout_s
        self._next.set_result(invocation)
        self._next = None

    def process_ended(self, reason: str) -> None:
        """The process is gone: its invocation fails as in Lambda, and no `next` waits any more."""
        if self._next is not None and not self._next.done():
            self._next.cancel()
        self._next = None
        if self.current is not None:
            self.current.finish(function_error("Runtime.ExitError", f"RequestId: {self.current.request_id} {reason}"))
            self.current = None

    async def _handle_next(self, request: web.Request) -> web.StreamResponse:
        if self.current is not None:  # the process asks again without having answered
            self.current.finish(function_error("Runtime.NoResponse", "the runtime asked for the next event"))
            self.current = None
        waiting: asyncio.Future[Invocation] = asyncio.get_running_loop().create_future()
        self._next = waiting
        self.initialised = True
        self._on_idle()
        try:
            invocation = await waiting
        except asyncio.CancelledError:
            if self._next is waiting:
                self._next = None
            raise _TERMINATED() from None
        return web.Response(body=invocation.body, content_type="application/json", headers=invocation.headers())

    def _take(self, request: web.Request) -> Invocation:
        current = self.current
        if current is None or current.request_id != request.match_info["request_id"]:
            raise web.HTTPBadRequest(
                text='{"errorMessage":"Invalid request ID","errorType":"InvalidRequestID"}',
                content_type="application/json",
            )
        return current

    async def _handle_response(self, request: web.Request) -> web.StreamResponse:
        current = self._take(request)
        body = await request.read()
        if len(body) > _MAX_PAYLOAD:
            message = f"Response payload size exceeded maximum allowed payload size ({_MAX_PAYLOAD} bytes)."
            result = function_error("Function.ResponseSizeTooLarge", message)
        else:
            result = Result(json.loads(body) if body else None)
        self.current = None
        current.finish(result)
        return web.json_response({"status": "OK"}, status=202)

    async def _handle_error(self, request: web.Request) -> web.StreamResponse:
        current = self._take(request)
        result = Result(_error_document(await request.read()), function_error=True)
        self.current = None
        current.finish(result)
        return web.json_response({"status": "OK"}, status=202)

    async def _handle_init_error(self, request: web.Request) -> web.StreamResponse:
        self.init_error = Result(_error_document(await request.read()), function_error=True)
        return web.json_response({"status": "OK"}, status=202)


def _error_document(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    return document if isinstance(document, dict) else {"errorType": "Runtime.Unknown", "errorMessage": body.decode()}
