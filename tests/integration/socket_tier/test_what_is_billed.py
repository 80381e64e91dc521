"""Which samples count, estimates without a register, two witnesses at the end, registers that count kWh.

10 som/kWh; the session is aged, so that its energy is plausible (docs/decisions/0013).
"""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from evpower.charging.models import SessionState
from evpower.db import PooledDatabase
from socket_tier.tier import SocketTier
from tests.fakes.charging_story import Story, stamp
from tests.fakes.network import Network, build, money_faults
from tests.fakes.raw_charger import RawCharger
from tests.integration.socket_tier.conftest import url
from tests.integration.socket_tier.test_what_chargers_send import age

REGISTER = "Energy.Active.Import.Register"
INTERVAL = "Energy.Active.Import.Interval"
POWER = "Power.Active.Import"


@pytest.fixture
async def network(db: PooledDatabase) -> Network:
    return await build(db, datetime.now(UTC), price="10", power_kw=150)


@pytest.fixture
def story(db: PooledDatabase, network: Network) -> Story:
    return Story(db)


def entry(*values: tuple[str, object, str], seconds_ago: float = 0) -> dict[str, Any]:
    """One ``meterValue`` entry of samples (measurand, value, context)."""
    samples = [{"measurand": what, "value": str(value), "context": context} for what, value, context in values]
    return {"timestamp": stamp(seconds_ago), "sampledValue": samples}


def periodic(register: object, seconds_ago: float = 0) -> dict[str, Any]:
    return entry((REGISTER, register, "Sample.Periodic"), seconds_ago=seconds_ago)


async def read(charger: RawCharger, transaction: int, *entries: dict[str, Any]) -> None:
    answer = await charger.call("MeterValues", connectorId=1, transactionId=transaction, meterValue=list(entries))
    assert answer == {}


async def stop(charger: RawCharger, transaction: int, register: int) -> None:
    await charger.call("StopTransaction", transactionId=transaction, meterStop=register, timestamp=stamp())


async def bill(story: Story, session_id: str) -> tuple[Decimal | None, set[str]]:
    """What is billed in the end, and why somebody should look at it."""
    session = await story.session(session_id)
    assert session.state is SessionState.STOPPED
    assert await money_faults(story.db) == []
    (row,) = await story.rows("SELECT review_reasons FROM charging_sessions WHERE id = %s", session_id)
    return session.final_amount, set(row["review_reasons"] or ())


async def energy(story: Story, session_id: str) -> Decimal:
    return (await story.session(session_id)).energy_wh


@pytest.mark.parametrize("begin_last", [True, False])
async def test_the_register_of_the_begin_in_the_same_entry_is_no_progress(
    tier: SocketTier, story: Story, begin_last: bool
) -> None:
    """The limit of 3 kWh is reached: the charger is asked to stop."""
    async with RawCharger.open(url(tier)) as charger:
        await charger.boot()
        session, transaction = await story.begin(tier, charger, meter_start=157_440, energy_kwh=Decimal(3))
        await age(story)
        samples = [(REGISTER, 160_440, "Sample.Periodic"), (REGISTER, 157_440, "Transaction.Begin")]
        await read(charger, transaction, entry(*(samples if begin_last else reversed(samples))))
        assert (await charger.command("RemoteStopTransaction"))[3] == {"transactionId": transaction}
        assert await energy(story, session.id) == 3000


@pytest.mark.parametrize(
    ("start", "registers", "end", "som", "reasons"),
    [
        pytest.param(
            4_076_400, (104, 228, 353), 4_077_300, "9.00", set(), id="register of the session in the readings"
        ),
        pytest.param(1000, (2000, 3000), 5000, "40.00", set(), id="a plausible rise after the last reading"),
        pytest.param(1000, (2000, 3000), 2400, "14.00", {"stop_differs_from_readings"}, id="the lower of two"),
        pytest.param(1000, (2000, 0, 0, 3000), 3500, "25.00", set(), id="zeros while the car pauses"),
    ],
)
async def test_the_final_bill_weighs_readings_and_register_of_the_end(
    tier: SocketTier, story: Story, start: int, registers: tuple[int, ...], end: int, som: str, reasons: set[str]
) -> None:
    async with RawCharger.open(url(tier)) as charger:
        await charger.boot()
        session, transaction = await story.begin(tier, charger, meter_start=start, energy_kwh=Decimal(20))
        await age(story)
        count = len(registers)
        for number, register in enumerate(registers):
            await read(charger, transaction, periodic(register, seconds_ago=(count - number) * 300))
        await stop(charger, transaction, end)
        billed, found = await bill(story, session.id)
    assert billed == Decimal(som)
    assert reasons <= found
    if "stop_differs_from_readings" in reasons:
        (event,) = await story.rows("SELECT payload FROM station_events WHERE type = 'meter_fault' ORDER BY id DESC")
        assert {"readings_wh", "stop_wh", "billed_wh"} <= event["payload"].keys(), "both figures are shown"


async def test_interval_energy_stands_in_for_a_register_and_counts_once(tier: SocketTier, story: Story) -> None:
    async with RawCharger.open(url(tier)) as charger:
        await charger.boot()
        session, transaction = await story.begin(tier, charger, meter_start=0, energy_kwh=Decimal(20))
        await age(story)
        first = entry((INTERVAL, 500, "Sample.Periodic"), seconds_ago=600)
        second = entry((INTERVAL, 700, "Sample.Periodic"), seconds_ago=300)
        for message in (first, second, first, second):
            await read(charger, transaction, message)
        assert await energy(story, session.id) == 1200
        await stop(charger, transaction, 1300)
        assert (await bill(story, session.id))[0] == Decimal("13.00"), "the register of the end replaces the estimate"


async def test_an_estimate_alone_is_billed_and_looked_at(tier: SocketTier, story: Story) -> None:
    async with RawCharger.open(url(tier)) as charger:
        await charger.boot()
        session, transaction = await story.begin(tier, charger, meter_start=0, energy_kwh=Decimal(20))
        await age(story)
        await read(charger, transaction, entry((INTERVAL, 500, "Sample.Periodic"), seconds_ago=600))
        await stop(charger, transaction, 0)
        billed, reasons = await bill(story, session.id)
    assert billed == Decimal("5.00")
    assert "energy_estimated" in reasons


@pytest.mark.parametrize(
    "samples",
    [((POWER, 7000, "Sample.Periodic"),), ((REGISTER, "?", "Sample.Periodic"),)],
    ids=["power only", "unreadable register"],
)
async def test_readings_without_energy_do_not_put_off_the_overdue_stop(
    tier: SocketTier, story: Story, samples: tuple[tuple[str, object, str], ...]
) -> None:
    """A register has come before, so its absence is no estimate's case."""
    await story.rows("UPDATE stations SET sample_interval_s = 60 RETURNING id")  # its gaps show nothing new
    async with RawCharger.open(url(tier)) as charger:
        await charger.boot()
        session, transaction = await story.begin(tier, charger, meter_start=1000, energy_kwh=Decimal(20))
        await age(story)
        await read(charger, transaction, periodic(2000, seconds_ago=400))
        (before,) = await story.rows("SELECT auto_stop_at FROM charging_sessions WHERE id = %s", session.id)
        await read(charger, transaction, entry(*samples))
        (after,) = await story.rows("SELECT auto_stop_at FROM charging_sessions WHERE id = %s", session.id)
        assert after == before


async def counts_kwh(tier: SocketTier, story: Story) -> tuple[Decimal | None, set[str]]:
    """A charge of five minutes at 9,451 W whose register moves by one."""
    async with RawCharger.open(url(tier)) as charger:
        await charger.boot()
        session, transaction = await story.begin(tier, charger, meter_start=361, energy_kwh=Decimal(20))
        await age(story, "5 minutes")
        await read(
            charger,
            transaction,
            entry((REGISTER, 361, "Sample.Periodic"), (POWER, 9451, "Sample.Periodic"), seconds_ago=300),
            entry((REGISTER, 362, "Sample.Periodic"), (POWER, 9451, "Sample.Periodic")),
        )
        await stop(charger, transaction, 362)
        return await bill(story, session.id)


async def test_a_register_that_counts_kwh_is_proposed_and_once_confirmed_counted_so(
    tier: SocketTier, story: Story
) -> None:
    billed, reasons = await counts_kwh(tier, story)
    assert billed == Decimal("0.01"), "nothing is multiplied before staff have confirmed it"
    assert "register_below_power" in reasons
    (event,) = await story.rows("SELECT payload FROM station_events WHERE type = 'register_unit_suspected'")
    assert event["payload"]["proposed_register_factor"] == 1000
    await story.rows("UPDATE stations SET register_factor = 1000 RETURNING id")
    billed, reasons = await counts_kwh(tier, story)
    assert billed == Decimal("10.00")
    assert reasons == set()
