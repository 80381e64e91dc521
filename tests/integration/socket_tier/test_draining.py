"""A container that the load balancer drains sends its chargers away before anybody cuts them off."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from infra.local.processes import ROOT, Child, accepts_connections, free_port
from socket_tier.draining import TargetWatch, watch_from
from tests.fakes.load_balancer import ADDRESS, TARGET_GROUP, FakeLoadBalancer, load_balancer
from tests.fakes.network import Network
from tests.fakes.raw_charger import RawCharger


@pytest.fixture
async def balancer(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeLoadBalancer]:
    async with load_balancer() as fake:
        for name, value in fake.environ.items():
            monkeypatch.setenv(name, value)
        yield fake


async def _asked(balancer: FakeLoadBalancer, times: int) -> None:
    while len(balancer.questions) < times:
        await asyncio.sleep(0.01)


async def test_it_asks_for_its_own_target_until_that_drains(balancer: FakeLoadBalancer) -> None:
    watch = TargetWatch(TARGET_GROUP, "eu-central-1", os.environ, poll_s=0.01)
    waiting = asyncio.ensure_future(watch.wait_until_draining())
    async with asyncio.timeout(10):
        await _asked(balancer, 3)
        for state in ("initial", "unhealthy", "unused"):
            balancer.state = state
            await _asked(balancer, len(balancer.questions) + 2)
        assert not waiting.done()
        balancer.state = "draining"
        await waiting
    assert {question["Action"][0] for question in balancer.questions} == {"DescribeTargetHealth"}
    assert balancer.questions[-1]["TargetGroupArn"] == [TARGET_GROUP]
    assert balancer.questions[-1]["Targets.member.1.Id"] == [ADDRESS]


async def test_errors_of_aws_end_neither_the_watch_nor_the_process(balancer: FakeLoadBalancer) -> None:
    balancer.failures = 5
    balancer.state = "draining"
    watch = TargetWatch(TARGET_GROUP, "eu-central-1", os.environ, poll_s=0.01)
    async with asyncio.timeout(30):
        await watch.wait_until_draining()
    assert balancer.failures == 0


@pytest.mark.parametrize("missing", ["TARGET_GROUP_ARN", "ECS_CONTAINER_METADATA_URI_V4"])
async def test_outside_a_load_balancer_nothing_is_watched(balancer: FakeLoadBalancer, missing: str) -> None:
    environ = balancer.environ
    assert watch_from(environ, "eu-central-1") is not None
    del environ[missing]
    assert watch_from(environ, "eu-central-1") is None


async def test_the_process_sends_its_chargers_away_and_ends_by_itself(
    balancer: FakeLoadBalancer, network: Network, database_url: str, redis_url: str, tmp_path: Path
) -> None:
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
    child = Child("socket-tier", [sys.executable, "-m", "socket_tier"], log=tmp_path / "tier.log", env=env)
    child.start()
    try:
        await child.wait_ready_async(lambda: accepts_connections(port))
        async with RawCharger.open(f"ws://127.0.0.1:{port}/ocpp/station-1") as charger:
            await charger.boot()
            balancer.state = "draining"
            assert (await asyncio.wait_for(charger.closed(), 30))[0] == 1012
            assert await asyncio.wait_for(child.wait(), 30) == 0, child.log_tail()
    finally:
        child.stop(timeout_s=5)
