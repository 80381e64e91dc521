"""To which charge a message belongs: 10 som per kWh, connectors of 150 kW, handlers of the socket tier."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from evpower.charging import service
from evpower.charging.models import Session, SessionState
from evpower.clock import FrozenClock
from evpower.config import Settings
from evpower.db import Conn, PooledDatabase
from tests.fakes.handled_charger import HandledCharger
from tests.fakes.network import build, money_faults
from tests.integration.evpower.charging.driver import Driver

A, B = "client-1", "client-2"
UNNAMED = (0, -1, None, 987_654)


class Scene:
    """Drivers, one charger, sweeps."""

    def __init__(self, driver: Driver, charger: HandledCharger, settings: Settings) -> None:
        self.driver = driver
        self.charger = charger
        self.settings = settings

    async def begin(self, client: str, register: int, connector: int = 1, **limits: str) -> tuple[str, int]:
        """Session and transaction."""
        await self.driver.alive()
        started = await self.driver.start(client, connector, **(limits or {"amount": "400"}))  # type: ignore[arg-type]
        transaction = await self.charger.start(connector, started.session.id_tag, register)
        return started.session.id, transaction

    async def by_card(self, register: int = 0, connector: int = 1) -> tuple[str, int]:
        await self.sql("INSERT INTO id_tags (id_tag, client_id) VALUES ('CARD-1', %s) ON CONFLICT DO NOTHING", A)
        transaction = await self.charger.start(connector, "CARD-1", register)
        row = await self.row("SELECT session_id FROM ocpp_transactions WHERE id = %s", transaction)
        return row["session_id"], transaction

    async def session(self, session_id: str) -> Session:
        return await self.driver.session(session_id)

    async def row(self, query: str, *parameters: Any) -> dict[str, Any]:
        async def work(conn: Conn) -> dict[str, Any]:
            row = await (await conn.execute(query, parameters)).fetchone()  # type: ignore[arg-type]
            assert row is not None
            return row

        return await self.driver.run(work)

    async def sql(self, statement: str, *parameters: Any) -> None:
        async def work(conn: Conn) -> None:
            await conn.execute(statement, parameters)  # type: ignore[arg-type]

        await self.driver.run(work)

    async def reasons(self, session_id: str) -> list[str]:
        row = await self.row("SELECT review_reasons FROM charging_sessions WHERE id = %s", session_id)
        return list(row["review_reasons"])

    async def transaction(self, transaction: int) -> dict[str, Any]:
        return await self.row("SELECT * FROM ocpp_transactions WHERE id = %s", transaction)

    async def quiet(self, minutes: float = 11, *, online: bool = True) -> list[str]:
        """Nothing is read for some time; then the sweeps run."""
        self.driver.wait(minutes=minutes)
        if online:
            await self.driver.alive()
        return await self.driver.sweep()

    async def reconnect(self) -> None:
        """The charger comes to another instance, which knows nothing."""
        self.charger = await HandledCharger.connect(self.driver.db, self.settings, self.driver.clock)  # type: ignore[arg-type]


@pytest.fixture
async def scene(db: PooledDatabase, make_settings: Callable[..., Settings], redis_url: str) -> Scene:
    clock = FrozenClock()
    driver = Driver(db, await build(db, clock.now(), price="10", power_kw=150), clock)
    settings = make_settings(redis_url=redis_url)
    return Scene(driver, await HandledCharger.connect(db, settings, clock), settings)


# --- Readings after the charge is over ----------------------------------------------------------------------------


async def test_a_late_reading_moves_neither_its_charge_nor_the_next_one(scene: Scene) -> None:
    first, tx1 = await scene.begin(A, 0)
    scene.driver.wait(minutes=30)
    await scene.charger.stop(tx1, 1000)
    scene.driver.wait(seconds=20)
    second, tx2 = await scene.begin(B, 1000)
    scene.driver.wait(seconds=60)
    await scene.charger.read(1, 2000, transaction=tx1)
    scene.driver.wait(minutes=30)
    await scene.charger.stop(tx2, 2500)
    await scene.quiet()
    assert (await scene.session(first)).final_amount == Decimal("10.00")
    assert (await scene.session(second)).final_amount == Decimal("15.00")
    assert await scene.reasons(first) == ["readings_after_stop"]
    assert await scene.reasons(second) == []
    kept = await scene.row("SELECT session_id, transaction_id FROM ocpp_meter_values WHERE energy_wh = 2000")
    assert kept == {"session_id": first, "transaction_id": tx1}
    assert await money_faults(scene.driver.db) == []


@pytest.mark.parametrize("later_s", [0, 1, 80])
async def test_a_reading_after_a_good_stop_is_kept_and_flagged(scene: Scene, later_s: int) -> None:
    await scene.sql("UPDATE stations SET price_per_kwh = 13.5")
    session_id, transaction = await scene.begin(A, 0)
    scene.driver.wait(minutes=30)
    await scene.charger.stop(transaction, 600)
    scene.driver.wait(seconds=later_s)
    await scene.charger.read(1, 700, transaction=transaction)
    assert (await scene.session(session_id)).energy_wh == 600
    await scene.quiet()
    session = await scene.session(session_id)
    assert (session.final_amount, session.energy_wh, session.settlement_revision) == (Decimal("8.10"), 600, 1)
    assert await scene.reasons(session_id) == ["readings_after_stop"]


async def test_the_register_of_the_stop_once_more_is_no_reason_to_look(scene: Scene) -> None:
    session_id, transaction = await scene.begin(A, 0)
    scene.driver.wait(minutes=30)
    await scene.charger.stop(transaction, 600)
    for register in (600, 590):
        scene.driver.wait(seconds=1)
        await scene.charger.read(1, register, transaction=transaction)
    assert not (await scene.session(session_id)).needs_review
    kept = await scene.row("SELECT count(*) AS n FROM ocpp_meter_values WHERE session_id = %s", session_id)
    assert kept["n"] == 2


async def test_staff_who_closed_the_review_are_not_asked_again_for_each_late_reading(scene: Scene) -> None:
    session_id, transaction = await scene.begin(A, 0)
    scene.driver.wait(minutes=30)
    await scene.charger.stop(transaction, 600)
    await scene.charger.read(1, 700, transaction=transaction)
    await scene.driver.run(
        lambda conn: service.close_review(conn, session_id, actor="staff-1", note="seen", now=scene.driver.now)
    )
    await scene.charger.read(1, 800, transaction=transaction)
    assert not (await scene.session(session_id)).needs_review


@pytest.mark.parametrize(("dated_min", "billed"), [(-1, 3000), (1, 0)])
async def test_after_a_stop_that_lost_the_register_readings_from_inside_the_charge_count(
    scene: Scene, dated_min: int, billed: int
) -> None:
    session_id, transaction = await scene.begin(A, 1000)
    scene.driver.wait(minutes=30)
    ended = scene.driver.now
    await scene.charger.stop(transaction, 0)
    assert (await scene.session(session_id)).final_amount == 0
    scene.driver.wait(minutes=2)
    await scene.charger.read(1, 4000, ended + timedelta(minutes=dated_min), transaction=transaction)
    await scene.quiet()
    assert (await scene.session(session_id)).energy_wh == billed
    assert ("readings_after_stop" in await scene.reasons(session_id)) is (billed == 0)
    assert await money_faults(scene.driver.db) == []


@pytest.mark.parametrize(("dated_min", "billed"), [(-12, 1000), (1, 500)])
async def test_readings_of_a_charge_that_was_settled_without_its_stop_count_until_the_next_began(
    scene: Scene, dated_min: int, billed: int
) -> None:
    first, tx1 = await scene.begin(A, 0)
    scene.driver.wait(minutes=10)
    await scene.charger.read(1, 500, transaction=tx1)
    await scene.quiet(12, online=False)
    assert (await scene.session(first)).state is SessionState.STOPPED
    second, tx2 = await scene.begin(B, 1000)
    began = scene.driver.now
    scene.driver.wait(minutes=5)
    await scene.charger.read(1, 1000 if dated_min < 0 else 2000, began + timedelta(minutes=dated_min), transaction=tx1)
    assert scene.charger.commands == [], "no stop for a charge whose connector serves another one"
    scene.driver.wait(minutes=5)
    await scene.charger.stop(tx2, 2500)
    await scene.quiet()
    assert ((await scene.session(first)).energy_wh, (await scene.session(second)).energy_wh) == (billed, 1500)


async def test_a_late_stop_cannot_tell_of_the_next_charge(scene: Scene) -> None:
    first, tx1 = await scene.begin(A, 0)
    scene.driver.wait(minutes=10)
    await scene.charger.read(1, 500, transaction=tx1)
    await scene.quiet(12, online=False)
    second, tx2 = await scene.begin(B, 1000)
    scene.driver.wait(minutes=10)
    await scene.charger.stop(tx1, 2500)  # it is the second's
    assert (await scene.session(first)).energy_wh == 500
    assert await scene.reasons(first) == ["readings_after_stop"]
    await scene.charger.stop(tx2, 2500)
    await scene.charger.stop(tx1, 1000, scene.driver.now - timedelta(minutes=20))  # its own
    assert ((await scene.session(first)).energy_wh, (await scene.session(second)).energy_wh) == (1000, 1500)
    assert await money_faults(scene.driver.db) == []


# --- Readings that name no transaction ----------------------------------------------------------------------------


@pytest.mark.parametrize("named", UNNAMED)
@pytest.mark.parametrize("elsewhere", [False, True])
async def test_a_charge_whose_readings_name_none_after_one_that_was_named(
    scene: Scene, named: int | None, elsewhere: bool
) -> None:
    _first, tx1 = await scene.begin(A, 0)
    for register in (100, 200):
        scene.driver.wait(minutes=1)
        await scene.charger.read(1, register, transaction=tx1)
    await scene.charger.stop(tx1, 1000)
    second, tx2 = await scene.begin(B, 1000, energy="2")
    for step in range(1, 20):
        if elsewhere and step == 2:
            await scene.reconnect()
        scene.driver.wait(minutes=1)
        await scene.charger.read(1, 1000 + 100 * step, transaction=named, power_w="6000")
    assert scene.charger.commands != []
    command = await scene.row("SELECT action, payload FROM station_commands WHERE id = %s", scene.charger.commands[0])
    assert (command["action"], command["payload"]) == ("RemoteStopTransaction", {"transactionId": tx2})
    session = await scene.session(second)
    assert (session.energy_wh, session.state) == (1900, SessionState.STOPPING)
    await scene.charger.stop(tx2, 3000)
    assert (await scene.session(second)).final_amount == Decimal("20.00")


async def test_while_readings_name_the_charge_others_of_its_connector_are_something_else_s(scene: Scene) -> None:
    session_id, transaction = await scene.begin(A, 1000)
    scene.driver.wait(minutes=1)
    await scene.charger.read(1, 1050, transaction=transaction)
    for named in UNNAMED:
        scene.driver.wait(seconds=10)
        await scene.charger.read(1, 1090, transaction=named)
    assert (await scene.session(session_id)).energy_wh == 50
    # After a reboot it does not know its transaction any more.
    for step in (1, 2, 3):
        scene.driver.wait(minutes=1)
        await scene.charger.read(1, 1100 + 100 * step)
    assert (await scene.session(session_id)).energy_wh == 400
    await scene.charger.read(1, 1410, transaction=transaction)
    await scene.charger.read(1, 1900)
    assert (await scene.session(session_id)).energy_wh == 410


async def test_readings_without_a_name_from_before_the_charge_are_not_its_own(scene: Scene) -> None:
    session_id, transaction = await scene.begin(A, 1000)
    before = scene.driver.now - timedelta(minutes=5)
    scene.driver.wait(minutes=5)
    await scene.charger.read(1, 1400, before)
    assert (await scene.session(session_id)).energy_wh == 0
    await scene.charger.read(1, 1100)
    assert (await scene.session(session_id)).energy_wh == 100
    await scene.charger.stop(transaction, 1200)
    assert await scene.reasons(session_id) == []


async def test_readings_that_name_a_refused_charge_are_nobody_s(scene: Scene) -> None:
    session_id, _transaction = await scene.begin(A, 1000)
    refused = await scene.charger.start(1, "STRANGER", 1000)
    scene.driver.wait(minutes=1)
    await scene.charger.read(1, 1100, transaction=refused)
    assert (await scene.session(session_id)).energy_wh == 0


async def test_a_name_and_a_connector_that_contradict_each_other(scene: Scene) -> None:
    """The register tells whose it is; a charger that always gives the same connector is believed by the name."""
    first, tx1 = await scene.begin(A, 0, connector=1)
    second, tx2 = await scene.begin(B, 5_000_000, connector=2)
    scene.driver.wait(minutes=2)
    await scene.charger.read(1, 5_000_300, transaction=tx2)
    assert (await scene.session(second)).energy_wh == 300
    for wh in (400, 500, 600):
        scene.driver.wait(minutes=1)
        await scene.charger.read(2, 5_000_000 + wh, transaction=tx1)
    assert (await scene.session(first)).energy_wh == 0
    assert await scene.reasons(first) == ["readings_contradict"]
    await scene.charger.stop(tx1, 700)
    assert (await scene.session(first)).final_amount == Decimal("7.00")


# --- Stops that name only a card ----------------------------------------------------------------------------------


async def test_the_charger_s_own_stop_counts_more_than_one_by_the_card(scene: Scene) -> None:
    await scene.sql("UPDATE stations SET price_per_kwh = 13.5")
    session_id, transaction = await scene.by_card()
    for register in (200, 400):
        scene.driver.wait(minutes=1)
        await scene.charger.read(1, register, transaction=transaction)
    await scene.charger.stop(-1, 450, tag="CARD-1")
    assert (await scene.session(session_id)).state is SessionState.CHARGING
    for register in (1000, 2000, 3000):
        scene.driver.wait(minutes=2)
        await scene.charger.read(1, register, transaction=transaction)
        await scene.driver.sweep()
    scene.driver.wait(minutes=1)
    await scene.charger.stop(transaction, 3700)
    await scene.quiet()
    session = await scene.session(session_id)
    assert (session.final_amount, session.state) == (Decimal("49.95"), SessionState.STOPPED)
    own = await scene.row(
        "SELECT count(*) AS n FROM quarantined_messages WHERE payload ->> 'transactionId' = %s", str(transaction)
    )
    assert own["n"] == 0
    kept = await scene.row("SELECT reason, resolved_at FROM quarantined_messages")
    assert str(transaction) in kept["reason"], "staff see which charge it was taken for"
    assert kept["resolved_at"] is None, "what it told of is not known"
    assert await money_faults(scene.driver.db) == []


@pytest.mark.parametrize("source", ["card", "app"])
@pytest.mark.parametrize("own_stop", [None, 450, 3700])
async def test_a_stop_by_the_card_settles_after_three_intervals_and_is_superseded_by_the_own_stop(
    scene: Scene, own_stop: int | None, source: str
) -> None:
    session_id, transaction = await (scene.by_card() if source == "card" else scene.begin(A, 0))
    tag = (await scene.session(session_id)).id_tag
    scene.driver.wait(minutes=10)
    await scene.charger.read(1, 440, transaction=transaction)
    await scene.charger.stop(-1, 450, tag=tag)
    assert await scene.quiet(2.9) == []
    assert (await scene.session(session_id)).state is SessionState.CHARGING
    await scene.reconnect()  # it does not live in a process
    assert await scene.quiet(0.2) == [], "nobody is asked to stop"
    session = await scene.session(session_id)
    assert (session.state, session.final_amount) == (SessionState.STOPPED, Decimal("4.50"))
    assert session.stop_time == scene.driver.now - timedelta(minutes=3.1)
    assert await scene.reasons(session_id) == ["stop_by_card"]
    message = await scene.row("SELECT resolved_as, resolved_transaction_id FROM quarantined_messages")
    assert message == {"resolved_as": "automatic", "resolved_transaction_id": transaction}
    row = await scene.transaction(transaction)
    assert (row["status"], row["ended_by"], row["guess_state"]) == ("ended_without_stop", "stop_by_card", "used")
    if own_stop is not None:
        await scene.charger.stop(transaction, own_stop)
        session = await scene.session(session_id)
        assert session.final_amount == Decimal(own_stop) / 100
        assert session.settlement_revision == (1 if own_stop == 450 else 2)
        assert (await scene.transaction(transaction))["status"] == "stopped"
        count = await scene.row("SELECT count(*) AS n FROM quarantined_messages")
        assert count["n"] == 1
    assert await scene.quiet() == []
    assert await money_faults(scene.driver.db) == []


async def test_two_sweeps_at_once_use_a_waiting_stop_once(scene: Scene) -> None:
    import asyncio

    session_id, _transaction = await scene.by_card()
    scene.driver.wait(minutes=10)
    await scene.charger.stop(-1, 450, tag="CARD-1")
    scene.driver.wait(minutes=4)
    await scene.driver.alive()
    await asyncio.gather(scene.driver.sweep(), scene.driver.sweep(), scene.driver.sweep())
    assert (await scene.session(session_id)).settlement_revision == 1
    assert await money_faults(scene.driver.db) == []


async def test_limits_are_watched_while_a_stop_by_the_card_waits(scene: Scene) -> None:
    session_id, transaction = await scene.begin(A, 0, energy="2")
    tag = (await scene.session(session_id)).id_tag
    scene.driver.wait(minutes=10)
    await scene.charger.stop(-1, 450, tag=tag)
    for step in range(1, 10):
        scene.driver.wait(minutes=1)
        await scene.charger.read(1, 450 + 160 * step, transaction=transaction, power_w="9600")
    assert scene.charger.commands != []
    assert (await scene.session(session_id)).state is SessionState.STOPPING
    await scene.charger.stop(transaction, 2000)
    assert (await scene.session(session_id)).final_amount == Decimal("20.00")


@pytest.mark.parametrize(
    ("register", "ago_min"),
    [
        (30_000, 0),  # 150 kW for 10 minutes are 25 kWh, with the tolerance 31.25
        (999, 0),  # below the begin
        (1100, 0),  # below what was read
        (2000, 11),  # dated before the begin
        (2000, 3),  # dated before the last reading
    ],
)
async def test_a_stop_by_the_card_that_cannot_be_the_end_is_put_aside(
    scene: Scene, register: int, ago_min: int
) -> None:
    session_id, transaction = await scene.by_card(1000)
    scene.driver.wait(minutes=9)
    await scene.charger.read(1, 1400, transaction=transaction)
    scene.driver.wait(minutes=1)
    too_much = 33_000 if register == 30_000 else register
    await scene.charger.stop(-1, too_much, scene.driver.now - timedelta(minutes=ago_min), tag="CARD-1")
    assert (await scene.transaction(transaction))["guess_state"] is None
    message = await scene.row("SELECT reason, resolved_at FROM quarantined_messages")
    assert message == {"reason": "unknown transaction id", "resolved_at": None}
    assert (await scene.session(session_id)).state is SessionState.CHARGING


@pytest.mark.parametrize("how", ["rejected", "offline", "too long", "unanswered"])
async def test_a_waiting_stop_tells_the_end_however_the_session_ends(scene: Scene, how: str) -> None:
    """Use case: the driver presses stop meanwhile, and the charger does not know the transaction any more."""
    await scene.sql("UPDATE charging_sessions SET sample_interval_s = 60")
    session_id, transaction = await scene.by_card()
    await scene.sql("UPDATE charging_sessions SET sample_interval_s = 36000")  # the sweep of its own comes much later
    scene.driver.wait(minutes=10)
    await scene.charger.stop(-1, 450, tag="CARD-1")
    scene.driver.wait(minutes=1)
    if how == "rejected":
        await scene.driver.stop(session_id, A)
        await scene.driver.run(lambda conn: service.remote_stop_rejected(conn, session_id, scene.driver.now))
    elif how == "unanswered":
        await scene.driver.stop(session_id, A)
        await scene.quiet(16)
    else:
        await scene.quiet(11 if how == "offline" else 13 * 60, online=how != "offline")
    session = await scene.session(session_id)
    assert (session.state, session.final_amount) == (SessionState.STOPPED, Decimal("4.50"))
    assert (await scene.transaction(transaction))["status"] == "ended_without_stop"


async def test_a_stop_by_the_card_that_staff_dismiss_is_not_used(scene: Scene) -> None:
    session_id, transaction = await scene.by_card()
    scene.driver.wait(minutes=10)
    await scene.charger.read(1, 300, transaction=transaction)
    await scene.charger.stop(-1, 450, tag="CARD-1")
    message = await scene.row("SELECT id FROM quarantined_messages")
    await scene.driver.run(
        lambda conn: service.dismiss_quarantined(
            conn, message["id"], actor="staff-1", note="not this one", now=scene.driver.now
        )
    )
    commands = await scene.quiet(4)
    assert (await scene.transaction(transaction))["guess_state"] == "withdrawn"
    assert len(commands) == 1, "it is overdue like any other charge"
    assert (await scene.session(session_id)).state is SessionState.STOPPING


async def test_after_readings_went_on_only_another_stop_by_the_card_tells_the_end(scene: Scene) -> None:
    session_id, transaction = await scene.by_card()
    scene.driver.wait(minutes=5)
    await scene.charger.stop(-1, 450, tag="CARD-1")
    scene.driver.wait(minutes=1)
    await scene.charger.read(1, 900, transaction=transaction)
    scene.driver.wait(minutes=1)
    await scene.charger.stop(-1, 1500, tag="CARD-1")
    await scene.quiet(4)
    session = await scene.session(session_id)
    assert (session.state, session.final_amount) == (SessionState.STOPPED, Decimal("15.00"))


async def test_a_repeat_of_a_waiting_stop_changes_nothing(scene: Scene) -> None:
    session_id, _transaction = await scene.by_card()
    scene.driver.wait(minutes=10)
    said = scene.driver.now
    for _ in range(3):
        await scene.charger.stop(-1, 450, said, tag="CARD-1")
        scene.driver.wait(minutes=1)
    message = await scene.row("SELECT repeat_count, resolved_at FROM quarantined_messages")
    assert message == {"repeat_count": 2, "resolved_at": None}
    await scene.quiet(1)
    assert (await scene.session(session_id)).final_amount == Decimal("4.50")
    await scene.charger.stop(-1, 450, said, tag="CARD-1")
    assert (await scene.row("SELECT resolved_at FROM quarantined_messages"))["resolved_at"] is not None
    await scene.quiet()
    assert (await scene.session(session_id)).settlement_revision == 1


@pytest.mark.parametrize("connector", [1, 2])
async def test_a_queue_of_charges_whose_stops_name_only_the_card(scene: Scene, connector: int) -> None:
    """The charger was away, never saw an answer, and plays four messages within a second."""
    await scene.sql("INSERT INTO id_tags (id_tag, client_id) VALUES ('CARD-1', %s)", A)
    begin = scene.driver.now
    scene.driver.wait(hours=2)
    await scene.sql("UPDATE stations SET connected_at = %s, last_heartbeat_at = %s", scene.driver.now, scene.driver.now)
    await scene.charger.start(1, "CARD-1", 0, begin)
    await scene.charger.stop(-1, 3000, begin + timedelta(minutes=20), tag="CARD-1")
    second_start = 3000 if connector == 1 else 70_000
    await scene.charger.start(connector, "CARD-1", second_start, begin + timedelta(minutes=30))
    await scene.charger.stop(-1, second_start + 2000, begin + timedelta(minutes=50), tag="CARD-1")
    await scene.quiet(4)
    bills = await scene.row("SELECT array_agg(final_amount ORDER BY created_at) AS bills FROM charging_sessions")
    assert bills["bills"] == [Decimal("30.00"), Decimal("20.00")]
    assert await money_faults(scene.driver.db) == []


async def test_the_next_charge_on_its_connector_ends_one_whose_stop_waits(scene: Scene) -> None:
    first, tx1 = await scene.by_card()
    scene.driver.wait(minutes=10)
    await scene.charger.stop(-1, 450, tag="CARD-1")
    scene.driver.wait(seconds=30)
    second, tx2 = await scene.by_card(450)
    assert tx2 != tx1
    assert (await scene.session(first)).final_amount == Decimal("4.50")
    assert (await scene.session(second)).state is SessionState.CHARGING


async def test_transaction_data_of_a_waiting_stop_counts_when_it_is_used(scene: Scene) -> None:
    """It tells more than meterStop: of the two the lower is billed, and somebody looks at it."""
    session_id, transaction = await scene.by_card()
    scene.driver.wait(minutes=10)
    from socket_tier.ocpp16 import stop_transaction
    from tests.fakes.charging_story import sample

    data = sample(800)
    data[0]["timestamp"] = scene.charger._stamp(None)
    payload = {
        "transactionId": -1,
        "idTag": "CARD-1",
        "meterStop": 700,
        "timestamp": scene.charger._stamp(None),
        "transactionData": data,
    }
    await stop_transaction.handle(scene.charger.charger, payload)
    await scene.quiet(4)
    assert (await scene.session(session_id)).energy_wh == 700
    assert "stop_differs_from_readings" in await scene.reasons(session_id)
    rows = await scene.row("SELECT count(*) AS n FROM ocpp_meter_values WHERE transaction_id = %s", transaction)
    assert rows["n"] == 1


# --- Sessions that end without a StopTransaction ------------------------------------------------------------------


@pytest.mark.parametrize("how", ["offline", "rejected", "too long"])
async def test_a_session_without_its_stop_ends_its_transaction_and_its_own_stop_still_reconciles(
    scene: Scene, how: str
) -> None:
    session_id, transaction = await scene.begin(A, 0)
    scene.driver.wait(minutes=10)
    await scene.charger.read(1, 500, transaction=transaction)
    ended = scene.driver.now
    if how == "rejected":
        await scene.driver.stop(session_id, A)
        await scene.driver.run(lambda conn: service.remote_stop_rejected(conn, session_id, scene.driver.now))
    else:
        await scene.quiet(12 if how == "offline" else 13 * 60, online=how != "offline")
    row = await scene.transaction(transaction)
    sources = {"offline": "station_offline", "rejected": "remote_stop_rejected", "too long": "too_long"}
    assert (row["status"], row["ended_by"], row["ended_at"]) == ("ended_without_stop", sources[how], scene.driver.now)
    assert (row["meter_stop"], row["stopped_at"]) == (None, None), "nothing is made up"
    await scene.charger.stop(transaction, 900, ended + timedelta(minutes=1))
    session = await scene.session(session_id)
    assert (session.final_amount, session.settlement_revision) == (Decimal("9.00"), 2)
    row = await scene.transaction(transaction)
    assert (row["status"], row["meter_stop"]) == ("stopped", 900)
    await scene.charger.stop(transaction, 900, ended + timedelta(minutes=1))
    assert (await scene.session(session_id)).settlement_revision == 2
    assert await money_faults(scene.driver.db) == []


async def test_a_stop_by_the_card_of_a_charge_that_was_settled_without_one_reconciles_it(scene: Scene) -> None:
    session_id, transaction = await scene.by_card()
    scene.driver.wait(minutes=10)
    await scene.charger.read(1, 500, transaction=transaction)
    ended = scene.driver.now + timedelta(minutes=1)
    await scene.quiet(12, online=False)
    await scene.charger.stop(-1, 900, ended, tag="CARD-1")
    assert (await scene.session(session_id)).final_amount == Decimal("5.00")
    await scene.quiet(4)
    assert (await scene.session(session_id)).final_amount == Decimal("9.00")


async def test_a_charge_that_was_over_before_it_began_ends_when_its_stop_cannot_be_expected_any_more(
    scene: Scene,
) -> None:
    started = await scene.driver.start(A, amount="100")
    await scene.driver.stop(started.session.id, A)
    transaction = await scene.charger.start(1, started.session.id_tag, 0)  # refused, and it never stops
    await scene.quiet()
    assert (await scene.transaction(transaction))["status"] == "active"
    await scene.quiet(13 * 60)
    row = await scene.transaction(transaction)
    assert (row["status"], row["ended_by"]) == ("ended_without_stop", "no_stop")
