"""The SQS semantics that command delivery relies on (design.md §3 Commands)."""

import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from infra.local.queues import SqsEndpoint
from infra.queues import QUEUES


@pytest.fixture
def sqs(aws: Callable[[str], Any]) -> Any:
    return aws("sqs")


@pytest.fixture
def commands(sqs: Any, queues: SqsEndpoint) -> str:
    url = queues.urls["commands.fifo"]
    sqs.purge_queue(QueueUrl=url)
    return url


def _send(sqs: Any, url: str, body: str, group: str, deduplication: str | None = None) -> None:
    sqs.send_message(
        QueueUrl=url, MessageBody=body, MessageGroupId=group, MessageDeduplicationId=deduplication or uuid.uuid4().hex
    )


def _receive(sqs: Any, url: str, visibility_s: int = 30) -> list[Any]:
    answer = sqs.receive_message(
        QueueUrl=url,
        MaxNumberOfMessages=10,
        WaitTimeSeconds=1,
        VisibilityTimeout=visibility_s,
        MessageSystemAttributeNames=["All"],
    )
    return list(answer.get("Messages", []))


def test_one_station_keeps_its_order(sqs: Any, commands: str) -> None:
    for number in range(3):
        _send(sqs, commands, str(number), "station-a")
    assert [m["Body"] for m in _receive(sqs, commands)] == ["0", "1", "2"]


def test_a_message_in_flight_holds_back_its_station_only(sqs: Any, commands: str) -> None:
    _send(sqs, commands, "a1", "station-a")
    first = _receive(sqs, commands)
    assert [m["Body"] for m in first] == ["a1"]
    _send(sqs, commands, "a2", "station-a")
    _send(sqs, commands, "b1", "station-b")
    assert [m["Body"] for m in _receive(sqs, commands)] == ["b1"]
    sqs.delete_message(QueueUrl=commands, ReceiptHandle=first[0]["ReceiptHandle"])
    assert [m["Body"] for m in _receive(sqs, commands)] == ["a2"]


def test_the_same_attempt_sent_twice_arrives_once(sqs: Any, commands: str) -> None:
    for _ in range(2):
        _send(sqs, commands, "start", "station-a", "command-1:1")
    _send(sqs, commands, "start again", "station-a", "command-1:2")
    assert [m["Body"] for m in _receive(sqs, commands)] == ["start", "start again"]


def test_what_a_dead_consumer_held_comes_again(sqs: Any, commands: str) -> None:
    _send(sqs, commands, "stop", "station-a")
    assert len(_receive(sqs, commands, visibility_s=1)) == 1
    deadline = time.monotonic() + 20
    while not (again := _receive(sqs, commands)):
        assert time.monotonic() < deadline, "the message did not come back"
    assert again[0]["Body"] == "stop"
    assert again[0]["Attributes"]["ApproximateReceiveCount"] == "2"


@pytest.mark.parametrize("queue", QUEUES, ids=lambda queue: queue.name)
def test_what_nobody_can_process_ends_in_the_dead_letter_queue(sqs: Any, queues: SqsEndpoint, queue: Any) -> None:
    url, dead = queues.urls[queue.name], queues.urls[queue.dead_letter_name]
    extra = {"MessageGroupId": "g", "MessageDeduplicationId": uuid.uuid4().hex} if queue.fifo else {}
    sqs.purge_queue(QueueUrl=url)
    sqs.send_message(QueueUrl=url, MessageBody="poison", **extra)
    deadline = time.monotonic() + 60
    while not (found := _receive(sqs, dead)):
        assert time.monotonic() < deadline, "the message did not reach the dead-letter queue"
        for message in _receive(sqs, url):
            sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)
    assert found[0]["Body"] == "poison"
