"""What chargers in the field do (ocpp.md §5), begun at one instance and gone on with at another."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from evpower.charging import service as charging
from evpower.charging.models import SessionState
from evpower.db import Conn, PooledDatabase
from socket_tier.tier import SocketTier
from tests.fakes.charging_story import Story, sample, stamp
from tests.fakes.hearing import heard_all_along
from tests.fakes.network import Network, balance_of, money_faults
from tests.fakes.raw_charger import RawCharger
from tests.fakes.stations import until
from tests.integration.socket_tier.conftest import MakeTier, url
from tests.integration.socket_tier.test_field_behaviours import meter, settled, stop

Pair = tuple[SocketTier, SocketTier]


@pytest.fixture
def story(db: PooledDatabase, network: Network) -> Story:
    return Story(db)


@pytest.fixture
async def pair(make_tier: MakeTier) -> Pair:
    return await make_tier(instance_id="a"), await make_tier(instance_id="b")


async def sweep(story: Story, name: str) -> None:
    """One of the sweeps, as its schedule runs it."""
    (found,) = [one for one in charging.SWEEPS if one.name == name]
    now = datetime.now(UTC)
    for session_id in await story.read(lambda conn: found.find(conn, now, 100)):
        await story.read(lambda conn, i=session_id: found.handle(conn, i, now))  # type: ignore[misc]


async def test_replays_its_queue_at_the_other_instance_without_boot_status_first(pair: Pair, story: Story) -> None:
    a, b = pair
    started = await story.request(energy_kwh=Decimal(5))
    await story.age(started.session.id, 400)
    async with RawCharger.open(url(a)) as charger:
        tag = await story.accept_queued(charger)
        charger.drop()
    async with RawCharger.open(url(b)) as charger:
        status = {"connectorId": 1, "errorCode": "NoError", "status": "Charging", "timestamp": stamp(300)}
        assert await charger.call("StatusNotification", **status) == {}
        answer = await charger.call("StartTransaction", connectorId=1, idTag=tag, meterStart=1000, timestamp=stamp(300))
        assert answer["idTagInfo"] == {"status": "Accepted"}
        for wh, ago in ((1100, 240), (1200, 180), (1300, 120)):
            values = sample(wh, seconds_ago=ago)
            await charger.call("MeterValues", connectorId=1, transactionId=answer["transactionId"], meterValue=values)
        await stop(charger, answer["transactionId"], 1350, timestamp=stamp(60))
    await settled(story, started.session.id, 350)


async def test_power_loss_the_transaction_goes_on_elsewhere_and_the_register_restarts_at_zero(
    pair: Pair, story: Story
) -> None:
    a, b = pair
    async with RawCharger.open(url(a)) as charger:
        await charger.boot()
        session, transaction = await story.begin(a, charger, energy_kwh=Decimal(5))
        await meter(charger, transaction, 1100)
        charger.drop()
    async with RawCharger.open(url(b)) as charger:
        await charger.boot()
        await meter(charger, transaction, 0)
        await meter(charger, transaction, 30)
        charger.drop()
    async with RawCharger.open(url(a)) as charger:  # and back, whose memory of it is old
        await meter(charger, transaction, 50)
        await stop(charger, transaction, 60)
    await settled(story, session.id, 160)


async def test_drops_the_connection_in_mid_message_and_sends_it_again_elsewhere(pair: Pair, story: Story) -> None:
    a, b = pair
    async with RawCharger.open(url(a)) as charger:
        await charger.boot()
        session, transaction = await story.begin(a, charger, energy_kwh=Decimal(5))
        payload = {"connectorId": 1, "transactionId": transaction, "meterValue": sample(1080)}
        await charger.send([2, "lost", "MeterValues", payload])
        charger.drop()
    async with RawCharger.open(url(b)) as charger:
        await charger.send([2, "again", "MeterValues", payload])
        assert await charger.answer() == [3, "again", {}]
        assert (await story.session(session.id)).energy_wh == 80
        await charger.send([2, "end", "StopTransaction",
                            {"transactionId": transaction, "meterStop": 1150, "timestamp": stamp()}])  # fmt: skip
        charger.drop()
    async with RawCharger.open(url(a)) as charger:
        await charger.call("Heartbeat")
        await stop(charger, transaction, 1150)
    assert (await story.session(session.id)).energy_wh == 150
    await settled(story, session.id, 150)


async def test_a_remote_start_accepted_at_one_instance_begins_at_the_other_when_plugged_in(
    pair: Pair, story: Story
) -> None:
    a, b = pair
    async with RawCharger.open(url(a)) as charger:
        await charger.boot()
        started = await story.request(energy_kwh=Decimal(5))
        tag = await story.accept(a, charger, started)
        await until(lambda: _has(story, started.command_id, "accepted"), "the acceptance is recorded")
    await story.age(started.session.id, 500)
    async with RawCharger.open(url(b)) as charger:
        answer = await charger.call("StartTransaction", connectorId=1, idTag=tag, meterStart=1000, timestamp=stamp())
        assert answer["idTagInfo"] == {"status": "Accepted"}
        assert (await story.session(started.session.id)).state is SessionState.CHARGING
        await stop(charger, answer["transactionId"], 1100)
    await settled(story, started.session.id, 100)


async def _has(story: Story, command_id: str, status: str) -> bool:
    (row,) = await story.rows("SELECT status FROM station_commands WHERE id = %s", command_id)
    return bool(row["status"] == status)


async def test_a_remote_start_accepted_and_never_begun_is_refunded_wherever_the_charger_is(
    pair: Pair, story: Story
) -> None:
    a, b = pair
    async with RawCharger.open(url(a)) as charger:
        await charger.boot()
        started = await story.request(energy_kwh=Decimal(5))
        tag = await story.accept(a, charger, started)
        await until(lambda: _has(story, started.command_id, "accepted"), "the acceptance is recorded")
        charger.drop()
    async with RawCharger.open(url(b)) as charger:
        await charger.call("Heartbeat")
        await story.age(started.session.id, 601)
        await heard_all_along(story.db)
        await sweep(story, "never_started")
        assert (await story.session(started.session.id)).state is SessionState.ERROR
        assert await balance_of(story.db, "client-1") == 500
        # It comes after all: a new reserve, and the charge goes on.
        answer = await charger.call("StartTransaction", connectorId=1, idTag=tag, meterStart=1000, timestamp=stamp())
        assert answer["idTagInfo"] == {"status": "Accepted"}
        await stop(charger, answer["transactionId"], 1100)
    assert (await story.session(started.session.id)).energy_wh == 100
    assert await money_faults(story.db) == []


async def test_starts_a_second_transaction_on_a_busy_connector_elsewhere(pair: Pair, story: Story) -> None:
    a, b = pair
    async with RawCharger.open(url(a)) as charger:
        await charger.boot()
        session, transaction = await story.begin(a, charger, energy_kwh=Decimal(5))
    async with RawCharger.open(url(b)) as charger:
        answer = await charger.call(
            "StartTransaction", connectorId=1, idTag=session.id_tag, meterStart=1001, timestamp=stamp()
        )
        assert answer["idTagInfo"]["status"] == "ConcurrentTx"
        command = await charger.command("RemoteStopTransaction")
        assert command[3] == {"transactionId": answer["transactionId"]}
        await charger.send([3, command[1], {"status": "Accepted"}])
        await stop(charger, answer["transactionId"], 1001)
        await stop(charger, transaction, 1100)
    await settled(story, session.id, 100)


@pytest.mark.parametrize("transaction", [987654, -1, 2**31])
async def test_stops_what_nobody_started_here_and_there(pair: Pair, story: Story, transaction: int) -> None:
    message = {"transactionId": transaction, "meterStop": 5, "timestamp": stamp()}
    for tier in (*pair, *pair):
        async with RawCharger.open(url(tier)) as charger:
            assert await charger.call("StopTransaction", **message) == {}
    (kept,) = await story.rows("SELECT repeat_count FROM quarantined_messages")
    assert kept["repeat_count"] == 3


async def test_stops_elsewhere_before_its_start_was_answered(pair: Pair, story: Story) -> None:
    a, b = pair
    async with RawCharger.open(url(a)) as charger:
        await charger.boot()
        started = await story.request(energy_kwh=Decimal(5))
        tag = await story.accept(a, charger, started)
        begin = {"connectorId": 1, "idTag": tag, "meterStart": 1000, "timestamp": stamp(2)}
        await charger.send([2, "a", "StartTransaction", begin])
        assert (await charger.answer())[1] == "a"  # which the charger never processes
        charger.drop()
    async with RawCharger.open(url(b)) as charger:
        await charger.call("StopTransaction", transactionId=-1, idTag=tag, meterStop=1010, timestamp=stamp())
        # By the tag alone it is a guess, which waits; the stop by the id counts more.
        assert (await story.session(started.session.id)).state is SessionState.CHARGING
        answer = await charger.call("StartTransaction", **begin)
        assert answer["idTagInfo"] == {"status": "Accepted"}
        await stop(charger, answer["transactionId"], 1010, timestamp=stamp())
    await settled(story, started.session.id, 10)
    assert await story.rows("SELECT guess_state FROM ocpp_transactions") == [{"guess_state": "superseded"}]
    (message,) = await story.rows("SELECT resolved_as FROM quarantined_messages")
    assert message["resolved_as"] == "automatic"


@pytest.mark.parametrize("meter_stop", [900, 500, 0, -1])
async def test_a_stop_register_below_the_start_bills_the_reading_of_the_other_instance(
    pair: Pair, story: Story, meter_stop: int
) -> None:
    a, b = pair
    async with RawCharger.open(url(a)) as charger:
        await charger.boot()
        session, transaction = await story.begin(a, charger, energy_kwh=Decimal(5))
        await meter(charger, transaction, 1100)
        charger.drop()
    async with RawCharger.open(url(b)) as charger:
        await stop(charger, transaction, meter_stop)
    assert (await story.session(session.id)).needs_review is (meter_stop != 900)
    await settled(story, session.id, 100)


@pytest.mark.parametrize(("next_wh", "billed"), [(1100, 150), (400_050, 150)])
async def test_a_register_that_jumped_at_one_instance_is_judged_at_the_other(
    pair: Pair, story: Story, next_wh: int, billed: int
) -> None:
    """A glitch, or a register that really moved: the next reading tells, wherever it arrives."""
    a, b = pair
    async with RawCharger.open(url(a)) as charger:
        await charger.boot()
        session, transaction = await story.begin(a, charger, energy_kwh=Decimal(5))
        await meter(charger, transaction, 1050)
        await meter(charger, transaction, 400_000)
        charger.drop()
    async with RawCharger.open(url(b)) as charger:
        await meter(charger, transaction, next_wh)
        assert (await story.session(session.id)).energy_wh == 100
        await stop(charger, transaction, next_wh + 50)
    assert (await story.session(session.id)).needs_review
    await settled(story, session.id, billed)


async def test_reports_charging_late_and_never_preparing_at_either(pair: Pair, story: Story) -> None:
    a, b = pair

    async def report(charger: RawCharger, status: str, ago: float = 0) -> None:
        message = {"connectorId": 1, "errorCode": "NoError", "status": status, "timestamp": stamp(ago)}
        assert await charger.call("StatusNotification", **message) == {}

    async def shown() -> Any:
        (row,) = await story.rows("SELECT ocpp_status FROM connectors WHERE connector_number = 1")
        return row["ocpp_status"]

    async with RawCharger.open(url(a)) as charger:
        await charger.boot()
        session, transaction = await story.begin(a, charger, energy_kwh=Decimal(5))
        await report(charger, "Charging")
    async with RawCharger.open(url(b)) as charger:
        # The first word on a new socket counts by its receipt, however old it says it is.
        await report(charger, "SuspendedEV", ago=120)
        assert await shown() == "SuspendedEV"
        await report(charger, "Finishing")
        await stop(charger, transaction, 1100)
        await report(charger, "Available")
        assert await shown() == "Available"
    await settled(story, session.id, 100)


async def test_reboots_on_the_same_socket_of_either(pair: Pair, story: Story) -> None:
    a, b = pair
    async with RawCharger.open(url(a)) as charger:
        await charger.boot()
        session, transaction = await story.begin(a, charger, energy_kwh=Decimal(5))
        await charger.boot()
        await meter(charger, transaction, 1050)
    async with RawCharger.open(url(b)) as charger:
        await charger.boot()
        await meter(charger, transaction, 1080)
        await charger.boot()
        await stop(charger, transaction, 1100)
    await settled(story, session.id, 100)


async def test_a_pending_boot_at_one_instance_is_accepted_at_the_other_without_another(
    pair: Pair, story: Story
) -> None:
    a, b = pair

    async def become(status: str) -> None:
        async def work(conn: Conn) -> None:
            await conn.execute("UPDATE stations SET registration_status = %s", (status,))

        await story.db.run(work)

    await become("pending")
    async with RawCharger.open(url(a)) as charger:
        answer = await charger.call("BootNotification", chargePointVendor="v", chargePointModel="m")
        assert answer["status"] == "Pending"
    await become("accepted")
    async with RawCharger.open(url(b)) as charger:  # it never boots again
        await charger.call("Heartbeat")
        session, transaction = await story.begin(b, charger, energy_kwh=Decimal(5))
        await stop(charger, transaction, 1100)
    await settled(story, session.id, 100)


async def test_the_configuration_that_one_instance_asked_for_is_read_at_the_other(pair: Pair, story: Story) -> None:
    """GetConfiguration with more keys than announced, after the first question died with its socket."""
    a, b = pair
    async with RawCharger.open(url(a)) as charger:
        await charger.call("BootNotification", chargePointVendor="v", chargePointModel="m")
        asked = await charger.command("GetConfiguration")
        charger.drop()
    keys = [{"key": f"Vendor{n}", "readonly": True, "value": str(n)} for n in range(100)]
    keys.append({"key": "GetConfigurationMaxKeys", "readonly": True, "value": "1"})
    async with RawCharger.open(url(b)) as charger:
        await charger.call("BootNotification", chargePointVendor="v", chargePointModel="m")
        again = await charger.command("GetConfiguration")
        assert again[1] != asked[1]
        await charger.send([3, asked[1], {"configurationKey": [], "unknownKey": []}])  # the answer to the dead one
        await charger.send([3, again[1], {"configurationKey": keys}])

        async def stored() -> bool:
            (row,) = await story.rows("SELECT count(*) AS n FROM ocpp_configuration")
            return bool(row["n"] == 101)

        await until(stored, "the configuration is stored")


async def test_a_connector_above_the_configured_count_charges_at_the_other_instance(pair: Pair, story: Story) -> None:
    a, b = pair
    status = {"connectorId": 7, "errorCode": "NoError", "status": "Available", "timestamp": stamp()}
    async with RawCharger.open(url(a)) as charger:
        assert await charger.call("StatusNotification", **status) == {}
    async with RawCharger.open(url(b)) as charger:
        await charger.boot()
        started = await story.request(connector=7, energy_kwh=Decimal(5))
        tag = await story.accept(b, charger, started)
        answer = await charger.call("StartTransaction", connectorId=7, idTag=tag, meterStart=0, timestamp=stamp())
        await stop(charger, answer["transactionId"], 100)
    await settled(story, started.session.id, 100)


async def test_a_heartbeat_flood_ends_with_its_socket_and_the_other_instance_answers(pair: Pair, story: Story) -> None:
    a, b = pair
    async with RawCharger.open(url(a)) as flooding:
        await flooding.boot()
        session, transaction = await story.begin(a, flooding, energy_kwh=Decimal(5))
        for number in range(1500):
            await flooding.send([2, str(number), "Heartbeat", {}])
        async with RawCharger.open(url(b)) as charger:
            await meter(charger, transaction, 1050)
            assert (await flooding.closed())[0] == 4001
            await stop(charger, transaction, 1100)
            assert a.registry.local("station-1") is None
    await settled(story, session.id, 100)


async def test_an_answer_to_a_call_of_the_other_instance_is_nobody_s(pair: Pair, story: Story) -> None:
    """CALLRESULT for an id that this instance never sent: the stop that the first one wrote is written again."""
    a, b = pair
    async with RawCharger.open(url(a)) as charger:
        await charger.boot()
        session, transaction = await story.begin(a, charger, energy_kwh=Decimal(5))
        asked = await story.read(
            lambda conn: charging.request_stop(
                conn, session.id, client_id="client-1", initiator="client", reason="client", now=datetime.now(UTC)
            )
        )
        a.dispatcher.submit("station-1", asked.command_id)
        lost = await charger.command("RemoteStopTransaction")
        charger.drop()
    async with RawCharger.open(url(b)) as charger:
        await charger.send([3, lost[1], {"status": "Rejected"}])
        await charger.send([4, "never-sent", "InternalError", "", {}])
        await charger.call("Heartbeat")
        again = await charger.command("RemoteStopTransaction")
        assert again[3] == {"transactionId": transaction}
        assert again[1] != lost[1]
        await charger.send([3, again[1], {"status": "Accepted"}])
        await stop(charger, transaction, 1100, reason="Remote")
    await settled(story, session.id, 100)


async def test_an_id_tag_in_another_letter_case_at_the_other_instance(pair: Pair, story: Story) -> None:
    a, b = pair
    async with RawCharger.open(url(a)) as charger:
        await charger.boot()
        started = await story.request(energy_kwh=Decimal(5))
        tag = await story.accept(a, charger, started)
    message = {"connectorId": 1, "idTag": tag.lower(), "meterStart": 1000, "timestamp": stamp()}
    async with RawCharger.open(url(b)) as charger:
        assert (await charger.call("Authorize", idTag=tag.lower()))["idTagInfo"]["status"] == "Accepted"
        first = await charger.call("StartTransaction", **message)
    async with RawCharger.open(url(a)) as charger:
        assert await charger.call("StartTransaction", **{**message, "idTag": tag.upper()}) == first
        await stop(charger, first["transactionId"], 1100)
    await settled(story, started.session.id, 100)
    assert len(await story.rows("SELECT FROM ocpp_transactions")) == 1
