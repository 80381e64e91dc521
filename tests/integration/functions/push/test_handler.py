"""The push function over a real queue: from a committed fact to the phone."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from evpower.clock import SystemClock
from evpower.config import Settings, get_settings
from evpower.db import Conn, PooledDatabase
from evpower.notifications import service as notifications
from evpower.notifications.delivery import PushDeps, push_deps
from evpower.notifications.queue import SqsPushQueue
from functions.push import handler as function
from functions.sweeps import push_outbox
from functions.sweeps.deps import build_deps
from infra.local.push_standin.server import Answer
from infra.local.queues import SqsEndpoint
from tests.integration.evpower.notifications.conftest import ANDROID, CLIENT, World


def receive(sqs: SqsEndpoint, wait_s: int = 5) -> list[dict[str, Any]]:
    """Records as Lambda gets them; the messages stay in flight."""
    answer = sqs.client().receive_message(QueueUrl=sqs.urls["push"], MaxNumberOfMessages=10, WaitTimeSeconds=wait_s)
    return [
        {"messageId": message["MessageId"], "receiptHandle": message["ReceiptHandle"], "body": message["Body"]}
        for message in answer.get("Messages", [])
    ]


@pytest.fixture
def queued(
    world: World, sqs: SqsEndpoint, monkeypatch: pytest.MonkeyPatch, push_settings: Callable[..., Settings]
) -> PushDeps:
    """The function with its queue, in a process whose entries know the queue as well."""
    for name, value in sqs.environment.items():
        monkeypatch.setenv(name, value)
    get_settings.cache_clear()
    settings = push_settings(aws_endpoint_url=sqs.endpoint_url, sqs_push_queue_url=sqs.urls["push"])
    return push_deps(world.db, SqsPushQueue(settings), settings, SystemClock())


async def complete(db: PooledDatabase, session_id: str) -> None:
    async with db.transaction() as conn:
        await notifications.charging_error(conn, client_id=CLIENT, session_id=session_id, error_code="NO_CONNECTION")


async def test_from_the_commit_to_the_phone(world: World, queued: PushDeps, sqs: SqsEndpoint) -> None:
    await world.device(ANDROID, "android")
    await complete(world.db, "s-1")
    await complete(world.db, "s-1")  # the same fact again
    records = receive(sqs)
    assert len(records) == 1
    assert await function.work(queued, {"Records": records}) == {"batchItemFailures": []}
    (delivery,) = world.standin.shown(ANDROID)
    assert delivery.data["sessionId"] == "s-1"
    assert delivery.title == "Зарядка не началась"
    await queued.http.close()


async def test_nothing_is_queued_for_what_is_rolled_back(world: World, queued: PushDeps, sqs: SqsEndpoint) -> None:
    async def state_and_fail(conn: Conn) -> None:
        await notifications.charging_error(conn, client_id=CLIENT, session_id="s-1", error_code="x")
        raise RuntimeError("no commit")

    with pytest.raises(RuntimeError, match="no commit"):
        await world.db.run(state_and_fail)
    assert receive(sqs, wait_s=1) == []


async def test_only_what_failed_comes_again(world: World, queued: PushDeps, sqs: SqsEndpoint) -> None:
    await world.device(ANDROID, "android")
    await complete(world.db, "s-1")
    good = receive(sqs)
    poison = {"messageId": "poison", "body": "not one of ours"}
    assert await function.work(queued, {"Records": [poison, *good]}) == {
        "batchItemFailures": [{"itemIdentifier": "poison"}]
    }
    assert len(world.standin.shown(ANDROID)) == 1
    await queued.http.close()


async def test_a_database_that_is_away_keeps_the_message(
    world: World, queued: PushDeps, make_settings: Callable[..., Settings]
) -> None:
    closed = PooledDatabase(make_settings(), size=1)
    deps = replace(queued, db=closed)
    record = {"messageId": "m", "body": '{"outbox_id": 1}'}
    assert await function.work(deps, {"Records": [record]}) == {"batchItemFailures": [{"itemIdentifier": "m"}]}


async def test_a_retry_comes_back_through_the_queue(world: World, queued: PushDeps, sqs: SqsEndpoint) -> None:
    await world.device(ANDROID, "android")
    world.standin.answer(ANDROID, Answer(503))
    await complete(world.db, "s-1")
    assert await function.work(queued, {"Records": receive(sqs)}) == {"batchItemFailures": []}
    counts = sqs.client().get_queue_attributes(
        QueueUrl=sqs.urls["push"], AttributeNames=["ApproximateNumberOfMessagesDelayed"]
    )["Attributes"]
    assert counts["ApproximateNumberOfMessagesDelayed"] == "1"
    await queued.http.close()


async def test_the_sweep_hands_over_what_was_lost(
    world: World, queued: PushDeps, sqs: SqsEndpoint, make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings(aws_endpoint_url=sqs.endpoint_url, sqs_push_queue_url=sqs.urls["push"])
    deps = build_deps(settings, database=world.db, clock=world.clock)
    lost = [await world.queued() for _ in range(12)]
    finished = await world.queued()
    await world.sql("UPDATE push_outbox SET state = 'done' WHERE id = %s", finished)
    assert await push_outbox.run(deps, world.clock.now()) == {"seen": 0, "handed": 0}, "the message may be on its way"
    await world.sql("UPDATE push_outbox SET next_attempt_at = next_attempt_at - interval '31 seconds'")
    assert await push_outbox.run(deps, world.clock.now()) == {"seen": 12, "handed": 12}
    assert await push_outbox.run(deps, world.clock.now()) == {"seen": 0, "handed": 0}, "not while they wait in line"
    records = [*receive(sqs), *receive(sqs)]
    assert sorted(record["body"] for record in records) == sorted(f'{{"outbox_id": {i}}}' for i in lost)


async def test_the_sweep_survives_a_queue_that_is_away(world: World, make_settings: Callable[..., Settings]) -> None:
    settings = make_settings(aws_endpoint_url="http://127.0.0.1:1", sqs_push_queue_url="http://127.0.0.1:1/q")
    deps = build_deps(settings, database=world.db, clock=world.clock)
    await world.queued()
    await world.sql("UPDATE push_outbox SET next_attempt_at = next_attempt_at - interval '1 minute'")
    assert await push_outbox.run(deps, world.clock.now()) == {"seen": 1, "handed": 0}
