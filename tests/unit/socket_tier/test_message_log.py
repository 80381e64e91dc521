"""The message log's writer: nothing waits for it, memory is bounded, what it leaves out is counted."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, cast

import psycopg
import pytest

from evpower.db import Conn, PooledDatabase
from evpower.message_log.models import Direction, NewEntry
from socket_tier import message_log, metrics, rpc
from socket_tier.connection import ChargerConnection
from socket_tier.dialect import CallFault, CommandSpec, Durability, Route
from socket_tier.message_log import MessageLog, StationLog, Window
from tests.unit.socket_tier.conftest import Bench

MakeBench = Callable[..., Bench]


class FakeDatabase:
    """Collects batches; fails while ``error`` says so, blocks while ``gate`` is closed."""

    def __init__(self) -> None:
        self.rows: list[NewEntry] = []
        self.batches: list[int] = []
        self.error: Callable[[Sequence[NewEntry]], Exception | None] = lambda _rows: None
        self.gate = asyncio.Event()
        self.gate.set()
        self.attempts = asyncio.Semaphore(0)

    async def run_single(self, work: Callable[[Conn], Any]) -> Any:
        await self.gate.wait()
        self.attempts.release()
        return await work(cast(Conn, None))

    async def store(self, _conn: Conn, rows: Sequence[NewEntry]) -> None:
        error = self.error(rows)
        if error is not None:
            raise error
        self.batches.append(len(rows))
        self.rows += rows


def entry(number: int, size: int = 10) -> NewEntry:
    return NewEntry("s", 1.0, Direction.IN, "Heartbeat", str(number), b"x" * size)


def left_out(reason: str) -> float:
    return metrics.registry.get_sample_value("evpower_unlogged_messages_total", {"reason": reason}) or 0.0


@pytest.fixture
def database() -> FakeDatabase:
    return FakeDatabase()


@pytest.fixture
def log(database: FakeDatabase) -> MessageLog:
    return MessageLog(cast(PooledDatabase, database), database.store, interval_s=0.001)


async def test_entries_are_written_in_order_and_in_batches(database: FakeDatabase, log: MessageLog) -> None:
    for number in range(1200):
        log.add(entry(number))
    log.start()
    for _ in range(3):
        await database.attempts.acquire()
    await log.stop()
    assert database.batches == [500, 500, 200]
    assert [row.message_id for row in database.rows] == [str(number) for number in range(1200)]


async def test_a_batch_is_bounded_in_bytes_too(database: FakeDatabase, log: MessageLog) -> None:
    for number in range(20):
        log.add(entry(number, 60_000))
    log.start()
    await log.stop()
    assert max(database.batches) == 5
    assert len(database.rows) == 20


async def test_while_the_database_is_away_the_oldest_go_and_are_counted(
    database: FakeDatabase, log: MessageLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(message_log, "MAX_ENTRIES", 100)
    before = left_out("backlog")
    database.error = lambda _rows: psycopg.OperationalError("away")
    log.start()
    for number in range(50):
        log.add(entry(number))
    await database.attempts.acquire()
    for number in range(50, 1000):
        log.add(entry(number))
    assert len(log) <= 100
    database.error = lambda _rows: None
    await log.stop()
    kept = [row.message_id for row in database.rows]
    assert kept == [str(number) for number in range(1000 - len(kept), 1000)]
    assert left_out("backlog") - before == 1000 - len(kept)


async def test_memory_is_bounded_in_bytes(log: MessageLog) -> None:
    for number in range(400):
        log.add(entry(number, 64 * 1024))
    assert sum(one.size for one in log._entries) == log._bytes <= message_log.MAX_BYTES


async def test_what_the_database_refuses_goes_alone(database: FakeDatabase, log: MessageLog) -> None:
    before = left_out("refused")
    database.error = lambda rows: psycopg.DataError("no") if any(row.message_id == "13" for row in rows) else None
    for number in range(40):
        log.add(entry(number))
    log.start()
    await log.stop()
    assert sorted(int(row.message_id) for row in database.rows) == [number for number in range(40) if number != 13]
    assert left_out("refused") - before == 1


async def test_a_shutdown_that_finds_no_database_ends_and_counts(
    database: FakeDatabase, log: MessageLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(message_log, "STOP_PATIENCE_S", 0.05)
    before = left_out("shutdown")
    database.gate.clear()
    log.start()
    for number in range(30):
        log.add(entry(number))
    await log.stop()
    assert (len(log), database.rows) == (0, [])
    assert left_out("shutdown") - before == 30


async def test_a_stop_in_the_middle_of_a_write_loses_nothing(database: FakeDatabase, log: MessageLog) -> None:
    database.gate.clear()
    for number in range(3):
        log.add(entry(number))
    log.start()
    while len(log):
        await asyncio.sleep(0)
    stopping = asyncio.ensure_future(log.stop())
    await asyncio.sleep(0)
    database.gate.set()
    await stopping
    assert [row.message_id for row in database.rows] == ["0", "1", "2"]


def test_a_window_lets_so_many_through_in_a_second() -> None:
    window = Window(3)
    assert [window.take(100.0 + step / 10) for step in range(5)] == [True, True, True, False, False]
    assert window.take(101.0)
    assert [window.take(50.0) for _ in range(4)] == [True, True, True, False]  # the clock was set back


async def test_a_flood_of_one_station_is_cut_and_told(log: MessageLog, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(message_log.time, "time", lambda: now[0])
    station = StationLog(log, "s")
    for number in range(message_log.STATION_ENTRIES_PER_S + 7):
        station.note(Direction.IN, "Heartbeat", str(number), b"")
    assert len(log) == message_log.STATION_ENTRIES_PER_S
    now[0] += 1
    station.note(Direction.IN, "Heartbeat", "next", b"")
    told, following = list(log._entries)[-2:]
    assert (told.action, told.request) == ("MessagesSuppressed", b'{"count":7}')
    assert following.message_id == "next"


async def test_refused_upgrades_are_noted_and_a_crowd_of_them_cut(log: MessageLog) -> None:
    for number in range(message_log.REFUSALS_PER_S * 3):
        log.refused(f"s{number}", 401, "Wrong user or password.", "192.0.2.1")
    assert message_log.REFUSALS_PER_S <= len(log) < message_log.REFUSALS_PER_S * 3
    first = log._entries[0]
    assert (first.station_id, first.action, first.error) == ("s0", "ConnectionRefused", "401")


@pytest.mark.parametrize(("code", "error"), [(1000, None), (1012, None), (1006, "1006"), (4001, "4001")])
async def test_an_end_that_is_not_normal_is_an_error(log: MessageLog, code: int, error: str | None) -> None:
    StationLog(log, "s").closed(code, "why", epoch=3)
    assert (log._entries[0].action, log._entries[0].error) == ("ConnectionClosed", error)


# --- what a connection tells it -----------------------------------------------------------------------------------


async def _fine(_charger: Any, _payload: Any) -> dict[str, Any]:
    return {"currentTime": "2026-01-15T06:00:00.000Z"}


async def _broken(_charger: Any, _payload: Any) -> dict[str, Any]:
    raise RuntimeError("defect")


async def _fault(_charger: Any, _payload: Any) -> dict[str, Any]:
    raise CallFault(rpc.PROPERTY_VIOLATION, "odd")


@pytest.fixture
def logged(bench: MakeBench, log: MessageLog) -> Callable[..., Bench]:
    def make(routes: dict[str, Route], commands: dict[str, CommandSpec] | None = None) -> Bench:
        made = bench(routes, commands)
        made.connection = ChargerConnection(
            made.link, made.connection.dialect, made.charger, call_timeout_s=0.05, log=StationLog(log, "station-1")
        )
        return made

    return make


def said(log: MessageLog) -> list[tuple[str, str | None, Any, str | None]]:
    return [(str(one.direction), one.action, one.message_id, one.error) for one in log._entries]


async def test_every_exchange_is_noted_with_what_became_of_it(logged: Callable[..., Bench], log: MessageLog) -> None:
    b = logged(
        {
            "Heartbeat": Route(_fine),
            "StatusNotification": Route(_fault),
            "MeterValues": Route(_broken, Durability.COMMIT),
        }
    )
    b.connection.receive(b'[2,"1","Heartbeat",{}]')
    b.connection.receive(b'[2,"1","Heartbeat",{}]')  # repeated
    b.connection.receive(b'[2,"2","Unknown",{}]')
    b.connection.receive(b'[2,"3","Heartbeat",[1]]')
    b.connection.receive(b"no json")
    status = b'{"connectorId":1,"errorCode":"NoError","status":"Available"}'
    b.connection.receive(b'[2,"4","StatusNotification",' + status + b"]")
    meter = b'{"connectorId":1,"meterValue":[{"timestamp":"2026-01-15T06:00:00Z","sampledValue":[{"value":"1"}]}]}'
    b.connection.receive(b'[2,"5","MeterValues",' + meter + b"]")
    b.connection.receive(b'[3,"9",{}]')
    await b.connection.drained()
    assert sorted(said(log), key=str) == sorted(
        [
            ("in", "Heartbeat", "1", None),
            ("in", "Heartbeat", "1", None),
            ("in", "Unknown", "2", "NotImplemented"),
            ("in", "Heartbeat", "3", "FormationViolation"),
            ("in", None, "-1", "FormationViolation"),
            ("in", "StatusNotification", "4", "PropertyConstraintViolation"),
            ("in", "MeterValues", "5", "Unanswered"),
            ("out", None, "9", "UnexpectedAnswer"),
        ],
        key=str,
    )
    heartbeat = next(one for one in log._entries if one.message_id == "1")
    assert heartbeat.request == b'[2,"1","Heartbeat",{}]'
    assert heartbeat.response == b'[3,"1",{"currentTime":"2026-01-15T06:00:00.000Z"}]'
    assert heartbeat.latency_s is not None


async def test_calls_to_the_charger_are_noted_answered_refused_unanswered_and_cut_off(
    logged: Callable[..., Bench], log: MessageLog
) -> None:
    b = logged({}, {"Reset": CommandSpec()})

    async def reset(answer: Callable[[str], bytes] | None) -> None:
        call = asyncio.create_task(b.connection.call("Reset", {"type": "Soft"}))
        await b.link.count(1)
        message_id = b.link.sent.pop()[1]
        if answer is not None:
            b.connection.receive(answer(message_id))
        await asyncio.gather(call, return_exceptions=True)

    await reset(lambda message_id: b'[3,"' + message_id.encode() + b'",{"status":"Accepted"}]')
    await reset(lambda message_id: b'[4, "' + message_id.encode() + b'","NotSupported","",{}]')
    await reset(None)
    call = asyncio.create_task(b.connection.call("Reset", {"type": "Soft"}))
    await b.link.count(1)
    await b.connection.finish()
    await asyncio.gather(call, return_exceptions=True)
    assert [(d, a, e) for d, a, _, e in said(log)] == [
        ("out", "Reset", None),
        ("out", "Reset", "NotSupported"),
        ("out", "Reset", "Unanswered"),
        ("out", "Reset", "ConnectionGone"),
    ]
    assert log._entries[0].response is not None
    assert log._entries[2].response is None
