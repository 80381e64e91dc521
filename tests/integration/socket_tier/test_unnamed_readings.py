"""Chargers whose MeterValues never say to which transaction they belong (OCPP 1.6: ``transactionId`` is optional)."""

from decimal import Decimal
from typing import Any

import pytest

from evpower.charging.models import SessionState
from evpower.db import Conn, PooledDatabase
from socket_tier.tier import SocketTier
from tests.fakes.charging_story import Story, sample, stamp
from tests.fakes.network import Network, money_faults
from tests.fakes.raw_charger import RawCharger
from tests.integration.socket_tier.conftest import MakeTier, url


@pytest.fixture
def story(db: PooledDatabase, network: Network) -> Story:
    return Story(db)


async def read(charger: RawCharger, wh: int, connector: int = 1, context: str | None = None, **more: Any) -> None:
    values = sample(wh, **{name: value for name, value in more.items() if name == "power_w"})
    if context is not None:
        for value in values[0]["sampledValue"]:
            value["context"] = context
    extra = {name: value for name, value in more.items() if name == "transactionId"}
    assert await charger.call("MeterValues", connectorId=connector, meterValue=values, **extra) == {}


async def stop(charger: RawCharger, transaction: int, wh: int) -> None:
    assert await charger.call("StopTransaction", transactionId=transaction, meterStop=wh, timestamp=stamp()) == {}


async def test_readings_without_a_transaction_move_the_session_and_stop_it_in_time(
    tier: SocketTier, story: Story
) -> None:
    async with RawCharger.open(url(tier)) as charger:
        await charger.boot()
        session, transaction = await story.begin(tier, charger, energy_kwh=Decimal("0.15"))
        await read(charger, 1030, power_w="3000")
        assert (await story.session(session.id)).energy_wh == 30
        await read(charger, 1100, power_w="20000")
        command = await charger.command("RemoteStopTransaction")
        assert command[3] == {"transactionId": transaction}
        await charger.send([3, command[1], {"status": "Accepted"}])
        await stop(charger, transaction, 1130)
        # What comes after the end is nobody's.
        await read(charger, 1140)
    ended = await story.session(session.id)
    assert (ended.state, ended.energy_wh, ended.settlement_revision) == (SessionState.STOPPED, 130, 1)
    rows = await story.rows("SELECT transaction_id, session_id FROM ocpp_meter_values ORDER BY received_at")
    assert [(row["transaction_id"], row["session_id"] is not None) for row in rows] == [
        (None, True),
        (None, True),
        (None, False),
    ]
    assert await money_faults(story.db) == []


async def test_it_goes_on_at_another_instance(make_tier: MakeTier, story: Story) -> None:
    first, second = await make_tier(), await make_tier()
    async with RawCharger.open(url(first)) as charger:
        await charger.boot()
        session, transaction = await story.begin(first, charger, energy_kwh=Decimal(5))
        await read(charger, 1050)
        charger.drop()
    async with RawCharger.open(url(second)) as charger:
        await read(charger, 1100)
        assert (await story.session(session.id)).energy_wh == 100
        await stop(charger, transaction, 1150)
    assert (await story.session(session.id)).energy_wh == 150


@pytest.mark.parametrize(
    ("connector", "context"), [(0, None), (2, None), (1, "Sample.Clock"), (1, "Trigger"), (1, "Other")]
)
async def test_the_meter_s_own_samples_are_nobody_s(
    tier: SocketTier, story: Story, connector: int, context: str | None
) -> None:
    async with RawCharger.open(url(tier)) as charger:
        await charger.boot()
        session, transaction = await story.begin(tier, charger, energy_kwh=Decimal(5))
        await read(charger, 1050, connector, context)
        assert (await story.session(session.id)).energy_wh == 0
        await stop(charger, transaction, 1100)
    assert await money_faults(story.db) == []


async def test_a_station_that_names_its_transactions_means_it(tier: SocketTier, story: Story) -> None:
    """Its other samples are of something else, e.g. of the station's own consumption, here and after a reconnect."""
    async with RawCharger.open(url(tier)) as charger:
        await charger.boot()
        session, transaction = await story.begin(tier, charger, energy_kwh=Decimal(5))
        await read(charger, 1010)  # not known yet
        await read(charger, 1050, transactionId=transaction)
        await read(charger, 1090)
        await read(charger, 1060, transactionId=transaction)  # by the short way
        await read(charger, 1090)
        assert (await story.session(session.id)).energy_wh == 60
    async with RawCharger.open(url(tier)) as charger:
        await read(charger, 1090)
        assert (await story.session(session.id)).energy_wh == 60
        await stop(charger, transaction, 1100)
    assert (await story.session(session.id)).energy_wh == 100
    assert not (await story.session(session.id)).needs_review


async def test_readings_after_a_lost_stop_do_not_move_the_ended_session(tier: SocketTier, story: Story) -> None:
    async with RawCharger.open(url(tier)) as charger:
        await charger.boot()
        session, _transaction = await story.begin(tier, charger, energy_kwh=Decimal(5))
        await read(charger, 1050)

        async def close(conn: Conn) -> None:
            await conn.execute("UPDATE charging_sessions SET state = 'stopped', settlement_revision = 1")
            await conn.execute("UPDATE connectors SET live_session_id = NULL")

        await story.db.run(close)
        await read(charger, 1060)  # tells us that it has ended, and is stopped
        command = await charger.command("RemoteStopTransaction")
        await charger.send([3, command[1], {"status": "Rejected"}])
        await read(charger, 1200)
    assert (await story.session(session.id)).energy_wh == 60
