"""Memory of an idle charger, and how fast heartbeats are answered while thousands are connected to one process.

Memory is the resident size of the socket tier with all chargers connected, booted and idle, less its size before they
came (after a rehearsal with a few, so that schemas and code are loaded), divided by their number.
"""

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

from evpower.db import Conn, PooledDatabase
from tests.load.crowd import Charger, connections_allowed, open_patiently
from tests.load.harness import backend, cpu_seconds, database, machine, percentile, report, socket_tier

CHARGERS = 5000
REHEARSAL = 100
AT_ONCE = 100
HEARTBEAT_EVERY_S = 10.0
MEASURE_S = 30.0
SETTLE_S = 5.0
AIM_KIB = 20.0
AIM_P99_MS = 100.0

BOOT = {"chargePointVendor": "Bench", "chargePointModel": "Crowd", "firmwareVersion": "1.0"}


def resident_kib(pid: int) -> int:
    """Resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise RuntimeError(f"process {pid} tells no memory")


async def add_stations(db: PooledDatabase, prefix: str, count: int, power_kw: int = 60) -> list[str]:
    """Stations with one connector of ``power_kw``; their names."""

    async def work(conn: Conn) -> None:
        await conn.execute(
            "INSERT INTO locations (id, name, address) VALUES ('bench', 'Bench', '') ON CONFLICT DO NOTHING"
        )
        await conn.execute(
            """INSERT INTO stations (id, serial_number, location_id, price_per_kwh, is_available)
               SELECT %(prefix)s || n, %(prefix)s || n, 'bench', 13.5, true FROM generate_series(1, %(count)s) n""",
            {"prefix": prefix, "count": count},
        )
        await conn.execute(
            """INSERT INTO connectors (station_id, connector_number, connector_type, power_kw)
               SELECT id, 1, 'CCS2', %s FROM stations WHERE id LIKE %s || '%%'""",
            (power_kw, prefix),
        )

    await db.run(work)
    return [f"{prefix}{number}" for number in range(1, count + 1)]


async def connect_all(port: int, names: list[str]) -> list[Charger]:
    """Everybody connected and booted, a hundred at a time."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(number: int, name: str) -> Charger:
        async with room:
            charger = await open_patiently(port, name, number)
            answer, _ = await charger.call("BootNotification", BOOT)
            assert answer["status"] == "Accepted", answer
            await charger.call("StatusNotification", {"connectorId": 1, "errorCode": "NoError", "status": "Available"})
            return charger

    return list(await asyncio.gather(*(one(number, name) for number, name in enumerate(names))))


async def heartbeats(chargers: list[Charger], seconds: float) -> list[float]:
    """Every charger's heartbeats, spread over the interval; seconds to each answer."""
    took: list[float] = []
    began = time.perf_counter()

    async def one(number: int, charger: Charger) -> None:
        await asyncio.sleep(HEARTBEAT_EVERY_S * number / len(chargers))
        while time.perf_counter() - began < seconds:
            _, latency = await charger.call("Heartbeat", {})
            took.append(latency)
            await asyncio.sleep(HEARTBEAT_EVERY_S)

    await asyncio.gather(*(one(number, charger) for number, charger in enumerate(chargers)))
    return took


async def main(wanted: int = CHARGERS) -> dict[str, Any]:
    """Run, print and return the result."""
    count = min(wanted, connections_allowed())
    if count < wanted:
        sys.stderr.write(f"scale: this machine allows {count} open sockets a process (ulimit -n), not {wanted}\n")
    async with backend() as services, database(services) as db:
        rehearsal = await add_stations(db, "rehearsal-", REHEARSAL)
        names = await add_stations(db, "crowd-", count)
        async with socket_tier(services) as (child, port):
            for charger in await connect_all(port, rehearsal):
                charger.close()
            await asyncio.sleep(SETTLE_S)
            before = resident_kib(child.pid)
            began = time.perf_counter()
            chargers = await connect_all(port, names)
            connected_s = time.perf_counter() - began
            await asyncio.sleep(SETTLE_S)
            cpu = cpu_seconds(child.pid)
            idle = resident_kib(child.pid)
            took = await heartbeats(chargers, MEASURE_S)
            cpu = cpu_seconds(child.pid) - cpu
            after = resident_kib(child.pid)
            assert all(charger.is_open for charger in chargers), "a charger lost its socket"
            for charger in chargers:
                charger.close()
    kib = (idle - before) / count
    p50, p99 = percentile(took, 0.5) * 1000, percentile(took, 0.99) * 1000
    rows: list[tuple[object, ...]] = [
        ("", "value", "aim"),
        ("chargers in one process", count, wanted),
        ("connected, booted, status sent: chargers/s", round(count / connected_s), ""),
        ("memory of an idle charger, KiB", f"{kib:.1f}", f"{AIM_KIB:.0f}"),
        ("the same after the heartbeats, KiB", f"{(after - before) / count:.1f}", ""),
        ("heartbeats/s", round(len(took) / MEASURE_S), ""),
        ("answer p50 ms", f"{p50:.1f}", ""),
        ("answer p99 ms", f"{p99:.1f}", f"{AIM_P99_MS:.0f}"),
        ("CPU per heartbeat µs, all upkeep included", f"{cpu / len(took) * 1e6:.0f}", ""),
    ]
    result = {
        "bench": "scale",
        "chargers": count,
        "kib_per_charger": round(kib, 1),
        "aim_kib": AIM_KIB,
        "process_kib": idle,
        "heartbeats": len(took),
        "p50_ms": round(p50, 1),
        "p99_ms": round(p99, 1),
        "aim_p99_ms": AIM_P99_MS,
        **machine(),
    }
    report(f"scale: {count} idle chargers in one process, a heartbeat each {HEARTBEAT_EVERY_S:.0f} s", rows, result)
    return result
