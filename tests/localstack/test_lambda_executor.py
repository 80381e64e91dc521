"""Lambda on LocalStack by processes: what our functions rely on, tried with small functions."""

import io
import json
import os
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pytest

from infra.local.localstack import LocalStack
from infra.local.queues import REGION

_CODE = """
import json, os, subprocess, sys, time
calls = 0
def handler(event, context):
    global calls
    calls += 1
    print("handling", event)
    if event.get("sleep"):
        child = subprocess.Popen(["sleep", "300"])
        if event.get("note"):
            open(event["note"], "w").write(str(child.pid))
        time.sleep(event["sleep"])
    if event.get("raise"):
        raise ValueError(event["raise"])
    if event.get("exit"):
        os._exit(event["exit"])
    if event.get("big"):
        return "x" * event["big"]
    return {
        "pid": os.getpid(), "calls": calls, "path": sys.path, "word": os.environ.get("WORD"),
        "left_ms": context.get_remaining_time_in_millis(), "arn": context.invoked_function_arn,
        "endpoint": os.environ["AWS_ENDPOINT_URL"],
    }
"""


def archive(files: dict[str, str]) -> bytes:
    """A zip file of ``files``."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, text in files.items():
            file.writestr(name, text)
    return buffer.getvalue()


class Functions:
    """Makes functions and calls them."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.names: list[str] = []

    def create(self, code: str = _CODE, timeout_s: int = 10, **options: Any) -> str:
        name = f"try-{uuid.uuid4().hex[:8]}"
        self.client.create_function(
            FunctionName=name,
            Runtime="python3.13",
            Architectures=["arm64"],
            Handler="main.handler",
            Role="arn:aws:iam::000000000000:role/anything",
            Code={"ZipFile": archive({"main.py": code})},
            Timeout=timeout_s,
            **options,
        )
        self.names.append(name)
        self.client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
        return name

    def call(self, name: str, **event: Any) -> Any:
        answer = self.client.invoke(FunctionName=name, Payload=json.dumps(event))
        payload = json.loads(answer["Payload"].read())
        assert ("FunctionError" in answer) == (isinstance(payload, dict) and "errorType" in payload)
        return payload


@pytest.fixture
def functions(aws: Callable[[str], Any]) -> Iterator[Functions]:
    made = Functions(aws("lambda"))
    yield made
    for name in made.names:
        made.client.delete_function(FunctionName=name)


def test_one_environment_is_used_again(functions: Functions, localstack: str) -> None:
    name = functions.create(Environment={"Variables": {"WORD": "hello"}})
    first, second = functions.call(name), functions.call(name)
    assert (first["calls"], second["calls"]) == (1, 2)
    assert first["pid"] == second["pid"] != os.getpid()
    assert first["word"] == "hello"
    assert first["endpoint"] == localstack
    assert 5_000 < first["left_ms"] <= 10_000
    assert first["arn"].endswith(f":function:{name}")
    assert not any(str(Path.cwd()) == entry for entry in first["path"]), "the checkout must not be importable"


def test_new_settings_arrive_with_new_processes(functions: Functions) -> None:
    name = functions.create(Environment={"Variables": {"WORD": "old"}})
    before = functions.call(name)
    functions.client.update_function_configuration(FunctionName=name, Environment={"Variables": {"WORD": "new"}})
    functions.client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    after = functions.call(name)
    assert (before["word"], after["word"]) == ("old", "new")
    _wait_gone(before["pid"])


def test_invocations_at_once_get_environments_of_their_own(functions: Functions) -> None:
    name = functions.create()
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda _: functions.call(name, sleep=1), range(3)))
    assert len({answer["pid"] for answer in answers}) == 3


def test_a_late_function_is_ended_with_all_that_it_started(functions: Functions, tmp_path: Path) -> None:
    name = functions.create(timeout_s=2)
    before = functions.call(name)
    answer = functions.call(name, sleep=60, note=str(tmp_path / "child"))
    assert answer["errorType"] == "Sandbox.Timedout"
    assert answer["errorMessage"].endswith("Task timed out after 2.00 seconds")
    after = functions.call(name)
    assert after["pid"] != before["pid"]
    assert after["calls"] == 1
    _wait_gone(before["pid"])
    _wait_gone(int((tmp_path / "child").read_text()))


def test_errors_reach_the_caller_and_a_dead_process_is_replaced(functions: Functions) -> None:
    name = functions.create()
    first = functions.call(name)
    error = functions.call(name, **{"raise": "no such thing"})
    assert (error["errorType"], error["errorMessage"]) == ("ValueError", "no such thing")
    assert functions.call(name)["pid"] == first["pid"], "an exception does not end the environment"
    died = functions.call(name, exit=3)
    assert died["errorType"] == "Runtime.ExitError"
    assert "exit status 3" in died["errorMessage"]
    assert functions.call(name)["pid"] != first["pid"]


def test_an_error_at_init_reaches_the_caller(functions: Functions) -> None:
    name = functions.create(code="import no_such_module\ndef handler(event, context): ...\n")
    for _ in range(2):
        error = functions.call(name)
        assert error["errorType"] == "Runtime.ImportModuleError"
        assert "no_such_module" in error["errorMessage"]


def test_an_oversized_answer_is_refused(functions: Functions) -> None:
    name = functions.create()
    assert len(functions.call(name, big=5_000_000)) == 5_000_000
    assert functions.call(name, big=7_000_000)["errorType"] == "Function.ResponseSizeTooLarge"


def test_layers_are_on_the_path_behind_the_interpreters_own_packages(functions: Functions) -> None:
    layer = functions.client.publish_layer_version(
        LayerName=f"layer-{uuid.uuid4().hex[:8]}",
        Content={"ZipFile": archive({"python/only_here.py": "WORD = 'layer'", "python/pydantic.py": "WORD = 'wrong'"})},
        CompatibleRuntimes=["python3.13"],
    )["LayerVersionArn"]
    code = "import only_here, pydantic\ndef handler(*_): return [only_here.WORD, pydantic.BaseModel.__name__]\n"
    name = functions.create(code=code, Layers=[layer])
    assert functions.call(name) == ["layer", "BaseModel"]
    assert [one["Arn"] for one in functions.client.get_function(FunctionName=name)["Configuration"]["Layers"]] == [
        layer
    ]


def test_what_a_function_prints_is_in_its_log_group(functions: Functions, aws: Callable[[str], Any]) -> None:
    name = functions.create()
    functions.call(name, word="one")
    functions.call(name, **{"raise": "two"})
    logs, deadline = aws("logs"), time.monotonic() + 20
    while True:
        assert time.monotonic() < deadline, "the log lines did not come"
        try:
            found = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
        except logs.exceptions.ResourceNotFoundException:
            continue
        text = "".join(event["message"] for event in found)
        if text.count("REPORT RequestId: ") == 2:
            break
        time.sleep(0.2)
    assert "handling {'word': 'one'}" in text
    assert "ValueError: two" in text
    assert text.count("START RequestId: ") == text.count("END RequestId: ") == 2


def test_deleting_a_function_ends_its_processes(functions: Functions) -> None:
    name = functions.create()
    pid = functions.call(name)["pid"]
    functions.client.delete_function(FunctionName=name)
    functions.names.remove(name)
    _wait_gone(pid)


def test_functions_never_outlive_localstack() -> None:
    server = LocalStack()
    try:
        session = boto3.session.Session("local", "local", region_name=REGION)
        functions = Functions(session.client("lambda", endpoint_url=server.start().url))
        pid = functions.call(functions.create())["pid"]
        server.kill()
        _wait_gone(pid)
    finally:
        server.stop()


def _wait_gone(pid: int) -> None:
    deadline = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline, f"process {pid} lives on"
        time.sleep(0.05)
