"""An SQS event source: polls a queue, invokes a function with the records, deletes what was processed.

Honours `ReportBatchItemFailures`. What failed (or was in a process that died) becomes visible again after a short
pause; after the queue's `maxReceiveCount` it goes to the dead-letter queue.
"""

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from infra.local.lambda_pool import LambdaFunction
from infra.local.queues import REGION, SqsEndpoint
from infra.local.runtime_api import Result

if TYPE_CHECKING:
    from mypy_boto3_sqs.type_defs import MessageTypeDef

_log = logging.getLogger(__name__)
_WAIT_S = 2  # long poll; also the longest wait at stop
_RETRY_AFTER_S = 2


class SqsSource:
    """Feeds ``function`` from the queue called ``queue``."""

    def __init__(self, endpoint: SqsEndpoint, queue: str, function: LambdaFunction, *, batch_size: int = 10) -> None:
        self._client = endpoint.client()
        self._queue = queue
        self._url = endpoint.urls[queue]
        self._function = function
        self._batch_size = batch_size
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self._running: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._poll())

    async def stop(self) -> None:
        """Stop polling and let running batches end."""
        self._stopping = True
        if self._task is not None:
            await asyncio.wait([self._task, *self._running])
        self._client.close()

    async def _poll(self) -> None:
        limit = self._function.definition.maximum
        while not self._stopping:
            if len(self._running) >= limit:
                await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
                continue
            try:
                messages = await asyncio.to_thread(self._receive)
            except Exception as exc:  # the endpoint is away; nothing else can be done about it here
                _log.warning("queue %s cannot be read: %s", self._queue, exc)
                await asyncio.sleep(1)
                continue
            if messages:
                batch = asyncio.get_running_loop().create_task(self._process(messages))
                self._running.add(batch)
                batch.add_done_callback(self._running.discard)

    def _receive(self) -> "list[MessageTypeDef]":
        answer = self._client.receive_message(
            QueueUrl=self._url,
            MaxNumberOfMessages=self._batch_size,
            WaitTimeSeconds=_WAIT_S,
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        return answer.get("Messages", [])

    async def _process(self, messages: "list[MessageTypeDef]") -> None:
        result = await self._function.invoke({"Records": [self._record(message) for message in messages]})
        failed = failed_ids(result, [message["MessageId"] for message in messages])
        if failed:
            _log.warning(
                "queue %s: %d of %d records failed: %s", self._queue, len(failed), len(messages), result.payload
            )
        done = [message for message in messages if message["MessageId"] not in failed]
        again = [message for message in messages if message["MessageId"] in failed]
        try:
            await asyncio.to_thread(self._settle, done, again)
        except Exception as exc:  # not deleted: the messages come again after their visibility time-out
            _log.warning("queue %s: cannot settle a batch: %s", self._queue, exc)

    def _settle(self, done: "list[MessageTypeDef]", again: "list[MessageTypeDef]") -> None:
        for message in done:
            self._client.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
        for message in again:
            self._client.change_message_visibility(
                QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=_RETRY_AFTER_S
            )

    def _record(self, message: "MessageTypeDef") -> dict[str, Any]:
        attributes: dict[str, Any] = {
            name: {
                "stringValue": value.get("StringValue"),
                "stringListValues": [],
                "binaryListValues": [],
                "dataType": value["DataType"],
            }
            for name, value in message.get("MessageAttributes", {}).items()
        }
        return {
            "messageId": message["MessageId"],
            "receiptHandle": message["ReceiptHandle"],
            "body": message["Body"],
            "attributes": message.get("Attributes", {}),
            "messageAttributes": attributes,
            "md5OfBody": message["MD5OfBody"],
            "eventSource": "aws:sqs",
            "eventSourceARN": f"arn:aws:sqs:{REGION}:123456789012:{self._queue}",
            "awsRegion": REGION,
        }


def failed_ids(result: Result, received: list[str]) -> set[str]:
    """Ids of the messages that must come again, as Lambda reads a function's answer (`ReportBatchItemFailures`).

    All of them after a function error or an answer that names an unknown or empty id.
    """
    if result.function_error:
        return set(received)
    if not isinstance(result.payload, dict):
        return set()
    failures = result.payload.get("batchItemFailures") or []
    try:
        named = {failure["itemIdentifier"] for failure in failures}
    except (TypeError, KeyError):
        return set(received)
    return named if named <= set(received) else set(received)
