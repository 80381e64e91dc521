"""A charger's clock at the ends of time, and a database that shows times in another zone than UTC."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal

import psycopg
import pytest
from psycopg import sql

from evpower.charging.models import SessionState
from evpower.clock import FrozenClock
from evpower.config import Settings
from evpower.db import SingleConnectionDatabase
from socket_tier.timestamps import parse_time
from tests.fakes.network import build, money_faults
from tests.integration.evpower.charging.driver import Driver


@pytest.mark.parametrize("zone", ["Asia/Bishkek", "America/Los_Angeles"])
@pytest.mark.parametrize("stamp", ["9999-12-31T23:59:59.999Z", "0001-01-01T00:00:00Z"])
async def test_its_sessions_are_settled_all_the_same(
    make_settings: Callable[..., Settings], database_url: str, zone: str, stamp: str
) -> None:
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as owner:
        name = sql.Identifier(owner.info.dbname)
        await owner.execute(sql.SQL("ALTER DATABASE {} SET timezone = {}").format(name, zone))
    database = SingleConnectionDatabase(make_settings())
    try:
        clock = FrozenClock()
        driver = Driver(database, await build(database, clock.now()), clock)
        when = parse_time(stamp)
        assert when is not None
        started = await driver.start("client-1", amount="100")
        transaction = (await driver.plug(started.session.id_tag, charger_time=when)).transaction_id
        driver.wait(minutes=10)
        await driver.read(transaction, 1000, charger_time=when)
        driver.wait(minutes=10)
        await driver.unplug(transaction, 2000, charger_time=when)
        session = await driver.session(started.session.id)
        assert (session.state, session.final_amount) == (SessionState.STOPPED, Decimal(27))
        assert await money_faults(database) == []
    finally:
        await database.close()


def test_other_moments_are_read_as_they_are() -> None:
    assert parse_time("1970-01-01T00:00:00Z") == datetime(1970, 1, 1, tzinfo=UTC)
    assert parse_time("2026-02-30T00:00:00Z") is None
