"""What chargers send of their energy and what is billed by it: contexts, no register, two witnesses, wrong units.

10 som per kWh, connectors of 150 kW unless a test says otherwise; sessions are an hour old, so that their energy is
plausible.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from evpower.charging import service as charging
from evpower.charging.models import Session, SessionState
from evpower.db import Conn, PooledDatabase
from socket_tier.tier import SocketTier
from tests.fakes.charging_story import Story, stamp
from tests.fakes.network import Network, build, money_faults
from tests.fakes.raw_charger import RawCharger
from tests.integration.socket_tier.conftest import url

REGISTER = "Energy.Active.Import.Register"
INTERVAL = "Energy.Active.Import.Interval"
POWER = "Power.Active.Import"
HOUR = timedelta(hours=1)


@pytest.fixture
async def network(db: PooledDatabase) -> Network:
    return await build(db, datetime.now(UTC), price="10", power_kw=150, balances=(30, 500))


@pytest.fixture
def story(db: PooledDatabase, network: Network) -> Story:
    return Story(db)


def value(number: object, measurand: str = REGISTER, unit: str = "Wh", **words: str) -> dict[str, str]:
    return {"value": str(number), "measurand": measurand, "unit": unit, **words}


async def read(
    charger: RawCharger, transaction: int, *values: dict[str, str], ago: float = 0, at: str | None = None
) -> None:
    entry = {"timestamp": at or stamp(ago), "sampledValue": list(values)}
    assert await charger.call("MeterValues", connectorId=1, transactionId=transaction, meterValue=[entry]) == {}


async def stop(charger: RawCharger, transaction: int, wh: int, **more: Any) -> None:
    payload = {"transactionId": transaction, "meterStop": wh, "timestamp": stamp(), **more}
    assert await charger.call("StopTransaction", **payload) == {}


async def begin(story: Story, tier: SocketTier, charger: RawCharger, start: int, **limits: Any) -> tuple[str, int]:
    """A running transaction that began an hour ago by everybody's clock."""
    session, transaction = await story.begin(tier, charger, meter_start=start, **limits)

    async def earlier(conn: Conn) -> None:
        await conn.execute(
            """UPDATE charging_sessions SET created_at = created_at - %(by)s, last_meter_at = last_meter_at - %(by)s,
                      charging_started_at = charging_started_at - %(by)s,
                      last_meter_charger_at = last_meter_charger_at - %(by)s WHERE id = %(id)s""",
            {"by": HOUR, "id": session.id},
        )
        await conn.execute(
            "UPDATE ocpp_transactions SET started_at = started_at - %s WHERE id = %s", (HOUR, transaction)
        )

    await story.db.run(earlier)
    return session.id, transaction


async def reasons(story: Story, session_id: str) -> set[str]:
    (row,) = await story.rows("SELECT review_reasons FROM charging_sessions WHERE id = %s", session_id)
    return set(row["review_reasons"])


async def overdue_at(story: Story, session_id: str) -> datetime:
    (row,) = await story.rows("SELECT auto_stop_at FROM charging_sessions WHERE id = %s", session_id)
    found: datetime = row["auto_stop_at"]
    return found


async def billed(story: Story, session_id: str) -> Session:
    session = await story.session(session_id)
    assert session.state is SessionState.STOPPED
    assert await money_faults(story.db) == []
    return session


async def test_the_register_of_the_begin_behind_the_present_one_does_not_make_the_charge_free(
    tier: SocketTier, story: Story
) -> None:
    async with RawCharger.open(url(tier)) as charger:
        await charger.boot()
        session_id, transaction = await begin(story, tier, charger, 157_440, energy_kwh=Decimal(3))
        await read(
            charger,
            transaction,
            value(160_440, context="Sample.Periodic"),
            value(157_440, context="Transaction.Begin"),
        )
        assert (await story.session(session_id)).energy_wh == 3000
        command = await charger.command("RemoteStopTransaction")
        assert command[3] == {"transactionId": transaction}
        await charger.send([3, command[1], {"status": "Accepted"}])
        await stop(charger, transaction, 160_440)
    session = await billed(story, session_id)
    assert (session.energy_wh, session.final_amount, session.written_off_amount) == (3000, 30, 0)


async def test_power_alone_does_not_put_off_the_stop_of_a_charge_whose_register_is_overdue(
    tier: SocketTier, story: Story
) -> None:
    async with RawCharger.open(url(tier)) as charger:
        await charger.boot()
        session_id, transaction = await begin(story, tier, charger, 1000, energy_kwh=Decimal(3))
        await read(charger, transaction, value(1100), value(9000, POWER, "W"))
        due = await overdue_at(story, session_id)
        await read(charger, transaction, value(9000, POWER, "W"))
        await read(charger, transaction, value("n/a"), value(9000, POWER, "W"))
        await read(charger, transaction, value(5_000_000), value(9000, POWER, "W"))
        assert await overdue_at(story, session_id) == due
        await read(charger, transaction, value(1100))
        assert await overdue_at(story, session_id) > due
    assert (await story.session(session_id)).energy_wh == 100


async def test_a_charge_that_has_only_its_power_lives_is_limited_and_looked_at(tier: SocketTier, story: Story) -> None:
    """Its readings come every ten minutes, so the stop looks that far ahead."""
    async with RawCharger.open(url(tier)) as charger:
        await charger.boot()
        session_id, transaction = await begin(story, tier, charger, 0, energy_kwh=Decimal("2.9"))
        await read(charger, transaction, value(5000, POWER, "W"), ago=3000)
        due = await overdue_at(story, session_id)
        at = stamp(2400)
        for _ in range(2):
            await read(charger, transaction, value(5, POWER, "kW"), at=at)
        session = await story.session(session_id)
        assert (round(session.energy_wh, -1), session.energy_source) == (1670, "power")
        assert await overdue_at(story, session_id) > due
        await read(charger, transaction, value(5000, POWER, "W"), ago=1900)
        command = await charger.command("RemoteStopTransaction")
        await charger.send([3, command[1], {"status": "Accepted"}])
        await stop(charger, transaction, 0)
    session = await billed(story, session_id)
    assert abs(session.energy_wh - 2361) < 3
    assert session.needs_review
    assert "energy_estimated" in await reasons(story, session_id)


async def test_interval_energy_is_counted_once_and_gives_way_to_a_register(tier: SocketTier, story: Story) -> None:
    async with RawCharger.open(url(tier)) as charger:
        await charger.boot()
        session_id, transaction = await begin(story, tier, charger, 5000, energy_kwh=Decimal(3))
        entries = [
            {"timestamp": stamp(ago), "sampledValue": [value(wh, INTERVAL)]} for wh, ago in ((300, 3000), (400, 2400))
        ]
        for entry in (*entries, *reversed(entries)):
            await charger.call("MeterValues", connectorId=1, transactionId=transaction, meterValue=[entry])
        session = await story.session(session_id)
        assert (session.energy_wh, session.energy_source) == (700, "interval")
        await read(charger, transaction, value(5650), value(100, INTERVAL))
        assert (await story.session(session_id)).energy_wh == 650
        await read(charger, transaction, value(100, INTERVAL))
        await stop(charger, transaction, 5700)
    session = await billed(story, session_id)
    assert (session.energy_wh, session.final_amount, session.needs_review) == (700, 7, False)


async def test_the_estimate_of_a_charge_outlives_its_socket_and_ends_with_the_stop(
    tier: SocketTier, story: Story
) -> None:
    async with RawCharger.open(url(tier)) as charger:
        await charger.boot()
        session_id, transaction = await begin(story, tier, charger, 5000, energy_kwh=Decimal(3))
        at = stamp(3000)
        await read(charger, transaction, value(300, INTERVAL), at=at)
    async with RawCharger.open(url(tier)) as charger:
        await read(charger, transaction, value(300, INTERVAL), at=at)
        await read(charger, transaction, value(200, INTERVAL), ago=2400)
        assert (await story.session(session_id)).energy_wh == 500
        await stop(charger, transaction, 5800)
    session = await billed(story, session_id)
    assert (session.energy_wh, session.needs_review) == (800, False)


async def test_readings_by_the_sessions_register_do_not_make_the_charge_cheaper(tier: SocketTier, story: Story) -> None:
    async with RawCharger.open(url(tier)) as charger:
        await charger.boot()
        session_id, transaction = await begin(story, tier, charger, 4_076_400, energy_kwh=Decimal(3))
        for wh, ago in ((104, 300), (228, 200), (353, 100)):
            await read(charger, transaction, value(wh), ago=ago)
        await stop(charger, transaction, 4_077_300)
    session = await billed(story, session_id)
    assert (session.energy_wh, session.final_amount) == (900, 9)


async def test_of_two_plausible_witnesses_the_lower_is_billed_and_staff_see_both(
    tier: SocketTier, story: Story
) -> None:
    async with RawCharger.open(url(tier)) as charger:
        await charger.boot()
        session_id, transaction = await begin(story, tier, charger, 1000, energy_kwh=Decimal(3))
        await read(charger, transaction, value(3000))
        await stop(charger, transaction, 2400)
    session = await billed(story, session_id)
    assert (session.energy_wh, session.final_amount, session.needs_review) == (1400, 14, True)
    assert await reasons(story, session_id) == {"stop_differs_from_readings"}
    (event,) = await story.rows("SELECT payload FROM station_events WHERE type = 'meter_fault'")
    figures = {name: Decimal(event["payload"][name]) for name in ("readings_wh", "stop_wh", "billed_wh")}
    assert figures == {"readings_wh": 2000, "stop_wh": 1400, "billed_wh": 1400}


async def a_charge_in_kwh(story: Story, tier: SocketTier, charger: RawCharger) -> str:
    """Five minutes at 9451 W, while the register goes from 361 to 362."""
    session_id, transaction = await begin(story, tier, charger, 361, energy_kwh=Decimal(2))
    await read(charger, transaction, value(361), value(9451, POWER, "W"), ago=3590)
    await read(charger, transaction, value(362), value(9451, POWER, "W"), ago=3290)
    await stop(charger, transaction, 362, timestamp=stamp(3290))
    return session_id


async def test_a_register_that_counts_kwh_is_proposed_to_staff_and_multiplied_once_they_confirm_it(
    tier: SocketTier, story: Story
) -> None:
    async with RawCharger.open(url(tier)) as charger:
        await charger.boot()
        for number in (1, 2):  # every such session, until somebody confirms it
            session_id = await a_charge_in_kwh(story, tier, charger)
            session = await billed(story, session_id)
            assert (session.energy_wh, session.final_amount, session.needs_review) == (1, Decimal("0.01"), True)
            assert "register_below_power" in await reasons(story, session_id)
            events = await story.rows("SELECT payload FROM station_events WHERE type = 'register_unit_suspected'")
            assert len(events) == number
            assert events[0]["payload"]["proposed_register_factor"] == 1000

        async def confirm(conn: Conn) -> None:
            await conn.execute("UPDATE stations SET register_factor = 1000 WHERE id = 'station-1'")

        await story.db.run(confirm)
        session_id = await a_charge_in_kwh(story, tier, charger)
        session = await billed(story, session_id)
        assert (session.meter_start, session.energy_wh, session.final_amount) == (361_000, 1000, 10)
        assert not session.needs_review


async def test_a_bill_by_an_estimate_is_corrected_by_the_stop_that_comes_after_all(
    tier: SocketTier, story: Story
) -> None:
    async with RawCharger.open(url(tier)) as charger:
        await charger.boot()
        session_id, transaction = await begin(story, tier, charger, 5000, energy_kwh=Decimal(3))
        await read(charger, transaction, value(1000, INTERVAL), ago=3000)
        now = datetime.now(UTC)
        await story.db.run(lambda conn: charging.remote_stop_rejected(conn, session_id, now))
        session = await billed(story, session_id)
        assert (session.energy_wh, session.final_amount, session.needs_review) == (1000, 10, True)
        assert await reasons(story, session_id) == {"energy_estimated"}
        await stop(charger, transaction, 5800)
    session = await billed(story, session_id)
    assert (session.energy_wh, session.final_amount, session.settlement_revision) == (800, 8, 2)
