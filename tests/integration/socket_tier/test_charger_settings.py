"""What a charger says of its own settings: believed, set a few times at the most, and shown to staff."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from evpower.charging import service as charging
from evpower.charging.models import SessionState
from evpower.db import Conn, PooledDatabase
from socket_tier.tier import SocketTier
from tests.fakes.charging_story import Story, sample, stamp
from tests.fakes.hearing import heard_all_along
from tests.fakes.network import Network
from tests.fakes.raw_charger import RawCharger
from tests.fakes.stations import until
from tests.integration.socket_tier.conftest import MakeTier, url

INTERVAL = "MeterValueSampleInterval"


@pytest.fixture
async def story(db: PooledDatabase, network: Network) -> Story:
    """Nobody knows yet how often the charger samples."""
    story = Story(db)
    await story.rows("UPDATE stations SET sample_interval_s = NULL RETURNING id")
    return story


@pytest.fixture
async def tier(make_tier: MakeTier, monkeypatch: pytest.MonkeyPatch) -> SocketTier:
    """Wants a reading every ten seconds."""
    monkeypatch.setenv("METER_SAMPLE_INTERVAL_S", "10")
    return await make_tier()


async def boot(charger: RawCharger, value: str, *, readonly: bool = False) -> None:
    """Boot and tell a configuration of one key."""
    await charger.call("BootNotification", chargePointVendor="v", chargePointModel="m")
    asked = await charger.command("GetConfiguration")
    key = {"key": INTERVAL, "readonly": readonly, "value": value}
    await charger.send([3, asked[1], {"configurationKey": [key]}])


async def interval_is_known(story: Story, seconds: int | None) -> None:
    async def known() -> bool:
        (row,) = await story.rows("SELECT sample_interval_s FROM stations WHERE id = 'station-1'")
        return bool(row["sample_interval_s"] == seconds)

    await until(known, "what the configuration says to be stored")


async def events(story: Story, kind: str) -> list[dict[str, Any]]:
    return await story.rows("SELECT payload, severity FROM station_events WHERE type = %s ORDER BY id", kind)


async def overdue_after(story: Story, session_id: str) -> float:
    """Seconds after which a reading is overdue, from the last one on."""
    (row,) = await story.rows(
        "SELECT extract(epoch FROM auto_stop_at - last_meter_at) AS s FROM charging_sessions WHERE id = %s", session_id
    )
    return float(row["s"])


async def test_a_read_only_interval_is_believed_and_reported_once(tier: SocketTier, story: Story) -> None:
    for _ in range(2):
        async with RawCharger.open(url(tier)) as charger:
            await boot(charger, "60", readonly=True)
            await interval_is_known(story, 60)
            session, _ = await story.begin(tier, charger, energy_kwh=Decimal(5))
            assert (await story.session(session.id)).sample_interval_s == 60
            assert await overdue_after(story, session.id) == pytest.approx(180, abs=2)
            await charger.call("StopTransaction", transactionId=_, meterStop=1100, timestamp=stamp())
    (event,) = await events(story, "configuration_not_kept")
    assert event["severity"] == "warning"
    assert event["payload"] == {
        "key": INTERVAL, "wanted": "10", "value": "60", "reason": "read_only", "attempts": 0
    }  # fmt: skip


async def test_a_value_that_reverts_at_every_boot_is_given_up_after_a_few(tier: SocketTier, story: Story) -> None:
    changes = 0
    for _ in range(6):
        async with RawCharger.open(url(tier)) as charger:
            await boot(charger, "60")
            await charger.call("Heartbeat")

            async def ended() -> bool:
                rows = await story.rows(
                    "SELECT 1 FROM station_commands WHERE action = 'GetConfiguration' AND status IN ('queued', 'sent')"
                )
                return not rows

            await until(ended, "the configuration to be read")
            (row,) = await story.rows("SELECT count(*) AS n FROM station_commands WHERE action = 'ChangeConfiguration'")
            if row["n"] > changes:
                changes = row["n"]
                command = await charger.command("ChangeConfiguration")
                await charger.send([3, command[1], {"status": "Accepted"}])
                await interval_is_known(story, 10)
    assert changes == 3
    (event,) = await events(story, "configuration_not_kept")
    assert event["payload"]["reason"] == "reverts"
    await interval_is_known(story, 60)


async def test_an_interval_set_by_hand_counts_for_the_charge_that_runs(tier: SocketTier, story: Story) -> None:
    """Use case: an operator sets 60 s; the charger does so from now on, also in the running charge."""
    async with RawCharger.open(url(tier)) as charger:
        await boot(charger, "10")
        await interval_is_known(story, 10)
        session, transaction = await story.begin(tier, charger, energy_kwh=Decimal(5))
        await charger.call("MeterValues", connectorId=1, transactionId=transaction, meterValue=sample(1010))
        assert await overdue_after(story, session.id) == pytest.approx(30, abs=1)
        await change_by_hand(tier, story, charger, "60")
        await interval_is_known(story, 60)
        assert await overdue_after(story, session.id) == pytest.approx(180, abs=1)
        await charger.call("MeterValues", connectorId=1, transactionId=transaction, meterValue=sample(1020))
        assert await overdue_after(story, session.id) == pytest.approx(180, abs=1)


async def change_by_hand(tier: SocketTier, story: Story, charger: RawCharger, value: str) -> None:
    from evpower.commands import service as commands
    from evpower.commands.models import NewCommand

    now = datetime.now(UTC)
    wish = NewCommand(
        station_id="station-1",
        action="ChangeConfiguration",
        payload={"key": INTERVAL, "value": value},
        expires_at=now + timedelta(minutes=5),
        requested_by="operator",
    )
    command = await story.db.run(lambda conn: commands.enqueue(conn, wish, now))
    tier.dispatcher.submit("station-1", command.id)
    asked = await charger.command("ChangeConfiguration")
    await charger.send([3, asked[1], {"status": "Accepted"}])


async def test_readings_show_the_interval_of_a_charger_that_tells_nothing(tier: SocketTier, story: Story) -> None:
    """It samples every five minutes and has no such key: at first nobody knows, later it is counted with."""
    async with RawCharger.open(url(tier)) as charger:
        await charger.boot()
        session, transaction = await story.begin(tier, charger, energy_kwh=Decimal(20))
        assert await overdue_after(story, session.id) > 300, "its first reading is waited for"
        await age(story, session.id, transaction, 300)
        await charger.call("MeterValues", connectorId=1, transactionId=transaction, meterValue=sample(1500))

        async def seen() -> bool:
            (row,) = await story.rows("SELECT observed_interval_s FROM stations WHERE id = 'station-1'")
            return bool(row["observed_interval_s"] and 295 <= row["observed_interval_s"] <= 310)

        await until(seen, "what the readings show to be stored")
        assert await overdue_after(story, session.id) == pytest.approx(900, abs=20)
        (event,) = await events(story, "samples_less_often")
        assert event["payload"]["wanted_s"] == 10
        await charger.call("StopTransaction", transactionId=transaction, meterStop=1500, timestamp=stamp())
        later, _ = await story.begin(tier, charger, energy_kwh=Decimal(20))
        assert await overdue_after(story, later.id) == pytest.approx(900, abs=20)


async def age(story: Story, session_id: str, transaction: int, seconds: int) -> None:
    """Let a charge have begun some time ago, by the clocks of both."""

    async def work(conn: Conn) -> None:
        await conn.execute(
            """UPDATE charging_sessions SET charging_started_at = charging_started_at - make_interval(secs => %(s)s),
                      last_meter_at = last_meter_at - make_interval(secs => %(s)s),
                      last_meter_charger_at = last_meter_charger_at - make_interval(secs => %(s)s)
                WHERE id = %(id)s""",
            {"s": seconds, "id": session_id},
        )
        await conn.execute(
            "UPDATE ocpp_transactions SET started_at = started_at - make_interval(secs => %s) WHERE id = %s",
            (seconds, transaction),
        )

    await story.db.run(work)


async def test_a_limit_that_may_be_passed_unseen_is_not_waited_for(tier: SocketTier, story: Story) -> None:
    """Nobody knows how often it samples, and 22 kW reach the limit of half a kWh within two minutes."""
    async with RawCharger.open(url(tier)) as charger:
        await charger.boot()
        session, _ = await story.begin(tier, charger, energy_kwh=Decimal("0.5"))
        assert await overdue_after(story, session.id) < 120


async def test_an_overdue_stop_is_an_event_for_staff(tier: SocketTier, story: Story) -> None:
    async with RawCharger.open(url(tier)) as charger:
        await boot(charger, "10")
        await interval_is_known(story, 10)
        session, _ = await story.begin(tier, charger, energy_kwh=Decimal(5))
        await heard_all_along(story.db)

        async def overdue(conn: Conn) -> None:
            await conn.execute("UPDATE charging_sessions SET auto_stop_at = auto_stop_at - interval '31 seconds'")
            await conn.execute("UPDATE stations SET connected_at = connected_at - interval '31 seconds'")

        await story.read(overdue)
        now = datetime.now(UTC)
        sweep = next(sweep for sweep in charging.SWEEPS if sweep.name == "readings_overdue")
        command = await story.db.run(lambda conn: sweep.handle(conn, session.id, now))
        assert command is not None
        assert (await story.session(session.id)).state is SessionState.STOPPING
    (event,) = await events(story, "reading_overdue")
    assert event["payload"] == {"session_id": session.id, "sample_interval_s": 10}
