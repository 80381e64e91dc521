"""From an accepted start to the RemoteStart frame at the charger, over SQS and two socket tier instances.

A start is what the route does: reserve and queue the command in one transaction, then send the queue message. The clock
runs from the commit to the frame's arrival. Half of the chargers hang on each instance, and both receive messages, so
about half of the commands are handed from one instance to the other. Beside it, in the same run, a bare message through
a FIFO queue of the same endpoint: what is above that is ours.
"""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from evpower.charging import service as charging
from evpower.charging.models import Started, StartRequest
from evpower.commands.queue import CommandMessage, SqsCommandQueue
from evpower.db import Conn, PooledDatabase
from infra.local.queues import SqsEndpoint, create_queues, sqs_client
from infra.local.services import SqsServer
from tests.load.harness import backend, database, machine, metrics_unseen, percentile, report, socket_tier

STARTS = 200
WARM_UP = 10
AIM_ABOVE_QUEUE_MS = 15.0


class Charger:
    """Answers every command and notes when a RemoteStartTransaction arrived."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.started_at: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self.ready = asyncio.Event()

    async def run(self, socket: ClientConnection) -> None:
        # A charger takes commands once it has said something.
        await socket.send('[2,"ready","Heartbeat",{}]')
        async for frame in socket:
            arrived = time.perf_counter()
            message = orjson.loads(frame)
            if message[0] == 3 and message[1] == "ready":
                self.ready.set()
            if message[0] != 2:
                continue
            if message[2] == "RemoteStartTransaction" and not self.started_at.done():
                self.started_at.set_result(arrived)
            answer = {"unknownKey": []} if message[2] == "GetConfiguration" else {"status": "Accepted"}
            await socket.send(orjson.dumps([3, message[1], answer]), text=True)


async def prepare(db: PooledDatabase, count: int) -> list[str]:
    """Stations with one connector, and a client with money for each."""

    async def work(conn: Conn) -> None:
        await conn.execute("INSERT INTO locations (id, name, address) VALUES ('bench', 'Bench', '')")
        await conn.execute(
            """INSERT INTO stations (id, serial_number, location_id, price_per_kwh, is_available, last_heartbeat_at)
               SELECT 'bench-' || n, 'B' || n, 'bench', 13.5, true, now() FROM generate_series(1, %s) n""",
            (count,),
        )
        await conn.execute(
            "INSERT INTO connectors (station_id, connector_number, connector_type, power_kw) SELECT id, 1, 'CCS2', 60"
            " FROM stations"
        )
        await conn.execute(
            "INSERT INTO clients (id, name, balance) SELECT 'bench-' || n, 'Bench', 1000 FROM generate_series(1, %s) n",
            (count,),
        )

    await db.run(work)
    return [f"bench-{number}" for number in range(1, count + 1)]


async def start_one(db: PooledDatabase, queue: SqsCommandQueue, charger: Charger) -> float:
    """Seconds from the commit of a start to its frame at the charger."""
    request = StartRequest(charger.name, charger.name, 1, amount_som=Decimal(100))

    async def work(conn: Conn) -> Started:
        return await charging.start(conn, request, datetime.now(UTC))

    started = await db.run(work)
    committed = time.perf_counter()
    await queue.send(CommandMessage(started.command_id, charger.name))
    async with asyncio.timeout(30):
        return await charger.started_at - committed


class QueueAnchor:
    """A bare message through a FIFO queue of its own: send to receive, with a receiver that long-polls."""

    def __init__(self, endpoint: SqsEndpoint) -> None:
        self._client = sqs_client(endpoint.endpoint_url)
        self._url = self._client.create_queue(QueueName="anchor.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
        self._pool = ThreadPoolExecutor(2)

    def _receive(self) -> float:
        while True:
            answer = self._client.receive_message(QueueUrl=self._url, WaitTimeSeconds=5, MaxNumberOfMessages=10)
            arrived = time.perf_counter()
            if messages := answer.get("Messages", []):
                for message in messages:
                    self._client.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
                return arrived

    def _send(self, number: int) -> None:
        self._client.send_message(
            QueueUrl=self._url, MessageBody="{}", MessageGroupId="anchor", MessageDeduplicationId=str(number)
        )

    async def once(self, number: int) -> float:
        """Seconds from the call of send to the return of receive."""
        loop = asyncio.get_running_loop()
        receiving = loop.run_in_executor(self._pool, self._receive)
        began = time.perf_counter()
        await loop.run_in_executor(self._pool, self._send, number)
        return await receiving - began

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


async def measure(stack: AsyncExitStack) -> tuple[list[float], list[float]]:
    """Latencies of starts and of bare messages, taken in turns so that both see the same machine."""
    services = await stack.enter_async_context(backend())
    db = await stack.enter_async_context(database(services))
    sqs = SqsServer()
    stack.callback(sqs.stop)
    await asyncio.to_thread(sqs.start)
    endpoint = await asyncio.to_thread(create_queues, sqs.url)
    names = await prepare(db, STARTS + WARM_UP)
    ports = [
        (await stack.enter_async_context(socket_tier(services, INSTANCE_ID=f"bench-{number}", **endpoint.environment)))[
            1
        ]
        for number in range(2)
    ]
    chargers = [Charger(name) for name in names]
    for number, charger in enumerate(chargers):
        url = f"ws://127.0.0.1:{ports[number % 2]}/ocpp/{charger.name}"
        socket = await stack.enter_async_context(
            connect(url, subprotocols=[Subprotocol("ocpp1.6")], compression=None, ping_interval=None)
        )
        job = asyncio.create_task(charger.run(socket))
        stack.callback(job.cancel)
    await asyncio.gather(*(charger.ready.wait() for charger in chargers))
    environment = {name.lower(): value for name, value in endpoint.environment.items()}
    queue, anchor = SqsCommandQueue(services.settings(**environment)), QueueAnchor(endpoint)
    stack.callback(anchor.close)
    starts, bare = [], []
    for number, charger in enumerate(chargers):
        starts.append(await start_one(db, queue, charger))
        bare.append(await anchor.once(number))
    return starts[WARM_UP:], bare[WARM_UP:]


async def main() -> dict[str, Any]:
    """Run, print and return the result."""
    import os

    from infra.local.queues import LOCAL_CREDENTIALS

    os.environ.update(LOCAL_CREDENTIALS)
    with metrics_unseen():
        async with AsyncExitStack() as stack:
            starts, bare = await measure(stack)
    figures = {
        "start_p50_ms": percentile(starts, 0.5) * 1000,
        "start_p99_ms": percentile(starts, 0.99) * 1000,
        "queue_p50_ms": percentile(bare, 0.5) * 1000,
        "queue_p99_ms": percentile(bare, 0.99) * 1000,
    }
    above = {name: figures[f"start_{name}"] - figures[f"queue_{name}"] for name in ("p50_ms", "p99_ms")}
    rows: list[tuple[object, ...]] = [
        ("from commit to frame", "p50 ms", "p99 ms"),
        ("start accepted -> RemoteStart frame", f"{figures['start_p50_ms']:.1f}", f"{figures['start_p99_ms']:.1f}"),
        ("bare SQS FIFO message", f"{figures['queue_p50_ms']:.1f}", f"{figures['queue_p99_ms']:.1f}"),
        ("above the queue", f"{above['p50_ms']:.1f}", f"{above['p99_ms']:.1f}"),
    ]
    result = {
        "bench": "start",
        "starts": len(starts),
        **{name: round(value, 1) for name, value in figures.items()},
        "above_queue_p50_ms": round(above["p50_ms"], 1),
        "above_queue_p99_ms": round(above["p99_ms"], 1),
        "aim_above_queue_p99_ms": AIM_ABOVE_QUEUE_MS,
        **machine(),
    }
    report(f"start: {len(starts)} starts, two instances, half of the chargers on each", rows, result)
    return result
