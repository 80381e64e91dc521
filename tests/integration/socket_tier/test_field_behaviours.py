"""What chargers in the field do (ocpp.md §5), each played against a running instance."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from evpower.charging import service as charging
from evpower.charging.models import SessionState
from evpower.db import Conn, PooledDatabase
from evpower.ids import new_id
from socket_tier.tier import SocketTier
from tests.fakes.charging_story import Story, sample, stamp
from tests.fakes.hearing import heard
from tests.fakes.network import Network, balance_of, money_faults
from tests.fakes.raw_charger import RawCharger
from tests.fakes.stations import until
from tests.integration.socket_tier.conftest import MakeTier, url

KWH = Decimal("13.5")


@pytest.fixture
def story(db: PooledDatabase, network: Network) -> Story:
    return Story(db)


async def meter(charger: RawCharger, transaction: int, wh: float, **more: str) -> None:
    answer = await charger.call("MeterValues", connectorId=1, transactionId=transaction, meterValue=sample(wh, **more))
    assert answer == {}


async def stop(charger: RawCharger, transaction: int, wh: int, **more: Any) -> None:
    payload = {"transactionId": transaction, "meterStop": wh, "timestamp": stamp(), **more}
    assert await charger.call("StopTransaction", **payload) == {}


async def settled(story: Story, session_id: str, wh: int) -> None:
    """The session is billed for ``wh``, once, and every som adds up."""
    session = await story.session(session_id)
    assert session.state is SessionState.STOPPED
    assert session.energy_wh == wh
    assert session.settlement_revision == 1
    assert await money_faults(story.db) == []


async def test_reconnects_without_boot_and_replays_its_queue_status_first(tier: SocketTier, story: Story) -> None:
    started = await story.request(energy_kwh=Decimal(5))
    await story.age(started.session.id, 400)
    async with RawCharger.open(url(tier)) as charger:
        tag = await story.accept_queued(charger)
        assert (
            await charger.call(
                "StatusNotification", connectorId=1, errorCode="NoError", status="Charging", timestamp=stamp(300)
            )
            == {}
        )
        answer = await charger.call("StartTransaction", connectorId=1, idTag=tag, meterStart=1000, timestamp=stamp(300))
        transaction = answer["transactionId"]
        for wh, ago in ((1100, 240), (1200, 180), (1300, 120)):
            await charger.call(
                "MeterValues", connectorId=1, transactionId=transaction, meterValue=sample(wh, seconds_ago=ago)
            )
        await stop(charger, transaction, 1350, timestamp=stamp(60))
    await settled(story, started.session.id, 350)


async def test_power_loss_the_same_transaction_goes_on_and_the_register_restarts_at_zero(
    tier: SocketTier, story: Story
) -> None:
    async with RawCharger.open(url(tier)) as charger:
        await charger.boot()
        session, transaction = await story.begin(tier, charger, energy_kwh=Decimal(5))
        await meter(charger, transaction, 1100)
        charger.drop()
    async with RawCharger.open(url(tier)) as charger:
        await charger.boot()
        await meter(charger, transaction, 0)
        await meter(charger, transaction, 30)
        await stop(charger, transaction, 60)
    await settled(story, session.id, 160)


async def test_drops_the_connection_without_a_close_frame_and_goes_on(tier: SocketTier, story: Story) -> None:
    async with RawCharger.open(url(tier)) as charger:
        await charger.boot()
        session, transaction = await story.begin(tier, charger, energy_kwh=Decimal(5))
        await meter(charger, transaction, 1050)
        charger.drop()
    async with RawCharger.open(url(tier)) as charger:
        await meter(charger, transaction, 1100)
        await stop(charger, transaction, 1150)
    await settled(story, session.id, 150)


async def test_closes_and_reconnects_on_another_instance_in_mid_transaction(make_tier: MakeTier, story: Story) -> None:
    first, second = await make_tier(), await make_tier()
    async with RawCharger.open(url(first)) as charger:
        await charger.boot()
        session, transaction = await story.begin(first, charger, energy_kwh=Decimal(5))
        await meter(charger, transaction, 1050)
    async with RawCharger.open(url(second)) as charger:
        await meter(charger, transaction, 1100)
        assert (await story.session(session.id)).energy_wh == 100
        await stop(charger, transaction, 1150)
    await settled(story, session.id, 150)


async def test_an_older_socket_on_another_instance_is_closed_and_may_not_write(
    make_tier: MakeTier, story: Story
) -> None:
    first, second = await make_tier(), await make_tier()
    async with RawCharger.open(url(first)) as old:
        await old.boot()
        session, transaction = await story.begin(first, old, energy_kwh=Decimal(5))
        async with RawCharger.open(url(second)) as new:
            await meter(new, transaction, 1050)
            assert (await old.closed())[0] == 4001
            await until(lambda: first.registry.local("station-1") is None, "the first instance to forget the station")
            assert second.registry.local("station-1") is not None
            await stop(new, transaction, 1100)
    await settled(story, session.id, 100)


async def test_a_second_socket_on_the_same_instance_replaces_the_first(tier: SocketTier, network: Network) -> None:
    async with RawCharger.open(url(tier)) as old:
        await old.call("Heartbeat")
        async with RawCharger.open(url(tier)) as new:
            await new.call("Heartbeat")
            code, reason = await old.closed()
            assert code == 4001
            assert reason
            await until(lambda: len(tier.registry) == 1, "only the new socket to remain")
            local = tier.registry.local("station-1")
            assert local is not None
            assert local.accepts_commands


async def test_accepts_a_remote_start_and_never_starts(tier: SocketTier, story: Story) -> None:
    async with RawCharger.open(url(tier)) as charger:
        await charger.boot()
        started = await story.request(energy_kwh=Decimal(1))
        await story.accept(tier, charger, started)
        await charger.call("Heartbeat")
        (command,) = await story.rows("SELECT status FROM station_commands WHERE id = %s", started.command_id)
        await until(lambda: _is_accepted(story, started.command_id), "the command's outcome")
        assert command["status"] in ("sent", "accepted")
        assert (await story.session(started.session.id)).state is SessionState.PENDING


async def _is_accepted(story: Story, command_id: str) -> bool:
    (row,) = await story.rows("SELECT status FROM station_commands WHERE id = %s", command_id)
    return bool(row["status"] == "accepted")


async def test_accepts_a_remote_start_and_begins_when_it_is_plugged_in(tier: SocketTier, story: Story) -> None:
    async with RawCharger.open(url(tier)) as charger:
        await charger.boot()
        started = await story.request(energy_kwh=Decimal(5))
        tag = await story.accept(tier, charger, started)
        await until(lambda: _is_accepted(story, started.command_id), "the command's outcome")
        await story.age(started.session.id, 540)
        status = {"connectorId": 1, "errorCode": "NoError", "status": "Preparing", "timestamp": stamp()}
        assert await charger.call("StatusNotification", **status) == {}
        answer = await charger.call("StartTransaction", connectorId=1, idTag=tag, meterStart=1000, timestamp=stamp())
        assert answer["idTagInfo"] == {"status": "Accepted"}
        await stop(charger, answer["transactionId"], 1100)
    await settled(story, started.session.id, 100)


async def test_answers_calls_that_were_never_sent(tier: SocketTier, story: Story) -> None:
    async with RawCharger.open(url(tier)) as charger:
        await charger.boot()
        session, transaction = await story.begin(tier, charger, energy_kwh=Decimal(5))
        for frame in ([3, "never", {}], [3, 5, {"status": "Accepted"}], [4, "never", "GenericError", "", {}]):
            await charger.send(frame)
        asked = await story.read(
            lambda conn: charging.request_stop(
                conn, session.id, client_id="client-1", initiator="client", reason="client", now=datetime.now(UTC)
            )
        )
        tier.dispatcher.submit("station-1", asked.command_id)
        command = await charger.command("RemoteStopTransaction")
        # With a call in flight, an answer to another one is still nobody's.
        await charger.send([3, "never", {"status": "Rejected"}])
        await charger.send([3, command[1], {"status": "Accepted"}])
        await charger.send([3, command[1], {"status": "Rejected"}])
        await until(lambda: _is_accepted(story, str(asked.command_id)), "the right answer is recorded")
        assert (await story.session(session.id)).state is SessionState.STOPPING
        await stop(charger, transaction, 1100, reason="Remote")
        assert charger.answers.empty()
    await settled(story, session.id, 100)


async def test_starts_a_second_transaction_on_a_busy_connector(tier: SocketTier, story: Story) -> None:
    async with RawCharger.open(url(tier)) as charger:
        await charger.boot()
        session, transaction = await story.begin(tier, charger, energy_kwh=Decimal(5))
        answer = await charger.call(
            "StartTransaction", connectorId=1, idTag=session.id_tag, meterStart=1001, timestamp=stamp()
        )
        assert answer["idTagInfo"]["status"] == "ConcurrentTx"
        assert answer["transactionId"] != transaction
        command = await charger.command("RemoteStopTransaction")
        assert command[3]["transactionId"] == answer["transactionId"]
        await charger.send([3, command[1], {"status": "Accepted"}])
        await stop(charger, answer["transactionId"], 1001)
        await stop(charger, transaction, 1100)
    await settled(story, session.id, 100)


@pytest.mark.parametrize("transaction", [987654, -1, 0, 2**31, 2**63, 2**70])
async def test_stops_a_transaction_that_nobody_started(tier: SocketTier, story: Story, transaction: int) -> None:
    async with RawCharger.open(url(tier)) as charger:
        text = f'[2,"s","StopTransaction",{{"transactionId":{transaction},"meterStop":5,"timestamp":"{stamp()}"}}]'
        for _ in range(2):
            await charger.send(text)
            assert await charger.answer() == [3, "s", {}]
    kept = await story.rows("SELECT * FROM quarantined_messages WHERE station_id = 'station-1'")
    assert len(kept) == 1
    assert kept[0]["action"] == "StopTransaction"


async def test_stops_before_its_start_was_answered(tier: SocketTier, story: Story) -> None:
    async with RawCharger.open(url(tier)) as charger:
        await charger.boot()
        started = await story.request(energy_kwh=Decimal(5))
        tag = await story.accept(tier, charger, started)
        await charger.send(
            [2, "a", "StartTransaction", {"connectorId": 1, "idTag": tag, "meterStart": 1000, "timestamp": stamp(2)}]
        )
        await charger.send(
            [2, "b", "StopTransaction",
             {"transactionId": -1, "idTag": tag, "meterStop": 1010, "timestamp": stamp()}]
        )  # fmt: skip
        assert [(await charger.answer())[1] for _ in range(2)] == ["a", "b"]
    # It may be another charge's by its tag alone, so it counts once nothing has been read for three intervals.
    assert (await story.session(started.session.id)).state is SessionState.CHARGING
    later = datetime.now(UTC) + timedelta(minutes=4)
    await heard(story.db, later)
    sweep = next(sweep for sweep in charging.SWEEPS if sweep.name == "stops_by_card")
    assert await story.db.run(lambda conn: sweep.find(conn, later, 10)) == [started.session.id]
    await story.db.run(lambda conn: sweep.handle(conn, started.session.id, later))
    session = await story.session(started.session.id)
    assert session.state is SessionState.STOPPED
    assert session.energy_wh == 10


@pytest.mark.parametrize(("meter_stop", "suspicious"), [(900, False), (500, True), (0, True), (-1, True)])
async def test_a_stop_register_below_the_start_bills_the_last_reading(
    tier: SocketTier, story: Story, meter_stop: int, suspicious: bool
) -> None:
    async with RawCharger.open(url(tier)) as charger:
        await charger.boot()
        session, transaction = await story.begin(tier, charger, energy_kwh=Decimal(5))
        await meter(charger, transaction, 1100)
        await stop(charger, transaction, meter_stop)
    ended = await story.session(session.id)
    assert ended.state is SessionState.STOPPED
    assert ended.energy_wh == 100
    assert ended.needs_review is suspicious
    assert await money_faults(story.db) == []


async def test_the_register_jumps_by_hundreds_of_kwh(tier: SocketTier, story: Story) -> None:
    async with RawCharger.open(url(tier)) as charger:
        await charger.boot()
        session, transaction = await story.begin(tier, charger, energy_kwh=Decimal(5))
        await meter(charger, transaction, 1050)
        await meter(charger, transaction, 400_000)
        assert (await story.session(session.id)).energy_wh == 50
        await meter(charger, transaction, 1100)
        await stop(charger, transaction, 1150)
    ended = await story.session(session.id)
    assert ended.energy_wh == 150
    assert ended.needs_review
    assert await balance_of(story.db, "client-1") == Decimal(500) - Decimal("2.03")


async def test_reports_charging_after_the_start_and_never_preparing(tier: SocketTier, story: Story) -> None:
    async with RawCharger.open(url(tier)) as charger:
        await charger.boot()
        session, transaction = await story.begin(tier, charger, energy_kwh=Decimal(5))
        for status in ("Charging", "SuspendedEV", "Finishing", "Available"):
            assert (
                await charger.call(
                    "StatusNotification", connectorId=1, errorCode="NoError", status=status, timestamp=stamp()
                )
                == {}
            )
        await stop(charger, transaction, 1100)
    await settled(story, session.id, 100)


async def test_reboots_on_the_same_socket(tier: SocketTier, story: Story) -> None:
    async with RawCharger.open(url(tier)) as charger:
        await charger.boot()
        session, transaction = await story.begin(tier, charger, energy_kwh=Decimal(5))
        await charger.boot()
        await meter(charger, transaction, 1100)
        await stop(charger, transaction, 1100)
    await settled(story, session.id, 100)


@pytest.mark.parametrize("boots_again", [False, True])
async def test_boots_while_pending_and_never_again(
    tier: SocketTier, story: Story, db: PooledDatabase, monkeypatch: pytest.MonkeyPatch, boots_again: bool
) -> None:
    """Once the operator has accepted it, it is served, whether it boots again or just goes on."""

    async def become(status: str) -> None:
        async def work(conn: Conn) -> None:
            await conn.execute("UPDATE stations SET registration_status = %s", (status,))

        await db.run(work)

    monkeypatch.setattr("socket_tier.charger.ASK_AGAIN_S", 0.3)
    await become("pending")
    async with RawCharger.open(url(tier)) as charger:
        answer = await charger.call("BootNotification", chargePointVendor="v", chargePointModel="m")
        assert answer["status"] == "Pending"
        assert answer["interval"] > 0
        await charger.send([2, "h", "Heartbeat", {}])
        assert (await charger.answer())[:3] == [4, "h", "SecurityError"]
        await stop(charger, 77, 5)
        assert len(await story.rows("SELECT * FROM quarantined_messages")) == 1
        await become("accepted")
        if boots_again:
            await charger.boot()
        else:

            async def served() -> bool:
                await charger.send([2, new_id(), "Heartbeat", {}])
                return bool((await charger.answer())[0] == 3)

            await until(served, "the acceptance to be noticed")
        session, transaction = await story.begin(tier, charger, energy_kwh=Decimal(5))
        await stop(charger, transaction, 1100)
    await settled(story, session.id, 100)


async def test_answers_get_configuration_with_more_keys_than_it_announces(tier: SocketTier, story: Story) -> None:
    async with RawCharger.open(url(tier)) as charger:
        await charger.call("BootNotification", chargePointVendor="v", chargePointModel="m")
        asked = await charger.command("GetConfiguration")
        keys = [{"key": f"Vendor{n}", "readonly": False, "value": str(n)} for n in range(200)]
        keys += [
            {"key": "GetConfigurationMaxKeys", "readonly": True, "value": "10"},
            {"key": "HeartbeatInterval", "readonly": False, "value": "7"},
            {"key": "MeterValueSampleInterval", "readonly": True, "value": "900"},
            {"key": "MeterValuesSampledData", "readonly": False, "value": "Voltage"},
        ]
        await charger.send([3, asked[1], {"configurationKey": keys, "unknownKey": ["x"]}])
        changed = {}
        for _ in range(2):
            command = await charger.command("ChangeConfiguration")
            changed[command[3]["key"]] = command[3]["value"]
            await charger.send([3, command[1], {"status": "Accepted"}])
        assert changed == {
            "HeartbeatInterval": "300",
            "MeterValuesSampledData": "Voltage,Energy.Active.Import.Register,Power.Active.Import",
        }
    (count,) = await story.rows("SELECT count(*) AS n FROM ocpp_configuration WHERE station_id = 'station-1'")
    assert count["n"] == 205


async def test_a_connector_number_above_the_configured_count(tier: SocketTier, story: Story) -> None:
    async with RawCharger.open(url(tier)) as charger:
        assert await charger.call("StatusNotification", connectorId=7, errorCode="NoError", status="Available") == {}
        for number in (-1, 101, 2**40):
            await charger.send(
                [2, "x", "StatusNotification", {"connectorId": number, "errorCode": "NoError", "status": "Available"}]
            )
            assert (await charger.answer())[:3] == [4, "x", "PropertyConstraintViolation"]
    assert [row["connector_number"] for row in await story.rows("SELECT * FROM connectors ORDER BY 1")] == [1, 2, 7]
    (event,) = await story.rows("SELECT * FROM station_events WHERE type = 'unexpected_connector'")
    assert event["connector_id"] == 7


async def test_floods_with_heartbeats(tier: SocketTier, story: Story) -> None:
    async with RawCharger.open(url(tier)) as charger:
        await charger.call("Heartbeat")
        before = await story.rows("SELECT xact_commit AS n FROM pg_stat_database WHERE datname = current_database()")
        for number in range(1000):
            await charger.send([2, str(number), "Heartbeat", {}])
        assert [(await charger.answer())[1] for _ in range(1000)] == [str(number) for number in range(1000)]
        after = await story.rows("SELECT xact_commit AS n FROM pg_stat_database WHERE datname = current_database()")
        assert after[0]["n"] - before[0]["n"] < 50


async def test_an_id_tag_in_another_letter_case(tier: SocketTier, story: Story) -> None:
    async with RawCharger.open(url(tier)) as charger:
        await charger.boot()
        started = await story.request(energy_kwh=Decimal(5))
        tag = (await story.accept(tier, charger, started)).lower()
        assert (await charger.call("Authorize", idTag=tag))["idTagInfo"]["status"] == "Accepted"
        assert (await charger.call("Authorize", idTag="STRANGER"))["idTagInfo"]["status"] == "Invalid"
        answer = await charger.call("StartTransaction", connectorId=1, idTag=tag, meterStart=0, timestamp=stamp())
        assert answer["idTagInfo"]["status"] == "Accepted"
    assert (await story.session(started.session.id)).state is SessionState.CHARGING


async def test_the_answer_to_a_start_is_lost_and_the_start_comes_again(make_tier: MakeTier, story: Story) -> None:
    first, second = await make_tier(), await make_tier()
    async with RawCharger.open(url(first)) as charger:
        await charger.boot()
        started = await story.request(energy_kwh=Decimal(5))
        tag = await story.accept(first, charger, started)
        message = {"connectorId": 1, "idTag": tag, "meterStart": 1000, "timestamp": stamp()}
        original = await charger.call("StartTransaction", **message)
        assert await charger.call("StartTransaction", **message) == original
    async with RawCharger.open(url(second)) as charger:
        assert await charger.call("StartTransaction", **message) == original
        for _ in range(3):  # and so does its end
            await stop(charger, original["transactionId"], 1100, timestamp="2026-01-15T06:00:00Z")
    await settled(story, started.session.id, 100)
    assert len(await story.rows("SELECT * FROM ocpp_transactions")) == 1


@pytest.mark.parametrize("clock", ["1970-01-01T00:00:00Z", "2099-01-01T00:00:00Z", "2026-01-15T06:00:00"])
async def test_a_lying_clock_never_loses_a_message(tier: SocketTier, story: Story, clock: str) -> None:
    async with RawCharger.open(url(tier)) as charger:
        await charger.boot()
        session, transaction = await story.begin(tier, charger, energy_kwh=Decimal(5))
        values = [{"timestamp": clock, "sampledValue": [{"value": "1050"}]}]
        assert await charger.call("MeterValues", connectorId=1, transactionId=transaction, meterValue=values) == {}
        await stop(charger, transaction, 1100, timestamp=clock)
    await settled(story, session.id, 100)
    rows = await story.rows("SELECT sampled_at, received_at FROM ocpp_meter_values")
    assert abs((rows[0]["received_at"] - datetime.now(UTC)).total_seconds()) < 60


async def test_a_card_of_a_client_starts_a_session_of_its_own(tier: SocketTier, story: Story) -> None:
    async def card(conn: Conn) -> None:
        await conn.execute("INSERT INTO id_tags (id_tag, client_id) VALUES ('CARD-1', 'client-2')")

    await story.db.run(card)
    async with RawCharger.open(url(tier)) as charger:
        await charger.boot()
        assert (await charger.call("Authorize", idTag="card-1"))["idTagInfo"]["status"] == "Accepted"
        answer = await charger.call("StartTransaction", connectorId=2, idTag="CARD-1", meterStart=0, timestamp=stamp())
        assert answer["idTagInfo"]["status"] == "Accepted"
        await stop(charger, answer["transactionId"], 100)
    assert await balance_of(story.db, "client-2") == Decimal("498.65")


async def test_reboots_after_an_accepted_remote_start_and_is_asked_again(tier: SocketTier, story: Story) -> None:
    started = await story.request(energy_kwh=Decimal(5))
    async with RawCharger.open(url(tier)) as charger:
        tag = await story.accept_queued(charger)

        async def accepted() -> bool:
            return bool(
                await story.rows("SELECT FROM station_commands WHERE session_id IS NOT NULL AND status = 'accepted'")
            )

        await until(accepted, "the first start is recorded")
        boot = await charger.call("BootNotification", chargePointVendor="Vendor", chargePointModel="Model")
        assert boot["status"] == "Accepted"
        again = await charger.command("RemoteStartTransaction")
        assert again[3] == {"connectorId": 1, "idTag": tag}
        # Its refusal refunds nothing: the charger may have begun and tell so from its queue.
        await charger.send([3, again[1], {"status": "Rejected"}])

        async def refused() -> bool:
            return bool(
                await story.rows("SELECT FROM station_commands WHERE requested_by = 'boot' AND status = 'rejected'")
            )

        await until(refused, "the refusal is recorded")
        assert (await story.session(started.session.id)).state is SessionState.PENDING
        answer = await charger.call("StartTransaction", connectorId=1, idTag=tag, meterStart=1000, timestamp=stamp())
        assert answer["idTagInfo"] == {"status": "Accepted"}
        await stop(charger, answer["transactionId"], 1000)
