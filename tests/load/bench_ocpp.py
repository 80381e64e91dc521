"""CPU of the socket tier per 3-sample MeterValues, as a ratio to a bare ``websockets`` echo in the same run.

Every message is validated, normalised, applied to its session, judged for auto-stop and committed before its answer;
the message log is on. 200 chargers send as fast as they are answered; the echo gets the same frames from as many
clients. All servers run throughout and are loaded in turn, in short windows, so that a machine that becomes slower or
faster meanwhile does so for all of them; figures are medians over the rounds. CPU is the process time of the server
process; that of PostgreSQL is reported beside it. A second tier with ``MESSAGE_LOG=off`` shows the log's own share.
"""

import asyncio
import os
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from statistics import median
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from evpower.charging import service as charging
from evpower.charging.models import StartRequest, StartTransaction
from evpower.clock import iso_z
from evpower.db import Conn, PooledDatabase
from evpower.stations import service as stations
from infra.local.processes import free_port
from tests.load.harness import (
    Backend,
    backend,
    cpu_seconds,
    cpu_seconds_of_children,
    database,
    machine,
    metrics_unseen,
    percentile,
    python_process,
    report,
    socket_tier,
)

CHARGERS = 200
ROUNDS = 7
WARM_UP_S = 0.7
MEASURE_S = 2.0
AIM = 2.0
LOG_SHARE_AIM = 0.15
LOG_WRITTEN_WITHIN_S = 30.0
PREFIXES = ("on", "off")


@dataclass(slots=True)
class Load:
    """What one measured window showed."""

    messages: int
    seconds: float
    cpu_s: float
    postgres_cpu_s: float

    @property
    def cpu_us(self) -> float:
        return self.cpu_s / self.messages * 1e6

    @property
    def postgres_us(self) -> float:
        return self.postgres_cpu_s / self.messages * 1e6


async def prepare(db: PooledDatabase, prefix: str) -> dict[str, int]:
    """Stations with one running session each: station id -> transaction id."""
    now = datetime.now(UTC)

    async def network(conn: Conn) -> None:
        await conn.execute("INSERT INTO locations (id, name, address) VALUES (%s, 'Bench', '')", (prefix,))
        await conn.execute(
            """INSERT INTO stations (id, serial_number, location_id, price_per_kwh, is_available, last_heartbeat_at)
               SELECT %s || n, %s || n, %s, 13.5, true, now() FROM generate_series(1, %s) n""",
            (prefix, f"serial-{prefix}", prefix, CHARGERS),
        )
        await conn.execute(
            """INSERT INTO connectors (station_id, connector_number, connector_type, power_kw)
               SELECT id, 1, 'CCS2', 400 FROM stations WHERE location_id = %s""",
            (prefix,),
        )
        await conn.execute(
            """INSERT INTO clients (id, name, balance)
               SELECT %s || n, 'Bench', 100000 FROM generate_series(1, %s) n""",
            (prefix, CHARGERS),
        )

    await db.run(network)
    transactions: dict[str, int] = {}
    for number in range(1, CHARGERS + 1):
        name = f"{prefix}{number}"

        async def begin(conn: Conn, name: str = name) -> int:
            epoch = await stations.claim_connection(conn, name, "bench", now)
            started = await charging.start(conn, StartRequest(name, name, 1, energy_kwh=Decimal(200)), now)
            answer = await charging.start_transaction(
                conn, StartTransaction(name, 1, started.session.id_tag, Decimal(0), now, now, epoch)
            )
            assert answer.id_tag_status == "Accepted"
            return answer.transaction_id

        transactions[name] = await db.run(begin)

    async def forget_commands(conn: Conn) -> None:
        await conn.execute("UPDATE station_commands SET status = 'accepted'")

    await db.run(forget_commands)
    return transactions


def frame(number: int, transaction: int) -> str:
    """The ``number``-th MeterValues of a transaction: energy, power, state of charge."""
    return (
        f'[2,"m{number}","MeterValues",{{"connectorId":1,"transactionId":{transaction},"meterValue":'
        f'[{{"timestamp":"{iso_z(datetime.now(UTC))}","sampledValue":['
        f'{{"value":"{number}","context":"Sample.Periodic","measurand":"Energy.Active.Import.Register","unit":"Wh"}},'
        f'{{"value":"60000","context":"Sample.Periodic","measurand":"Power.Active.Import","unit":"W"}},'
        f'{{"value":"55","context":"Sample.Periodic","measurand":"SoC","unit":"Percent"}}]}}]}}]'
    )


class Contender:
    """One server with its clients, which send as fast as they are answered while it is their turn."""

    def __init__(self, name: str, pid: int, url: str, transactions: dict[str, int], answer: str) -> None:
        self.name = name
        self.sent: dict[str, int] = {}
        self.loads: list[Load] = []
        self.latencies: list[float] = []
        self._pid = pid
        self._url = url
        self._transactions = transactions
        self._answer = answer
        self._turn = asyncio.Event()
        self._parked = asyncio.Semaphore(0)
        self._measuring = False
        self._count = 0
        self._sockets: list[ClientConnection] = []
        self._clients: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Connect every client."""
        for name, transaction in self._transactions.items():
            socket = await connect(
                self._url + name, subprotocols=[Subprotocol("ocpp1.6")], compression=None, ping_interval=None
            )
            self._sockets.append(socket)
            self._clients.append(asyncio.create_task(self._client(socket, name, transaction)))

    async def close(self) -> None:
        """Disconnect every client."""
        for client in self._clients:
            client.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        await asyncio.gather(*(socket.close() for socket in self._sockets))

    async def turn(self, postgres_pid: int) -> None:
        """One window of load; returns when the last answer has come."""
        self._turn.set()
        await self._unless_failed(WARM_UP_S)
        self._count = 0
        self._measuring = True
        cpu, postgres, began = cpu_seconds(self._pid), cpu_seconds_of_children(postgres_pid), time.perf_counter()
        await self._unless_failed(MEASURE_S)
        load = Load(
            self._count,
            time.perf_counter() - began,
            cpu_seconds(self._pid) - cpu,
            cpu_seconds_of_children(postgres_pid) - postgres,
        )
        self._measuring = False
        self._turn.clear()
        for _ in self._clients:
            await self._parked.acquire()
        self.loads.append(load)

    async def _client(self, socket: ClientConnection, name: str, transaction: int) -> None:
        number = 0
        while True:
            if not self._turn.is_set():
                if number:
                    self._parked.release()
                await self._turn.wait()
            number += 1
            started = time.perf_counter()
            await socket.send(frame(number, transaction))
            answer = await socket.recv(decode=True)
            if not answer.startswith(self._answer):
                raise AssertionError(f"unexpected answer: {answer[:200]}")
            self.sent[name] = number
            if self._measuring:
                self._count += 1
                self.latencies.append(time.perf_counter() - started)

    async def _unless_failed(self, seconds: float) -> None:
        done, _ = await asyncio.wait(self._clients, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for client in done:
            client.result()


async def check(db: PooledDatabase, sent: dict[str, int]) -> None:
    """Every acknowledged reading is stored and every session's meter stands where its charger left it."""

    async def read(conn: Conn) -> list[dict[str, Any]]:
        cursor = await conn.execute(
            """SELECT s.station_id, s.meter_current, s.energy_wh,
                      (SELECT count(*) FROM ocpp_meter_values v WHERE v.session_id = s.id) AS stored
                 FROM charging_sessions s"""
        )
        return await cursor.fetchall()

    for row in await db.run(read):
        expected = sent[row["station_id"]]
        found = (row["stored"], int(row["meter_current"]), int(row["energy_wh"]))
        assert found == (expected, expected, expected), f"{row['station_id']}: {found} instead of {expected}"


async def check_log(db: PooledDatabase, sent: dict[str, int]) -> None:
    """Every exchange of the tier that logs is in its log, and none of the other's."""

    async def read(conn: Conn) -> dict[str, int]:
        cursor = await conn.execute(
            "SELECT station_id, count(*) AS n FROM station_messages WHERE action = 'MeterValues' GROUP BY 1"
        )
        return {row["station_id"]: row["n"] for row in await cursor.fetchall()}

    expected = {name: count for name, count in sent.items() if name.startswith(PREFIXES[0])}
    async with asyncio.timeout(LOG_WRITTEN_WITHIN_S):
        while (found := await db.run(read)) != expected:
            missing = sum(expected.values()) - sum(found.values())
            if missing < 0:
                raise AssertionError(f"{-missing} messages too many in the log")
            await asyncio.sleep(0.5)


async def measure(of: Backend, transactions: dict[str, dict[str, int]]) -> list[Contender]:
    """Load every server in turn."""
    postgres = of.postgres.children[0].pid
    async with AsyncExitStack() as stack:
        contenders = []
        for loop in ("asyncio", "uvloop"):
            port = free_port()
            echo = await stack.enter_async_context(
                python_process("echo", "tests.load.echo_server", str(port), loop, port=port, env=dict(os.environ))
            )
            url = f"ws://127.0.0.1:{port}/"
            contenders.append(Contender(f"echo ({loop})", echo.pid, url, transactions[PREFIXES[0]], "[2,"))
        for log in PREFIXES:
            tier, port = await stack.enter_async_context(socket_tier(of, MESSAGE_LOG=log))
            url = f"ws://127.0.0.1:{port}/ocpp/"
            contenders.append(Contender(f"socket tier, log {log}", tier.pid, url, transactions[log], "[3,"))
        for contender in contenders:
            await contender.open()
        try:
            for round_ in range(ROUNDS):
                # Another order in each round: what one leaves behind (a checkpoint) must not always hit the same next.
                for step in range(len(contenders)):
                    await contenders[(round_ + step) % len(contenders)].turn(postgres)
        finally:
            for contender in contenders:
                await contender.close()
    return contenders


def _ratio(of: Contender, to: Contender) -> float:
    return median(load.cpu_us / anchor.cpu_us for load, anchor in zip(of.loads, to.loads, strict=True))


def _spread(of: Contender, to: Contender) -> list[float]:
    ratios = sorted(load.cpu_us / anchor.cpu_us for load, anchor in zip(of.loads, to.loads, strict=True))
    return [round(ratios[0], 2), round(ratios[-1], 2)]


async def main() -> dict[str, Any]:
    """Run, print and return the result."""
    load_before = os.getloadavg()[0]
    async with backend() as services, database(services) as db:
        with metrics_unseen():
            transactions = {prefix: await prepare(db, prefix) for prefix in PREFIXES}
        contenders = await measure(services, transactions)
        sent = {name: count for contender in contenders[2:] for name, count in contender.sent.items()}
        await check(db, sent)
        await check_log(db, sent)
    echo, echo_uvloop, logged, unlogged = contenders
    share = _ratio(logged, unlogged) - 1
    rows: list[tuple[object, ...]] = [
        ("server", "messages/s", "CPU µs/message", "to echo", "PostgreSQL µs", "p50 ms", "p99 ms")
    ]
    rows += [
        (
            one.name,
            round(median(load.messages / load.seconds for load in one.loads)),
            f"{median(load.cpu_us for load in one.loads):.1f}",
            f"{_ratio(one, echo):.2f}",
            f"{median(load.postgres_us for load in one.loads):.1f}",
            f"{percentile(one.latencies, 0.5) * 1000:.1f}",
            f"{percentile(one.latencies, 0.99) * 1000:.1f}",
        )
        for one in contenders
    ]
    rows.append(("the log's share of the CPU", "", f"{share:.1%}", "", "", "", ""))
    result = {
        "bench": "ocpp",
        "chargers": CHARGERS,
        "rounds": ROUNDS,
        "ratio": round(_ratio(logged, echo), 3),
        "ratio_range": _spread(logged, echo),
        "ratio_without_log": round(_ratio(unlogged, echo), 3),
        "ratio_to_uvloop_echo": round(_ratio(logged, echo_uvloop), 3),
        "aim": AIM,
        "log_share": round(share, 3),
        "log_share_aim": LOG_SHARE_AIM,
        "cpu_us": round(median(load.cpu_us for load in logged.loads), 1),
        "echo_us": round(median(load.cpu_us for load in echo.loads), 1),
        "postgres_us": round(median(load.postgres_us for load in logged.loads), 1),
        "p99_ms": round(percentile(logged.latencies, 0.99) * 1000, 1),
        "load_before": round(load_before, 1),
        **machine(),
    }
    report(f"ocpp: one 3-sample MeterValues, {CHARGERS} chargers, committed before the answer", rows, result)
    return result
