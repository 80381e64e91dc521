"""Redis for short-lived processes: used when there, given up on quickly when away, used again when back."""

import time
from typing import Any

import pytest

from evpower.config import Settings
from evpower.redis_access import RedisAccess, RedisAway
from infra.local.services import Valkey


def settings(url: str) -> Settings:
    return Settings.model_validate({"redis_url": url})


async def ping(client: Any) -> bool:
    return bool(await client.ping())


async def test_away_and_back() -> None:
    server = Valkey()
    now = 1000.0
    access = RedisAccess(settings(server.start().url), monotonic=lambda: now)
    try:
        assert await access.run(ping)
        server.stop()
        with pytest.raises(RedisAway):
            await access.run(ping)
        server.start()
        attempts = 0

        async def counted(client: Any) -> bool:
            nonlocal attempts
            attempts += 1
            return await ping(client)

        with pytest.raises(RedisAway):
            await access.run(counted)
        assert attempts == 0, "nobody waits for Redis in the pause after a failure"
        now += 2.0
        assert await access.run(counted)
    finally:
        await access.close()
        server.stop()


async def test_a_silent_server_costs_half_a_second_once() -> None:
    access = RedisAccess(settings("redis://192.0.2.1:6379/0"))
    started = time.monotonic()
    for _ in range(20):
        with pytest.raises(RedisAway):
            await access.run(ping)
    assert time.monotonic() - started < 10
    await access.close()


async def test_a_defect_of_the_work_is_not_taken_for_an_outage(redis_url: str) -> None:
    access = RedisAccess(settings(redis_url))

    async def wrong(client: Any) -> None:
        raise KeyError("defect")

    with pytest.raises(KeyError):
        await access.run(wrong)
    assert await access.run(ping)
    await access.close()
