"""What a running instance writes into the message log, and that nothing ever waits for it."""

import asyncio
from collections.abc import Callable

import orjson
import psycopg
import pytest

from evpower.db import PooledDatabase
from evpower.message_log import service
from evpower.message_log.models import Direction, Entry, EntryFilter
from socket_tier import message_log, metrics
from socket_tier.tier import SocketTier
from tests.fakes.network import Network
from tests.fakes.raw_charger import RawCharger
from tests.fakes.stations import until
from tests.integration.socket_tier.conftest import MakeTier, url
from tests.integration.socket_tier.operator import Operator
from tests.integration.socket_tier.test_upgrade import KEY, refused, set_station

SECRET = "0123456789abcdef0123"


async def entries(db: PooledDatabase, **wanted: object) -> list[Entry]:
    page = await db.run(
        lambda conn: service.page(conn, "station-1", EntryFilter(**wanted), newest_first=False, limit=500)  # type: ignore[arg-type]
    )
    return list(page.items)


async def logged(db: PooledDatabase, found: Callable[[list[Entry]], bool], **wanted: object) -> list[Entry]:
    """The station's entries, once ``found`` holds of them."""
    seen: list[Entry] = []

    async def there() -> bool:
        seen[:] = await entries(db, **wanted)
        return found(seen)

    await until(there, "the entries in the log")
    return seen


async def test_a_connection_is_told_from_beginning_to_end(
    tier: SocketTier, network: Network, db: PooledDatabase
) -> None:
    async with RawCharger.open(url(tier)) as charger:
        await charger.call("Heartbeat")
        await charger.send("no json")
        await charger.answer()
        await charger.send([2, "x", "Nonsense", {}])
        await charger.answer()
        await charger.socket.send(['[2,"late",', '"Heartbeat",{}]'])
        await charger.answer()
    seen = await logged(db, lambda all_: any(one.action == "ConnectionClosed" for one in all_))
    assert [(one.direction.value, one.action, one.message_id, one.error) for one in seen] == [
        ("event", "ConnectionOpened", None, None),
        ("in", "Heartbeat", "m1", None),
        ("in", None, "-1", "FormationViolation"),
        ("in", "Nonsense", "x", "NotImplemented"),
        ("in", "Heartbeat", "late", None),
        ("event", "ConnectionClosed", None, None),
    ]
    opened, beat, bad, *_, closed = seen
    assert opened.request["protocol"] == "ocpp1.6"
    assert opened.request["epoch"] == closed.request["epoch"]
    assert closed.request["code"] == 1000
    assert beat.request == [2, "m1", "Heartbeat", {}]
    assert beat.response[:2] == [3, "m1"]
    assert 0 <= (beat.latency_ms or -1) < 5000
    assert (bad.request, bad.response[:3]) == ("no json", [4, "-1", "FormationViolation"])


async def test_commands_are_in_the_log_without_their_secrets(
    tier: SocketTier, network: Network, db: PooledDatabase
) -> None:
    operator = Operator(tier, db)
    async with RawCharger.open(url(tier)) as charger:
        await charger.boot()

        async def ask(action: str, answer: object, **payload: object) -> None:
            asked = asyncio.create_task(operator.raw(action, **payload))
            call = await charger.command(action)
            await charger.send([3, call[1], answer])
            await asked

        await ask("ChangeConfiguration", {"status": "Accepted"}, key="WebPassword", value=SECRET)
        keys = [{"key": "AuthorizationKey", "readonly": False, "value": SECRET}]
        await ask("GetConfiguration", {"configurationKey": keys}, key=["AuthorizationKey"])
        await ask("GetDiagnostics", {"fileName": "x"}, location=f"ftp://user:{SECRET}@files.example/logs")
    seen = await logged(
        db,
        lambda all_: {"ChangeConfiguration", "GetConfiguration", "GetDiagnostics"} <= {one.action for one in all_},
        direction=Direction.OUT,
    )
    assert SECRET not in orjson.dumps([[one.request, one.response] for one in seen]).decode()
    assert {one.error for one in seen} == {None}
    change = next(one for one in seen if one.action == "ChangeConfiguration")
    assert change.request[2:] == ["ChangeConfiguration", {"key": "WebPassword", "value": "***"}]
    assert change.response[2] == {"status": "Accepted"}


@pytest.mark.parametrize("name", ["station-1", "SN-station-1"])
async def test_a_refused_charger_is_found_by_the_stations_id(
    make_tier: MakeTier, network: Network, db: PooledDatabase, name: str
) -> None:
    tier = await make_tier(allow_unauthenticated_stations=False)
    assert (await refused(url(tier, name), user=name, password=KEY))[0] == 401
    assert (await refused(url(tier, "nobody")))[0] == 404
    await set_station(db, "status = 'inactive'")
    assert (await refused(url(tier, name)))[0] == 403
    seen = await logged(db, lambda all_: len(all_) == 2, only_errors=True)
    assert [(one.action, one.error) for one in seen] == [("ConnectionRefused", "401"), ("ConnectionRefused", "403")]
    assert seen[0].request["address"] == "127.0.0.1"
    assert KEY not in str(seen)


async def test_what_gathered_is_written_at_shutdown(make_tier: MakeTier, network: Network, db: PooledDatabase) -> None:
    tier = await make_tier()
    assert tier.messages is not None
    tier.messages._interval_s = 3600.0
    async with RawCharger.open(url(tier)) as charger:
        await charger.call("Heartbeat")
        await tier.stop()
        assert (await charger.closed())[0] == 1012
    assert [one.action for one in await entries(db)] == ["ConnectionOpened", "Heartbeat", "ConnectionClosed"]


async def test_it_can_be_off(make_tier: MakeTier, network: Network, db: PooledDatabase) -> None:
    tier = await make_tier(message_log=False)
    async with RawCharger.open(url(tier)) as charger:
        await charger.call("Heartbeat")
    await tier.stop()
    assert await entries(db) == []


async def test_a_log_that_cannot_be_written_holds_up_no_answer_and_no_memory(
    tier: SocketTier, network: Network, db: PooledDatabase, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Use case: the table is locked for minutes by somebody's maintenance."""
    monkeypatch.setattr(message_log, "MAX_ENTRIES", 50)
    monkeypatch.setattr(message_log, "STATION_ENTRIES_PER_S", 100_000)
    before = metrics.registry.get_sample_value("evpower_unlogged_messages_total", {"reason": "backlog"}) or 0.0
    with psycopg.connect(database_url, autocommit=True) as owner, owner.transaction():
        owner.execute("LOCK TABLE station_messages IN SHARE MODE")
        async with RawCharger.open(url(tier)) as charger:
            for number in range(300):
                await charger.send([2, str(number), "Heartbeat", {}])
            assert [(await charger.answer())[1] for _ in range(300)] == [str(number) for number in range(300)]
            assert tier.messages is not None
            assert len(tier.messages) <= 50
    await logged(db, lambda all_: any(one.action == "ConnectionClosed" for one in all_))
    after = metrics.registry.get_sample_value("evpower_unlogged_messages_total", {"reason": "backlog"}) or 0.0
    assert after > before
