"""What surrounds every function's handler: its log lines, the cold-start metric, the trace."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from evpower.ids import correlation_id
from evpower.lambda_runtime.entry import is_traced, observed
from evpower.lambda_runtime.log_lines import configure_function_logging

TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled="


def context(request_id: str = "r-1") -> SimpleNamespace:
    return SimpleNamespace(
        aws_request_id=request_id,
        function_name="evpower-payment_webhook",
        invoked_function_arn="arn:aws:lambda:eu-central-1:123456789012:function:evpower-payment_webhook",
        memory_limit_in_mb=256,
    )


@pytest.fixture(autouse=True)
def root_logger() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    token = correlation_id.set(None)
    yield
    correlation_id.reset(token)
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_lines_of_any_module_tell_the_invocation(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_X_AMZN_TRACE_ID", TRACE + "0")
    log = logging.getLogger("evpower.payments.checks")

    @observed("payment_checks", "INFO")
    def handler(event: dict[str, Any], _context: Any) -> str:
        correlation_id.set("phone-1")
        log.info("credited %s", event["id"], extra={"amount": 5, "api_key": "k", "deep": [{"password": "p"}]})
        log.debug("not shown")
        return "done"

    assert handler({"id": 7}, context("r-1")) == "done"
    handler({"id": 8}, context("r-2"))
    first, second = (line for line in lines(capsys) if "_aws" not in line)
    assert second["function_request_id"] == "r-2"
    assert second["cold_start"] is False
    assert first.pop("timestamp").endswith("Z")
    assert first.pop("location").startswith("handler:")
    assert first.pop("cold_start") in {True, False}
    assert first == {
        "level": "INFO",
        "service": "payment_checks",
        "logger": "evpower.payments.checks",
        "message": "credited 7",
        "correlation_id": "phone-1",
        "amount": 5,
        "api_key": "***",
        "deep": [{"password": "***"}],
        "function_name": "evpower-payment_webhook",
        "function_memory_size": 256,
        "function_arn": context().invoked_function_arn,
        "function_request_id": "r-1",
        "xray_trace_id": "1-5759e988-bd862e3fe1be46a994272793",
    }


@pytest.mark.parametrize("message", ["123", '{"token": "abc"}', "no number"])
def test_a_message_stays_text(capsys: pytest.CaptureFixture[str], message: str) -> None:
    configure_function_logging("api", "INFO")
    logging.getLogger("functions.api.routes").info(message)
    assert [line["message"] for line in lines(capsys)] == [message]


def test_an_exception_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_function_logging("push", "INFO")
    try:
        raise ValueError("broken")
    except ValueError:
        logging.getLogger("evpower.notifications.push").exception("not delivered", extra={"at": object})
    (line,) = lines(capsys)
    assert line["exception_name"] == "ValueError"
    assert "ValueError: broken" in line["exception"]
    assert line["level"] == "ERROR"


def test_the_service_name_in_a_loggers_name_silences_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    for service in ("api", "push", "api", "sweeps"):  # a process that is reloaded, as in tests
        logger = configure_function_logging(service, "INFO")
        logger.info("own line")
        logging.getLogger(f"functions.{service}.handler").info("module's line")
        assert [(line["service"], line["message"]) for line in lines(capsys)] == [
            (service, "own line"),
            (service, "module's line"),
        ]


def test_the_first_invocation_of_a_process_counts_as_a_cold_start() -> None:
    code = f"""
import warnings
warnings.simplefilter("error")
from types import SimpleNamespace
from evpower.lambda_runtime.entry import observed
handler = observed("push", "INFO")(lambda event, context: None)
for _ in range(3):
    handler({{}}, SimpleNamespace(**{vars(context())!r}))
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stderr == ""
    (metric,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert metric["ColdStarts"] == 1
    assert metric["Function"] == "push"
    assert metric["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "EvPower"


@pytest.mark.parametrize(
    ("root", "trace", "disabled", "expected"),
    [
        ("/var/task", TRACE + "1", "", True),
        ("/var/task", TRACE + "0", "", False),
        ("/var/task", "", "", False),
        ("/var/task", TRACE + "1", "true", False),
        ("", TRACE + "1", "", False),
    ],
)
def test_only_sampled_invocations_in_lambda_are_traced(
    monkeypatch: pytest.MonkeyPatch, root: str, trace: str, disabled: str, *, expected: bool
) -> None:
    monkeypatch.setenv("LAMBDA_TASK_ROOT", root)
    monkeypatch.setenv("_X_AMZN_TRACE_ID", trace)
    monkeypatch.setenv("POWERTOOLS_TRACE_DISABLED", disabled)
    assert is_traced() is expected


def test_a_sampled_invocation_reports_a_subsegment() -> None:
    """To a daemon that is only a UDP socket here; an unsampled one does not even load the SDK."""
    code = f"""
import json, os, socket, sys
from types import SimpleNamespace
daemon = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
daemon.bind(("127.0.0.1", 0))
daemon.settimeout(10)
os.environ["AWS_XRAY_DAEMON_ADDRESS"] = f"127.0.0.1:{{daemon.getsockname()[1]}}"
from evpower.lambda_runtime.entry import observed
context = SimpleNamespace(**{vars(context())!r})

@observed("push", "INFO")
def handler(event, context):
    if event:
        raise ValueError("broken")
    return "answer"

os.environ["_X_AMZN_TRACE_ID"] = {TRACE!r} + "0"
assert handler({{}}, context) == "answer"
assert "aws_xray_sdk.core" not in sys.modules
os.environ["_X_AMZN_TRACE_ID"] = {TRACE!r} + "1"
assert handler({{}}, context) == "answer"
try:
    handler({{"x": 1}}, context)
except ValueError:
    pass
for _ in range(2):
    print("segment", daemon.recv(65536).split(b"\\n", 1)[1].decode())
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "LAMBDA_TASK_ROOT": "/var/task"}
    environment.pop("POWERTOOLS_TRACE_DISABLED", None)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    good, failed = (json.loads(line[8:]) for line in done.stdout.splitlines() if line.startswith("segment "))
    assert good["name"] == "## handler"
    assert good["trace_id"] == "1-5759e988-bd862e3fe1be46a994272793"
    assert good["annotations"]["Service"] == "push"
    assert "metadata" not in good
    assert failed["fault"] is True
