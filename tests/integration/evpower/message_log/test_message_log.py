"""The message log in PostgreSQL: stored in batches, read page by page, kept for some days."""

import time
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from evpower.config import Settings
from evpower.db import Conn, PooledDatabase, retention
from evpower.message_log import service
from evpower.message_log.models import Direction, Entry, EntryFilter, NewEntry
from tests.integration.evpower.db import network

NOW = datetime.now(UTC)


def entry(number: int, *, at: float | None = None, action: str = "Heartbeat", **members: object) -> NewEntry:
    values = {
        "station_id": "s-1",
        "at": time.time() + number if at is None else at,
        "direction": Direction.IN,
        "action": action,
        "message_id": f"m{number}",
        "request": f'[2,"m{number}","{action}",{{}}]'.encode(),
        "response": f'[3,"m{number}",{{}}]'.encode(),
        "latency_s": 0.0025,
        **members,
    }
    return NewEntry(**values)  # type: ignore[arg-type]


async def store(db: PooledDatabase, *entries: NewEntry) -> None:
    await db.run(lambda conn: service.store(conn, entries))


async def read(db: PooledDatabase, wanted: EntryFilter | None = None, **options: object) -> list[str | None]:
    found = await db.run(lambda c: service.page(c, "s-1", wanted or EntryFilter(), **options))  # type: ignore[arg-type]
    return [one.message_id for one in found.items]


async def test_an_entry_comes_back_as_it_was(db: PooledDatabase) -> None:
    await store(
        db,
        entry(
            1, direction=Direction.OUT, action="Reset", error="NotSupported", response=b'[4,"m1","NotSupported","",{}]'
        ),
        entry(2, action="X", message_id=7, request=b"no json", response=None, latency_s=None),
        entry(3, action="\x00odd", message_id="a\x00b", request=b'[2,"a\\u0000b","MeterValues",{"x":"\\u0000"}]'),
    )
    third, second, first = await db.run(lambda c: service.latest(c, "s-1"))
    assert isinstance(first, Entry)
    assert (first.direction, first.action, first.error) == (Direction.OUT, "Reset", "NotSupported")
    assert first.request == [2, "m1", "Reset", {}]
    assert first.response == [4, "m1", "NotSupported", "", {}]
    assert first.latency_ms == 2.5
    assert not first.is_truncated
    assert (second.message_id, second.request, second.response, second.latency_ms) == ("7", "no json", None, None)
    assert (third.action, third.message_id) == ("\ufffdodd", "a\ufffdb")


async def test_frames_known_to_be_json_are_stored_to_the_letter(db: PooledDatabase) -> None:
    request = '[2, "m1","MeterValues" ,{"connectorId":1,"a":"caf\u00e9 \\"x\\""}]'
    await store(
        db,
        entry(1, action="MeterValues", request=request.encode(), is_json=True),
        entry(2, action="MeterValues", request=request.encode()),
        entry(3, action="ChangeConfiguration", is_json=True),
    )

    async def texts(conn: Conn) -> list[str]:
        cursor = await conn.execute("SELECT request, response FROM station_messages ORDER BY message_id")
        return [text for row in await cursor.fetchall() for text in row.values()]

    first, answer, second, _, third, _ = await db.run(texts)
    assert (first, second) == (request, request)
    assert answer == '[3,"m1",{}]'
    assert third == '[2,"m3","ChangeConfiguration",{}]'


async def test_filters(db: PooledDatabase) -> None:
    base = float(int(time.time()))  # Python and PostgreSQL round a half microsecond differently
    await store(
        db,
        entry(1, at=base),
        entry(2, at=base + 1, action="MeterValues"),
        entry(3, at=base + 2, direction=Direction.OUT, action="Reset", error="Timeout"),
        entry(4, at=base + 3, station_id="s-2"),
    )
    assert await read(db) == ["m3", "m2", "m1"]
    assert await read(db, newest_first=False) == ["m1", "m2", "m3"]
    assert await read(db, EntryFilter(action="MeterValues")) == ["m2"]
    assert await read(db, EntryFilter(direction=Direction.OUT)) == ["m3"]
    assert await read(db, EntryFilter(only_errors=True)) == ["m3"]
    assert await read(db, EntryFilter(message_id="m1")) == ["m1"]
    moment = datetime.fromtimestamp(base + 1, UTC)
    assert await read(db, EntryFilter(since=moment)) == ["m3", "m2"]
    assert await read(db, EntryFilter(until=moment)) == ["m1"]
    assert await read(db, EntryFilter(since=moment, until=moment + timedelta(seconds=1))) == ["m2"]


@pytest.mark.parametrize("newest_first", [True, False])
async def test_pages_neither_repeat_nor_lose_entries_of_the_same_moment(db: PooledDatabase, newest_first: bool) -> None:
    base = time.time()
    await store(db, *(entry(number, at=base + number // 3) for number in range(10)))
    whole = await read(db, newest_first=newest_first)
    assert len(whole) == 10
    seen: list[str | None] = []
    place = None
    while True:
        page = await db.run(
            lambda c, after=place: service.page(  # type: ignore[misc]
                c, "s-1", EntryFilter(), after=after, newest_first=newest_first, limit=2
            )
        )
        seen += [one.message_id for one in page.items]
        if page.next is None:
            break
        place = page.next
    assert seen == whole


async def test_days_come_and_go(db: PooledDatabase, database_url: str) -> None:
    settings = Settings.model_validate({"message_log_days": 7})
    day = NOW.replace(hour=0, minute=0, second=0, microsecond=0)
    with network.owner(database_url) as owner:
        names = owner.execute(
            "SELECT inhrelid::regclass::text AS name FROM pg_inherits"
            " WHERE inhparent = 'station_messages'::regclass ORDER BY 1"
        ).fetchall()
        assert [row["name"] for row in names] == sorted(
            ["station_messages_default", *(f"station_messages_{day + timedelta(n):%Y_%m_%d}" for n in range(8))]
        )
        owner.execute("SELECT evpower_make_message_partition(%s)", (NOW - timedelta(days=9),))
        await store(
            db,
            entry(1, at=(NOW - timedelta(days=9)).timestamp()),  # a day of its own
            entry(2, at=(NOW - timedelta(days=20)).timestamp()),  # a day that nobody prepared
            entry(3, at=NOW.timestamp()),
        )
        assert await db.run(lambda c: retention.drop_message_partition(c, settings, NOW)) is not None
        assert await db.run(lambda c: retention.drop_message_partition(c, settings, NOW)) is None
        assert await db.run(lambda c: retention.purge_unfiled_messages(c, settings, NOW)) == 1
    assert await read(db) == ["m3"]


async def test_the_worker_adds_and_reads_and_changes_nothing(db: PooledDatabase) -> None:
    await store(db, entry(1))
    for statement in ("UPDATE station_messages SET error = NULL", "DELETE FROM station_messages"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await db.run(lambda c, text=statement: c.execute(text))  # type: ignore[misc, arg-type]


async def test_the_api_reads_for_staff_only(db: PooledDatabase, database_url: str) -> None:
    await store(db, entry(1))
    with network.owner(database_url) as conn, conn.transaction():
        conn.execute("SET LOCAL ROLE evpower_api")
        for claims, seen in (('{"sub": "c-1"}', 0), ('{"sub": "master", "evp_scope": "staff"}', 1)):
            conn.execute("SELECT set_config('request.jwt.claims', %s, true)", (claims,))
            assert conn.execute("SELECT count(*) AS n FROM station_messages").fetchone() == {"n": seen}
