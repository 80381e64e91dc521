"""CPU of the socket tier per 3-sample MeterValues, as a ratio to a bare ``websockets`` echo in the same run.

Every message is validated, normalised, applied to its session, judged for auto-stop and committed before its answer.
200 chargers send as fast as they are answered; the echo gets the same frames from as many clients. CPU is the process
time of the server process; that of PostgreSQL is reported beside it.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
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
    percentile,
    python_process,
    report,
    socket_tier,
)

CHARGERS = 200
WARM_UP_S = 3.0
MEASURE_S = 10.0
AIM = 2.5


@dataclass(slots=True)
class Load:
    """What one measured phase showed."""

    messages: int
    seconds: float
    cpu_s: float
    postgres_cpu_s: float
    latencies: list[float]

    @property
    def cpu_us(self) -> float:
        return self.cpu_s / self.messages * 1e6

    @property
    def postgres_us(self) -> float:
        return self.postgres_cpu_s / self.messages * 1e6


async def prepare(db: PooledDatabase, chargers: int) -> dict[str, int]:
    """Stations with one running session each: station id -> transaction id."""
    now = datetime.now(UTC)

    async def network(conn: Conn) -> None:
        await conn.execute("INSERT INTO locations (id, name, address) VALUES ('bench', 'Bench', '')")
        await conn.execute(
            """INSERT INTO stations (id, serial_number, location_id, price_per_kwh, is_available, last_heartbeat_at)
               SELECT 'bench-' || n, 'B' || n, 'bench', 13.5, true, now() FROM generate_series(1, %s) n""",
            (chargers,),
        )
        await conn.execute(
            """INSERT INTO connectors (station_id, connector_number, connector_type, power_kw)
               SELECT id, 1, 'CCS2', 400 FROM stations"""
        )
        await conn.execute(
            """INSERT INTO clients (id, name, balance)
               SELECT 'bench-' || n, 'Bench', 100000 FROM generate_series(1, %s) n""",
            (chargers,),
        )

    await db.run(network)
    transactions: dict[str, int] = {}
    for number in range(1, chargers + 1):
        name = f"bench-{number}"

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


class Phase:
    """Clients that send as fast as they are answered, and a window in which CPU is measured."""

    def __init__(self, pid: int, postgres_pid: int | None) -> None:
        self._pid = pid
        self._postgres_pid = postgres_pid
        self._running = True
        self.measuring = False
        self.sent: dict[str, int] = {}
        self._count = 0
        self._latencies: list[float] = []

    async def _client(
        self, socket: ClientConnection, name: str, transaction: int, expect: Callable[[str], bool]
    ) -> None:
        number = 0
        while self._running:
            number += 1
            started = time.perf_counter()
            await socket.send(frame(number, transaction))
            answer = await socket.recv(decode=True)
            if not expect(answer):
                raise AssertionError(f"unexpected answer: {answer[:200]}")
            if self.measuring:
                self._count += 1
                self._latencies.append(time.perf_counter() - started)
        self.sent[name] = number

    async def run(self, url: Callable[[str], str], transactions: dict[str, int], expect: Callable[[str], bool]) -> Load:
        """Load the server and measure it."""
        sockets = []
        for name in transactions:
            socket = await connect(
                url(name), subprotocols=[Subprotocol("ocpp1.6")], compression=None, ping_interval=None
            )
            sockets.append((name, socket))
        clients = [asyncio.create_task(self._client(s, name, transactions[name], expect)) for name, s in sockets]
        await self._unless_failed(clients, WARM_UP_S)
        cpu, postgres, began = cpu_seconds(self._pid), self._postgres(), time.perf_counter()
        self.measuring = True
        await self._unless_failed(clients, MEASURE_S)
        self.measuring = False
        load = Load(
            self._count,
            time.perf_counter() - began,
            cpu_seconds(self._pid) - cpu,
            self._postgres() - postgres,
            self._latencies,
        )
        self._running = False
        await asyncio.gather(*clients)
        await asyncio.gather(*(socket.close() for _, socket in sockets))
        return load

    @staticmethod
    async def _unless_failed(clients: list[asyncio.Task[None]], seconds: float) -> None:
        done, _ = await asyncio.wait(clients, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
        for client in done:
            client.result()

    def _postgres(self) -> float:
        return cpu_seconds_of_children(self._postgres_pid) if self._postgres_pid else 0.0


async def measure_echo(transactions: dict[str, int], *loop: str) -> Load:
    port = free_port()
    async with python_process("echo", "tests.load.echo_server", str(port), *loop, port=port, env=_plain()) as child:
        phase = Phase(child.pid, None)
        return await phase.run(lambda _name: f"ws://127.0.0.1:{port}/", transactions, lambda a: a.startswith("[2,"))


def _plain() -> dict[str, str]:
    import os

    return dict(os.environ)


async def measure_tier(of: Backend, transactions: dict[str, int]) -> tuple[Load, dict[str, int]]:
    async with socket_tier(of) as (child, port):
        phase = Phase(child.pid, of.postgres.children[0].pid)
        load = await phase.run(
            lambda name: f"ws://127.0.0.1:{port}/ocpp/{name}", transactions, lambda answer: answer.startswith("[3,")
        )
        return load, phase.sent


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


async def main() -> dict[str, Any]:
    """Run, print and return the result."""
    async with backend() as services, database(services) as db:
        transactions = await prepare(db, CHARGERS)
        echo = await measure_echo(transactions)
        echo_uvloop = await measure_echo(transactions, "uvloop")
        tier, sent = await measure_tier(services, transactions)
        await check(db, sent)
    ratio, ratio_uvloop = tier.cpu_us / echo.cpu_us, tier.cpu_us / echo_uvloop.cpu_us
    rows: list[tuple[object, ...]] = [("server", "messages/s", "CPU µs/message", "PostgreSQL µs", "p50 ms", "p99 ms")]
    for name, load in (("echo (asyncio)", echo), ("echo (uvloop)", echo_uvloop), ("socket tier (uvloop)", tier)):
        rows.append(
            (
                name,
                round(load.messages / load.seconds),
                f"{load.cpu_us:.1f}",
                f"{load.postgres_us:.1f}" if load.postgres_cpu_s else "-",
                f"{percentile(load.latencies, 0.5) * 1000:.1f}",
                f"{percentile(load.latencies, 0.99) * 1000:.1f}",
            )
        )
    rows.append(("ratio to echo (asyncio)", "", f"{ratio:.2f}", "", "", ""))
    rows.append(("ratio to echo (uvloop)", "", f"{ratio_uvloop:.2f}", "", "", ""))
    result = {
        "bench": "ocpp",
        "chargers": CHARGERS,
        "ratio": round(ratio, 3),
        "ratio_to_uvloop_echo": round(ratio_uvloop, 3),
        "aim": AIM,
        "cpu_us": round(tier.cpu_us, 1),
        "echo_us": round(echo.cpu_us, 1),
        "echo_uvloop_us": round(echo_uvloop.cpu_us, 1),
        "postgres_us": round(tier.postgres_us, 1),
        "messages_per_s": round(tier.messages / tier.seconds),
        "p99_ms": round(percentile(tier.latencies, 0.99) * 1000, 1),
        **machine(),
    }
    report(f"ocpp: one 3-sample MeterValues, {CHARGERS} chargers, committed before the answer", rows, result)
    return result
