"""Segments of calls to others below the invocation's, sent to an X-Ray daemon that is only a UDP socket here."""

import json
import os
import subprocess
import sys
from typing import Any

from evpower import tracing

TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
CODE = """
import asyncio, json, os, socket
from types import SimpleNamespace
daemon = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
daemon.bind(("127.0.0.1", 0))
daemon.settimeout(10)
os.environ["AWS_XRAY_DAEMON_ADDRESS"] = f"127.0.0.1:{daemon.getsockname()[1]}"
from evpower import outside, tracing
from evpower.ids import correlation_id
from evpower.lambda_runtime.entry import observed
context = SimpleNamespace(aws_request_id="r-1", function_name="evpower-push", memory_limit_in_mb=256,
                          invoked_function_arn="arn:aws:lambda:eu-central-1:123456789012:function:evpower-push")
runner = asyncio.Runner()

async def call(provider, fails=False):
    with outside.call(provider, "send") as seen:
        await asyncio.sleep(0.02)
        if fails:
            raise ValueError
        seen.outcome = "Done"

async def work():
    correlation_id.set("phone-9")
    tracing.annotate("correlation_id", "phone-9")
    await asyncio.gather(call("fcm"), call("apns"), call("web_push", fails=True), return_exceptions=True)

@observed("push", "INFO")
def handler(event, context):
    runner.run(work())

handler({}, context)
print("segment", daemon.recv(65536).split(b"\\n", 1)[1].decode())
runner.run(call("fcm"))  # after the invocation nothing is traced
"""


def test_concurrent_calls_are_segments_of_the_invocation() -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "LAMBDA_TASK_ROOT": "/var/task",
        "_X_AMZN_TRACE_ID": TRACE,
    }
    environment.pop("POWERTOOLS_TRACE_DISABLED", None)
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr
    (segment,) = [json.loads(line[8:]) for line in done.stdout.splitlines() if line.startswith("segment ")]
    assert segment["annotations"]["correlation_id"] == "phone-9"
    children: dict[str, Any] = {child["name"]: child for child in segment["subsegments"]}
    assert children.keys() == {"fcm", "apns", "web_push"}
    for name, child in children.items():
        assert child["namespace"] == "remote"
        assert child["annotations"] == {"operation": "send", "correlation_id": "phone-9"}
        assert child["end_time"] - child["start_time"] >= 0.02
        assert child.get("fault", False) is (name == "web_push")
    starts = [child["start_time"] for child in children.values()]
    assert max(starts) < min(child["end_time"] for child in children.values())


def test_without_a_trace_nothing_is_loaded_and_nothing_happens() -> None:
    tracing.annotate("correlation_id", "x")
    with tracing.segment("fcm", operation="send"):
        assert "aws_xray_sdk.core" not in sys.modules
