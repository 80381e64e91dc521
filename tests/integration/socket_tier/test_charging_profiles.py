"""Charging profiles between operator, server and charger: obeyed, refused, replaced, cleared, ended, made by hand."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from evpower.charging import service as charging
from evpower.charging.models import StartRequest
from evpower.db import PooledDatabase
from evpower.errors import ConnectorNotFound, NotFound, StateConflict, ValidationFailed
from evpower.smart_charging import service
from evpower.smart_charging.composite import differences
from evpower.smart_charging.models import (
    Kind,
    NewProfile,
    Period,
    Profile,
    ProfileState,
    Purpose,
    RateUnit,
    Schedule,
    Segment,
    StoredProfile,
)
from infra.local.simulator import ChargePoint
from infra.local.simulator.profiles import Profiles
from socket_tier.tier import SocketTier
from tests.fakes.network import Network
from tests.fakes.raw_charger import RawCharger
from tests.fakes.stations import until
from tests.integration.socket_tier.conftest import MakeTier, url
from tests.integration.socket_tier.operator import STATION, Operator, simulated, status_is


def profile(limit: int, purpose: Purpose = Purpose.TX_DEFAULT, level: int = 0, **values: Any) -> Profile:
    schedule = Schedule(values.pop("unit", RateUnit.WATT), (Period(0, Decimal(limit)),))
    kind = Kind.ABSOLUTE if purpose is Purpose.CHARGE_POINT_MAX else Kind.RELATIVE
    return Profile(0, level, purpose, kind, schedule, **values)


def wish(connector: int, wanted: Profile) -> NewProfile:
    return NewProfile(STATION, connector, wanted, "operator")


async def put(operator: Operator, connector: int, wanted: Profile) -> StoredProfile:
    """Create the profile; how it stands once the charger has answered."""
    made = await operator.ask(lambda conn: service.create(conn, wish(connector, wanted), datetime.now(UTC)))
    return await read(operator, made.number)


async def read(operator: Operator, number: int) -> StoredProfile:
    return await operator.db.run(lambda conn: service.get(conn, STATION, number))


async def swap(operator: Operator, old: StoredProfile, limit: int) -> StoredProfile:
    wanted = replace(profile(limit, old.purpose, old.stack_level), number=old.number)
    await operator.ask(lambda conn: service.replace(conn, wish(old.connector_id, wanted), datetime.now(UTC)))
    return await read(operator, old.number)


def limit_of(stored: Profile | None) -> int | None:
    return None if stored is None else int(stored.schedule.periods[0].limit)


async def charge(operator: Operator, point: ChargePoint) -> int:
    """A running transaction on connector 1; its id."""
    started = await operator.db.run(
        lambda conn: charging.start(conn, StartRequest("client-1", STATION, 1), datetime.now(UTC))
    )
    operator.tier.dispatcher.submit(STATION, started.command_id)
    await until(lambda: point.outlets[1].transaction and point.outlets[1].transaction.transaction_id, "the transaction")
    await status_is(operator, 1, "Charging")
    transaction = point.outlets[1].transaction
    assert transaction is not None
    assert transaction.transaction_id is not None
    return transaction.transaction_id


def power(point: ChargePoint) -> int:
    return round(point.outlets[1].power_now_w())


@pytest.fixture
async def operator(tier: SocketTier, db: PooledDatabase, network: Network) -> Operator:
    return Operator(tier, db)


@pytest.fixture
async def point(operator: Operator) -> AsyncIterator[ChargePoint]:
    async with simulated(operator.tier, sample_interval_s=0.1) as point:
        await point.wait_online()
        await operator.booted()
        yield point


async def agrees(operator: Operator, point: ChargePoint, connector: int) -> list[Segment]:
    """The charger's composite schedule, after proving that it is the one that we expect."""

    async def work(conn: Any) -> tuple[Any, Any]:
        command = await service.ask_composite(
            conn,
            STATION,
            connector_id=connector,
            seconds=3600,
            unit=RateUnit.WATT,
            requested_by="operator",
            now=datetime.now(UTC),
        )
        return command, command

    command = await operator.ended((await operator.ask(work)).id)
    assert command.response is not None
    assert command.response["status"] == "Accepted"
    start = datetime.fromisoformat(command.response["scheduleStart"])
    told = [
        Segment(period["startPeriod"], Decimal(str(period["limit"])))
        for period in command.response["chargingSchedule"]["chargingSchedulePeriod"]
    ]
    ours = await operator.db.run(lambda conn: service.expectation(conn, STATION, connector, start, 3600, RateUnit.WATT))
    assert differences(ours, told) == []
    return told


async def test_the_car_obeys_the_profiles_and_the_schedules_agree(operator: Operator, point: ChargePoint) -> None:
    ceiling = await put(operator, 0, profile(15_000, Purpose.CHARGE_POINT_MAX))
    default = await put(operator, 0, profile(12_000))
    own = await put(operator, 1, profile(9_000))
    assert [p.state for p in (ceiling, default, own)] == [ProfileState.ACTIVE] * 3
    transaction_id = await charge(operator, point)
    await until(lambda: power(point) == 9_000, "the connector's own default")
    mine = await put(operator, 1, profile(6_000, Purpose.TX))
    assert (mine.state, mine.transaction_id) == (ProfileState.ACTIVE, transaction_id)
    assert power(point) == 6_000
    assert await agrees(operator, point, 1) == [Segment(0, Decimal("6000.0"))]
    assert await agrees(operator, point, 2) == [Segment(0, Decimal("12000.0"))]
    assert await agrees(operator, point, 0) == [Segment(0, Decimal("15000.0"))]
    stopped = await put(operator, 1, profile(0, Purpose.TX, level=1))
    await status_is(operator, 1, "SuspendedEVSE")
    await operator.ask(lambda conn: service.delete(conn, STATION, stopped.number, "operator", datetime.now(UTC)))
    assert (await read(operator, stopped.number)).state is ProfileState.CLEARED
    await status_is(operator, 1, "Charging")
    point.stop_locally(1)

    async def over() -> bool:
        return (await read(operator, mine.number)).state is ProfileState.ENDED

    await until(over, "the profile to end with its transaction")
    assert await operator.db.run(lambda conn: service.end(conn, datetime.now(UTC), 10)) == 1
    assert await operator.db.run(lambda conn: service.end(conn, datetime.now(UTC), 10)) == 0
    assert await agrees(operator, point, 1) == [Segment(0, Decimal("9000.0"))]


async def test_a_profile_is_replaced_only_when_the_charger_takes_the_new_one(
    operator: Operator, point: ChargePoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await put(operator, 1, profile(9_000))
    second = await swap(operator, first, 7_000)
    assert (second.state, limit_of(second.profile), second.wanted) == (ProfileState.ACTIVE, 7_000, None)
    monkeypatch.setattr(Profiles, "put", lambda *_args, **_named: "Rejected")  # a charger in a mood
    third = await swap(operator, first, 5_000)
    assert (third.state, limit_of(third.profile), third.refusal) == (ProfileState.ACTIVE, 7_000, "Rejected")
    refused = await put(operator, 2, profile(5_000))
    assert (refused.state, refused.refusal) == (ProfileState.REJECTED, "Rejected")


@pytest.mark.parametrize(("answer", "refusal"), [("NotSupported", "NotSupported"), (None, "NotImplemented")])
async def test_a_charger_without_smart_charging(operator: Operator, answer: str | None, refusal: str) -> None:
    async with RawCharger.open(url(operator.tier)) as charger:
        await charger.call("Heartbeat")
        made, command = await operator.db.run(
            lambda conn: service.create(conn, wish(1, profile(9_000)), datetime.now(UTC))
        )
        operator.tier.dispatcher.submit(STATION, command.id)
        frame = await charger.command("SetChargingProfile")
        assert frame[3]["csChargingProfiles"]["chargingProfileId"] == made.number
        await charger.send([3, frame[1], {"status": answer}] if answer else [4, frame[1], "NotImplemented", "", {}])
        await operator.ended(command.id)
    stored = await read(operator, made.number)
    assert stored.state is (ProfileState.REJECTED if answer else ProfileState.FAILED)
    assert stored.refusal is not None
    assert stored.refusal.startswith(refusal)


async def test_a_lost_answer_is_asked_for_again_by_the_operator(
    make_tier: MakeTier, db: PooledDatabase, network: Network
) -> None:
    operator = Operator(await make_tier(ocpp_call_timeout_s=0.1), db)
    async with RawCharger.open(url(operator.tier)) as charger:
        await charger.call("Heartbeat")
        lost = await put(operator, 1, profile(9_000))
        await charger.command("SetChargingProfile")
        assert lost.state is ProfileState.FAILED
        await operator.db.run(lambda conn: service.end(conn, datetime.now(UTC), 10))
        assert (await read(operator, lost.number)).state is ProfileState.FAILED
        _, command = await operator.db.run(
            lambda conn: service.resend(conn, STATION, lost.number, "operator", datetime.now(UTC))
        )
        with pytest.raises(StateConflict):
            await operator.db.run(
                lambda conn: service.resend(conn, STATION, lost.number, "operator", datetime.now(UTC))
            )
        operator.tier.dispatcher.submit(STATION, command.id)
        frame = await charger.command("SetChargingProfile")
        await charger.send([3, frame[1], {"status": "Accepted"}])
        await operator.ended(command.id)
    assert (await read(operator, lost.number)).state is ProfileState.ACTIVE


async def test_while_the_charger_is_away_the_profile_waits(operator: Operator) -> None:
    made, _ = await operator.db.run(lambda conn: service.create(conn, wish(1, profile(9_000)), datetime.now(UTC)))
    assert (made.state, made.asking) == (ProfileState.REQUESTED, True)
    async with simulated(operator.tier) as point:
        await point.wait_online()

        async def taken() -> bool:
            return (await read(operator, made.number)).state is ProfileState.ACTIVE

        await until(taken, "the profile to be taken")


async def test_what_cannot_be_asked_for(operator: Operator, point: ChargePoint) -> None:
    first = await put(operator, 1, profile(9_000))
    with pytest.raises(StateConflict) as taken:
        await put(operator, 1, profile(8_000))
    assert taken.value.details == {"profile_id": first.number}
    with pytest.raises(StateConflict, match="transaction"):
        await put(operator, 1, profile(8_000, Purpose.TX))
    with pytest.raises(ConnectorNotFound):
        await put(operator, 7, profile(8_000))
    with pytest.raises(ValidationFailed, match="up to 8"):  # as its configuration says
        await put(operator, 1, profile(8_000, level=9))
    wanted = replace(profile(1), number=first.number)
    with pytest.raises(ValidationFailed, match="stays at its connector"):
        await operator.db.run(lambda conn: service.replace(conn, wish(2, wanted), datetime.now(UTC)))
    with pytest.raises(NotFound):
        await read(operator, 10**6)
    await operator.db.run(
        lambda conn: conn.execute(
            "UPDATE ocpp_configuration SET value = '1' WHERE key = 'MaxChargingProfilesInstalled'"
        )
    )
    with pytest.raises(ValidationFailed, match="at most 1"):
        await put(operator, 2, profile(8_000))


async def test_profiles_are_cleared_by_criteria(operator: Operator, point: ChargePoint) -> None:
    made = [
        await put(operator, 0, profile(15_000, Purpose.CHARGE_POINT_MAX)),
        await put(operator, 1, profile(9_000)),
        await put(operator, 2, profile(8_000, level=2)),
    ]

    async def clear(**criteria: Any) -> list[ProfileState]:
        wanted = {"connector_id": None, "purpose": None, "stack_level": None, **criteria}

        async def work(conn: Any) -> tuple[Any, Any]:
            command = await service.clear(conn, STATION, requested_by="operator", now=datetime.now(UTC), **wanted)
            return command, command

        await operator.ask(work)
        return [(await read(operator, stored.number)).state for stored in made]

    active, gone = ProfileState.ACTIVE, ProfileState.CLEARED
    assert await clear(purpose=Purpose.TX_DEFAULT, stack_level=2) == [active, active, gone]
    assert await clear(connector_id=1) == [active, gone, gone]
    point.profiles.kept.clear()  # factory reset: the answer is Unknown, and nothing is in force
    assert await clear() == [gone, gone, gone]
    assert (await read(operator, made[0].number)).refusal == "not known to the charger"
    assert await agrees(operator, point, 0) == [Segment(0, Decimal("44000.0"))]


async def test_profiles_by_hand_keep_the_stored_state_right(operator: Operator, point: ChargePoint) -> None:
    managed = await put(operator, 1, profile(9_000))
    wire = replace(profile(4_000), number=500).to_wire()
    await operator.raw("SetChargingProfile", connectorId=1, csChargingProfiles=wire)
    by_hand = await read(operator, 500)
    assert (by_hand.state, limit_of(by_hand.profile)) == (ProfileState.ACTIVE, 4_000)
    replaced = await read(operator, managed.number)
    assert (replaced.state, replaced.refusal) == (ProfileState.CLEARED, "replaced by profile 500")
    assert await agrees(operator, point, 1) == [Segment(0, Decimal("4000.0"))]
    await operator.raw("ClearChargingProfile", chargingProfilePurpose="TxDefaultProfile")
    assert (await read(operator, 500)).state is ProfileState.CLEARED
    assert point.profiles.kept == {}
