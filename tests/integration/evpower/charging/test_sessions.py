"""The life of a session and its money, step by step, on a real database."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

import pytest

from evpower.charging import service
from evpower.charging.models import SessionState, StartRequest, StartTransaction
from evpower.config import Settings
from evpower.db import Conn, SingleConnectionDatabase
from evpower.errors import (
    ConnectorNotFound,
    ConnectorOccupied,
    EvPowerError,
    Forbidden,
    InsufficientBalance,
    InvalidRequest,
    SessionAlreadyActive,
    StationMaintenance,
    StationNotFound,
    StationOffline,
    ValidationFailed,
)
from tests.fakes.network import balance_of, money_faults
from tests.integration.evpower.charging.driver import Driver

CLIENT, OTHER = "client-1", "client-2"


async def charge(driver: Driver, *, register: int = 1000, wh: int = 5000, amount: str = "100") -> tuple[str, int]:
    """Start by amount, plug in, deliver ``wh`` in 20 minutes; session and transaction still running."""
    started = await driver.start(CLIENT, amount=amount)
    transaction = (await driver.plug(started.session.id_tag, register=register)).transaction_id
    for step in range(1, 11):
        driver.wait(minutes=2)
        await driver.alive()
        await driver.read(transaction, register + wh * step // 10)
    return started.session.id, transaction


async def test_reserve_charge_settle_refund(driver: Driver) -> None:
    session_id, transaction = await charge(driver)
    assert await balance_of(driver.db, CLIENT) == 400
    await driver.unplug(transaction, 6000)
    session = await driver.session(session_id)
    assert session.state is SessionState.STOPPED
    assert session.final_amount == Decimal("67.50")
    assert session.refund_amount == Decimal("32.50")
    assert await balance_of(driver.db, CLIENT) == Decimal("432.50")
    assert await money_faults(driver.db) == []


async def test_a_repeated_start_transaction_gets_the_same_transaction_id(driver: Driver) -> None:
    started = await driver.start(CLIENT, amount="100")
    first = await driver.plug(started.session.id_tag, register=10)
    again = await driver.plug(started.session.id_tag.lower(), register=10)
    assert (again.transaction_id, again.repeated) == (first.transaction_id, True)


async def test_a_repeated_stop_transaction_does_not_settle_twice(driver: Driver) -> None:
    session_id, transaction = await charge(driver)
    stopped_at = driver.now
    for _ in range(3):
        await driver.unplug(transaction, 6000, charger_time=stopped_at)
        driver.wait(seconds=30)
    assert (await driver.session(session_id)).settlement_revision == 1
    assert await money_faults(driver.db) == []


async def test_more_than_the_reserve_is_paid_from_the_balance_and_the_rest_written_off(driver: Driver) -> None:
    session_id, transaction = await charge(driver, wh=7000, amount="500")
    await driver.unplug(transaction, 1000 + 7000)
    assert (await driver.session(session_id)).final_amount == Decimal("94.50")
    session_id, transaction = await charge(driver, wh=6000, amount="10")

    async def empty(conn: Conn) -> None:
        from evpower.accounts import service as accounts
        from evpower.accounts.models import LedgerType, Movement

        client = await accounts.get_client(conn, CLIENT)
        await accounts.move(conn, Movement(CLIENT, LedgerType.MANUAL_ADJUSTMENT, 20 - client.balance, "adjust:1"))

    await driver.run(empty)
    await driver.unplug(transaction, 1000 + 6000)
    session = await driver.session(session_id)
    assert session.final_amount == Decimal("30.00")
    assert session.written_off_amount == Decimal("51.00")
    assert await balance_of(driver.db, CLIENT) == 0
    assert await money_faults(driver.db) == []


async def test_no_cable_within_ten_minutes_refunds_everything(driver: Driver) -> None:
    started = await driver.start(CLIENT, amount="100")
    driver.wait(minutes=9, seconds=59)
    await driver.sweep()
    assert (await driver.session(started.session.id)).state is SessionState.PENDING
    driver.wait(seconds=2)
    await driver.sweep()
    session = await driver.session(started.session.id)
    assert (session.state, session.stop_reason) == (SessionState.ERROR, "NO_CONNECTION")
    assert await balance_of(driver.db, CLIENT) == 500
    assert await money_faults(driver.db) == []


async def test_plugged_in_after_the_refund_reserves_again(driver: Driver) -> None:
    started = await driver.start(CLIENT, amount="100")
    driver.wait(minutes=11)
    await driver.alive()
    await driver.sweep()
    answer = await driver.plug(started.session.id_tag)
    assert answer.id_tag_status == "Accepted"
    session = await driver.session(started.session.id)
    assert (session.state, session.final_amount, session.refund_amount) == (SessionState.CHARGING, None, 0)
    assert await balance_of(driver.db, CLIENT) == 400
    driver.wait(minutes=20)
    await driver.unplug(answer.transaction_id, 2000)
    session = await driver.session(session.id)
    assert (session.state, session.final_amount) == (SessionState.STOPPED, Decimal("27.00"))
    assert await balance_of(driver.db, CLIENT) == Decimal("473.00")
    assert await money_faults(driver.db) == []


async def test_plugged_in_after_the_driver_gave_up_is_blocked_and_billed_by_its_stop(driver: Driver) -> None:
    started = await driver.start(CLIENT, amount="100")
    stopped = await driver.stop(started.session.id, CLIENT)
    assert (stopped.session.state, stopped.balance) == (SessionState.STOPPED, 500)
    driver.wait(seconds=20)
    answer = await driver.plug(started.session.id_tag)
    assert answer.id_tag_status == "Blocked"
    assert answer.command_id is not None
    driver.wait(minutes=1)
    await driver.unplug(answer.transaction_id, 100)
    assert (await driver.session(started.session.id)).final_amount == Decimal("1.35")
    assert await balance_of(driver.db, CLIENT) == Decimal("498.65")
    assert await money_faults(driver.db) == []


async def test_start_and_stop_replayed_from_an_offline_queue_are_billed_by_reconcile(driver: Driver) -> None:
    started = await driver.start(CLIENT, amount="100")
    began = driver.now + timedelta(minutes=5)
    driver.wait(minutes=11)
    await driver.sweep()
    driver.wait(hours=1)

    async def reconnect(conn: Conn) -> None:
        await conn.execute("UPDATE stations SET connected_at = %s", (driver.now,))

    await driver.run(reconnect)
    answer = await driver.plug(started.session.id_tag, charger_time=began)
    assert answer.id_tag_status == "Accepted"
    assert (await driver.session(started.session.id)).state is SessionState.ERROR
    await driver.unplug(answer.transaction_id, 8000, charger_time=began + timedelta(minutes=40))
    session = await driver.session(started.session.id)
    assert (session.state, session.final_amount) == (SessionState.STOPPED, Decimal("108.00"))
    assert await balance_of(driver.db, CLIENT) == Decimal("392.00")
    assert await money_faults(driver.db) == []


async def test_late_stop_after_the_offline_sweep_reconciles(driver: Driver) -> None:
    session_id, transaction = await charge(driver)
    driver.wait(minutes=11)
    await driver.sweep()
    session = await driver.session(session_id)
    assert (session.stop_reason, session.final_amount) == ("station_offline", Decimal("67.50"))
    await driver.unplug(transaction, 7000, charger_time=driver.now - timedelta(minutes=5))
    session = await driver.session(session_id)
    assert (session.settlement_revision, session.final_amount) == (2, Decimal("81.00"))
    assert await balance_of(driver.db, CLIENT) == Decimal("419.00")
    await driver.unplug(transaction, 7000, charger_time=driver.now - timedelta(minutes=5))
    assert (await driver.session(session_id)).settlement_revision == 2
    assert await money_faults(driver.db) == []


async def test_late_readings_without_a_stop_are_reconciled_once(driver: Driver) -> None:
    session_id, transaction = await charge(driver)
    driver.wait(minutes=11)
    await driver.sweep()
    await driver.read(transaction, 6500)
    driver.wait(minutes=11)
    await driver.sweep()
    await driver.sweep()
    session = await driver.session(session_id)
    assert (session.settlement_revision, session.final_amount) == (2, Decimal("74.25"))
    assert await money_faults(driver.db) == []


async def test_twelve_hours_bill_the_meter_and_stop_the_charger(driver: Driver) -> None:
    session_id, _transaction = await charge(driver)
    driver.wait(hours=12)
    await driver.alive()
    commands = await driver.sweep()
    session = await driver.session(session_id)
    assert (session.stop_reason, session.final_amount) == ("TOO_LONG", Decimal("67.50"))
    assert len(commands) == 1
    assert await money_faults(driver.db) == []


async def test_an_overdue_reading_stops_the_session(driver: Driver) -> None:
    session_id, _ = await charge(driver)
    driver.wait(minutes=4)
    await driver.alive()
    assert len(await driver.sweep()) == 1
    session = await driver.session(session_id)
    assert (session.state, session.stop_reason) == (SessionState.STOPPING, "reading_overdue")


async def test_a_stop_without_effect_is_repeated_and_settled_in_the_end(driver: Driver) -> None:
    session_id, _ = await charge(driver)
    first = await driver.stop(session_id, CLIENT)

    async def answered(conn: Conn) -> None:
        await conn.execute("UPDATE station_commands SET status = 'accepted' WHERE created_at <= %s", (driver.now,))

    await driver.run(answered)
    driver.wait(minutes=2)
    await driver.alive()
    repeated = await driver.sweep()
    assert repeated
    assert repeated[0] != first.command_id
    driver.wait(minutes=14)
    await driver.alive()
    await driver.run(answered)
    await driver.sweep()
    session = await driver.session(session_id)
    assert (session.state, session.needs_review) == (SessionState.STOPPED, True)
    assert await money_faults(driver.db) == []


async def test_remote_start_rejected_refunds_at_once(driver: Driver) -> None:
    started = await driver.start(CLIENT, amount="100")
    await driver.run(lambda conn: service.remote_start_rejected(conn, started.session.id, "Rejected", driver.now))
    assert (await driver.session(started.session.id)).state is SessionState.ERROR
    assert await balance_of(driver.db, CLIENT) == 500


async def test_remote_stop_rejected_settles_from_the_last_reading(driver: Driver) -> None:
    session_id, transaction = await charge(driver)
    await driver.stop(session_id, CLIENT)
    await driver.run(lambda conn: service.remote_stop_rejected(conn, session_id, driver.now))
    session = await driver.session(session_id)
    assert (session.state, session.final_amount) == (SessionState.STOPPED, Decimal("67.50"))
    await driver.unplug(transaction, 6000)
    assert (await driver.session(session_id)).settlement_revision == 1
    assert await money_faults(driver.db) == []


async def test_unknown_transactions_are_quarantined_and_never_refused(driver: Driver) -> None:
    for transaction in (-1, 0, 999_999, 2**40):
        assert (await driver.unplug(transaction, 5)).quarantined

    async def rows(conn: Conn) -> int:
        cursor = await conn.execute("SELECT count(*) AS n FROM quarantined_messages WHERE resolved_at IS NULL")
        row = await cursor.fetchone()
        assert row is not None
        return int(row["n"])

    assert await driver.run(rows) == 4
    await driver.unplug(-1, 5)
    assert await driver.run(rows) == 4


async def test_a_stop_that_does_not_know_its_id_finds_its_transaction_by_the_tag(driver: Driver) -> None:
    started = await driver.start(CLIENT, amount="100")
    await driver.plug(started.session.id_tag, register=1000)
    driver.wait(minutes=20)
    answer = await driver.unplug(-1, 2000, tag=started.session.id_tag)
    assert answer.session_id == started.session.id
    driver.wait(minutes=4)  # no reading comes
    await driver.alive()
    await driver.sweep()
    assert (await driver.session(started.session.id)).final_amount == Decimal("13.50")


async def test_a_second_start_transaction_on_a_busy_connector_is_stopped(driver: Driver) -> None:
    started = await driver.start(CLIENT, amount="100")
    await driver.plug(started.session.id_tag, register=0)
    driver.wait(minutes=1)
    second = await driver.plug(started.session.id_tag, register=500)
    assert second.id_tag_status == "ConcurrentTx"
    assert second.command_id is not None
    stranger = await driver.plug("UNKNOWN-TAG", register=700)
    assert stranger.id_tag_status == "Invalid"
    assert (await driver.session(started.session.id)).state is SessionState.CHARGING


async def test_a_card_of_a_known_client_gets_a_session_with_a_reserve(driver: Driver) -> None:
    async def card(conn: Conn) -> None:
        await conn.execute("INSERT INTO id_tags (id_tag, client_id) VALUES ('CARD-1', %s)", (CLIENT,))

    await driver.run(card)
    answer = await driver.plug("card-1")
    assert answer.id_tag_status == "Accepted"
    assert answer.session_id is not None
    assert await balance_of(driver.db, CLIENT) == 300
    driver.wait(minutes=30)
    await driver.unplug(answer.transaction_id, 4000)
    assert (await driver.session(answer.session_id)).final_amount == Decimal("54.00")
    assert await balance_of(driver.db, CLIENT) == Decimal("446.00")
    assert await money_faults(driver.db) == []


async def test_a_process_that_lost_the_station_writes_nothing(driver: Driver) -> None:
    started = await driver.start(CLIENT, amount="100")
    message = StartTransaction(
        driver.network.station_id,
        1,
        started.session.id_tag,
        Decimal(0),
        driver.now,
        driver.now,
        driver.network.epoch - 1,
    )
    with pytest.raises(service.ConnectionLost):
        await driver.run(lambda conn: service.start_transaction(conn, message))
    assert (await driver.session(started.session.id)).state is SessionState.PENDING


@pytest.mark.parametrize("same", ["client", "connector"])
async def test_two_simultaneous_starts_one_wins_with_the_right_error(driver: Driver, same: str) -> None:
    second = (CLIENT, 2) if same == "client" else (OTHER, 1)
    results = await asyncio.gather(
        driver.start(CLIENT, 1, amount="100"), driver.start(*second, amount="100"), return_exceptions=True
    )
    errors = [result for result in results if isinstance(result, EvPowerError)]
    assert [type(error) for error in errors] == [SessionAlreadyActive if same == "client" else ConnectorOccupied]
    assert await money_faults(driver.db) == []


async def test_start_is_refused_with_the_reason(driver: Driver) -> None:
    with pytest.raises(InsufficientBalance) as refused:
        await driver.start(CLIENT, amount="501")
    assert refused.value.details == {"current_balance": 500, "required_amount": 501}
    with pytest.raises(ConnectorNotFound):
        await driver.start(CLIENT, 7)
    with pytest.raises(ValidationFailed):
        await driver.start(CLIENT, amount="0.001")

    async def sql(conn: Conn, statement: str) -> None:
        await conn.execute(statement)  # type: ignore[call-overload]

    for statement, error in (
        ("UPDATE stations SET status = 'maintenance'", StationMaintenance),
        ("UPDATE stations SET status = 'inactive'", StationNotFound),
        ("UPDATE stations SET status = 'active', last_heartbeat_at = '2026-01-15 05:49:00+00'", StationOffline),
    ):
        await driver.run(lambda conn, s=statement: sql(conn, s))  # type: ignore[misc]
        with pytest.raises(error):
            await driver.start(CLIENT)
    assert await balance_of(driver.db, CLIENT) == 500


async def test_only_the_owner_stops_a_session(driver: Driver) -> None:
    started = await driver.start(CLIENT, amount="100")
    with pytest.raises(Forbidden):
        await driver.stop(started.session.id, OTHER)


async def test_stop_transaction_and_stop_route_and_sweep_at_once_settle_once(driver: Driver) -> None:
    session_id, transaction = await charge(driver)
    driver.wait(minutes=11)
    await asyncio.gather(
        driver.unplug(transaction, 6000),
        driver.stop(session_id, CLIENT),
        driver.sweep(),
        driver.sweep(),
        driver.unplug(transaction, 6000),
        driver.stop(session_id, CLIENT),
    )
    assert (await driver.session(session_id)).final_amount == Decimal("67.50")
    assert await balance_of(driver.db, CLIENT) == Decimal("432.50")
    assert await money_faults(driver.db) == []


async def test_a_promo_code_lowers_the_bill_and_is_used_once(driver: Driver) -> None:
    async def code(conn: Conn) -> None:
        await conn.execute(
            """INSERT INTO promo_codes (code, discount_type, discount_value, usage_limit)
               VALUES ('TEN', 'percent', 10, 1)"""
        )

    await driver.run(code)
    request = StartRequest(CLIENT, driver.network.station_id, 1, amount_som=Decimal(100), promo_code="ten")
    started = await driver.run(lambda conn: service.start(conn, request, driver.now))
    transaction = (await driver.plug(started.session.id_tag)).transaction_id
    driver.wait(minutes=30)
    await driver.unplug(transaction, 5000)
    assert (await driver.session(started.session.id)).final_amount == Decimal("60.75")
    await driver.alive()
    with pytest.raises(InvalidRequest):
        await driver.run(lambda conn: service.start(conn, request, driver.now))
    assert await money_faults(driver.db) == []


async def test_the_api_role_may_give_up_a_session_with_a_promo_code(
    driver: Driver, make_settings: Callable[..., Settings]
) -> None:
    """The stop route settles a waiting session itself, under row level security."""

    async def code(conn: Conn) -> None:
        await conn.execute("INSERT INTO promo_codes (code, discount_type, discount_value) VALUES ('F5', 'fixed', 5)")

    await driver.run(code)
    api = SingleConnectionDatabase(make_settings(database_role="evpower_api"))
    claims = {"sub": CLIENT}
    request = StartRequest(CLIENT, driver.network.station_id, 1, amount_som=Decimal(100), promo_code="F5")
    try:
        started = await api.run(lambda conn: service.start(conn, request, driver.now), claims=claims)
        stopped = await api.run(
            lambda conn: service.request_stop(
                conn, started.session.id, client_id=CLIENT, initiator="client", reason="client", now=driver.now
            ),
            claims=claims,
        )
    finally:
        await api.close()
    assert (stopped.session.state, stopped.balance) == (SessionState.STOPPED, 500)
    assert await money_faults(driver.db) == []
