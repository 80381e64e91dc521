"""Functions run as real processes under AWS's runtime client, and survive what Lambda survives."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from infra.local import lambda_pool
from infra.local.lambda_pool import FunctionDefinition, FunctionInitError, LambdaFunction, base_environment
from infra.local.processes import ROOT

_SAMPLES = "sample_functions"
_HERE = Path(__file__).parent

Start = Callable[..., Awaitable[LambdaFunction]]


@pytest.fixture(params=["awslambdaric", "plain"])
def runtime(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "plain":
        monkeypatch.setattr(lambda_pool, "has_awslambdaric", lambda: False)
    return str(request.param)


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    running: list[LambdaFunction] = []

    async def start(handler: str, **options: Any) -> LambdaFunction:
        environment = {**base_environment(), "PYTHONPATH": f"{_HERE}:{ROOT}"}
        definition = FunctionDefinition("sample", handler, options.pop("timeout_s", 10), **options)
        function = LambdaFunction(definition, environment, tmp_path)
        running.append(function)
        await function.start()
        return function

    yield start
    for function in running:
        await function.stop()
        assert function.pids == []


async def _until(condition: Callable[[], object], what: str) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.02)
    assert condition(), what


async def test_a_handler_answers_with_context_and_unicode(start: Start, runtime: str) -> None:
    function = await start(f"{_SAMPLES}.echo")
    result = await function.invoke({"name": "Ош ⚡"})
    assert not result.function_error
    assert result.payload["event"] == {"name": "Ош ⚡"}
    assert result.payload["name"] == "evpower-sample"
    assert 0 < result.payload["remaining_ms"] <= 10_000
    again = await function.invoke({})
    assert again.payload["pid"] == result.payload["pid"]
    assert again.payload["request_id"] != result.payload["request_id"]


async def test_an_exception_is_a_function_error_and_the_process_goes_on(start: Start, runtime: str) -> None:
    function = await start(f"{_SAMPLES}.fail")
    pids = function.pids
    result = await function.invoke({"what": "cable"})
    assert result.function_error
    assert result.payload["errorType"] == "ValueError"
    assert result.payload["errorMessage"] == "no cable"
    assert function.pids == pids


async def test_invocations_run_in_parallel_up_to_the_number_of_processes(start: Start) -> None:
    function = await start(f"{_SAMPLES}.wait", warm=1, maximum=3)
    results = await asyncio.gather(*(function.invoke({"seconds": 1.0}) for _ in range(3)))
    assert len({result.payload["pid"] for result in results}) == 3
    assert len(function.pids) == 3


async def test_kill_nine_in_mid_invoke_fails_the_invocation_and_replaces_the_process(
    start: Start, runtime: str, tmp_path: Path
) -> None:
    function = await start(f"{_SAMPLES}.wait")
    started = tmp_path / "started"
    running = asyncio.create_task(function.invoke({"seconds": 60, "started": str(started)}))
    await _until(lambda: started.exists() and started.read_text(), "the handler to start")
    (pid,) = function.pids
    os.kill(pid, signal.SIGKILL)
    result = await running
    assert result.error_type == "Runtime.ExitError"
    assert "signal 9" in result.payload["errorMessage"]
    after = await function.invoke({"seconds": 0})
    assert not after.function_error
    assert after.payload["pid"] != pid


async def test_kill_nine_of_an_idle_process_is_not_noticed_by_callers(start: Start) -> None:
    function = await start(f"{_SAMPLES}.echo")
    (pid,) = function.pids
    os.kill(pid, signal.SIGKILL)
    await _until(lambda: function.pids and function.pids != [pid], "a new process")
    assert not (await function.invoke({})).function_error


async def test_a_process_past_its_time_out_is_killed(start: Start, runtime: str) -> None:
    function = await start(f"{_SAMPLES}.wait", timeout_s=0.5)
    (pid,) = function.pids
    result = await function.invoke({"seconds": 60})
    assert result.error_type == "Sandbox.Timedout"
    assert "0.50 seconds" in result.payload["errorMessage"]
    assert (await function.invoke({"seconds": 0})).payload["pid"] != pid


async def test_an_init_error_is_reported_with_its_reason(start: Start, runtime: str) -> None:
    with pytest.raises(FunctionInitError, match="no_such_module"):
        await start("no_such_module.handler")


async def test_an_answer_over_six_megabytes_is_an_error(start: Start) -> None:
    function = await start(f"{_SAMPLES}.large")
    result = await function.invoke({"bytes": 7_000_000})
    assert result.error_type == "Function.ResponseSizeTooLarge"
    assert not (await function.invoke({"bytes": 10})).function_error


async def test_a_warm_invoke_costs_milliseconds(start: Start) -> None:
    function = await start(f"{_SAMPLES}.echo")
    loop = asyncio.get_running_loop()
    times = []
    for _ in range(20):
        before = loop.time()
        await function.invoke({})
        times.append(loop.time() - before)
    # A delayed acknowledgement (missing TCP_NODELAY) would cost 40-88 ms on every call, also on a slow machine.
    assert sorted(times)[5] < 0.04
