"""Reservations between operator, server and charger: kept, used, refused, cancelled, run out, forgotten, by hand."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from evpower.charging import service as charging
from evpower.charging.models import StartRequest
from evpower.clock import iso_z
from evpower.commands.models import CommandStatus
from evpower.db import PooledDatabase
from evpower.errors import ConnectorOccupied, NotFound, StateConflict, ValidationFailed
from evpower.reservations import service
from evpower.reservations.models import NewReservation, Reservation, ReservationState
from infra.local.simulator import ChargePoint
from socket_tier.tier import SocketTier
from tests.fakes.network import Network, money_faults
from tests.fakes.raw_charger import RawCharger
from tests.fakes.stations import until
from tests.integration.socket_tier.conftest import MakeTier, url
from tests.integration.socket_tier.operator import STATION, Operator, simulated, status_is


def soon(seconds: float = 600) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


def wish(connector: int = 1, *, expires_at: datetime | None = None, **whom: str) -> NewReservation:
    return NewReservation(STATION, connector, expires_at or soon(), "operator", **(whom or {"id_tag": "CARD-8"}))


async def card(db: PooledDatabase, tag: str, client_id: str = "client-1") -> None:
    await db.run(lambda conn: conn.execute("INSERT INTO id_tags (id_tag, client_id) VALUES (%s, %s)", (tag, client_id)))


async def reserve(operator: Operator, new: NewReservation) -> Reservation:
    made = await operator.ask(lambda conn: service.create(conn, new, datetime.now(UTC)))
    return await read(operator, made.reservation_id)


async def read(operator: Operator, number: int) -> Reservation:
    return await operator.db.run(lambda conn: service.get(conn, STATION, number, datetime.now(UTC)))


async def start(operator: Operator, client_id: str, connector: int = 1) -> str:
    started = await operator.db.run(
        lambda conn: charging.start(conn, StartRequest(client_id, STATION, connector), datetime.now(UTC))
    )
    operator.tier.dispatcher.submit(STATION, started.command_id)
    return started.session.id


@pytest.fixture
async def network(network: Network, db: PooledDatabase) -> Network:
    """With cards of the second client."""
    for tag in ("CARD-2", "CARD-8", "OTHER"):
        await card(db, tag, "client-2")
    return network


@pytest.fixture
async def operator(tier: SocketTier, db: PooledDatabase, network: Network) -> Operator:
    return Operator(tier, db)


@pytest.fixture
async def point(operator: Operator) -> AsyncIterator[ChargePoint]:
    async with simulated(operator.tier) as point:
        await point.wait_online()
        await operator.booted()
        yield point


async def test_a_client_starts_at_the_connector_that_is_kept_for_it_and_nobody_else_does(
    operator: Operator, point: ChargePoint
) -> None:
    made = await reserve(operator, wish(client_id="client-1"))
    assert (made.state, made.is_for_app) == (ReservationState.ACCEPTED, True)
    await status_is(operator, 1, "Reserved")
    with pytest.raises(ConnectorOccupied):
        await start(operator, "client-2")
    session_id = await start(operator, "client-1")
    await until(lambda: point.outlets[1].transaction, "the car to charge")

    async def used() -> bool:
        return (await read(operator, made.reservation_id)).state is ReservationState.USED

    await until(used, "the reservation to be used")
    ended = await read(operator, made.reservation_id)
    row = await operator.one("SELECT state, ocpp_transaction_id FROM charging_sessions WHERE id = %s", session_id)
    assert (ended.session_id, ended.transaction_id) == (session_id, row["ocpp_transaction_id"])
    assert row["state"] == "charging"
    assert await money_faults(operator.db) == []


@pytest.mark.parametrize("whom", [{"client_id": "client-1"}, {"id_tag": "CARD-1"}])
async def test_a_reservation_takes_its_locks_in_the_order_of_a_start(operator: Operator, whom: dict[str, str]) -> None:
    """Client before connector: else a start of that client and the reservation would wait for each other."""
    await operator.db.run(
        lambda conn: conn.execute("INSERT INTO id_tags (id_tag, client_id) VALUES ('Card-1', 'client-1')")
    )
    async with operator.db.transaction() as start:
        await start.execute("SELECT FROM clients WHERE id = 'client-1' FOR UPDATE")
        making = asyncio.ensure_future(
            operator.db.run(lambda conn: service.create(conn, wish(**whom), datetime.now(UTC)))
        )

        async def waits() -> bool:
            row = await operator.one("SELECT count(*) AS n FROM pg_locks WHERE NOT granted")
            return bool(row["n"])

        await until(waits, "the reservation to wait for the client")
        await start.execute(
            "SELECT FROM connectors WHERE station_id = %s AND connector_number = 1 FOR UPDATE NOWAIT", (STATION,)
        )
    await making


async def test_a_card_uses_its_reservation_at_the_charger(operator: Operator, point: ChargePoint) -> None:
    await operator.db.run(
        lambda conn: conn.execute("INSERT INTO id_tags (id_tag, client_id) VALUES ('Card-1', 'client-1')")
    )
    made = await reserve(operator, wish(id_tag="CARD-1"))
    assert (made.client_id, made.is_for_app) == ("client-1", False)
    with pytest.raises(ConnectorOccupied):  # its owner's phone would send a tag that the charger does not know
        await start(operator, "client-1")
    assert await point.start_with_tag(1, "CARD-2") is None
    assert await point.start_with_tag(1, "card-1") is not None

    async def used() -> bool:
        found = await read(operator, made.reservation_id)
        return found.state is ReservationState.USED and found.session_id is not None

    await until(used, "the reservation to be used")


@pytest.mark.parametrize("word", ["Faulted", "Occupied", "Rejected", "Unavailable"])
async def test_a_refusal_is_kept_in_the_chargers_word(operator: Operator, word: str) -> None:
    async with RawCharger.open(url(operator.tier)) as charger:
        await charger.call("Heartbeat")
        made, command = await operator.db.run(lambda conn: service.create(conn, wish(), datetime.now(UTC)))
        operator.tier.dispatcher.submit(STATION, command.id)
        frame = await charger.command("ReserveNow")
        assert frame[3] == {
            "connectorId": 1,
            "expiryDate": iso_z(made.expires_at),
            "idTag": "CARD-8",
            "reservationId": made.reservation_id,
        }
        await charger.send([3, frame[1], {"status": word}])
        await operator.ended(command.id)
    ended = await read(operator, made.reservation_id)
    assert (ended.state, ended.refusal) == (ReservationState.REJECTED, word)
    with pytest.raises(StateConflict):
        await operator.db.run(lambda conn: service.cancel(conn, STATION, made.reservation_id, "x", datetime.now(UTC)))


async def test_a_charger_that_cannot_reserve_fails_the_reservation(operator: Operator) -> None:
    async with simulated(operator.tier) as point:
        point.faults.unsupported |= {"ReserveNow"}
        await point.wait_online()
        made = await reserve(operator, wish())
        assert made.state is ReservationState.FAILED
        assert made.refusal is not None
        assert made.refusal.startswith("NotImplemented")
        assert (await reserve(operator, wish())).state is ReservationState.FAILED  # the connector is not kept


async def test_while_the_charger_is_away_the_wish_waits_and_then_fails(operator: Operator) -> None:
    made, _ = await operator.db.run(lambda conn: service.create(conn, wish(), datetime.now(UTC)))
    assert made.state is ReservationState.REQUESTED
    with pytest.raises(ConnectorOccupied) as refused:
        await operator.db.run(lambda conn: service.create(conn, wish(id_tag="OTHER"), datetime.now(UTC)))
    assert refused.value.details == {"reservation_id": made.reservation_id}
    await operator.db.run(
        lambda conn: conn.execute("UPDATE station_commands SET status = 'expired', error = 'not delivered'")
    )
    failed = await read(operator, made.reservation_id)
    assert (failed.state, failed.refusal) == (ReservationState.FAILED, "not delivered")


async def test_any_connector_is_reserved_only_where_the_charger_can(operator: Operator) -> None:
    async with RawCharger.open(url(operator.tier)) as charger:
        await charger.call("Heartbeat")
        made, command = await operator.db.run(
            lambda conn: service.create(conn, wish(0, client_id="client-1"), datetime.now(UTC))
        )
        operator.tier.dispatcher.submit(STATION, command.id)
        frame = await charger.command("ReserveNow")
        await charger.send([3, frame[1], {"status": "Accepted"}])
        await operator.ended(command.id)
        await start(operator, "client-2", 1)  # the charger knows which connector it keeps free
        frame = await charger.command("RemoteStartTransaction")
        assert frame[3]["idTag"] != made.id_tag
        await charger.send([3, frame[1], {"status": "Accepted"}])
        await start(operator, "client-1", 2)
        frame = await charger.command("RemoteStartTransaction")
        assert frame[3] == {"connectorId": 2, "idTag": made.id_tag}
        await charger.send([3, frame[1], {"status": "Accepted"}])
        begin = {"connectorId": 2, "idTag": made.id_tag.lower(), "meterStart": 0, "timestamp": iso_z(datetime.now(UTC))}
        await charger.call("StartTransaction", **begin)  # without the reservation's number
    assert (await read(operator, made.reservation_id)).state is ReservationState.USED
    await operator.db.run(
        lambda conn: conn.execute(
            """INSERT INTO ocpp_configuration (station_id, key, value)
               VALUES (%s, 'ReserveConnectorZeroSupported', 'false')""",
            (STATION,),
        )
    )
    with pytest.raises(ValidationFailed):
        await operator.db.run(lambda conn: service.create(conn, wish(0), datetime.now(UTC)))


async def test_of_two_wishes_at_once_one_is_asked_for(operator: Operator) -> None:
    async def create(tag: str) -> Reservation | ConnectorOccupied:
        try:
            made, _ = await operator.db.run(lambda conn: service.create(conn, wish(1, id_tag=tag), datetime.now(UTC)))
        except ConnectorOccupied as refused:
            return refused
        return made

    tags = ("CARD-4", "CARD-5", "CARD-6", "CARD-7")
    for tag in tags:
        await card(operator.db, tag)
    results = await asyncio.gather(*(create(tag) for tag in tags))
    assert [type(result) for result in results].count(ConnectorOccupied) == 3


@pytest.mark.parametrize("when", [timedelta(0), timedelta(days=8)])
async def test_a_reservation_ends_in_the_next_days(operator: Operator, when: timedelta) -> None:
    new = wish(expires_at=datetime.now(UTC) + when)
    with pytest.raises(ValidationFailed):
        await operator.db.run(lambda conn: service.create(conn, new, datetime.now(UTC)))


async def test_a_reservation_is_cancelled(operator: Operator, point: ChargePoint) -> None:
    made = await reserve(operator, wish())
    await operator.ask(lambda conn: service.cancel(conn, STATION, made.reservation_id, "operator", datetime.now(UTC)))
    assert (await read(operator, made.reservation_id)).state is ReservationState.CANCELLED
    assert point.outlets[1].reservation is None
    await status_is(operator, 1, "Available")
    assert (await reserve(operator, wish())).state is ReservationState.ACCEPTED


async def test_a_reservation_does_not_overtake_the_cancellation_of_the_one_before(
    operator: Operator, point: ChargePoint
) -> None:
    """Use case: the function dies, or SQS is away, between the commit of CancelReservation and its queue message."""
    made = await reserve(operator, wish())
    now = datetime.now(UTC)
    _, lost = await operator.db.run(lambda conn: service.cancel(conn, STATION, made.reservation_id, "operator", now))
    assert lost is not None
    again = await reserve(operator, wish(id_tag="CARD-2"))
    assert (again.state, again.refusal) == (ReservationState.ACCEPTED, None)
    assert (await operator.ended(lost.id)).status is CommandStatus.ACCEPTED
    assert (await read(operator, made.reservation_id)).state is ReservationState.CANCELLED
    assert point.outlets[1].reservation is not None


async def test_a_cancellation_does_not_overtake_its_reservation(operator: Operator, point: ChargePoint) -> None:
    """Else the charger would keep a connector for a reservation that is over here, and nobody would let it go."""
    made, lost = await operator.db.run(lambda conn: service.create(conn, wish(), datetime.now(UTC)))
    # Its socket was lost with the first attempt: it may have reached the charger.
    await operator.db.run(lambda conn: conn.execute("UPDATE station_commands SET attempt = 2 WHERE status = 'queued'"))
    await operator.ask(lambda conn: service.cancel(conn, STATION, made.reservation_id, "operator", datetime.now(UTC)))
    assert (await operator.ended(lost.id)).status is CommandStatus.ACCEPTED
    ended = await read(operator, made.reservation_id)
    assert (ended.state, ended.refusal) == (ReservationState.CANCELLED, None)
    assert point.outlets[1].reservation is None


async def test_a_reservation_that_was_never_sent_is_taken_back(operator: Operator) -> None:
    """Use case: the charger is away, and must not keep the connector when it is back."""
    made, waiting = await operator.db.run(lambda conn: service.create(conn, wish(), datetime.now(UTC)))
    ended, command = await operator.db.run(
        lambda conn: service.cancel(conn, STATION, made.reservation_id, "operator", datetime.now(UTC))
    )
    assert (ended.state, ended.ended_at is not None, command) == (ReservationState.CANCELLED, True, None)
    assert (await operator.ended(waiting.id)).status is CommandStatus.CANCELLED
    async with simulated(operator.tier) as point:
        await point.wait_online()
        await operator.booted()
        assert not {"ReserveNow", "CancelReservation"} & {command.action for command in point.commands}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("DELETE FROM id_tags", "no card has the tag CARD-8: create it at /admin/id-tags"),
        ("UPDATE id_tags SET status = 'blocked'", "the card CARD-8 is blocked"),
        ("UPDATE id_tags SET expires_at = '2020-01-01Z'", "the card CARD-8 has expired"),
    ],
)
async def test_nothing_is_kept_for_a_card_that_cannot_charge(operator: Operator, change: str, why: str) -> None:
    """A mistyped tag would keep the connector from everybody, for days."""
    await operator.db.run(lambda conn: conn.execute(change.encode()))
    with pytest.raises(ValidationFailed) as refused:
        await operator.db.run(lambda conn: service.create(conn, wish(), datetime.now(UTC)))
    assert why in str(refused.value)


async def test_a_reservation_that_the_charger_does_not_know_is_over(operator: Operator, point: ChargePoint) -> None:
    made = await reserve(operator, wish())
    point.outlets[1].reservation = None  # a charger that forgets without a word
    await operator.ask(lambda conn: service.cancel(conn, STATION, made.reservation_id, "operator", datetime.now(UTC)))
    ended = await read(operator, made.reservation_id)
    assert (ended.state, ended.refusal) == (ReservationState.CANCELLED, "not known to the charger")


async def test_a_reservation_runs_out_at_the_charger_and_here(operator: Operator, point: ChargePoint) -> None:
    made = await reserve(operator, wish(expires_at=soon(1.0)))
    assert made.state is ReservationState.ACCEPTED
    await status_is(operator, 1, "Reserved")
    await status_is(operator, 1, "Available")
    assert (await read(operator, made.reservation_id)).state is ReservationState.EXPIRED
    assert await start(operator, "client-2")


async def test_the_sweep_writes_down_what_is_over(operator: Operator, point: ChargePoint) -> None:
    accepted = await reserve(operator, wish(1))
    unanswered, _ = await operator.db.run(lambda conn: service.create(conn, wish(2), datetime.now(UTC)))
    await operator.db.run(
        lambda conn: conn.execute(
            "UPDATE station_commands SET status = 'expired', error = 'gone' WHERE id = %s", (unanswered.command_id,)
        )
    )
    later = soon(3600)
    assert await operator.db.run(lambda conn: service.expire(conn, later, 1)) == 1
    assert await operator.db.run(lambda conn: service.expire(conn, later, 10)) == 1
    assert await operator.db.run(lambda conn: service.expire(conn, later, 10)) == 0
    stored = [
        (await operator.one("SELECT state FROM reservations WHERE reservation_id = %s", made.reservation_id))["state"]
        for made in (accepted, unanswered)
    ]
    assert stored == ["expired", "failed"]


async def test_a_charger_that_was_restarted_and_forgot_tells_so_by_its_status(
    operator: Operator, point: ChargePoint
) -> None:
    made = await reserve(operator, wish())
    await status_is(operator, 1, "Reserved")
    point.outlets[1].reservation = None
    point.charging.set_status(point.outlets[1], "Available")
    await status_is(operator, 1, "Available")
    ended = await read(operator, made.reservation_id)
    assert (ended.state, ended.refusal) == (ReservationState.CANCELLED, "released by the charger")


async def test_a_lost_answer_is_made_good_by_the_connectors_status(
    make_tier: MakeTier, db: PooledDatabase, network: Network
) -> None:
    tier = await make_tier(ocpp_call_timeout_s=0.1)
    operator = Operator(tier, db)
    async with RawCharger.open(url(tier)) as charger:
        await charger.call("Heartbeat")
        made = await reserve(operator, wish())
        assert made.state is ReservationState.FAILED
        await charger.call("StatusNotification", connectorId=1, status="Reserved", errorCode="NoError")
        assert (await read(operator, made.reservation_id)).state is ReservationState.ACCEPTED


async def test_a_start_tells_of_a_reservation_whose_answer_was_lost(
    make_tier: MakeTier, db: PooledDatabase, network: Network
) -> None:
    tier = await make_tier(ocpp_call_timeout_s=0.1)
    operator = Operator(tier, db)
    await db.run(lambda conn: conn.execute("INSERT INTO id_tags (id_tag, client_id) VALUES ('CARD-1', 'client-1')"))
    async with RawCharger.open(url(tier)) as charger:
        await charger.call("Heartbeat")
        made = await reserve(operator, wish())
        begin: dict[str, Any] = {
            "connectorId": 1,
            "idTag": "CARD-1",
            "meterStart": 10,
            "timestamp": iso_z(datetime.now(UTC)),
            "reservationId": made.reservation_id,
        }
        first = await charger.call("StartTransaction", **begin)
        assert await charger.call("StartTransaction", **begin) == first
    ended = await read(operator, made.reservation_id)
    assert (ended.state, ended.transaction_id) == (ReservationState.USED, first["transactionId"])


async def test_commands_by_hand_keep_the_stored_state_right(operator: Operator, point: ChargePoint) -> None:
    await operator.raw("ReserveNow", connectorId=2, expiryDate=iso_z(soon()), idTag="BYHAND", reservationId=77)
    found = await read(operator, 77)
    assert (found.state, found.connector_id, found.id_tag) == (ReservationState.ACCEPTED, 2, "BYHAND")
    with pytest.raises(ConnectorOccupied):
        await start(operator, "client-1", 2)
    await operator.raw("ReserveNow", connectorId=2, expiryDate=iso_z(soon()), idTag="OTHER", reservationId=78)
    with pytest.raises(NotFound):
        await read(operator, 78)  # Occupied: nothing is kept
    await operator.raw("CancelReservation", reservationId=77)
    assert (await read(operator, 77)).state is ReservationState.CANCELLED
