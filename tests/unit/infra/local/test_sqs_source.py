"""How an SQS source reads a function's answer."""

from typing import Any

import pytest

from infra.local.runtime_api import Result, function_error
from infra.local.sqs_source import failed_ids

_RECEIVED = ["a", "b"]


@pytest.mark.parametrize(
    ("result", "failed"),
    [
        (Result(None), set()),
        (Result({}), set()),
        (Result({"batchItemFailures": []}), set()),
        (Result({"batchItemFailures": [{"itemIdentifier": "b"}]}), {"b"}),
        (Result({"batchItemFailures": [{"itemIdentifier": ""}]}), {"a", "b"}),
        (Result({"batchItemFailures": [{"itemIdentifier": "unknown"}]}), {"a", "b"}),
        (Result({"batchItemFailures": [{}]}), {"a", "b"}),
        (Result({"batchItemFailures": ["b"]}), {"a", "b"}),
        (function_error("Runtime.ExitError", "signal 9"), {"a", "b"}),
    ],
)
def test_what_failed_comes_again(result: Any, failed: set[str]) -> None:
    assert failed_ids(result, _RECEIVED) == failed
