"""The locations-stream client of docs/api comes back by itself and misses no change after it."""

import asyncio
import importlib.util
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from evpower.db import PooledDatabase
from evpower.realtime.service import Publisher
from evpower.stations import service as stations
from evpower.stations.models import StatusReport
from tests.fakes.network import Network
from tests.fakes.rows import connect_station
from tests.fakes.stations import until
from tests.integration.socket_tier.conftest import MakeTier

_EXAMPLE = Path(__file__).parents[3] / "docs" / "api" / "locations_stream_client.py"


@pytest.fixture
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("locations_stream_client", _EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def test_it_reconnects_and_hears_the_next_change(
    example: ModuleType, make_tier: MakeTier, network: Network, db: PooledDatabase
) -> None:
    tier = await make_tier()
    port = tier.port
    updates: list[dict[str, Any]] = []
    connected: list[int] = []

    async def on_reconnect() -> None:
        connected.append(len(updates))

    async def change(word: str) -> None:
        now = datetime.now(UTC)
        async with db.transaction() as conn:
            found = await stations.resolve(conn, "station-1")
            assert found is not None
            await stations.record_status(conn, "station-1", StatusReport(1, word, found.connection_epoch), now)
        publisher = Publisher(tier.settings)
        await publisher.stations_changed(["station-1"])
        await publisher.close()

    async with db.transaction() as conn:
        await connect_station(conn, "station-1", "other-instance", datetime.now(UTC))
    following = asyncio.create_task(
        example.follow(
            f"ws://127.0.0.1:{port}/api/v1/locations/stream",
            ["station:station-1"],
            updates.append,
            on_reconnect,
            first_pause_s=0.05,
        )
    )
    try:
        await until(lambda: len(connected) == 1, "the first connection")
        await change("Charging")
        await until(lambda: any(update["type"] == "station_status_update" for update in updates), "the change")
        heard = len(updates)
        await tier.stop()
        tier = await make_tier(socket_tier_port=port)
        await until(lambda: len(connected) == 2, "the second connection")
        await change("Available")
        await until(
            lambda: any(update["type"] == "station_status_update" for update in updates[heard:]),
            "the change after the interruption",
        )
        stations_heard = {update["station_id"] for update in updates if update["type"] == "station_status_update"}
        assert stations_heard == {"station-1"}
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
