"""The local list between operator, server and charger: sent in parts, verified, repaired, emptied, changed by hand."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from evpower.db import Conn, PooledDatabase
from evpower.errors import StateConflict, ValidationFailed
from evpower.local_list import service
from evpower.local_list.models import ListState, ListView, Selection
from infra.local.simulator import ChargePoint
from socket_tier.tier import SocketTier
from tests.fakes.network import Network, balance_of, money_faults
from tests.fakes.raw_charger import RawCharger
from tests.fakes.stations import until
from tests.integration.socket_tier.conftest import MakeTier, url
from tests.integration.socket_tier.operator import STATION, Operator, simulated

CARDS = ("Card-A", "Card-B", "Card-C", "Card-D", "Card-E")


async def cards(operator: Operator) -> None:
    async def work(conn: Conn) -> None:
        for tag in CARDS:
            await conn.execute("INSERT INTO id_tags (id_tag, client_id) VALUES (%s, 'client-1')", (tag,))

    await operator.db.run(work)


async def limits(operator: Operator, *, part: int, whole: int = 500) -> None:
    values = {"SendLocalListMaxLength": part, "LocalAuthListMaxLength": whole, "LocalAuthListEnabled": "true"}

    async def work(conn: Conn) -> None:
        for key, value in values.items():
            await conn.execute(
                """INSERT INTO ocpp_configuration (station_id, key, value) VALUES (%s, %s, %s)
                   ON CONFLICT (station_id, key) DO UPDATE SET value = excluded.value""",
                (STATION, key, str(value)),
            )

    await operator.db.run(work)


async def want(
    operator: Operator, *tags: str, enabled: bool = True, selection: Selection = Selection.CHOSEN
) -> ListView:
    return await operator.db.run(
        lambda conn: service.configure(
            conn, STATION, is_enabled=enabled, selection=selection, id_tags=tags, now=datetime.now(UTC)
        )
    )


async def view(operator: Operator) -> ListView:
    return await operator.db.run(lambda conn: service.view(conn, STATION, datetime.now(UTC)))


async def sync(operator: Operator, *, full: bool = False) -> ListView:
    """Update the list and wait until nothing more follows."""
    await operator.ask(lambda conn: service.sync(conn, STATION, "operator", datetime.now(UTC), full=full))
    await operator.quiet()
    return await view(operator)


@pytest.fixture
async def operator(tier: SocketTier, db: PooledDatabase, network: Network) -> Operator:
    made = Operator(tier, db)
    await cards(made)
    return made


@pytest.fixture
async def point(operator: Operator) -> AsyncIterator[ChargePoint]:
    async with simulated(operator.tier) as point:
        await point.wait_online()
        await operator.booted()
        yield point


def sent(point: ChargePoint) -> list[tuple[int, str, int]]:
    """Version, type and length of each SendLocalList."""
    payloads = [command.payload for command in point.commands if command.action == "SendLocalList"]
    return [(p["listVersion"], p["updateType"], len(p["localAuthorizationList"])) for p in payloads]


async def test_nothing_is_sent_before_an_operator_wants_it(operator: Operator, point: ChargePoint) -> None:
    before = await view(operator)
    assert (before.list.is_enabled, before.wanted, before.held, before.differs) == (False, 0, 0, False)
    assert (await sync(operator)).list.state is ListState.SYNCED
    assert sent(point) == []


async def test_a_list_of_somebody_else_is_emptied_although_nothing_differs_from_ours(
    operator: Operator, point: ChargePoint
) -> None:
    """Its cards would charge while the charger is offline, and nobody would pay."""
    point.local_list.update(
        {
            "listVersion": 57,
            "updateType": "Full",
            "localAuthorizationList": [{"idTag": "FOREIGN", "idTagInfo": {"status": "Accepted"}}],
        },
        longest=10,
    )
    after = await sync(operator)
    assert (after.list.state, after.list.told_version, after.differs) == (ListState.SYNCED, 58, False)
    assert sent(point) == [(58, "Full", 0)]
    assert point.local_list.statuses == {}
    await sync(operator)
    assert [command.action for command in point.commands].count("GetLocalListVersion") == 2  # then it is known


async def test_a_charger_without_lists_is_in_agreement_while_none_is_wanted(operator: Operator) -> None:
    async with RawCharger.open(url(operator.tier)) as charger:
        await charger.call("Heartbeat")
        _, command = await operator.db.run(lambda conn: service.sync(conn, STATION, "operator", datetime.now(UTC)))
        assert command is not None
        operator.tier.dispatcher.submit(STATION, command.id)
        frame = await charger.command("GetLocalListVersion")
        await charger.send([3, frame[1], {"listVersion": -1}])
        await operator.quiet()
    assert (await view(operator)).list.state is ListState.SYNCED


async def test_a_list_goes_in_parts_and_is_verified(operator: Operator, point: ChargePoint) -> None:
    await limits(operator, part=2)
    assert (await want(operator, *CARDS)).differs
    after = await sync(operator, full=True)
    assert sent(point) == [(1, "Full", 2), (2, "Differential", 2), (3, "Differential", 1)]
    assert (after.list.state, after.list.held_version, after.list.told_version) == (ListState.SYNCED, 3, 3)
    assert [(part.state, part.answer) for part in after.parts] == [("accepted", "Accepted")] * 3
    assert not after.differs
    assert point.local_list.statuses == {tag.lower(): "Accepted" for tag in CARDS}
    await want(operator, "Card-A", "card-e")
    after = await sync(operator)
    assert sent(point)[3:] == [(4, "Differential", 2), (5, "Differential", 1)]
    assert set(point.local_list.statuses) == {"card-a", "card-e"}
    assert await sync(operator) == await view(operator)  # in agreement: nothing more is sent
    assert len(sent(point)) == 5


async def test_a_blocked_card_is_pushed_out_by_the_sweep(operator: Operator, point: ChargePoint) -> None:
    await want(operator, selection=Selection.ALL_ACTIVE)
    await sync(operator)
    assert len(point.local_list.statuses) == 5
    await operator.db.run(lambda conn: conn.execute("UPDATE id_tags SET status = 'blocked' WHERE id_tag = 'Card-C'"))
    [holding] = await operator.db.run(
        lambda conn: service.holding_closed_cards(conn, datetime.now(UTC), after="", limit=10)
    )
    command = await operator.db.run(lambda conn: service.revoke_closed_cards(conn, holding, datetime.now(UTC)))
    assert command is not None
    operator.tier.dispatcher.submit(STATION, command.id)
    await operator.quiet()
    assert sent(point)[-1][1:] == ("Differential", 1)
    assert point.local_list.refuses("card-c") is False  # not in the list any more, so not accepted by it either
    assert "card-c" not in point.local_list.statuses
    assert (
        await operator.db.run(lambda conn: service.holding_closed_cards(conn, datetime.now(UTC), after="", limit=10))
        == []
    )


async def test_a_chosen_card_that_is_blocked_stays_in_the_list_as_blocked(
    operator: Operator, point: ChargePoint
) -> None:
    await want(operator, "Card-A")
    await sync(operator)
    await operator.db.run(lambda conn: conn.execute("UPDATE id_tags SET status = 'blocked' WHERE id_tag = 'Card-A'"))
    assert (await sync(operator)).held == 1
    assert point.local_list.refuses("CARD-A")


async def test_switched_off_the_chargers_list_is_emptied(operator: Operator, point: ChargePoint) -> None:
    await want(operator, "Card-A", "Card-B")
    await sync(operator)
    assert (await want(operator, enabled=False)).differs
    after = await sync(operator, full=True)
    assert sent(point)[-1][1:] == ("Full", 0)
    assert (point.local_list.statuses, after.held, after.differs) == ({}, 0, False)


@pytest.mark.parametrize("lost", ["version", "content"])
async def test_a_refused_change_is_followed_by_a_full_list(operator: Operator, point: ChargePoint, lost: str) -> None:
    await want(operator, "Card-A")
    await sync(operator)
    if lost == "version":
        point.local_list.version = 90  # somebody else has written to it
    else:
        point.configuration.values["SendLocalListMaxLength"] = "1"
    await want(operator, "Card-A", "Card-B", "Card-C")
    if lost == "version":
        after = await sync(operator)
        assert [kind for _, kind, _ in sent(point)][-2:] == ["Differential", "Full"]
        assert (after.list.state, after.list.failure, after.differs) == (ListState.SYNCED, None, False)
        assert point.local_list.version == after.list.held_version
    else:
        after = await sync(operator)  # Failed, and the full one too: it is not tried for ever
        assert [kind for _, kind, _ in sent(point)][-2:] == ["Differential", "Full"]
        assert (after.list.state, after.list.failure) == (ListState.FAILED, "Failed")
        await limits(operator, part=1)  # as the next boot reads it
        assert (await sync(operator)).list.state is ListState.SYNCED
        assert len(point.local_list.statuses) == 3


async def test_a_charger_without_lists_says_so(operator: Operator, point: ChargePoint) -> None:
    point.faults.unsupported |= {"SendLocalList"}
    await want(operator, "Card-A")
    after = await sync(operator)
    assert after.list.state is ListState.FAILED
    assert after.list.failure is not None
    assert after.list.failure.startswith("NotImplemented")
    assert (after.held, after.differs) == (0, True)


@pytest.mark.parametrize(("word", "frames"), [("NotSupported", 1), ("Failed", 2), ("VersionMismatch", 2)])
async def test_each_refusal(operator: Operator, word: str, frames: int) -> None:
    await want(operator, "Card-A")
    async with RawCharger.open(url(operator.tier)) as charger:
        await charger.call("Heartbeat")
        _, command = await operator.db.run(lambda conn: service.sync(conn, STATION, "operator", datetime.now(UTC)))
        assert command is not None
        operator.tier.dispatcher.submit(STATION, command.id)
        for _ in range(frames):
            frame = await charger.command("SendLocalList")
            await charger.send([3, frame[1], {"status": word}])
        await operator.quiet()
    after = await view(operator)
    assert (after.list.state, after.list.failure) == (ListState.FAILED, word)


async def test_a_version_that_does_not_agree_brings_a_full_list(operator: Operator) -> None:
    await want(operator, "Card-A")
    async with RawCharger.open(url(operator.tier)) as charger:
        await charger.call("Heartbeat")
        _, command = await operator.db.run(lambda conn: service.sync(conn, STATION, "operator", datetime.now(UTC)))
        assert command is not None
        operator.tier.dispatcher.submit(STATION, command.id)
        for told in (0, 7):
            frame = await charger.command("SendLocalList")
            assert frame[3]["updateType"] == ("Differential" if told == 0 else "Full")
            await charger.send([3, frame[1], {"status": "Accepted"}])
            frame = await charger.command("GetLocalListVersion")
            await charger.send([3, frame[1], {"listVersion": told}])
        await operator.quiet()
    after = await view(operator)
    assert after.list.state is ListState.FAILED
    assert after.list.failure == "the charger names version 7, it took version 2"
    assert after.differs


async def test_while_the_charger_is_away_the_update_waits_and_then_fails(operator: Operator) -> None:
    await want(operator, "Card-A")
    now = datetime.now(UTC)
    made, _ = await operator.db.run(lambda conn: service.sync(conn, STATION, "operator", now))
    assert made.list.state is ListState.SENDING
    with pytest.raises(StateConflict):
        await operator.db.run(lambda conn: service.sync(conn, STATION, "operator", now))
    await operator.db.run(lambda conn: conn.execute("UPDATE station_commands SET status = 'expired', error = 'gone'"))
    after = await view(operator)
    assert (after.list.state, after.list.failure, after.differs) == (ListState.FAILED, "gone", True)
    async with simulated(operator.tier) as point:
        await point.wait_online()
        await operator.booted()
        assert (await sync(operator)).list.state is ListState.SYNCED
        assert [kind for _, kind, _ in sent(point)] == ["Full"]  # nobody knows what the charger got


async def test_a_part_lost_with_its_socket_is_followed_by_a_full_list_on_the_next_instance(
    make_tier: MakeTier, operator: Operator
) -> None:
    other = await make_tier()
    await limits(operator, part=1)
    await want(operator, "Card-A", "Card-B")
    async with RawCharger.open(url(operator.tier)) as charger:
        await charger.call("Heartbeat")
        _, command = await operator.db.run(lambda conn: service.sync(conn, STATION, "operator", datetime.now(UTC)))
        assert command is not None
        operator.tier.dispatcher.submit(STATION, command.id)
        frame = await charger.command("SendLocalList")
        await charger.send([3, frame[1], {"status": "Accepted"}])
        await charger.command("SendLocalList")
        charger.drop()

        async def lost() -> bool:
            return (await view(operator)).list.state is ListState.FAILED

        await until(lost, "the loss to be noticed")
    async with simulated(other) as point:
        await point.wait_online()
        moved = Operator(other, operator.db)
        await moved.booted()
        await limits(moved, part=1)
        after = await sync(moved)
        assert (after.list.state, after.differs) == (ListState.SYNCED, False)
        assert sent(point) == [(3, "Full", 1), (4, "Differential", 1)]


async def test_what_may_be_in_a_list(operator: Operator) -> None:
    with pytest.raises(ValidationFailed, match="no card has the tag NOBODYS"):
        await want(operator, "Card-A", "nobodys")
    await limits(operator, part=10, whole=2)
    with pytest.raises(ValidationFailed, match="at most 2"):
        await want(operator, "Card-A", "Card-B", "Card-C")
    await want(operator, selection=Selection.ALL_ACTIVE)
    with pytest.raises(ValidationFailed, match="at most 2"):
        await operator.db.run(lambda conn: service.sync(conn, STATION, "operator", datetime.now(UTC)))


async def test_lists_by_hand_keep_the_stored_state_right(operator: Operator, point: ChargePoint) -> None:
    await want(operator, "Card-A")
    await sync(operator)
    item = {"idTag": "Stranger", "idTagInfo": {"status": "Accepted"}}
    await operator.raw("SendLocalList", listVersion=40, updateType="Differential", localAuthorizationList=[item])
    after = await view(operator)
    assert (after.held, after.list.held_version, after.list.state, after.differs) == (2, 40, ListState.IDLE, True)
    assert (await sync(operator)).list.held_version == 41
    assert set(point.local_list.statuses) == {"card-a"}
    point.local_list.version, point.local_list.statuses = 0, {}  # factory reset
    await operator.raw("GetLocalListVersion")
    assert (await view(operator)).differs
    await sync(operator)
    assert sent(point)[-1][1:] == ("Full", 1)


async def test_an_offline_start_by_the_list_is_billed_afterwards(operator: Operator, point: ChargePoint) -> None:
    await want(operator, "Card-A")
    await sync(operator)
    before = await balance_of(operator.db, "client-1")
    # A connector so strong that the energy of a moment is believed.
    await operator.db.run(lambda conn: conn.execute("UPDATE connectors SET power_kw = 900000"))
    point.go_offline()
    await point.wait_for(lambda: not point.link.is_online)
    assert await point.start_with_tag(1, "card-a") is not None
    point.outlets[1].register_wh += 1000
    point.stop_locally(1)
    point.go_online()
    await point.wait_online()

    async def settled() -> bool:
        row = await operator.one("SELECT count(*) AS n FROM charging_sessions WHERE state = 'stopped'")
        return bool(row["n"] == 1)

    await until(settled, "the bill")
    session: dict[str, Any] = await operator.one("SELECT energy, final_amount, start_source FROM charging_sessions")
    assert (session["start_source"], float(session["energy"])) == ("rfid", 1.0)
    assert await balance_of(operator.db, "client-1") == before - session["final_amount"]
    assert await money_faults(operator.db) == []
