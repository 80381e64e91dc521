"""The event source between a real queue and real function processes."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from infra.local.lambda_pool import FunctionDefinition, LambdaFunction, base_environment
from infra.local.queues import SqsEndpoint
from infra.local.sqs_source import SqsSource

_HERE = Path(__file__).parent

Start = Callable[[str], Awaitable[LambdaFunction]]


@pytest.fixture
async def start(sqs: SqsEndpoint, tmp_path: Path) -> AsyncIterator[Start]:
    stops: list[Callable[[], Awaitable[None]]] = []

    async def start(handler: str) -> LambdaFunction:
        environment = {**base_environment(), "PYTHONPATH": str(_HERE), "RECORDS": str(tmp_path / "records")}
        function = LambdaFunction(
            FunctionDefinition("consumer", f"sample_functions.{handler}", 20, environment=environment),
            environment,
            tmp_path,
        )
        await function.start()
        source = SqsSource(sqs, "payment-checks", function)
        source.start()
        stops.extend([source.stop, function.stop])
        return function

    yield start
    for stop in stops:
        await stop()


def _send(sqs: SqsEndpoint, *bodies: str) -> None:
    client = sqs.client()
    for body in bodies:
        client.send_message(QueueUrl=sqs.urls["payment-checks"], MessageBody=body)


def _left(sqs: SqsEndpoint) -> int:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    attributes = sqs.client().get_queue_attributes(
        QueueUrl=sqs.urls["payment-checks"],
        AttributeNames=names,  # type: ignore[arg-type]
    )["Attributes"]
    return sum(int(attributes[name]) for name in names)  # type: ignore[literal-required]


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(40):
        while not await asyncio.to_thread(condition):
            await asyncio.sleep(0.1)


def _records(tmp_path: Path) -> list[str]:
    file = tmp_path / "records"
    return file.read_text().split() if file.exists() else []


async def test_failed_records_come_again_and_the_others_do_not(sqs: SqsEndpoint, start: Start, tmp_path: Path) -> None:
    _send(sqs, "good", "fails-once")
    await start("consume")
    await _until(lambda: _left(sqs) == 0)
    assert sorted(_records(tmp_path)) == ["fails-once", "fails-once", "good"]


async def test_kill_nine_in_mid_batch_loses_nothing(sqs: SqsEndpoint, start: Start, tmp_path: Path) -> None:
    _send(sqs, "hangs-once")
    function = await start("consume")
    await _until(lambda: _records(tmp_path) == ["hangs-once"])
    (pid,) = function.pids
    os.kill(pid, signal.SIGKILL)
    await _until(lambda: _left(sqs) == 0)
    assert _records(tmp_path) == ["hangs-once", "hangs-once"]
