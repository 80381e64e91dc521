"""Broken and refused messages, limits, signs of life: played against a running instance."""

import asyncio
from decimal import Decimal
from typing import Any

import orjson
import pytest
from websockets.asyncio.client import connect

from evpower.db import Conn, PooledDatabase
from evpower.stations import service as stations
from socket_tier import normalise
from socket_tier.tier import SocketTier
from tests.fakes.charging_story import Story, sample, stamp
from tests.fakes.network import Network
from tests.fakes.raw_charger import RawCharger
from tests.fakes.stations import until
from tests.integration.socket_tier.conftest import url
from tests.integration.socket_tier.test_field_behaviours import meter, settled, stop


@pytest.fixture
def story(db: PooledDatabase, network: Network) -> Story:
    return Story(db)


@pytest.mark.parametrize(
    "payload",
    [{}, [], None, {"transactionId": "7", "meterStop": "x"}, {"transactionId": 7, "meterStop": 10**15,
     "timestamp": "2026-01-15T06:00:00Z"}, {"vendor\x00": "a\x00b"}],
)  # fmt: skip
async def test_a_stop_that_cannot_be_understood_is_kept_and_acknowledged(
    tier: SocketTier, story: Story, payload: Any
) -> None:
    async with RawCharger.open(url(tier)) as charger:
        await charger.send([2, "s", "StopTransaction", payload])
        assert await charger.answer() == [3, "s", {}]
        assert await charger.call("Heartbeat")
    assert len(await story.rows("SELECT * FROM quarantined_messages")) == 1


@pytest.mark.parametrize(
    "broken",
    [
        [{"timestamp": "no time"}],
        [{"sampledValue": [{"value": {}}]}],
        ["nonsense\x00", None, 5],
        "nonsense",
        {},
    ],
    ids=str,
)
async def test_one_broken_entry_of_transaction_data_does_not_cost_the_bill(
    tier: SocketTier, story: Story, broken: Any
) -> None:
    """Billed by meterStop and the good entries; the broken ones are kept, flagged, with the session."""
    async with RawCharger.open(url(tier)) as charger:
        await charger.boot()
        session, transaction = await story.begin(tier, charger, energy_kwh=Decimal(5))
        data = [*sample(1080), *broken] if isinstance(broken, list) else broken
        payload = {"transactionId": transaction, "meterStop": 1100, "timestamp": stamp(), "transactionData": data}
        for message_id in ("first", "again"):
            await charger.send([2, message_id, "StopTransaction", payload])
            assert await charger.answer() == [3, message_id, {}]
    await settled(story, session.id, 100)
    assert (await story.session(session.id)).needs_review
    kept = await story.rows("SELECT raw, flags FROM ocpp_meter_values WHERE 'unusable_entry' = ANY (flags)")
    assert len(kept) == (len(broken) if isinstance(broken, list) else 1)
    good = await story.rows("SELECT energy_wh FROM ocpp_meter_values WHERE energy_wh IS NOT NULL")
    assert [row["energy_wh"] for row in good] == ([1080] if isinstance(broken, list) else [])
    assert await story.rows("SELECT * FROM quarantined_messages") == []


async def test_transaction_data_that_the_database_refuses_does_not_cost_the_bill(
    tier: SocketTier, story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(normalise, "raw_text", lambda _entry: '{"a": "\\u0000"}')
    async with RawCharger.open(url(tier)) as charger:
        await charger.boot()
        session, transaction = await story.begin(tier, charger, energy_kwh=Decimal(5))
        await stop(charger, transaction, 1100, transactionData=sample(1080))
    await settled(story, session.id, 100)
    assert (await story.session(session.id)).needs_review
    (kept,) = await story.rows("SELECT * FROM quarantined_messages")
    assert kept["action"] == "MeterValues"


async def test_readings_outside_a_transaction_are_stored(tier: SocketTier, story: Story) -> None:
    async with RawCharger.open(url(tier)) as charger:
        for extra in ({}, {"transactionId": 424242}, {"transactionId": -1}, {"transactionId": 2**40}):
            assert await charger.call("MeterValues", connectorId=0, meterValue=sample(5), **extra) == {}
    rows = await story.rows("SELECT transaction_id, session_id FROM ocpp_meter_values ORDER BY id")
    assert [row["transaction_id"] for row in rows] == [None, 424242, -1, None]


async def test_readings_that_the_database_refuses_are_put_aside(
    tier: SocketTier, story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = normalise.raw_text
    monkeypatch.setattr(normalise, "raw_text", lambda entry: '{"a": "\\u0000"}' if "bad" in str(entry) else real(entry))
    async with RawCharger.open(url(tier)) as charger:
        bad = [{"timestamp": stamp(), "sampledValue": [{"value": "1", "vendor": "bad"}]}]
        for number in range(4):
            values = bad if number == 2 else sample(number)
            await charger.send([2, str(number), "MeterValues", {"connectorId": 1, "meterValue": values}])
        assert [await charger.answer() for _ in range(4)] == [[3, str(number), {}] for number in range(4)]
    assert len(await story.rows("SELECT * FROM ocpp_meter_values")) == 3
    (kept,) = await story.rows("SELECT * FROM quarantined_messages")
    assert kept["action"] == "MeterValues"


async def test_without_the_database_nothing_is_acknowledged_and_the_socket_closes(
    tier: SocketTier, story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket_tier.connection.COMMIT_PATIENCE_S", 0.5)
    async with RawCharger.open(url(tier)) as charger:
        assert await charger.call("Heartbeat")
        await tier.database.pool.close()
        assert await charger.call("Heartbeat")  # answered from memory
        await charger.send([2, "m", "MeterValues", {"connectorId": 1, "meterValue": sample(1)}])
        assert (await charger.closed())[0] == 1013
        assert charger.answers.empty()


async def test_the_session_is_stopped_before_it_passes_its_limit(tier: SocketTier, story: Story) -> None:
    async with RawCharger.open(url(tier)) as charger:
        await charger.boot()
        session, transaction = await story.begin(tier, charger, energy_kwh=Decimal("0.15"))
        await meter(charger, transaction, 1030, power_w="3000")
        await meter(charger, transaction, 1100, power_w="20000")
        command = await charger.command("RemoteStopTransaction")
        assert command[3] == {"transactionId": transaction}
        await charger.send([3, command[1], {"status": "Accepted"}])
        await stop(charger, transaction, 1130, reason="Remote")
    ended = await story.session(session.id)
    assert ended.limit_reached
    await settled(story, session.id, 130)


async def test_a_session_without_limit_reserves_more_until_the_balance_ends(tier: SocketTier, story: Story) -> None:
    async with RawCharger.open(url(tier)) as charger:
        await charger.boot()
        session, transaction = await story.begin(tier, charger)
        assert (await story.session(session.id)).reserved_amount == 200

        async def earlier(conn: Conn) -> None:
            await conn.execute(
                "UPDATE charging_sessions SET charging_started_at = now() - interval '6 hours',"
                " last_meter_at = now() - interval '6 hours'"
            )

        await story.db.run(earlier)  # so that hours of energy are plausible
        await meter(charger, transaction, 1000 + 14_700, power_w="22000")

        async def reserved() -> bool:
            return bool((await story.session(session.id)).reserved_amount == 400)

        await until(reserved, "a second reserve")
        await stop(charger, transaction, 1000 + 14_800)
    await settled(story, session.id, 14_800)


async def test_the_app_learns_of_a_status(tier: SocketTier, story: Story) -> None:
    async with (
        connect(f"ws://127.0.0.1:{tier.port}/api/v1/locations/stream") as app,
        RawCharger.open(url(tier)) as charger,
    ):
        await app.send('{"action":"subscribe","channel":"all"}')
        await charger.call("StatusNotification", connectorId=1, errorCode="NoError", status="Available")
        await charger.call("StatusNotification", connectorId=1, errorCode="GroundFailure", status="Faulted")

        async def faulted() -> None:
            while True:
                event = orjson.loads(await app.recv())
                if event.get("type") == "station_status_update" and any(
                    connector["status"] == "faulted" for connector in event["connectors"]
                ):
                    return

        async with asyncio.timeout(10):
            await faulted()


async def test_a_sign_of_life_is_stored_for_many_stations_at_once(tier: SocketTier, story: Story) -> None:
    async def forget(conn: Conn) -> None:
        await conn.execute("UPDATE stations SET last_heartbeat_at = NULL, is_available = false")

    async with RawCharger.open(url(tier)) as charger:
        await charger.call("Heartbeat")
        await story.db.run(forget)
        await charger.call("Heartbeat")
        await tier.liveness.flush()
        found = await story.db.run(lambda conn: stations.resolve(conn, "station-1"))
        assert found is not None
        assert found.is_available
        assert found.last_heartbeat_at is not None
