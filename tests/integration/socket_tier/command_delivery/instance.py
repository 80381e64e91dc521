"""One instance without sockets, and what the tests of delivery do with it."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from evpower.clock import SystemClock
from evpower.commands import service
from evpower.commands.models import Command, CommandStatus, NewCommand
from evpower.config import Settings
from evpower.db import PooledDatabase
from evpower.redis_client import open_redis
from infra.local.queues import SqsEndpoint
from socket_tier.command_consumer import CommandConsumer
from socket_tier.dispatcher import Dispatcher
from socket_tier.registry import INBOX_BLOCK_S, Registry
from tests.fakes.rows import connect_station
from tests.fakes.stations import Answer, FakeConnection, until

CLOCK = SystemClock()


class Instance:
    """Registry, dispatcher and consumer of one instance, without sockets."""

    def __init__(self, name: str, settings: Settings, db: PooledDatabase, **dispatcher: float) -> None:
        self.name = name
        self.db = db
        self.changed: list[str] = []
        blocking = open_redis(settings, socket_timeout_s=INBOX_BLOCK_S + 2)
        self.registry = Registry(open_redis(settings), blocking, name, hand_off_timeout_s=1.0)
        values = {"poll_s": 60.0, "poll_degraded_s": 0.1, "call_timeout_s": 5.0, **dispatcher}
        self.dispatcher = Dispatcher(db, self.registry, CLOCK, changed=self._changed, **values)
        self.consumer = CommandConsumer(settings, self.registry, self.dispatcher, receivers=1, long_poll_s=1)

    async def _changed(self, stations: list[str]) -> None:
        self.changed += stations

    def start(self, *, consume: bool = False) -> None:
        self.registry.start()
        self.dispatcher.start()
        if consume:
            self.consumer.start()

    async def connect(self, station: str, answer: Answer | None = None, **options: bool) -> FakeConnection:
        """Connect the station here, as the server does after an upgrade."""
        epoch = await self.db.run(lambda conn: connect_station(conn, station, self.name, CLOCK.now()))
        connection = FakeConnection(station, epoch, **({"answer": answer} if answer else {}), **options)
        await self.registry.register(station, connection)
        await self.dispatcher.drain(station)
        return connection

    async def stop(self, patience_s: float = 1.0) -> None:
        await self.consumer.stop()
        await self.dispatcher.stop(patience_s)
        await self.registry.stop()


MakeInstance = Callable[..., Instance]


async def queue_command(
    db: PooledDatabase, action: str = "Reset", *, lifetime: timedelta = timedelta(minutes=5), **payload: Any
) -> Command:
    now = CLOCK.now()
    new = NewCommand("st-1", action, payload or {"type": "Soft"}, now + lifetime, "test")
    return await db.run(lambda conn: service.enqueue(conn, new, now))


async def stored(db: PooledDatabase, command: Command) -> Command:
    found = await db.run(lambda conn: service.get(conn, command.id))
    assert found is not None
    return found


async def until_status(db: PooledDatabase, command: Command, status: CommandStatus) -> Command:
    async def reached() -> bool:
        return (await stored(db, command)).status is status

    await until(reached, f"command {status}")
    return await stored(db, command)


async def until_queue_empty(sqs: SqsEndpoint) -> None:
    client = sqs.client()
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]

    async def empty() -> bool:
        answer = await asyncio.to_thread(
            client.get_queue_attributes, QueueUrl=sqs.urls["commands.fifo"], AttributeNames=names
        )
        return all(value == "0" for value in answer["Attributes"].values())

    await until(empty, "the queue to be empty")


async def sweep_after_lease(db: PooledDatabase) -> Any:
    return await db.run(lambda conn: service.expire_and_redeliver(conn, CLOCK.now() + timedelta(seconds=120)))
