"""Real services for the tests: PostgreSQL, Valkey and SQS start when the first test asks and stop at the end.

``EVPOWER_TEST_DATABASE_URL`` (login that may create databases and roles) replaces the embedded PostgreSQL, so the suite
can be pointed at another version; ``EVPOWER_PG_BIN`` runs the suite on the programs of that folder.
"""

import asyncio
import itertools
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit, urlunsplit
from urllib.request import Request, urlopen

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from psycopg import sql

from evpower.config import Settings, get_settings
from evpower.db import PooledDatabase
from infra.local.queues import LOCAL_CREDENTIALS, SqsEndpoint, create_queues
from infra.local.services import Postgres, SqsServer, Valkey, ValkeyCluster

# No test depends on speed: neither an example's time nor the time to draw one is a reason to fail.
settings.register_profile("evpower", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("evpower")

# Whoever stops the tests by SIGTERM gets what Ctrl-C does: services end and their directories go.
signal.signal(signal.SIGTERM, signal.default_int_handler)

_WORKER_ROLE = "evpower_worker"
_numbers = itertools.count(1)


def with_database(dsn: str, database: str) -> str:
    """``dsn`` with another database name."""
    return urlunsplit(urlsplit(dsn)._replace(path=f"/{database}"))


def _prefix() -> str:
    return f"evpower_test_{os.getpid()}"


@pytest.fixture(autouse=True)
def _fresh_settings() -> Iterator[None]:
    """Settings are cached per process; a test that changes the environment must not leak into the next."""
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """DSN of a superuser-like owner of an empty server (no migrated database)."""
    if given := os.environ.get("EVPOWER_TEST_DATABASE_URL"):
        yield given
        return
    server = Postgres(durable=False)
    try:
        yield server.start().dsn()
    finally:
        server.stop()


def _admin(dsn: str) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(dsn, autocommit=True, connect_timeout=10)


def create_database(dsn: str, name: str, template: str | None = None) -> str:
    """Create database ``name`` (a clone of ``template``) and return its DSN."""
    with _admin(dsn) as conn:
        conn.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY").format(
                sql.Identifier(name), sql.Identifier(template or "template0")
            )
        )
    return with_database(dsn, name)


def drop_database(dsn: str, name: str) -> None:
    """Drop database ``name``, ending its connections."""
    with _admin(dsn) as conn:
        conn.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _migrate(dsn: str) -> None:
    from evpower.db.migrate import migrate

    async def work() -> None:
        await migrate(dsn)

    # A thread of its own: pytest-asyncio owns the main thread's loop.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, work()).result()


@pytest.fixture(scope="session")
def _template(postgres_server: str) -> Iterator[str]:
    name = f"{_prefix()}_template"
    drop_database(postgres_server, name)
    with _admin(postgres_server) as conn:
        # Roles belong to the server, not to a database: workers that share one server migrate one after the other.
        conn.execute("SELECT pg_advisory_lock(4807221)")
        _migrate(create_database(postgres_server, name))
    yield name
    drop_database(postgres_server, name)


@pytest.fixture(scope="session")
def postgres(postgres_server: str, _template: str) -> str:
    """Admin DSN of a server that holds the migrated template."""
    return postgres_server


@pytest.fixture
def database_url(postgres: str, _template: str) -> Iterator[str]:
    """Owner's DSN of a fresh migrated database."""
    name = f"{_prefix()}_{next(_numbers)}"
    yield create_database(postgres, name, _template)
    drop_database(postgres, name)


@pytest.fixture
def empty_database_url(postgres_server: str) -> Iterator[str]:
    """Owner's DSN of a fresh database without any of our tables."""
    name = f"{_prefix()}_empty_{next(_numbers)}"
    yield create_database(postgres_server, name)
    drop_database(postgres_server, name)


@pytest.fixture
def make_settings(database_url: str) -> Callable[..., Settings]:
    """Settings of this test's database; keyword arguments override (``database_role`` defaults to the worker)."""

    def make(**overrides: object) -> Settings:
        values: dict[str, object] = {
            "environment": "test",
            "database_url": database_url,
            "database_role": _WORKER_ROLE,
            **overrides,
        }
        return Settings.model_validate(values)

    return make


@pytest.fixture
async def db(make_settings: Callable[..., Settings]) -> AsyncIterator[PooledDatabase]:
    """Units of work on this test's database as the worker role, several at once."""
    database = PooledDatabase(make_settings(), size=12)
    await database.open()
    yield database
    await database.close()


@pytest.fixture(scope="session")
def valkey() -> Iterator[Valkey]:
    """A running Valkey; tests that stop or pause servers start their own ``Valkey()``."""
    server = Valkey()
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture
def redis_url(valkey: Valkey) -> str:
    """URL of an empty Valkey."""
    import redis

    with redis.Redis.from_url(valkey.url) as client:
        client.flushall()
    return valkey.url


@pytest.fixture(scope="session")
def valkey_cluster() -> Iterator[ValkeyCluster]:
    """Three Valkey nodes in cluster mode."""
    cluster = ValkeyCluster()
    try:
        yield cluster.start()
    finally:
        cluster.stop()


@pytest.fixture
def redis_cluster_url(valkey_cluster: ValkeyCluster) -> str:
    """URL of one node of an empty Valkey cluster."""
    import redis

    for node in valkey_cluster.nodes:
        with redis.Redis.from_url(node.url) as client:
            client.flushall()
    return valkey_cluster.url


@pytest.fixture(scope="session")
def sqs_server() -> Iterator[SqsServer]:
    server = SqsServer()
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture
def sqs(sqs_server: SqsServer, monkeypatch: pytest.MonkeyPatch) -> SqsEndpoint:
    """An endpoint with fresh, empty queues; boto3 finds credentials and region in the environment."""
    urlopen(Request(f"{sqs_server.url}/moto-api/reset", method="POST"), timeout=10).close()
    for name, value in LOCAL_CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    return create_queues(sqs_server.url)
