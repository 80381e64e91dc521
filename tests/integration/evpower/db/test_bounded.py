"""Connections that stop answering: noticed, replaced, and nothing stands because of them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from urllib.parse import urlsplit

import psycopg
import pytest

from evpower.config import Settings
from evpower.db import Conn, PooledDatabase, SingleConnectionDatabase
from evpower.db.bounded import NoAnswer
from tests.fakes.forwarder import Forwarder

WITHIN_S = 0.4


@pytest.fixture
async def forwarder(database_url: str) -> AsyncIterator[Forwarder]:
    async with Forwarder(urlsplit(database_url).port or 5432) as made:
        yield made


@pytest.fixture
def settings(make_settings: Callable[..., Settings], forwarder: Forwarder, database_url: str) -> Settings:
    return make_settings(
        database_url=forwarder.url(database_url),
        database_answer_timeout_s=WITHIN_S,
        database_pooler="session",
        database_pool_size=4,
    )


@pytest.fixture
async def pool(settings: Settings) -> AsyncIterator[PooledDatabase]:
    database = PooledDatabase(settings)
    await database.open()
    yield database
    await database.close()


async def one(conn: Conn) -> int:
    row = await (await conn.execute("SELECT 1 AS n")).fetchone()
    assert row is not None
    return int(row["n"])


async def stand(conn: Conn, forwarder: Forwarder, begun: asyncio.Event) -> None:
    """Ask what will not be answered."""
    forwarder.fall_silent()
    asyncio.get_running_loop().call_soon(begun.set)
    await conn.execute("SELECT 1")


async def fill(pool: PooledDatabase) -> None:
    """Open every connection of the pool."""
    everybody = asyncio.Barrier(4)

    async def work(conn: Conn) -> None:
        await everybody.wait()
        await one(conn)

    await asyncio.gather(*(pool.run(work) for _ in range(4)))


@pytest.mark.parametrize("requests", [True, False])
async def test_one_silent_connection_replaces_all_that_are_as_old(
    pool: PooledDatabase, forwarder: Forwarder, requests: bool
) -> None:
    await fill(pool)
    silences = 0

    def count() -> None:
        nonlocal silences
        silences += 1

    pool.on_silence = count
    forwarder.fall_silent(requests=requests)
    async with asyncio.timeout(10):
        with pytest.raises(NoAnswer):
            await pool.run(one)
        for _ in range(8):
            assert await pool.run(one) == 1
    assert silences == 1


async def test_everybody_who_waits_hears_of_it(pool: PooledDatabase, forwarder: Forwarder) -> None:
    await fill(pool)
    forwarder.fall_silent()
    async with asyncio.timeout(10):
        outcomes = await asyncio.gather(*(pool.run(one) for _ in range(12)), return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} <= {NoAnswer, int}
        assert await pool.run(one) == 1


async def test_a_cancelled_wait_ends_at_once(settings: Settings, forwarder: Forwarder) -> None:
    """Use case: a shutdown. The client library would ask the server to cancel, and wait five seconds for that."""
    patient = PooledDatabase(settings.model_copy(update={"database_answer_timeout_s": 300.0}))
    await patient.open()
    begun = asyncio.Event()
    task = asyncio.create_task(patient.run(lambda conn: stand(conn, forwarder, begun)))
    await begun.wait()
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=4)
    assert done
    assert task.cancelled()
    await patient.close()


async def test_closing_ends_what_waits(settings: Settings, forwarder: Forwarder) -> None:
    patient = PooledDatabase(settings.model_copy(update={"database_answer_timeout_s": 300.0}))
    await patient.open()
    await patient.run(one)
    begun = asyncio.Event()
    waiting = asyncio.create_task(patient.run(lambda conn: stand(conn, forwarder, begun)))
    await begun.wait()
    async with asyncio.timeout(10):
        await patient.close()
        with pytest.raises(psycopg.OperationalError):
            await waiting


@pytest.mark.parametrize("pooler", ["session", "transaction"])
async def test_the_server_ends_a_statement_before_we_stop_waiting(
    make_settings: Callable[..., Settings], pooler: str
) -> None:
    """So no answer means that nobody is there, and a statement whose client is gone does not run on."""
    database = PooledDatabase(make_settings(database_pooler=pooler, database_answer_timeout_s=WITHIN_S))
    await database.open()
    try:
        with pytest.raises(psycopg.errors.QueryCanceled):
            await database.run(lambda conn: conn.execute("SELECT pg_sleep(30)"))
        assert await database.run(one) == 1
    finally:
        await database.close()


async def test_a_transaction_whose_client_is_lost_gives_its_locks_back(
    pool: PooledDatabase, forwarder: Forwarder, db: PooledDatabase
) -> None:
    async def lock(conn: Conn) -> None:
        await conn.execute("SELECT 1 FROM stations WHERE id = 'station-1' FOR UPDATE")
        forwarder.fall_silent()
        await conn.execute("SELECT 1")

    async def make(conn: Conn) -> None:
        await conn.execute("INSERT INTO locations (id, name, address) VALUES ('p', 'P', 'S')")
        await conn.execute("INSERT INTO stations (id, serial_number, location_id) VALUES ('station-1', 'S', 'p')")

    await db.run(make)
    with pytest.raises(NoAnswer):
        await pool.run(lock)
    # Waits for the lock, which the server must take from the lost transaction: it cannot see that the client is gone.
    row = await db.run(lambda conn: conn.execute("SELECT 1 FROM stations WHERE id = 'station-1' FOR UPDATE"))
    assert row.rowcount == 1


async def test_a_function_s_connection_that_fell_silent_is_replaced(settings: Settings, forwarder: Forwarder) -> None:
    """Use case: the sandbox slept, and the NAT gateway forgot the connection."""
    database = SingleConnectionDatabase(settings)
    try:
        assert await database.run(one) == 1
        forwarder.fall_silent()
        async with asyncio.timeout(10):
            assert await database.run(one) == 1
        assert forwarder.accepted == 2
    finally:
        await database.close()


async def test_a_new_connection_tells_a_lost_one_from_a_lost_server(pool: PooledDatabase, forwarder: Forwarder) -> None:
    await pool.run(one)
    forwarder.fall_silent()
    assert await pool.answers_anew()
    forwarder.refuse()
    assert not await pool.answers_anew()


async def test_every_connection_of_the_product_has_keep_alives(pool: PooledDatabase, settings: Settings) -> None:
    async with pool.transaction() as conn:
        assert isinstance(conn, psycopg.AsyncConnection)
        parameters = conn.info.get_parameters()
    assert {"keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout"} <= parameters.keys()
    assert 0 < int(parameters["tcp_user_timeout"]) <= 10_000
