"""SQS batches with partial failures: Powertools' batch processor on the function's own event loop."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aws_lambda_powertools.utilities.batch import AsyncBatchProcessor, EventType
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

RecordHandler = Callable[[SQSRecord], Awaitable[None]]


class _Processor(AsyncBatchProcessor):
    """Powertools' own `async_process` starts or picks a loop, and our connection belongs to the process's one loop."""

    async def process_on_this_loop(self) -> None:
        await asyncio.gather(*(self._async_process_record(record) for record in self.records))


async def work_on_batch(event: Mapping[str, Any], handle: RecordHandler) -> dict[str, Any]:
    """All records at once: they wait for the outside world, not for each other.

    Returns the partial batch response: records whose ``handle`` raised come again, and after their last receive stand
    in the dead-letter queue. A batch in which all fail is answered the same way, because an exception would count as a
    failure of the function and make Lambda slow the queue down.
    """

    async def on_record(record: SQSRecord) -> None:
        await handle(record)

    processor = _Processor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)
    with processor(records=event.get("Records") or [], handler=on_record):
        await processor.process_on_this_loop()
    return dict(processor.response())
