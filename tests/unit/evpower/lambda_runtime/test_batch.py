"""SQS batches: what failed comes again, what worked does not."""

import asyncio

from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from evpower.ids import correlation_id
from evpower.lambda_runtime.batch import work_on_batch


def batch(*bodies: str) -> dict[str, object]:
    return {"Records": [{"messageId": f"m-{body}", "body": body, "eventSource": "aws:sqs"} for body in bodies]}


async def refuse_bad(record: SQSRecord) -> None:
    if record.body.startswith("bad"):
        raise ValueError(record.body)


async def test_only_failed_records_are_reported() -> None:
    assert await work_on_batch(batch("good", "bad", "fine"), refuse_bad) == {
        "batchItemFailures": [{"itemIdentifier": "m-bad"}]
    }


async def test_a_batch_that_fails_as_a_whole_is_answered_too() -> None:
    answer = await work_on_batch(batch("bad-1", "bad-2"), refuse_bad)
    assert answer == {"batchItemFailures": [{"itemIdentifier": "m-bad-1"}, {"itemIdentifier": "m-bad-2"}]}
    assert await work_on_batch(batch("good"), refuse_bad) == {"batchItemFailures": []}  # nothing is left of the last


async def test_an_empty_batch() -> None:
    assert await work_on_batch({}, refuse_bad) == {"batchItemFailures": []}
    assert await work_on_batch({"Records": []}, refuse_bad) == {"batchItemFailures": []}


async def test_records_wait_together_and_keep_their_correlation_ids() -> None:
    everybody = asyncio.Barrier(3)
    seen: list[tuple[str, str | None]] = []

    async def handle(record: SQSRecord) -> None:
        correlation_id.set(f"id-{record.body}")
        await asyncio.wait_for(everybody.wait(), 5)
        seen.append((record.body, correlation_id.get()))

    assert await work_on_batch(batch("a", "b", "c"), handle) == {"batchItemFailures": []}
    assert sorted(seen) == [("a", "id-a"), ("b", "id-b"), ("c", "id-c")]


def test_all_batches_of_a_process_run_on_its_one_loop() -> None:
    loops = []

    async def handle(_record: SQSRecord) -> None:
        loops.append(asyncio.get_running_loop())

    with asyncio.Runner() as runner:
        for _ in range(2):
            runner.run(work_on_batch(batch("a"), handle))
        assert loops == [runner.get_loop()] * 2
