"""A session until the balance ends, played through a socket."""

from decimal import Decimal

from evpower.charging.models import SessionState
from evpower.db import PooledDatabase
from socket_tier.connection import ChargerConnection
from socket_tier.tier import SocketTier
from tests.fakes.charging_story import Story, sample
from tests.fakes.network import Network, balance_of
from tests.fakes.raw_charger import RawCharger
from tests.fakes.stations import until
from tests.integration.socket_tier.conftest import url
from tests.integration.socket_tier.test_security_profiles import sql


async def test_readings_that_come_at_once_reserve_once(tier: SocketTier, network: Network, db: PooledDatabase) -> None:
    """Each is judged before the new reserve is known: a charger that sends its measurands in messages of their own."""
    await sql(db, "UPDATE stations SET price_per_kwh = 1000")
    story = Story(db)
    async with RawCharger.open(url(tier)) as charger:
        await charger.boot()
        session, transaction = await story.begin(tier, charger, meter_start=1000)
        assert session.reserved_amount == 200
        for number in range(5):
            values = sample(1150 + number, power_w="4000")
            message = {"connectorId": 1, "transactionId": transaction, "meterValue": values}
            await charger.send([2, f"r{number}", "MeterValues", message])
        for number in range(5):
            assert await charger.answer() == [3, f"r{number}", {}]
        held = tier.registry.local("station-1")
        assert isinstance(held, ChargerConnection)
        await until(lambda: not held.charger._tasks, "what follows from the readings to be done")
        assert await charger.call("Heartbeat")
        now = await story.session(session.id)
        assert (now.state, now.reserved_amount, now.reserve_count) == (SessionState.CHARGING, Decimal(400), 2)
        assert await balance_of(db, "client-1") == 100
        assert charger.calls.empty()
