"""``python -m socket_tier`` as a process: start, SIGTERM, what was acknowledged is stored."""

import asyncio
import os
import signal
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

from evpower.db import PooledDatabase
from infra.local.processes import ROOT, Child, accepts_connections, free_port
from tests.fakes.charging_story import Story, sample, stamp
from tests.fakes.forwarder import Forwarder
from tests.fakes.network import Network
from tests.fakes.raw_charger import RawCharger


def launch(database_url: str, redis_url: str, directory: Path) -> tuple[Child, int]:
    """A socket tier process and its port."""
    port = free_port()
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "layers/evpower/python")]),
        "DATABASE_URL": database_url,
        "DATABASE_ROLE": "evpower_worker",
        "REDIS_URL": redis_url,
        "SOCKET_TIER_PORT": str(port),
        "ALLOW_UNAUTHENTICATED_STATIONS": "true",
        "SQS_COMMANDS_QUEUE_URL": "",
        "ENVIRONMENT": "test",
    }
    child = Child("socket-tier", [sys.executable, "-m", "socket_tier"], log=directory / "tier.log", env=env)
    child.start()
    return child, port


async def test_sigterm_finishes_what_runs_and_closes_with_1012(
    db: PooledDatabase, network: Network, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    child, port = launch(database_url, redis_url, tmp_path)
    try:
        await child.wait_ready_async(lambda: accepts_connections(port))
        async with RawCharger.open(f"ws://127.0.0.1:{port}/ocpp/station-1") as charger:
            await charger.boot()
            for number in range(50):
                await charger.send([2, f"m{number}", "MeterValues", {"connectorId": 1, "meterValue": sample(number)}])
            assert await charger.answer() == [3, "m0", {}]
            started = time.monotonic()
            child.kill(signal.SIGTERM)
            assert (await charger.closed())[0] == 1012
            acknowledged = 1
            while not charger.answers.empty():
                acknowledged += charger.answers.get_nowait()[0] == 3
            assert await asyncio.wait_for(child.wait(), 30) == 0, child.log_tail()
            assert time.monotonic() - started < 30
    finally:
        child.stop(timeout_s=5)
    (row,) = await Story(db).rows("SELECT count(*) AS n FROM ocpp_meter_values")
    assert row["n"] >= acknowledged
    (station,) = await Story(db).rows("SELECT connected_instance, last_heartbeat_at FROM stations")
    assert station["connected_instance"] is None
    assert station["last_heartbeat_at"] is not None


async def test_a_killed_instance_loses_nothing_that_it_acknowledged(
    db: PooledDatabase, network: Network, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    child, port = launch(database_url, redis_url, tmp_path)
    try:
        await child.wait_ready_async(lambda: accepts_connections(port))
        async with RawCharger.open(f"ws://127.0.0.1:{port}/ocpp/station-1") as charger:
            for number in range(200):
                await charger.send([2, f"m{number}", "MeterValues", {"connectorId": 1, "meterValue": sample(number)}])
                if number == 100:
                    await charger.answer()
            child.kill()
            await charger.closed()
            acknowledged = 1 + charger.answers.qsize()
    finally:
        child.stop(timeout_s=5)
    (row,) = await Story(db).rows("SELECT count(*) AS n FROM ocpp_meter_values")
    assert row["n"] >= acknowledged


async def test_sigterm_ends_in_time_while_the_database_does_not_answer(
    db: PooledDatabase, network: Network, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    """Came: 34 s, and the container was killed."""
    insert = "INSERT INTO stations (id, serial_number, location_id) VALUES (%s, %s, 'place-1') RETURNING 1"
    for number in range(2, 7):
        await Story(db).rows(insert, f"station-{number}", f"SN-{number}")
    async with AsyncExitStack() as stack:
        forwarder = await stack.enter_async_context(Forwarder(urlsplit(database_url).port or 5432))
        child, port = launch(forwarder.url(database_url), redis_url, tmp_path)
        stack.callback(child.stop, timeout_s=5)
        await child.wait_ready_async(lambda: accepts_connections(port))
        chargers = [
            await stack.enter_async_context(RawCharger.open(f"ws://127.0.0.1:{port}/ocpp/station-{number}"))
            for number in range(1, 7)
        ]
        for charger in chargers:
            await charger.call("Heartbeat")
        forwarder.refuse()
        for charger in chargers:
            # What waits for a commit, what reads, what only notes.
            await charger.send([2, "reading", "MeterValues", {"connectorId": 1, "meterValue": sample(10)}])
            stop = {"transactionId": 7, "meterStop": 10, "timestamp": stamp()}
            await charger.send([2, "stop", "StopTransaction", stop])
            await charger.send([2, "card", "Authorize", {"idTag": "CARD"}])
        child.kill(signal.SIGTERM)
        assert await asyncio.wait_for(child.wait(), 30) == 0, child.log_tail()
        for charger in chargers:
            assert (await charger.closed())[0] == 1012
            assert charger.answers.empty(), "nothing is acknowledged without its commit"
