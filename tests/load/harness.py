"""What the benchmarks share: services, processes, CPU clocks, a table."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from evpower.config import Settings
from evpower.db import PooledDatabase
from evpower.db.migrate import migrate
from infra.local import scratch
from infra.local.processes import ROOT, Child, accepts_connections, free_port
from infra.local.services import Postgres, Valkey

HZ = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """User and system time of one process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / HZ


def cpu_seconds_of_children(pid: int) -> float:
    """Time of a process, its living children and those it has reaped (a PostgreSQL server)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    reaped = (int(fields[13]) + int(fields[14])) / HZ
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return cpu_seconds(pid) + reaped + sum(cpu_seconds(int(child)) for child in children)


@dataclass(frozen=True, slots=True)
class Backend:
    """PostgreSQL and Valkey with a migrated database."""

    postgres: Postgres
    valkey: Valkey
    database_url: str

    def settings(self, **overrides: object) -> Settings:
        return Settings.model_validate(
            {"environment": "test", "database_url": self.database_url, "database_role": "evpower_worker", **overrides}
        )

    def environment(self, **overrides: str) -> dict[str, str]:
        """Environment of a product process."""
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "layers/evpower/python")]),
            "ENVIRONMENT": "test",
            "DATABASE_URL": self.database_url,
            "DATABASE_ROLE": "evpower_worker",
            "DATABASE_POOLER": "session",
            "REDIS_URL": self.valkey.url,
            "ALLOW_UNAUTHENTICATED_STATIONS": "true",
            "LOG_LEVEL": "WARNING",
            **overrides,
        }


@asynccontextmanager
async def backend() -> AsyncIterator[Backend]:
    """Fresh services; PostgreSQL commits durably, as in production."""
    postgres, valkey = Postgres(durable=True), Valkey()
    try:
        await asyncio.to_thread(postgres.start)
        await asyncio.to_thread(valkey.start)
        url = postgres.create_database("bench")
        await migrate(url)
        yield Backend(postgres, valkey, url)
    finally:
        valkey.stop()
        postgres.stop()


@asynccontextmanager
async def database(of: Backend) -> AsyncIterator[PooledDatabase]:
    pool = PooledDatabase(of.settings(), size=8)
    await pool.open()
    try:
        yield pool
    finally:
        await pool.close()


@asynccontextmanager
async def python_process(
    name: str, module: str, *arguments: str, port: int, env: Mapping[str, str]
) -> AsyncIterator[Child]:
    """``python -m module`` until the block ends; ready when ``port`` accepts connections."""
    with scratch.directory("evpower-bench") as directory:
        log = directory / f"{name}.log"
        child = Child(name, [sys.executable, "-m", module, *arguments], log=log, env=env)
        child.start()
        try:
            await child.wait_ready_async(lambda: accepts_connections(port))
            yield child
        finally:
            await child.stop_async(timeout_s=35)


@asynccontextmanager
async def socket_tier(of: Backend, **environment: str) -> AsyncIterator[tuple[Child, int]]:
    """A socket tier process and its port."""
    port = free_port()
    env = of.environment(SOCKET_TIER_PORT=str(port), SOCKET_TIER_HOST="127.0.0.1", **environment)
    async with python_process("socket-tier", "socket_tier", port=port, env=env) as child:
        yield child, port


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` of the ``values`` lie."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else float("nan")


def table(rows: Iterable[Sequence[object]]) -> str:
    """Columns aligned, numbers to the right; the first row is the head."""
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in texts) for column in range(len(texts[0]))]
    lines = []
    for number, row in enumerate(texts):
        cells = [cell.ljust(width) if index == 0 else cell.rjust(width)
                 for index, (cell, width) in enumerate(zip(row, widths, strict=True))]  # fmt: skip
        lines.append("  ".join(cells).rstrip())
        if number == 0:
            lines.append("  ".join("-" * width for width in widths))
    return "\n".join(lines)


@contextmanager
def metrics_unseen() -> Iterator[None]:
    """The services write their metrics to stdout, a line each, which would bury the table."""
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        yield


def report(title: str, rows: Sequence[Sequence[object]], result: dict[str, Any]) -> None:
    """Print the table and the same as one JSON line."""
    sys.stdout.write(f"\n{title}\n\n{table(rows)}\n\n{orjson.dumps(result).decode()}\n")


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    return {"cpus": os.cpu_count(), "python": sys.version.split()[0]}
