"""The application with its database and Redis for a whole module of tests, not for one case.

The network of ``functions/api/conftest.py`` and the staff of ``staff_world.py``: two stations with an owner each.
"""

import asyncio
import base64
import hashlib
import itertools
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import httpx
import redis.asyncio

from evpower.clock import FrozenClock
from evpower.config import Settings
from evpower.db import PooledDatabase
from evpower.payments.queue import CheckMessage
from functions.api.app import create_app
from functions.api.deps import build_deps
from infra.local.payment_standin.server import PaymentStandin
from tests.conftest import create_database, drop_database
from tests.fakes.file_store import MemoryFileStore
from tests.integration.functions.api import staff_world
from tests.integration.functions.api.conftest import (
    CLIENT,
    JWT_SECRET,
    OTHER,
    STATION,
    SUPABASE_URL,
    Api,
    CollectingQueue,
)

T = TypeVar("T")
VAPID = base64.urlsafe_b64encode(hashlib.sha256(b"a key of the tests").digest()).rstrip(b"=").decode()
_numbers = itertools.count(1)


class QuietChecks:
    """Payment checks go nowhere: the tests ask themselves."""

    async def send(self, message: CheckMessage, delay: timedelta = timedelta(0)) -> bool:
        return True


def in_own_loop(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a whole story in a thread with a loop of its own, so that a fixture of a module can be plain."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work()).result()


async def _own_redis(url: str, number: int) -> str:
    """Empty database 1 to 15 of the server: the counters of one network's callers must not refuse another's."""
    own = f"{url.rpartition('/')[0]}/{number % 15 + 1}"
    async with redis.asyncio.Redis.from_url(own) as client:
        await client.flushdb()
    return own


@asynccontextmanager
async def network(
    postgres: str, template: str, redis_url: str, folder: Path | None = None, **overrides: Any
) -> AsyncIterator[Api]:
    """The application over a fresh database, with one connected station, two clients and the staff.

    With a ``folder`` for certificates the bank of the card payments is there and switched on.
    """
    from tests.fakes.obank import bank

    number = next(_numbers)
    name = f"evpower_test_{os.getpid()}_network_{number}"
    values: dict[str, Any] = {
        "environment": "test",
        "database_url": create_database(postgres, name, template),
        "redis_url": await _own_redis(redis_url, number),
        "supabase_url": SUPABASE_URL,
        "supabase_jwt_secret": JWT_SECRET,
        "master_api_key": "test-master-key",
        "hmac_secret": "test-hmac-secret",
        "vapid_private_key": VAPID,
        "vapid_subject": "mailto:operations@example.com",
        "provider_timeout_s": 2.0,
        "rate_limit_default_per_minute": 1_000_000,
        "rate_limit_public_per_minute": 1_000_000,
        "rate_limit_failures_per_minute": 1_000_000,
        "otp_sends_per_prefix_per_hour": 1_000_000,
        "otp_sends_per_prefix_per_day": 1_000_000,
        "otp_sends_per_hour": 1_000_000,
        "otp_sends_per_day": 1_000_000,
        "rate_limit_critical_per_minute": 1_000_000,
        "stop_wait_s": 0.0,
        "command_wait_max_s": 0.0,
    }
    try:
        async with PaymentStandin() as standin:
            values |= {
                "odengi_api_url": standin.api_url,
                "odengi_merchant_id": standin.merchant_id,
                "odengi_password": standin.password,
            }
            if folder is None:
                async with _opened(values | overrides, standin) as api:
                    yield api
            else:
                async with bank(folder) as cards, _opened(values | cards.settings | overrides, standin) as api:
                    yield api
    finally:
        drop_database(postgres, name)


@asynccontextmanager
async def _opened(values: dict[str, Any], standin: PaymentStandin) -> AsyncIterator[Api]:
    settings = Settings.model_validate({**values, "database_role": "evpower_api"})
    database = PooledDatabase(settings, size=6)
    worker = PooledDatabase(Settings.model_validate({**values, "database_role": "evpower_worker"}), size=3)
    await database.open()
    await worker.open()
    # A little behind: a test that lets time pass must not issue tokens of the future.
    deps = build_deps(settings, database=database, clock=FrozenClock(datetime.now(UTC) - timedelta(minutes=3)))
    queue = CollectingQueue()
    deps.commands = queue
    deps.files = MemoryFileStore(deps.clock)
    deps.payments = replace(deps.payments, queue=QuietChecks())
    transport = httpx.ASGITransport(app=create_app(deps), raise_app_exceptions=False, client=("192.0.2.9", 1))
    try:
        async with httpx.AsyncClient(transport=transport, base_url="https://api.example", timeout=30) as http:
            api = Api(deps, http, worker, queue, standin)
            await _fill(api)
            yield api
    finally:
        await deps.close()
        await database.close()
        await worker.close()


async def _fill(api: Api) -> None:
    await api.sql(
        """INSERT INTO locations (id, name, address, city, country, latitude, longitude)
           VALUES ('loc-1', 'Central', 'Street 1', 'Bishkek', 'KG', 42.87, 74.59)"""
    )
    await api.add_station(STATION, power_capacity=60, firmware_version="1.0")
    await api.connect()
    await api.add_client(CLIENT, 1000)
    await api.add_client(OTHER, 500)
    await staff_world.build(api)
