"""A new AuthorizationKey on its way into a charger: nobody is locked out, whatever happens on the way."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from evpower.commands import service as commands
from evpower.commands.models import Command, CommandStatus, NewCommand
from evpower.db import Conn, PooledDatabase
from evpower.stations import key_rotation
from evpower.stations import service as stations
from evpower.stations.failures import CredentialsConflict
from infra.local.simulator import ChargePoint, Faults
from socket_tier.tier import SocketTier
from tests.fakes.network import Network
from tests.fakes.raw_charger import RawCharger
from tests.fakes.stations import until
from tests.integration.socket_tier.conftest import MakeTier, url
from tests.integration.socket_tier.test_security_profiles import sql
from tests.integration.socket_tier.test_upgrade import KEY, refused

STATION = "station-1"


@pytest.fixture
async def guarded(make_tier: MakeTier, network: Network, db: PooledDatabase) -> SocketTier:
    """A tier that asks for keys, and a station that has one."""
    await db.run(lambda conn: stations.set_authorization_key(conn, STATION, KEY))
    return await make_tier(allow_unauthenticated_stations=False, ocpp_call_timeout_s=1.0)


@asynccontextmanager
async def charge_point(tier: SocketTier, password: str | None = KEY, **faults: Any) -> AsyncIterator[ChargePoint]:
    point = ChargePoint(
        f"ws://127.0.0.1:{tier.port}/ocpp", STATION, password=password, connectors=1, faults=Faults(**faults)
    )
    async with point:
        await point.wait_online()
        yield point


async def rotate(tier: SocketTier, db: PooledDatabase) -> Command:
    """As the route does it: commit, then hand the command over."""
    _, command = await db.run(lambda conn: key_rotation.send_new_key(conn, STATION, "staff:test", datetime.now(UTC)))
    tier.dispatcher.drain_soon([STATION])
    return command


async def status_of(db: PooledDatabase, command: Command) -> CommandStatus:
    found = await db.run(lambda conn: commands.get(conn, command.id))
    assert found is not None
    return found.status


async def ended(db: PooledDatabase, command: Command) -> CommandStatus:
    async def is_over() -> bool:
        return (await status_of(db, command)).terminal

    await until(is_over, "the command to end")
    return await status_of(db, command)


async def candidates(db: PooledDatabase) -> list[str]:
    _, found = await db.run(lambda conn: key_rotation.overview(conn, STATION))
    return [item.state for item in found]


async def opens(tier: SocketTier, password: str) -> None:
    async with RawCharger.open(url(tier), user=STATION, password=password) as charger:
        assert await charger.call("Heartbeat")


async def test_the_old_key_dies_when_the_charger_has_used_the_new_one(guarded: SocketTier, db: PooledDatabase) -> None:
    async with charge_point(guarded) as point:
        command = await rotate(guarded, db)
        assert await ended(db, command) is CommandStatus.ACCEPTED
        await point.wait_for(lambda: point.link.record.connections == 2 and point.link.is_online)
        new = point.link.settings.password
        assert new is not None
        assert len(new) == 40
        assert await candidates(db) == []
    assert (await refused(url(guarded), user=STATION, password=KEY))[0] == 401
    await opens(guarded, new)
    events = await sql(db, "SELECT type FROM station_events WHERE type LIKE 'authorization%%'")
    assert [event["type"] for event in events] == ["authorization_key_changed"]


async def test_the_key_is_nowhere_to_be_read(
    guarded: SocketTier, db: PooledDatabase, capsys: pytest.CaptureFixture[str]
) -> None:
    _, command = await db.run(lambda conn: key_rotation.send_new_key(conn, STATION, "staff:test", datetime.now(UTC)))
    assert set(command.payload["value"]) == {"sealed"}
    async with charge_point(guarded) as point:
        assert await ended(db, command) is CommandStatus.ACCEPTED
        await point.wait_for(lambda: point.link.record.connections == 2 and point.link.is_online)
        key = str(point.link.settings.password)
    for table in ("station_commands", "station_key_candidates", "stations", "station_events", "audit_logs"):
        rows = await sql(db, f"SELECT row_to_json(t)::text AS text FROM {table} t")
        assert not [row for row in rows if key in row["text"]], table
    (row,) = await sql(db, "SELECT payload FROM station_commands WHERE id = %s", command.id)
    assert row["payload"] == {"key": "AuthorizationKey", "value": "***"}
    assert key not in capsys.readouterr().out


async def test_a_refused_key_is_gone_and_the_old_one_stays(guarded: SocketTier, db: PooledDatabase) -> None:
    async with charge_point(guarded, key_change="Rejected") as point:
        assert await ended(db, await rotate(guarded, db)) is CommandStatus.REJECTED
        assert await candidates(db) == []
        point.drop_tcp()
        await point.wait_for(lambda: point.link.record.connections == 2 and point.link.is_online)


async def test_a_key_that_waits_for_a_reboot_leaves_both_good(guarded: SocketTier, db: PooledDatabase) -> None:
    async with charge_point(guarded, key_change="RebootRequired") as point:
        assert await ended(db, await rotate(guarded, db)) is CommandStatus.ACCEPTED
        assert await candidates(db) == ["reboot_required"]
        point.drop_tcp()
        await point.wait_for(lambda: point.link.record.connections == 2 and point.link.is_online)
        assert await candidates(db) == ["reboot_required"]
        await point.restart()
        await point.wait_for(lambda: point.link.record.connections == 3 and point.link.is_online)
        assert await candidates(db) == []
    assert (await refused(url(guarded), user=STATION, password=KEY))[0] == 401


@pytest.mark.parametrize("took_it", [True, False])
@pytest.mark.parametrize("error", [True, False])
async def test_an_answer_that_never_came_or_was_an_error_leaves_both_good(
    guarded: SocketTier, db: PooledDatabase, took_it: bool, error: bool
) -> None:
    async with RawCharger.open(url(guarded), user=STATION, password=KEY) as charger:
        await charger.boot()
        command = await rotate(guarded, db)
        call = await charger.command("ChangeConfiguration")
        if error:
            await charger.send([4, call[1], "InternalError", "", {}])
        assert await ended(db, command) is (CommandStatus.FAILED if error else CommandStatus.TIMED_OUT)
    assert await candidates(db) == ["unknown"]
    await opens(guarded, call[3]["value"] if took_it else KEY)
    assert await candidates(db) == ([] if took_it else ["unknown"])
    if not took_it:
        await opens(guarded, call[3]["value"])


async def test_a_key_whose_answer_was_lost_is_not_kept_once_it_is_used(guarded: SocketTier, db: PooledDatabase) -> None:
    async with RawCharger.open(url(guarded), user=STATION, password=KEY) as charger:
        await charger.boot()
        command = await rotate(guarded, db)
        key = str((await charger.command("ChangeConfiguration"))[3]["value"])
        charger.drop()
        assert await ended(db, command) is CommandStatus.FAILED
    await opens(guarded, key)
    (row,) = await sql(db, "SELECT payload FROM station_commands WHERE id = %s", command.id)
    assert row["payload"]["value"] == "***"


async def test_a_crash_after_the_frame_leaves_both_good(guarded: SocketTier, make_tier: MakeTier,
                                                        db: PooledDatabase) -> None:  # fmt: skip
    async with RawCharger.open(url(guarded), user=STATION, password=KEY) as charger:
        await charger.boot()
        command = await rotate(guarded, db)
        key = str((await charger.command("ChangeConfiguration"))[3]["value"])
        # The instance dies here: nobody records anything; the sweep finds the row when its lease has lapsed.
        late = datetime.now(UTC) + timedelta(hours=1)
        await db.run(lambda conn: commands.expire_and_redeliver(conn, late))
    assert await status_of(db, command) is CommandStatus.FAILED
    assert await candidates(db) == ["unknown"]
    second = await make_tier(allow_unauthenticated_stations=False)
    await opens(second, KEY)
    await opens(second, key)
    assert (await refused(url(second), user=STATION, password=KEY))[0] == 401


async def test_a_key_that_never_left_dies_with_its_command(guarded: SocketTier, db: PooledDatabase) -> None:
    _, command = await db.run(
        lambda conn: key_rotation.send_new_key(conn, STATION, "staff:test", datetime.now(UTC) - timedelta(days=2))
    )
    await db.run(lambda conn: commands.expire_and_redeliver(conn, datetime.now(UTC)))
    assert await status_of(db, command) is CommandStatus.EXPIRED
    admission = await db.run(lambda conn: stations.load_for_admission(conn, STATION))
    assert admission is not None
    assert admission.candidate_keys == ()
    assert await candidates(db) == ["dead"]
    assert await db.run(key_rotation.drop_undelivered) == 1
    assert await candidates(db) == []
    (row,) = await sql(db, "SELECT payload FROM station_commands WHERE id = %s", command.id)
    assert row["payload"]["value"] == "***"


async def test_a_later_key_outlives_an_earlier_one_and_not_the_other_way(
    guarded: SocketTier, db: PooledDatabase
) -> None:
    now = datetime.now(UTC)
    made = [await db.run(lambda conn: key_rotation.key_by_hand(conn, STATION, None, "staff:test", now))
            for _ in range(3)]  # fmt: skip
    first, second, third = (key for _, key in made)
    await opens(guarded, second)
    assert await candidates(db) == ["by_hand"]
    for dead in (KEY, first):
        assert (await refused(url(guarded), user=STATION, password=dead))[0] == 401
    await opens(guarded, second)
    await opens(guarded, third)
    assert (await refused(url(guarded), user=STATION, password=second))[0] == 401


async def test_a_key_that_still_waits_stays_good_when_a_later_one_typed_in_is_used(
    guarded: SocketTier, db: PooledDatabase
) -> None:
    """Use case: the charger was away, so a technician typed a key in; then it gets the one that was sent before."""
    now = datetime.now(UTC)
    _, sent = await db.run(lambda conn: key_rotation.send_new_key(conn, STATION, "staff:test", now))
    _, typed = await db.run(lambda conn: key_rotation.key_by_hand(conn, STATION, None, "staff:test", now))
    async with RawCharger.open(url(guarded), user=STATION, password=typed) as charger:
        assert await charger.call("Heartbeat")  # takes commands from now on
        call = await charger.command("ChangeConfiguration")
        await charger.send([3, call[1], {"status": "Accepted"}])
        assert await ended(db, sent) is CommandStatus.ACCEPTED
    await opens(guarded, call[3]["value"])
    assert await candidates(db) == []
    assert (await refused(url(guarded), user=STATION, password=typed))[0] == 401


async def test_a_revoked_key_does_not_reach_the_charger_later(guarded: SocketTier, db: PooledDatabase) -> None:
    """Use case: all keys are revoked while a new one waits; the charger comes back with one that was typed in."""
    now = datetime.now(UTC)
    _, sent = await db.run(lambda conn: key_rotation.send_new_key(conn, STATION, "staff:test", now))
    await db.run(lambda conn: key_rotation.revoke_keys(conn, STATION, "staff:test", now))
    assert await status_of(db, sent) is CommandStatus.CANCELLED
    (row,) = await sql(db, "SELECT payload FROM station_commands WHERE id = %s", sent.id)
    assert row["payload"]["value"] == "***"
    _, typed = await db.run(lambda conn: key_rotation.key_by_hand(conn, STATION, None, "staff:test", now))
    await opens(guarded, typed)
    await opens(guarded, typed)


async def test_one_key_at_a_time_is_sent_and_few_wait(guarded: SocketTier, db: PooledDatabase) -> None:
    now = datetime.now(UTC)
    await db.run(lambda conn: key_rotation.send_new_key(conn, STATION, "staff:test", now))
    with pytest.raises(CredentialsConflict, match="already waits"):
        await db.run(lambda conn: key_rotation.send_new_key(conn, STATION, "staff:test", now))
    for _ in range(key_rotation.MOST_CANDIDATES - 1):
        await db.run(lambda conn: key_rotation.key_by_hand(conn, STATION, None, "staff:test", now))
    with pytest.raises(CredentialsConflict, match="withdraw"):
        await db.run(lambda conn: key_rotation.key_by_hand(conn, STATION, None, "staff:test", now))


async def test_a_key_withdrawn_between_decision_and_upgrade_lets_nobody_stay(
    guarded: SocketTier, db: PooledDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime.now(UTC)
    candidate_id, key = await db.run(lambda conn: key_rotation.key_by_hand(conn, STATION, None, "staff:test", now))
    load = guarded._load

    async def slowly(reference: str) -> Any:
        found = await load(reference)
        await db.run(lambda conn: key_rotation.withdraw(conn, STATION, candidate_id, force=False))
        return found

    monkeypatch.setattr(guarded.gate, "_load", slowly)
    async with RawCharger.open(url(guarded), user=STATION, password=key) as charger:
        assert (await charger.closed())[0] == 1013


async def test_two_sockets_of_the_first_use_of_a_key_are_both_fine(guarded: SocketTier, db: PooledDatabase) -> None:
    now = datetime.now(UTC)
    _, key = await db.run(lambda conn: key_rotation.key_by_hand(conn, STATION, None, "staff:test", now))
    await asyncio.gather(*(opens_or_replaced(guarded, key) for _ in range(3)))
    await opens(guarded, key)
    assert await candidates(db) == []


async def opens_or_replaced(tier: SocketTier, key: str) -> None:
    async with RawCharger.open(url(tier), user=STATION, password=key) as charger:
        await charger.send(orjson.dumps([2, "1", "Heartbeat", {}]).decode())
        done, pending = await asyncio.wait(
            [asyncio.ensure_future(charger.answer()), asyncio.ensure_future(charger.closed())],
            return_when=asyncio.FIRST_COMPLETED,
        )
        for task in pending:
            task.cancel()
        for task in done:
            assert task.result()[0] in (3, 4001)


async def test_a_charger_that_tells_its_key_does_not_tell_operators(guarded: SocketTier, db: PooledDatabase) -> None:
    async with RawCharger.open(url(guarded), user=STATION, password=KEY) as charger:
        await charger.call("BootNotification", chargePointVendor="Test", chargePointModel="Raw")
        call = await charger.command("GetConfiguration")
        told = [{"key": "authorizationKey", "readonly": False, "value": KEY}]
        await charger.send([3, call[1], {"configurationKey": told}])

        async def stored() -> list[dict[str, Any]]:
            return await sql(db, "SELECT value FROM ocpp_configuration WHERE key = 'authorizationKey'")

        await until(stored, "the configuration to be stored")
        assert await stored() == [{"value": "***"}]

        async def answered() -> list[dict[str, Any]]:
            return await sql(db, "SELECT response FROM station_commands WHERE status = 'accepted'")

        await until(answered, "the command to end")
        assert KEY not in str(await answered())


async def test_a_profile_goes_up_with_the_charger(guarded: SocketTier, db: PooledDatabase) -> None:
    now = datetime.now(UTC)

    async def ask(conn: Conn) -> Command:
        return await key_rotation.send_profile(conn, STATION, 1, "staff:test", now)

    async def levels() -> tuple[int, int | None]:
        security, _ = await db.run(lambda conn: key_rotation.overview(conn, STATION))
        return security.security_profile, security.requested_security_profile

    for answer, expected in (("Rejected", (0, None)), ("Accepted", (0, 1))):
        async with RawCharger.open(url(guarded), user=STATION, password=KEY) as charger:
            await charger.boot()
            command = await db.run(ask)
            guarded.dispatcher.drain_soon([STATION])
            call = await charger.command("ChangeConfiguration")
            assert call[3] == {"key": "SecurityProfile", "value": "1"}
            await charger.send([3, call[1], {"status": answer}])
            await ended(db, command)
            assert await levels() == expected
    await opens(guarded, KEY)
    assert await levels() == (1, None)
    with pytest.raises(CredentialsConflict, match="only upward"):
        await db.run(ask)


async def test_a_profile_sent_as_a_bare_command_is_demanded_once_proven(
    guarded: SocketTier, db: PooledDatabase
) -> None:
    now = datetime.now(UTC)

    async def ask(conn: Conn) -> Command:
        payload = {"key": "SecurityProfile", "value": "1"}
        new = NewCommand(STATION, "ChangeConfiguration", payload, now + timedelta(minutes=5), "staff:test")
        return await commands.enqueue(conn, new, now)

    async with RawCharger.open(url(guarded), user=STATION, password=KEY) as charger:
        await charger.boot()
        command = await db.run(ask)
        guarded.dispatcher.drain_soon([STATION])
        call = await charger.command("ChangeConfiguration")
        await charger.send([3, call[1], {"status": "Accepted"}])
        await ended(db, command)
    await opens(guarded, KEY)
    security, _ = await db.run(lambda conn: key_rotation.overview(conn, STATION))
    assert (security.security_profile, security.requested_security_profile) == (1, None)
