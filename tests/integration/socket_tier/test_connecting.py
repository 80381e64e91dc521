"""What a charger costs that connects and boots, and that nothing which waits for it is forgotten or out of order."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from evpower.commands import service as commands
from evpower.commands.models import NewCommand
from evpower.db import PooledDatabase
from socket_tier.tier import SocketTier
from tests.fakes.network import Network
from tests.fakes.raw_charger import RawCharger
from tests.fakes.stations import until
from tests.integration.socket_tier.conftest import MakeTier, url

BOOT = {"chargePointVendor": "v", "chargePointModel": "m"}


@pytest.fixture
async def tier(make_tier: MakeTier, network: Network) -> SocketTier:
    """Without a poll that would find what was forgotten, and without the message log's own transactions."""
    tier = await make_tier(message_log=False)
    tier.dispatcher._poll_s = 3600.0
    return tier


@pytest.fixture
def transactions(tier: SocketTier, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One entry for each transaction of the tier."""
    begun: list[str] = []
    original = tier.database.transaction

    def transaction(**options: Any) -> Any:
        begun.append("begun")
        return original(**options)

    monkeypatch.setattr(tier.database, "transaction", transaction)
    return begun


async def is_read(db: PooledDatabase) -> bool:
    """The configuration was asked for and read, and nothing is left to do."""
    async with db.transaction() as conn:
        cursor = await conn.execute("SELECT count(*) AS n, bool_and(status = 'accepted') AS all FROM station_commands")
        row = await cursor.fetchone()
    assert row is not None
    return bool(row["n"] and row["all"])


async def test_a_connect_with_its_boot_takes_six_transactions(
    tier: SocketTier, db: PooledDatabase, transactions: list[str]
) -> None:
    """Admission, claim, boot with its commands, claim of the question, its answer, the connector's status."""
    async with RawCharger.open(url(tier)) as charger:
        await charger.boot()
        await charger.call("StatusNotification", connectorId=1, errorCode="NoError", status="Available")
        await until(lambda: is_read(db), "the configuration to be read")
        assert len(transactions) <= 6


async def queue(db: PooledDatabase, action: str) -> None:
    now = datetime.now(UTC)
    new = NewCommand("station-1", action, {}, now + timedelta(minutes=5), "test")
    await db.run(lambda conn: commands.enqueue(conn, new, now))


async def test_what_waited_is_written_after_the_boot_and_before_the_question(
    tier: SocketTier, db: PooledDatabase
) -> None:
    await queue(db, "ClearCache")
    async with RawCharger.open(url(tier)) as charger:
        await charger.call("BootNotification", **BOOT)
        waited = await charger.command("ClearCache")
        await charger.send([3, waited[1], {"status": "Accepted"}])
        asked = await charger.command("GetConfiguration")
        await charger.send([3, asked[1], {"configurationKey": []}])
        await until(lambda: is_read(db), "everything to be answered")


async def test_what_waited_is_written_to_a_charger_that_does_not_boot(tier: SocketTier, db: PooledDatabase) -> None:
    await queue(db, "ClearCache")
    async with RawCharger.open(url(tier)) as charger:
        await charger.call("Heartbeat")
        await charger.command("ClearCache")


async def test_what_an_answer_queues_is_written_next(
    make_tier: MakeTier, network: Network, db: PooledDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METER_SAMPLE_INTERVAL_S", "10")
    tier = await make_tier(message_log=False)
    tier.dispatcher._poll_s = 3600.0
    async with RawCharger.open(url(tier)) as charger:
        await charger.call("BootNotification", **BOOT)
        asked = await charger.command("GetConfiguration")
        key = {"key": "MeterValueSampleInterval", "readonly": False, "value": "60"}
        await charger.send([3, asked[1], {"configurationKey": [key]}])
        change = await charger.command("ChangeConfiguration")
        assert change[3] == {"key": "MeterValueSampleInterval", "value": "10"}
