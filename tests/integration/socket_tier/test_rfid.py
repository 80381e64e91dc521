"""Charges by RFID card, through the running socket tier: prepaid as those from the app (OCPP 1.6 §4.1, §4.8)."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from evpower.accounts import service as accounts
from evpower.accounts.models import LedgerType, Movement
from evpower.charging import service as charging
from evpower.charging.models import SessionState
from evpower.db import Conn, PooledDatabase
from socket_tier.tier import SocketTier
from tests.fakes.charging_story import Story, sample, stamp
from tests.fakes.network import Network, balance_of, money_faults
from tests.fakes.raw_charger import RawCharger
from tests.fakes.stations import until
from tests.integration.socket_tier.conftest import MakeTier, url

CARD, OTHER_CARD = "CARD-1", "CARD-2"  # of client-1 and client-2


class Cards(Story):
    """A story with cards."""

    async def give(self, tag: str, client_id: str = "client-1", **columns: Any) -> None:
        values = {"id_tag": tag, "client_id": client_id, **columns}
        marks = ", ".join(["%s"] * len(values))
        await self.do(f"INSERT INTO id_tags ({', '.join(values)}) VALUES ({marks})", *values.values())

    async def do(self, statement: str, *parameters: Any) -> None:
        async def work(conn: Conn) -> None:
            await conn.execute(statement, parameters)  # type: ignore[arg-type]

        await self.db.run(work)

    async def leave(self, client_id: str, som: Decimal) -> None:
        """Take money from the client until this is left."""
        wanted = som - await balance_of(self.db, client_id)
        if wanted:
            movement = Movement(client_id, LedgerType.MANUAL_ADJUSTMENT, wanted, f"test:leave:{client_id}:{som}")
            await self.db.run(lambda conn: accounts.move(conn, movement))

    async def only_session(self) -> Any:
        (row,) = await self.rows("SELECT id FROM charging_sessions WHERE start_source = 'rfid'")
        return await self.session(row["id"])

    async def pushes(self, client_id: str) -> list[str]:
        rows = await self.rows("SELECT event FROM push_outbox WHERE user_id = %s ORDER BY id", client_id)
        return [row["event"] for row in rows]


@pytest.fixture
def story(db: PooledDatabase, network: Network) -> Cards:
    return Cards(db)


async def authorize(charger: RawCharger, tag: str) -> Any:
    return (await charger.call("Authorize", idTag=tag))["idTagInfo"]


async def start(charger: RawCharger, tag: str, connector: int = 1, register: int = 1000, ago: float = 0) -> Any:
    return await charger.call(
        "StartTransaction", connectorId=connector, idTag=tag, meterStart=register, timestamp=stamp(ago)
    )


async def read(charger: RawCharger, transaction: int, wh: int, **more: str) -> None:
    values = sample(wh, **more)
    assert await charger.call("MeterValues", connectorId=1, transactionId=transaction, meterValue=values) == {}


async def stop(charger: RawCharger, transaction: int, wh: int, **more: Any) -> Any:
    return await charger.call(
        "StopTransaction", **{"transactionId": transaction, "meterStop": wh, "timestamp": stamp(), **more}
    )


async def refused(charger: RawCharger, tag: str, status: str, connector: int = 1) -> None:
    """A start that is answered with ``status`` and stopped by the server."""
    answer = await start(charger, tag, connector)
    assert answer["idTagInfo"]["status"] == status
    command = await charger.command("RemoteStopTransaction")
    assert command[3] == {"transactionId": answer["transactionId"]}
    await charger.send([3, command[1], {"status": "Accepted"}])
    await stop(charger, answer["transactionId"], 1000)


async def test_a_charge_by_card_is_prepaid_told_billed_and_in_the_apps_history(tier: SocketTier, story: Cards) -> None:
    expiry = datetime.now(UTC) + timedelta(days=365)
    await story.give(CARD, expires_at=expiry, parent_id_tag="FLEET")
    async with RawCharger.open(url(tier)) as charger:
        await charger.boot()
        info = await authorize(charger, CARD.lower())
        assert (info["status"], info["parentIdTag"]) == ("Accepted", "FLEET")
        answer = await start(charger, CARD.lower())
        assert answer["idTagInfo"] == {**info, "status": "Accepted"}
        session = await story.only_session()
        assert (session.state, session.reserved_amount) == (SessionState.CHARGING, 200)
        assert await balance_of(story.db, "client-1") == 300
        # The price is frozen: what changes now is for the next one.
        await story.do("UPDATE stations SET price_per_kwh = 99")
        await read(charger, answer["transactionId"], 1100, power_w="7000")
        rows, _ = await story.read(lambda conn: charging.history(conn, "client-1", 10, 0))
        assert [(row["id"], row["status"]) for row in rows] == [(session.id, "started")]
        assert (await story.session(session.id)).energy_wh == 100
        ended = await stop(charger, answer["transactionId"], 1150, idTag=CARD)
        assert ended["idTagInfo"] == info
    session = await story.session(session.id)
    assert (session.state, session.final_amount) == (SessionState.STOPPED, Decimal("2.03"))
    assert await balance_of(story.db, "client-1") == 500 - Decimal("2.03")
    assert await story.pushes("client-1") == ["charging_started", "charging_completed"]
    assert await money_faults(story.db) == []


async def test_a_charge_by_card_reserves_more_and_stops_when_the_money_ends(tier: SocketTier, story: Cards) -> None:
    await story.give(CARD)
    await story.leave("client-1", Decimal(205))
    async with RawCharger.open(url(tier)) as charger:
        await charger.boot()
        transaction = (await start(charger, CARD))["transactionId"]
        session = await story.only_session()
        assert session.reserved_amount == 200
        # So that hours of energy are plausible.
        await story.do(
            "UPDATE charging_sessions SET charging_started_at = now() - interval '6 hours',"
            " last_meter_at = now() - interval '6 hours'"
        )
        await read(charger, transaction, 1000 + 14_700, power_w="22000")

        async def reserved() -> bool:
            return bool((await story.session(session.id)).reserved_amount == 205)

        await until(reserved, "what is left is reserved")
        assert "low_balance_warning" in await story.pushes("client-1")
        await read(charger, transaction, 1000 + 14_900, power_w="22000")
        command = await charger.command("RemoteStopTransaction")
        await charger.send([3, command[1], {"status": "Accepted"}])
        await stop(charger, transaction, 1000 + 15_000, reason="Remote")
    session = await story.session(session.id)
    assert (session.final_amount, session.written_off_amount, session.limit_reached) == (Decimal("202.50"), 0, True)
    assert await balance_of(story.db, "client-1") == Decimal("2.50")
    assert await money_faults(story.db) == []


async def test_cards_that_may_not_charge(tier: SocketTier, story: Cards) -> None:
    await story.give("BLOCKED", status="blocked")
    await story.give("EXPIRED", expires_at=datetime.now(UTC) - timedelta(seconds=1))
    await story.give("POOR", "client-2")
    await story.leave("client-2", Decimal("9.99"))
    await story.do("INSERT INTO clients (id, status) VALUES ('gone', 'blocked')")
    await story.give("GONE", "gone")
    async with RawCharger.open(url(tier)) as charger:
        await charger.boot()
        for tag, status in (
            ("BLOCKED", "Blocked"),
            ("EXPIRED", "Expired"),
            ("POOR", "Blocked"),
            ("GONE", "Blocked"),
            ("STRANGER", "Invalid"),
        ):
            assert (await authorize(charger, tag))["status"] == status, tag
            await refused(charger, tag, status)
    assert await story.rows("SELECT * FROM charging_sessions") == []
    assert await balance_of(story.db, "client-1") == 500
    flagged = await story.rows("SELECT id FROM ocpp_transactions WHERE needs_review")
    assert len(flagged) == 5


async def test_a_charger_that_charges_a_refused_card_is_reported(tier: SocketTier, story: Cards) -> None:
    """It ignored Blocked and the RemoteStop. Nobody can be billed, so somebody must hear of it."""
    async with RawCharger.open(url(tier)) as charger:
        await charger.boot()
        answer = await start(charger, "STRANGER")
        assert answer["idTagInfo"] == {"status": "Invalid"}
        command = await charger.command("RemoteStopTransaction")
        await charger.send([3, command[1], {"status": "Rejected"}])
        for _ in range(2):
            await stop(charger, answer["transactionId"], 6000, timestamp="2026-01-15T06:00:00Z")
    (event,) = await story.rows("SELECT * FROM station_events WHERE type = 'energy_without_session'")
    assert event["severity"] == "error"
    assert event["payload"] == {
        "transaction_id": answer["transactionId"],
        "id_tag_status": "Invalid",
        "energy_wh": "5000.0",
    }
    assert await money_faults(story.db) == []


async def test_one_charge_at_a_time_per_client_whatever_starts_it(tier: SocketTier, story: Cards) -> None:
    await story.give(CARD)
    await story.give("CARD-1B")
    async with RawCharger.open(url(tier)) as charger:
        await charger.boot()
        first = await start(charger, CARD)
        assert (await authorize(charger, "CARD-1B"))["status"] == "ConcurrentTx"
        await refused(charger, "CARD-1B", "ConcurrentTx", 2)
        # To stop, the card itself is good.
        assert (await authorize(charger, CARD))["status"] == "Accepted"
        await stop(charger, first["transactionId"], 1000, idTag=CARD)
        await story.request(connector=2, amount_som=Decimal(50))  # the app
        assert (await authorize(charger, CARD))["status"] == "ConcurrentTx"
    assert await money_faults(story.db) == []


async def test_a_card_of_the_same_group_stops_the_charge(tier: SocketTier, story: Cards) -> None:
    """The charger compares the parents (OCPP 1.6 parentIdTag) and needs to hear that the second card is good."""
    await story.give(CARD, parent_id_tag="fleet")
    await story.give(OTHER_CARD, "client-2", parent_id_tag="FLEET")
    await story.give("ALONE", "client-2")
    await story.leave("client-2", Decimal(0))
    async with RawCharger.open(url(tier)) as charger:
        await charger.boot()
        assert (await authorize(charger, OTHER_CARD))["status"] == "Blocked"  # no money, and nothing to stop
        started = await start(charger, CARD)
        info = await authorize(charger, OTHER_CARD)
        assert info["status"] == "Accepted"
        assert info["parentIdTag"].upper() == started["idTagInfo"]["parentIdTag"].upper()
        assert (await authorize(charger, "ALONE"))["status"] == "Blocked"
        # It may stop, not charge without money.
        await refused(charger, OTHER_CARD, "Blocked", 2)
        await stop(charger, started["transactionId"], 1100, idTag=OTHER_CARD)
    assert await balance_of(story.db, "client-1") == 500 - Decimal("1.35")
    assert await balance_of(story.db, "client-2") == 0
    assert await money_faults(story.db) == []


@pytest.mark.parametrize("change", ["UPDATE id_tags SET status = 'blocked'", "UPDATE clients SET status = 'blocked'"])
async def test_a_card_blocked_meanwhile_still_ends_its_own_charge(tier: SocketTier, story: Cards, change: str) -> None:
    await story.give(CARD)
    async with RawCharger.open(url(tier)) as charger:
        await charger.boot()
        started = await start(charger, CARD)
        await story.do(change)
        assert (await authorize(charger, CARD))["status"] == "Accepted"
        await stop(charger, started["transactionId"], 1100, idTag=CARD)
        assert (await authorize(charger, CARD))["status"] == "Blocked"
    assert (await story.only_session()).state is SessionState.STOPPED
    assert await money_faults(story.db) == []


async def test_a_card_on_a_connector_that_the_app_holds(tier: SocketTier, story: Cards) -> None:
    await story.give(OTHER_CARD, "client-2")
    async with RawCharger.open(url(tier)) as charger:
        await charger.boot()
        session, transaction = await story.begin(tier, charger, energy_kwh=Decimal(5))
        await refused(charger, OTHER_CARD, "ConcurrentTx", 1)
        await stop(charger, transaction, 1100)
    assert (await story.session(session.id)).energy_wh == 100
    assert await balance_of(story.db, "client-2") == 500


async def test_a_station_out_of_service_takes_no_cards(tier: SocketTier, story: Cards) -> None:
    await story.give(CARD)
    await story.do("UPDATE stations SET status = 'maintenance'")
    async with RawCharger.open(url(tier)) as charger:
        await charger.boot()
        assert (await authorize(charger, CARD))["status"] == "Blocked"
        await refused(charger, CARD, "Blocked")


async def test_the_app_stops_what_a_card_started(tier: SocketTier, story: Cards) -> None:
    await story.give(CARD)
    async with RawCharger.open(url(tier)) as charger:
        await charger.boot()
        started = await start(charger, CARD)
        session = await story.only_session()
        asked = await story.read(
            lambda conn: charging.request_stop(
                conn, session.id, client_id="client-1", initiator="client", reason="client", now=datetime.now(UTC)
            )
        )
        tier.dispatcher.submit("station-1", asked.command_id)
        command = await charger.command("RemoteStopTransaction")
        assert command[3] == {"transactionId": started["transactionId"]}
        await charger.send([3, command[1], {"status": "Accepted"}])
        await stop(charger, started["transactionId"], 1200, reason="Remote")
    assert (await story.session(session.id)).stop_initiator == "client"
    assert await money_faults(story.db) == []


async def test_a_charge_by_card_goes_on_at_another_instance(make_tier: MakeTier, story: Cards) -> None:
    await story.give(CARD)
    first, second = await make_tier(), await make_tier()
    async with RawCharger.open(url(first)) as charger:
        await charger.boot()
        when = stamp()
        message = {"connectorId": 1, "idTag": CARD, "meterStart": 1000, "timestamp": when}
        original = await charger.call("StartTransaction", **message)
        charger.drop()
    async with RawCharger.open(url(second)) as charger:
        assert await charger.call("StartTransaction", **message) == original
        await read(charger, original["transactionId"], 1100)
        await stop(charger, original["transactionId"], 1200)
    session = await story.only_session()
    assert (session.energy_wh, session.settlement_revision) == (200, 1)
    assert await money_faults(story.db) == []


async def test_a_clockless_charger_charges_a_card_twice(make_tier: MakeTier, story: Cards) -> None:
    """docs/decisions/0008, over the wire: two charges with one content, each with its own bill."""
    await story.give(CARD)
    tier = await make_tier()
    message = {"connectorId": 1, "idTag": CARD, "meterStart": 0, "timestamp": "1970-01-01T00:00:00Z"}
    ids = []
    for wh in (100, 120):
        async with RawCharger.open(url(tier)) as charger:
            await charger.boot()
            answer = await charger.call("StartTransaction", **message)
            assert answer["idTagInfo"]["status"] == "Accepted"
            assert (await charger.call("StartTransaction", **message)) == answer  # it comes again
            assert await stop(charger, answer["transactionId"], wh, timestamp="1970-01-01T00:00:00Z") == {}
            ids.append(answer["transactionId"])
            if wh == 100:
                await charger.send([2, "new", "StartTransaction", message])
                second = (await charger.answer())[2]["transactionId"]
                assert await stop(charger, second, 150, timestamp="1970-01-01T00:00:00Z") == {}
                ids.append(second)
    assert len(set(ids)) == 3
    bills = await story.rows("SELECT energy_wh FROM charging_sessions ORDER BY ocpp_transaction_id")
    assert [row["energy_wh"] for row in bills] == [100, 150, 120]
    assert await money_faults(story.db) == []
