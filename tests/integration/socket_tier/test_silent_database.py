"""Open connections to PostgreSQL stop answering, without a reset, while new ones work; two instances of the tier."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

import orjson
import psycopg
import pytest

from evpower.charging.models import SessionState
from evpower.db import PooledDatabase
from socket_tier import connection, meter_flush
from socket_tier.background import Work
from socket_tier.tier import SocketTier
from tests.fakes.charging_story import Story, sample, stamp
from tests.fakes.forwarder import Forwarder
from tests.fakes.network import Network, balance_of, money_faults
from tests.fakes.raw_charger import RawCharger
from tests.fakes.stations import until
from tests.integration.socket_tier.conftest import MakeTier, url

WITHIN_S = 0.8  # for 10 s
Instances = tuple[SocketTier, SocketTier]


@pytest.fixture
async def forwarder(database_url: str) -> AsyncIterator[Forwarder]:
    async with Forwarder(urlsplit(database_url).port or 5432) as made:
        yield made


@pytest.fixture
async def redis_forwarder(redis_url: str) -> AsyncIterator[Forwarder]:
    async with Forwarder(urlsplit(redis_url).port or 6379) as made:
        yield made


@pytest.fixture
async def pair(
    forwarder: Forwarder, redis_forwarder: Forwarder, make_tier: MakeTier, database_url: str, redis_url: str
) -> Instances:
    options: dict[str, Any] = {
        "database_url": forwarder.url(database_url),
        "database_answer_timeout_s": WITHIN_S,
        "redis_url": redis_forwarder.url(redis_url),
    }
    return await make_tier(instance_id="a", **options), await make_tier(instance_id="b", **options)


async def rows(db: PooledDatabase, query: str) -> list[dict[str, Any]]:
    return await Story(db).rows(query)


async def get(tier: SocketTier, path: str) -> tuple[int, dict[str, Any]]:
    """Status and body of an operator's endpoint."""

    def ask() -> tuple[int, dict[str, Any]]:
        from urllib.error import HTTPError

        try:
            with urlopen(f"http://127.0.0.1:{tier.port}{path}", timeout=8) as answer:
                return answer.status, orjson.loads(answer.read())
        except HTTPError as error:
            return error.code, orjson.loads(error.read())

    return await asyncio.to_thread(ask)


async def open_all(tier: SocketTier) -> None:
    """Let the pool open every connection that it may."""
    everybody = asyncio.Barrier(tier.settings.database_pool_size)

    async def work(conn: Any) -> None:
        await everybody.wait()
        await conn.execute("SELECT 1")

    await asyncio.gather(*(tier.database.run(work) for _ in range(tier.settings.database_pool_size)))


@pytest.mark.parametrize("requests", [True, False], ids=["lost on the way", "stored, answer lost"])
async def test_a_charge_goes_on_over_silent_connections_and_is_billed_once(
    pair: Instances, forwarder: Forwarder, db: PooledDatabase, network: Network, requests: bool
) -> None:
    """Came: no reading was stored any more, for good, and the session settled at 0.00 som."""
    tier, _other = pair
    story = Story(db)
    async with RawCharger.open(url(tier)) as charger:
        await charger.boot()
        session, transaction = await story.begin(tier, charger, meter_start=1000)
        await rows(db, "UPDATE charging_sessions SET charging_started_at = now() - interval '1 hour' RETURNING 1")
        await rows(db, "UPDATE charging_sessions SET last_meter_at = now() - interval '1 hour' RETURNING 1")
        await charger.call("MeterValues", connectorId=1, transactionId=transaction, meterValue=sample(2318))
        await open_all(tier)
        forwarder.fall_silent(requests=requests)
        reading = {"connectorId": 1, "transactionId": transaction, "meterValue": sample(2320)}
        assert await charger.call("MeterValues", **reading) == {}
        assert (await story.session(session.id)).energy_wh == 1320
        await open_all(tier)
        forwarder.fall_silent(requests=requests)
        assert await charger.call("StopTransaction", transactionId=transaction, meterStop=2320, timestamp=stamp()) == {}
        forwarder.speak()  # an hour later, so to say: what was held up arrives
        await until(lambda: _quiet(db), "what was held up to be over")
    stored = await story.rows("SELECT energy_wh FROM ocpp_meter_values ORDER BY id")
    assert [row["energy_wh"] for row in stored] == [2318, 2320]
    settled = await story.session(session.id)
    assert (settled.state, settled.energy_wh) == (SessionState.STOPPED, 1320)
    assert settled.final_amount == Decimal("17.82")
    assert await balance_of(db, "client-1") == Decimal(500) - Decimal("17.82")
    assert await money_faults(db) == []


async def _quiet(db: PooledDatabase) -> bool:
    """No statement of anybody else is under way in this database."""
    (row,) = await rows(
        db,
        "SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database() AND state <> 'idle'"
        " AND pid <> pg_backend_pid()",
    )
    return bool(row["n"] == 0)


async def test_chargers_of_both_instances_are_served_and_new_ones_let_in(
    pair: Instances, forwarder: Forwarder, db: PooledDatabase, network: Network
) -> None:
    await rows(
        db,
        "INSERT INTO stations (id, serial_number, location_id) VALUES ('station-2', 'SN-2', 'place-1') RETURNING 1",
    )
    a, b = pair
    async with RawCharger.open(url(a)) as first, RawCharger.open(url(b, "station-2")) as second:
        for charger in (first, second):
            await charger.call("Heartbeat")
        for tier in pair:
            await open_all(tier)
        forwarder.fall_silent()
        for charger in (first, second):
            assert await charger.call("MeterValues", connectorId=1, meterValue=sample(10)) == {}
        await rows(
            db,
            "INSERT INTO stations (id, serial_number, location_id) VALUES ('station-3', 'SN-3', 'place-1') RETURNING 1",
        )
        async with RawCharger.open(url(a, "station-3")) as third:
            assert await third.call("Heartbeat")
        assert [(await get(tier, "/readyz"))[0] for tier in pair] == [200, 200]
    (row,) = await rows(db, "SELECT count(*) AS n FROM ocpp_meter_values")
    assert row["n"] == 2


async def test_every_background_work_goes_on_over_silent_connections(
    pair: Instances, forwarder: Forwarder, redis_forwarder: Forwarder, network: Network, monkeypatch: Any
) -> None:
    """PostgreSQL and Redis fall silent at once. A new work that waits for ever, or shows no progress, fails here."""
    tier, _other = pair
    assert tier.background.works.keys() >= {"liveness", "command poll", "meter flush", "owner keys", "inbox"}
    async with RawCharger.open(url(tier)) as charger:
        await charger.boot()
        await open_all(tier)
        forwarder.fall_silent()
        redis_forwarder.fall_silent()
        before = {name: work.steps for name, work in tier.background.works.items() if name != "watch"}
        monkeypatch.setattr(tier.liveness, "_flush_interval_s", 0.0)
        monkeypatch.setattr(tier.settings, "metrics_interval_s", 1.0)

        async def has_gone_on(name: str) -> bool:
            tier.registry._refresh_now.set()
            tier.stream._clients[object()] = object()  # type: ignore[index] - somebody listens
            tier.stream.changed(None)
            await charger.send([2, f"h-{name}", "Heartbeat", {}])
            await charger.send([2, f"m-{name}", "MeterValues", {"connectorId": 1, "meterValue": sample(10)}])
            await asyncio.sleep(0.2)
            return tier.background.works[name].steps > before[name]

        monkeypatch.setattr(tier.stream, "_broadcast", lambda events: None)
        for name in before:
            await until(lambda name=name: has_gone_on(name), f"{name} to go on", timeout_s=30)  # type: ignore[misc]
        tier.stream._clients.clear()
        assert tier.background.in_trouble() == []


# --- health -------------------------------------------------------------------------------------------------------


async def test_while_postgresql_is_away_only_readiness_fails(pair: Instances, forwarder: Forwarder) -> None:
    forwarder.refuse()
    for tier in pair:
        assert (await get(tier, "/readyz"))[0] == 503
        status, body = await get(tier, "/health")
        assert (status, body["status"], body["standing"]) == (200, "healthy", [])
    forwarder.speak()
    for tier in pair:
        await until(lambda tier=tier: _is_ready(tier), "the instance to be ready again", timeout_s=20)  # type: ignore[misc]


async def _is_ready(tier: SocketTier) -> bool:
    return (await get(tier, "/readyz"))[0] == 200


async def test_who_stands_although_the_database_answers_is_unhealthy_until_it_goes_on(
    pair: Instances, forwarder: Forwarder
) -> None:
    tier, other = pair
    may_go = asyncio.Event()

    async def defective(work: Work) -> None:
        work.stuck_after_s = 0.1
        with work.step_of_thread():  # a wait without a deadline
            await may_go.wait()
        await asyncio.Event().wait()

    tier.background.start("defective", defective)
    await until(lambda: tier.background.in_trouble() == ["defective"], "the work to stand")
    status, body = await get(tier, "/health")
    assert (status, body["status"], body["standing"]) == (503, "unhealthy", ["defective"])
    assert (await get(other, "/health"))[0] == 200
    forwarder.refuse()
    assert (await get(tier, "/health"))[0] == 200, "another container could not do it either"
    forwarder.speak()
    assert (await get(tier, "/health"))[0] == 503
    may_go.set()
    await until(lambda: not tier.background.in_trouble(), "the work begun anew to go on")
    assert (await get(tier, "/health"))[0] == 200


# --- locked sessions ----------------------------------------------------------------------------------------------


async def _charging(db: PooledDatabase, number: int, epoch: int) -> None:
    await rows(
        db,
        f"""WITH c AS (INSERT INTO clients (id, name) VALUES ('driver-{number}', 'Driver') RETURNING id),
                st AS (INSERT INTO stations (id, serial_number, location_id, price_per_kwh)
                       VALUES ('lot-{number}', 'LOT-{number}', 'place-1', 10) RETURNING id)
            SELECT 1 FROM c, st""",
    )
    await rows(
        db,
        f"""WITH s AS (INSERT INTO charging_sessions (id, user_id, station_id, connector_id, id_tag, state, price,
                           meter_start, meter_current, charging_started_at, ocpp_transaction_id)
                       VALUES ('session-{number}', 'driver-{number}', 'lot-{number}', 1, 'TAG-{number}', 'charging',
                               '{{"rate_per_kwh": "10"}}', 0, 0, now() - interval '1 hour', {number}) RETURNING id),
                t AS (INSERT INTO ocpp_transactions (id, station_id, connector_id, id_tag, meter_start, started_at,
                          session_id) SELECT {number}, 'lot-{number}', 1, 'TAG-{number}', 0, now() - interval '1 hour',
                          id FROM s RETURNING id)
            SELECT 1 FROM t""",
    )


@pytest.fixture
async def chargers(pair: Instances, db: PooledDatabase, network: Network) -> AsyncIterator[list[RawCharger]]:
    """Six charging chargers, every second one on the other instance."""
    from contextlib import AsyncExitStack

    async with AsyncExitStack() as stack:
        made = []
        for number in range(1, 7):
            await _charging(db, number, 1)
            made.append(await stack.enter_async_context(RawCharger.open(url(pair[number % 2], f"lot-{number}"))))
            await made[-1].call("Heartbeat")
        yield made


async def read(charger: RawCharger, number: int, wh: int) -> Any:
    return await charger.call("MeterValues", connectorId=1, transactionId=number, meterValue=sample(wh))


def hold(database_url: str, number: int) -> psycopg.Connection[Any]:
    """An operator's transaction that keeps the row of a session."""
    conn = psycopg.connect(database_url)
    conn.execute("SELECT 1 FROM charging_sessions WHERE id = %s FOR UPDATE", (f"session-{number}",))
    return conn


async def test_one_locked_session_stops_no_other(
    chargers: list[RawCharger], db: PooledDatabase, database_url: str
) -> None:
    """Came: 15 of 15 chargers of the instance got no answer, and their sessions ended as overdue."""
    for number, charger in enumerate(chargers, 1):
        assert await read(charger, number, 100) == {}
    holder = hold(database_url, 3)
    try:
        locked = asyncio.ensure_future(read(chargers[2], 3, 200))
        for wh in (200, 300, 400):
            others = [(n, charger) for n, charger in enumerate(chargers, 1) if n != 3]
            assert await asyncio.gather(*(read(charger, n, wh) for n, charger in others)) == [{}] * 5
        assert not locked.done()
    finally:
        holder.close()
    assert await locked == {}
    stored = await rows(db, "SELECT id, energy_wh FROM charging_sessions ORDER BY id")
    assert [row["energy_wh"] for row in stored] == [400, 400, 200, 400, 400, 400]
    (row,) = await rows(db, "SELECT count(*) AS n FROM ocpp_meter_values WHERE session_id = 'session-3'")
    assert row["n"] == 2


async def test_a_charger_whose_session_stays_locked_queues_its_reading(
    chargers: list[RawCharger], pair: Instances, database_url: str, db: PooledDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    for tier in pair:
        monkeypatch.setattr(tier.flush, "_patience_s", 1.0)
    monkeypatch.setattr(connection, "COMMIT_PATIENCE_S", 1.0)
    assert await read(chargers[2], 3, 100) == {}
    holder = hold(database_url, 3)
    try:
        message = {"connectorId": 1, "transactionId": 3, "meterValue": sample(200)}
        await chargers[2].send([2, "locked", "MeterValues", message])
        assert (await chargers[2].closed())[0] == 1013
        assert chargers[2].answers.empty()
        assert await read(chargers[1], 2, 100) == {}
    finally:
        holder.close()
    async with RawCharger.open(url(pair[1], "lot-3")) as again:
        assert await again.call("MeterValues", **message) == {}
    (row,) = await rows(db, "SELECT energy_wh FROM charging_sessions WHERE id = 'session-3'")
    assert row["energy_wh"] == 200
    assert meter_flush.PATIENCE_S == 20.0
