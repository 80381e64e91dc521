"""The redelivery sweep from the scheduled event to the queue, on real PostgreSQL and SQS."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from evpower.clock import FrozenClock
from evpower.commands import service
from evpower.commands.models import REMOTE_STOP, CommandStatus, NewCommand
from evpower.config import Settings
from evpower.db import Conn, PooledDatabase
from functions.sweeps.deps import SweepDeps, build_deps
from functions.sweeps.handler import work
from infra.local.queues import SqsEndpoint
from tests.fakes.rows import NOW, add_station, connect_station

EVENT = {
    "source": "aws.events",
    "detail-type": "Scheduled Event",
    "resources": ["arn:aws:events:eu-central-1:123456789012:rule/evpower-command_redelivery"],
}
MINUTE = timedelta(minutes=1)


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock(NOW)


@pytest.fixture
def deps(sqs: SqsEndpoint, make_settings: Callable[..., Settings], db: PooledDatabase, clock: FrozenClock) -> SweepDeps:
    settings = make_settings(**{name.lower(): value for name, value in sqs.environment.items()})
    return build_deps(settings, database=db, clock=clock)


def received(sqs: SqsEndpoint) -> list[dict[str, Any]]:
    """Bodies of the messages that can be received now."""
    client, found = sqs.client(), []
    while messages := client.receive_message(
        QueueUrl=sqs.urls["commands.fifo"], MaxNumberOfMessages=10, VisibilityTimeout=60
    ).get("Messages", []):
        found += [json.loads(message["Body"]) for message in messages]
    return found


async def enqueue(conn: Conn, station: str, action: str = "Reset", now: datetime = NOW) -> str:
    new = NewCommand(station, action, {}, now + 5 * MINUTE, "test", correlation_id="corr-7")
    return (await service.enqueue(conn, new, now)).id


async def test_what_lapsed_is_sent_again_once(
    deps: SweepDeps, db: PooledDatabase, sqs: SqsEndpoint, clock: FrozenClock
) -> None:
    async with db.transaction() as conn:
        for station in ("st-1", "st-2", "st-3"):
            await add_station(conn, station)
        epoch = await connect_station(conn, "st-1", "a")
        await connect_station(conn, "st-2", "b")
        lost = await enqueue(conn, "st-1")
        absent = await enqueue(conn, "st-3")
        crashed_stop = await enqueue(conn, "st-1", REMOTE_STOP)
        crashed_reset = await enqueue(conn, "st-1")
        for command in (crashed_stop, crashed_reset):
            assert await service.claim(conn, command, epoch, "a", NOW) is not None
        fresh = await enqueue(conn, "st-2", now=NOW + 2 * MINUTE)
    clock.advance(2 * MINUTE)
    assert await work(deps, EVENT) == {"seen": 4, "expired": 0, "failed": 1, "sent_again": 2, "jobs_expired": 0}
    messages = received(sqs)
    assert {(m["command_id"], m["attempt"]) for m in messages} == {(lost, 2), (crashed_stop, 2)}
    assert {m["correlation_id"] for m in messages} == {"corr-7"}
    async with db.transaction() as conn:
        status = {c: (await service.get(conn, c)).status for c in (lost, absent, crashed_stop, crashed_reset, fresh)}
    assert status.pop(crashed_reset) is CommandStatus.FAILED
    assert set(status.values()) == {CommandStatus.QUEUED}
    # Again at once: nothing is due, nothing is sent twice.
    assert (await work(deps, EVENT))["seen"] == 0
    clock.advance(4 * MINUTE)
    assert await work(deps, EVENT) == {"seen": 4, "expired": 3, "failed": 0, "sent_again": 1, "jobs_expired": 0}
    assert [m["command_id"] for m in received(sqs)] == [fresh]


async def test_more_than_one_batch(deps: SweepDeps, db: PooledDatabase, sqs: SqsEndpoint, clock: FrozenClock) -> None:
    async with db.transaction() as conn:
        await add_station(conn, "st-1")
        for _ in range(230):
            await enqueue(conn, "st-1")
    clock.advance(5 * MINUTE)
    assert await work(deps, EVENT) == {"seen": 230, "expired": 230, "failed": 0, "sent_again": 0, "jobs_expired": 0}


async def test_the_queue_is_away(
    db: PooledDatabase, make_settings: Callable[..., Settings], sqs: SqsEndpoint, clock: FrozenClock
) -> None:
    """The rows are not lost: they come up again after the next lease."""
    settings = make_settings(
        **{name.lower(): value for name, value in sqs.environment.items()} | {"aws_endpoint_url": "http://127.0.0.1:9"}
    )
    deps = build_deps(settings, database=db, clock=clock)
    async with db.transaction() as conn:
        await add_station(conn, "st-1")
        await connect_station(conn, "st-1", "a")
        command = await enqueue(conn, "st-1")
    clock.advance(MINUTE)
    assert (await work(deps, EVENT))["sent_again"] == 1
    clock.advance(MINUTE)
    assert (await work(deps, EVENT))["sent_again"] == 1
    async with db.transaction() as conn:
        stored = await service.get(conn, command)
    assert stored is not None
    assert (stored.status, stored.attempt) == (CommandStatus.QUEUED, 3)


async def test_a_job_without_an_end_expires(deps: SweepDeps, db: PooledDatabase, clock: FrozenClock) -> None:
    async with db.transaction() as conn:
        await add_station(conn, "st-1")
        for name, expires_at in (("over", NOW - MINUTE), ("open", NOW + MINUTE)):
            await conn.execute(
                """INSERT INTO station_jobs (id, station_id, kind, state, location, requested_by, expires_at,
                                             created_at, updated_at)
                   VALUES (%s, 'st-1', 'log', 'running', '', 'test', %s, %s, %s)""",
                (name, expires_at, NOW, NOW),
            )
    assert (await work(deps, EVENT))["jobs_expired"] == 1
    async with db.transaction() as conn:
        rows = await (await conn.execute("SELECT id, state FROM station_jobs ORDER BY id")).fetchall()
    assert [(row["id"], row["state"]) for row in rows] == [("open", "running"), ("over", "expired")]
