"""A minimal Lambda runtime client, used where AWS's own `awslambdaric` has no wheel (macOS, Windows).

`python -m infra.local.plain_runtime functions.api.handler.handler`; speaks the Runtime API of runtime_api.py.
"""

import http.client
import importlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_BASE = "/2018-06-01/runtime"


@dataclass(frozen=True, slots=True)
class Context:
    """The part of Lambda's context object that handlers and Powertools use."""

    aws_request_id: str
    invoked_function_arn: str
    deadline_ms: int
    function_name: str
    function_version: str
    memory_limit_in_mb: int
    log_group_name: str
    log_stream_name: str
    client_context: None = None
    identity: None = None

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until Lambda would end this invocation."""
        return max(0, self.deadline_ms - int(time.time() * 1000))


def _error(exc: BaseException) -> dict[str, Any]:
    return {
        "errorType": type(exc).__name__,
        "errorMessage": str(exc),
        "stackTrace": traceback.format_tb(exc.__traceback__),
    }


def _call(address: str, method: str, path: str, document: Any = None) -> tuple[dict[str, str], bytes]:
    connection = http.client.HTTPConnection(address)
    body = None if method == "GET" else json.dumps(document, ensure_ascii=False).encode()
    connection.request(method, _BASE + path, body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    if response.status >= 400:
        raise SystemExit(f"the Runtime API answered {response.status} to {method} {path}")
    answer = dict(response.getheaders()), response.read()
    connection.close()
    return answer


def _load(name: str) -> Callable[[Any, Context], Any]:
    module, _, attribute = name.rpartition(".")
    handler: Callable[[Any, Context], Any] = getattr(importlib.import_module(module), attribute)
    return handler


def serve(name: str) -> None:
    """Answer invocations until the process is ended."""
    address = os.environ["AWS_LAMBDA_RUNTIME_API"]
    try:
        handler = _load(name)
    except Exception as exc:
        traceback.print_exc()
        _call(address, "POST", "/init/error", _error(exc))
        raise SystemExit(1) from exc
    while True:
        headers, body = _call(address, "GET", "/invocation/next")
        request_id = headers["Lambda-Runtime-Aws-Request-Id"]
        context = Context(
            request_id,
            headers["Lambda-Runtime-Invoked-Function-Arn"],
            int(headers["Lambda-Runtime-Deadline-Ms"]),
            os.environ["AWS_LAMBDA_FUNCTION_NAME"],
            os.environ["AWS_LAMBDA_FUNCTION_VERSION"],
            int(os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]),
            os.environ["AWS_LAMBDA_LOG_GROUP_NAME"],
            os.environ["AWS_LAMBDA_LOG_STREAM_NAME"],
        )
        try:
            answer = handler(json.loads(body), context)
        except Exception as exc:
            traceback.print_exc()
            _call(address, "POST", f"/invocation/{request_id}/error", _error(exc))
        else:
            _call(address, "POST", f"/invocation/{request_id}/response", answer)


if __name__ == "__main__":
    serve(sys.argv[1])
