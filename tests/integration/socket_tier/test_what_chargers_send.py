"""Transaction messages with members that cannot be read, shapes that are not the schema's, text that is no JSON.

10 som/kWh, 150 kW; the session is aged, so that its energy is plausible.
"""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import orjson
import pytest

from evpower.charging import service as charging
from evpower.charging.models import SessionState
from evpower.db import Conn, PooledDatabase
from socket_tier.tier import SocketTier
from tests.fakes.charging_story import Story, sample, stamp
from tests.fakes.network import Network, build, money_faults
from tests.fakes.raw_charger import RawCharger
from tests.fakes.stations import until
from tests.integration.socket_tier.conftest import url

NO_TIMES = ("222222017-10-27T19:10:11Z", "0000-00-00T00:00:00Z", "2026/11/30 19:30:00", None, 5, "", ["now"], "MISSING")
MISSING = "MISSING"


@pytest.fixture
async def network(db: PooledDatabase) -> Network:
    return await build(db, datetime.now(UTC), price="10", power_kw=150)


@pytest.fixture
def story(db: PooledDatabase, network: Network) -> Story:
    return Story(db)


@pytest.fixture
async def charger(tier: SocketTier, network: Network) -> AsyncIterator[RawCharger]:
    async with RawCharger.open(url(tier)) as socket:
        await socket.boot()
        yield socket


async def age(story: Story, by: str = "6 hours") -> None:
    """Let the charge have begun so long ago."""

    async def work(conn: Conn) -> None:
        span = f"interval '{by}'"
        await conn.execute(
            f"""UPDATE charging_sessions SET created_at = created_at - {span},
                       charging_started_at = charging_started_at - {span},
                       last_meter_at = last_meter_at - {span},
                       last_meter_charger_at = last_meter_charger_at - {span}"""
        )
        await conn.execute(
            f"""UPDATE ocpp_transactions SET started_at = started_at - {span},
                       received_at = received_at - {span}"""
        )

    await story.db.run(work)


async def begin(tier: SocketTier, story: Story, charger: RawCharger, register: int = 20_000) -> tuple[str, int]:
    session, transaction = await story.begin(tier, charger, meter_start=register, energy_kwh=Decimal(20))
    await age(story)
    return session.id, transaction


async def stop(charger: RawCharger, transaction: Any, **members: Any) -> Any:
    payload = {"transactionId": transaction, "meterStop": 26_008, "timestamp": stamp(), **members}
    return await charger.call("StopTransaction", **{name: value for name, value in payload.items() if value != MISSING})


async def ended(story: Story, session_id: str, som: str, *, flagged: bool) -> list[str]:
    """The session has ended for that much; its reasons for a review."""
    session = await story.session(session_id)
    assert (session.state, session.final_amount) == (SessionState.STOPPED, Decimal(som))
    (row,) = await story.rows("SELECT review_reasons, needs_review FROM charging_sessions WHERE id = %s", session_id)
    assert row["needs_review"] is flagged, row
    assert await money_faults(story.db) == []
    return list(row["review_reasons"] or [])


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"idTag": "X" * 21},
        {"meterStop": 26_008.333},
        {"meterStop": "26008"},
        {"meterStop": "26008.333"},
        {"reason": 5, "vendor": {}},
        {"transactionData": sample(26_000)[0]},
    ],
    ids=lambda members: ", ".join(members) or "as it should be",
)
async def test_a_stop_in_another_form_is_billed_as_what_it_says(
    tier: SocketTier, story: Story, charger: RawCharger, members: dict[str, Any]
) -> None:
    session, transaction = await begin(tier, story, charger)
    await stop(charger, str(transaction) if "26008" in str(members) else transaction, **members)
    assert await ended(story, session, "60.08", flagged=False) == []
    assert await story.rows("SELECT * FROM quarantined_messages") == []


@pytest.mark.parametrize("time", NO_TIMES, ids=str)
async def test_of_a_stop_without_a_readable_time_the_receipt_counts_and_a_repeat_is_one(
    tier: SocketTier, story: Story, charger: RawCharger, time: Any
) -> None:
    session, transaction = await begin(tier, story, charger)
    for _ in range(2):  # the second has another message id, and another time of receipt
        assert await stop(charger, transaction, timestamp=time) == {}
    assert await ended(story, session, "60.08", flagged=True) == ["stop_time_unreadable"]
    assert (await story.session(session)).settlement_revision == 1
    assert await story.rows("SELECT * FROM quarantined_messages") == []
    await stop(charger, transaction, timestamp=time, meterStop=27_000)  # this is another one
    assert len(await story.rows("SELECT * FROM quarantined_messages")) == 1


@pytest.mark.parametrize("register", [MISSING, None, "much", {}, [1, 2], 10**13, "26,008", True], ids=str)
async def test_of_a_stop_without_a_readable_register_the_last_reading_counts(
    tier: SocketTier, story: Story, charger: RawCharger, register: Any
) -> None:
    session, transaction = await begin(tier, story, charger)
    await charger.call("MeterValues", connectorId=1, transactionId=transaction, meterValue=sample(26_008))
    time = stamp()
    for _ in range(2):
        assert await stop(charger, transaction, meterStop=register, timestamp=time) == {}
    assert await ended(story, session, "60.08", flagged=True) == ["stop_register_unreadable"]
    assert await story.rows("SELECT * FROM quarantined_messages") == []


async def test_of_a_stop_that_says_nothing_but_its_transaction_the_last_entry_of_its_data_counts(
    tier: SocketTier, story: Story, charger: RawCharger
) -> None:
    session, transaction = await begin(tier, story, charger)
    await charger.call("StopTransaction", transactionId=transaction, transactionData=sample(26_008))
    assert "stop_register_unreadable" in await ended(story, session, "60.08", flagged=True)


@pytest.mark.parametrize("time", NO_TIMES, ids=str)
async def test_a_start_without_a_readable_time_begins_when_it_comes_and_a_repeat_is_one(
    tier: SocketTier, story: Story, charger: RawCharger, time: Any
) -> None:
    started = await story.request(energy_kwh=Decimal(20))
    tag = await story.accept(tier, charger, started)
    members = {"connectorId": 1, "idTag": tag, "meterStart": 20_000, "timestamp": time}
    members = {name: value for name, value in members.items() if value != MISSING}
    answers = [await charger.call("StartTransaction", **members) for _ in range(2)]
    assert answers[0] == answers[1]
    assert answers[0]["idTagInfo"] == {"status": "Accepted"}
    assert len(await story.rows("SELECT * FROM ocpp_transactions")) == 1
    await age(story)
    await stop(charger, answers[0]["transactionId"])
    assert await ended(story, started.session.id, "60.08", flagged=True) == ["start_time_unreadable"]


@pytest.mark.parametrize("register", [1000.7, "1000.7", "1000.70"])
async def test_a_start_keeps_the_fraction_of_its_register(
    tier: SocketTier, story: Story, charger: RawCharger, register: Any
) -> None:
    started = await story.request(energy_kwh=Decimal(20))
    tag = await story.accept(tier, charger, started)
    members = {"connectorId": "1", "idTag": tag, "meterStart": register, "timestamp": stamp()}
    answer = await charger.call("StartTransaction", **members)
    assert await charger.call("StartTransaction", **members) == answer
    await age(story)
    await stop(charger, answer["transactionId"], meterStop=7009)
    assert await ended(story, started.session.id, "60.08", flagged=False) == []


@pytest.mark.parametrize("register", [MISSING, {}, "x", 10**13], ids=str)
async def test_a_start_without_a_readable_register_begins_at_the_last_one_of_its_connector(
    tier: SocketTier, story: Story, charger: RawCharger, register: Any
) -> None:
    first, transaction = await begin(tier, story, charger, register=14_000)
    await stop(charger, transaction, meterStop=20_000)
    await ended(story, first, "60.00", flagged=False)
    started = await story.request(energy_kwh=Decimal(20))
    tag = await story.accept(tier, charger, started)
    members = {"connectorId": {}, "idTag": tag, "meterStart": register, "timestamp": stamp()}
    members = {name: value for name, value in members.items() if value != MISSING}
    answer = await charger.call("StartTransaction", **members)
    assert await charger.call("StartTransaction", **members) == answer
    await age(story)
    await stop(charger, answer["transactionId"])
    reasons = await ended(story, started.session.id, "60.08", flagged=True)
    assert reasons == ["start_connector_unreadable", "start_register_unreadable"]


async def test_a_card_without_any_time_charges_twice_and_pays_twice(
    tier: SocketTier, story: Story, charger: RawCharger
) -> None:
    """Its second start says what the first one said: it is another charge, for the first has ended (decision 8)."""

    async def card(conn: Conn) -> None:
        await conn.execute("INSERT INTO id_tags (id_tag, client_id) VALUES ('CARD-1', 'client-1')")

    await story.db.run(card)
    seen = set()
    for _ in range(2):
        answer = await charger.call("StartTransaction", connectorId=1, idTag="CARD-1", meterStart=0)
        assert answer["idTagInfo"]["status"] == "Accepted"
        seen.add(answer["transactionId"])
        await age(story)
        await charger.call("StopTransaction", transactionId=answer["transactionId"], meterStop=6008)
    amounts = await story.rows("SELECT final_amount FROM charging_sessions")
    assert len(seen) == 2
    assert [row["final_amount"] for row in amounts] == [Decimal("60.08")] * 2
    assert await money_faults(story.db) == []


@pytest.mark.parametrize("time", NO_TIMES, ids=str)
async def test_of_a_reading_without_a_readable_time_the_receipt_counts(
    tier: SocketTier, story: Story, charger: RawCharger, time: Any
) -> None:
    session, transaction = await begin(tier, story, charger)
    (entry,) = sample(26_008)
    entry = {**entry, "timestamp": time} if time != MISSING else {"sampledValue": entry["sampledValue"]}
    await charger.call("MeterValues", connectorId=1, transactionId=transaction, meterValue=[entry])
    assert (await story.session(session)).energy_wh == 6008
    (row,) = await story.rows("SELECT flags FROM ocpp_meter_values")
    assert row["flags"] == ["unreadable_timestamp"]
    await stop(charger, transaction)
    assert await ended(story, session, "60.08", flagged=True) == ["reading_time_unreadable"]


async def test_readings_as_an_object_instead_of_a_list_are_read(
    tier: SocketTier, story: Story, charger: RawCharger
) -> None:
    session, transaction = await begin(tier, story, charger, register=0)
    value = {"value": 2.00, "measurand": "Energy.Active.Import.Register", "unit": "kWh"}
    entry = {"timestamp": stamp(), "sampledValue": value}
    await charger.call("MeterValues", connectorId="1", transactionId=str(transaction), meterValue=entry)
    assert (await story.session(session)).energy_wh == 2000


async def test_one_unusable_reading_among_good_ones_costs_only_itself(
    tier: SocketTier, story: Story, charger: RawCharger
) -> None:
    session, transaction = await begin(tier, story, charger, register=0)
    values = ["nonsense", *sample(2000), {"timestamp": stamp()}]
    await charger.call("MeterValues", connectorId=[], transactionId=transaction, meterValue=values)
    assert (await story.session(session)).energy_wh == 2000
    kept = await story.rows("SELECT raw FROM ocpp_meter_values WHERE 'unusable_entry' = ANY (flags)")
    assert {"unusable": "nonsense"} in [row["raw"] for row in kept]
    assert (await story.session(session)).needs_review


@pytest.mark.parametrize(
    ("members", "word"),
    [
        ({"status": "Charging"}, "Charging"),
        ({"status": "Charging", "errorCode": "NoError", "vendorErrorCode": 17}, "Charging"),
        ({"status": "Occupied", "errorCode": "NoError"}, "Occupied"),
        ({"connectorId": "1", "status": "SUSPENDED_EV", "errorCode": "NoError", "timestamp": "now"}, "SuspendedEV"),
    ],
    ids=str,
)
async def test_a_status_in_another_form_is_read_and_shown_as_occupied(
    story: Story, charger: RawCharger, members: dict[str, Any], word: str
) -> None:
    assert await charger.call("StatusNotification", **{"connectorId": 1, **members}) == {}
    (row,) = await story.rows("SELECT ocpp_status, status FROM connectors WHERE connector_number = 1")
    assert (row["ocpp_status"], row["status"]) == (word, "occupied")


async def test_a_comma_too_many_costs_no_reading(tier: SocketTier, story: Story, charger: RawCharger) -> None:
    session, transaction = await begin(tier, story, charger, register=0)
    frame = orjson.dumps(
        [2, "id-1", "MeterValues", {"connectorId": 1, "transactionId": transaction, "meterValue": sample(2000)}]
    ).replace(b'"sampledValue":[', b'"sampledValue":[,')
    await charger.send(frame.decode())
    assert await charger.answer() == [3, "id-1", {}]
    assert (await story.session(session)).energy_wh == 2000


async def test_a_text_that_is_torn_is_answered_by_its_id_and_its_good_readings_count(
    tier: SocketTier, story: Story, charger: RawCharger
) -> None:
    session, transaction = await begin(tier, story, charger, register=0)
    payload = {"connectorId": 1, "transactionId": transaction, "meterValue": [*sample(2000), *sample(3000)]}
    frame = orjson.dumps([2, "id-1", "MeterValues", payload]).decode()
    await charger.send(frame[:-70])
    assert await charger.answer() == [3, "id-1", {}]
    assert (await story.session(session)).energy_wh == 2000
    await charger.send('[2,"id-2","Authorize",{"idTag":"TA')
    assert (await charger.answer())[:3] == [4, "id-2", "FormationViolation"]


@pytest.mark.parametrize(
    ("cut", "reasons"),
    [
        (b',"transactionData', ["stop_message_unreadable"]),
        (b',"timestamp', ["stop_message_unreadable", "stop_time_unreadable"]),
    ],
)
async def test_a_torn_stop_whose_transaction_can_be_read_ends_it(
    tier: SocketTier, story: Story, charger: RawCharger, cut: bytes, reasons: list[str]
) -> None:
    session, transaction = await begin(tier, story, charger)
    payload = {"transactionId": transaction, "meterStop": 26_008, "timestamp": stamp(), "transactionData": sample(1)}
    frame = orjson.dumps([2, "id-1", "StopTransaction", payload])
    await charger.send(frame[: frame.index(cut) + 6].decode())
    assert await charger.answer() == [3, "id-1", {}]
    assert await ended(story, session, "60.08", flagged=True) == reasons


async def test_a_stop_without_a_message_id_ends_its_transaction(
    tier: SocketTier, story: Story, charger: RawCharger
) -> None:
    session, transaction = await begin(tier, story, charger)
    await charger.send([2, None, "StopTransaction", {"transactionId": transaction, "meterStop": 26_008}])
    assert await charger.answer() == [3, "-1", {}]
    await ended(story, session, "60.08", flagged=True)


async def test_a_stop_with_480_entries_is_settled(tier: SocketTier, story: Story, charger: RawCharger) -> None:
    session, transaction = await begin(tier, story, charger)
    entries = [
        {
            "timestamp": stamp(6 * 3600 - 45 * number),
            "sampledValue": [
                {
                    "value": str(20_000 + number * 12),
                    "context": "Sample.Periodic",
                    "measurand": "Energy.Active.Import.Register",
                    "location": "Outlet",
                    "unit": "Wh",
                }
            ],
        }
        for number in range(480)
    ]
    assert len(orjson.dumps(entries)) > 80_000
    await stop(charger, transaction, transactionData=entries)
    assert await ended(story, session, "60.08", flagged=False) == []


async def test_a_stop_of_a_station_whose_registration_was_taken_back_ends_its_transaction(
    tier: SocketTier, story: Story, charger: RawCharger
) -> None:
    session, transaction = await begin(tier, story, charger)

    async def pending(conn: Conn) -> None:
        await conn.execute("UPDATE stations SET registration_status = 'pending'")

    await story.db.run(pending)
    async with RawCharger.open(url(tier)) as again:
        await again.send([2, "h", "Heartbeat", {}])
        assert (await again.answer())[2] == "SecurityError"
        assert await stop(again, transaction) == {}
    await ended(story, session, "60.08", flagged=False)


async def press_stop(tier: SocketTier, story: Story, charger: RawCharger, session: str, answer: str) -> None:
    """The driver presses stop; the charger answers RemoteStop with ``answer``."""

    async def work(conn: Conn) -> Any:
        return await charging.request_stop(
            conn, session, client_id="client-1", initiator="client", reason="client", now=datetime.now(UTC)
        )

    asked = await story.db.run(work)
    tier.dispatcher.submit("station-1", asked.command_id)
    command = await charger.command("RemoteStopTransaction")
    await charger.send([3, command[1], {"status": answer}])


@pytest.mark.parametrize("named", [MISSING, -1, "?", 424_242], ids=str)
async def test_a_stop_that_was_set_aside_is_used_when_the_charger_refuses_the_remote_stop(
    tier: SocketTier, story: Story, charger: RawCharger, named: Any
) -> None:
    session, _transaction = await begin(tier, story, charger)
    await stop(charger, named)
    assert (await story.session(session)).state is SessionState.CHARGING
    await press_stop(tier, story, charger, session, "Rejected")

    async def is_over() -> bool:
        return not (await story.session(session)).state.live

    await until(is_over, "the session to end")
    assert await ended(story, session, "60.08", flagged=True) == ["set_aside_stop_used"]
    (kept,) = await story.rows("SELECT resolved_as, resolved_by, resolved_transaction_id FROM quarantined_messages")
    assert (kept["resolved_as"], kept["resolved_by"]) == ("automatic", "system")
    (row,) = await story.rows("SELECT status FROM ocpp_transactions")
    assert row["status"] == "stopped"
    await stop(charger, named, timestamp=stamp(-60))  # another one, and nobody's
    assert len(await story.rows("SELECT * FROM quarantined_messages WHERE resolved_at IS NULL")) == 1


@pytest.mark.parametrize(
    "members", [{"idTag": "SOMEBODY"}, {"meterStop": 19_000}, {"meterStop": 20_000 + 1_200_000}], ids=str
)
async def test_a_stop_that_cannot_be_this_charge_s_is_not_used_for_it(
    tier: SocketTier, story: Story, charger: RawCharger, members: dict[str, Any]
) -> None:
    session, transaction = await begin(tier, story, charger)
    await charger.call("MeterValues", connectorId=1, transactionId=transaction, meterValue=sample(21_000))
    await stop(charger, -1, **members)
    await press_stop(tier, story, charger, session, "Rejected")

    async def is_over() -> bool:
        return not (await story.session(session)).state.live

    await until(is_over, "the session to end")
    await ended(story, session, "10.00", flagged=False)
    assert len(await story.rows("SELECT * FROM quarantined_messages WHERE resolved_at IS NULL")) == 1
