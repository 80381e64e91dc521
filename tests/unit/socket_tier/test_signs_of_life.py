"""Signs of life of an instance: written while it can store, set its clock, told when something was missed."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest

from evpower.clock import DatabaseClock, FrozenClock
from evpower.stations import hearing, listening
from socket_tier import signs_of_life
from socket_tier.signs_of_life import SignsOfLife


class FakeDatabase:
    """Runs the work, fails, or never answers."""

    error: BaseException | None = None
    answers = True

    async def run(self, work: Callable[[Any], Awaitable[Any]]) -> Any:
        if self.error is not None:
            raise self.error
        if not self.answers:
            await asyncio.Event().wait()
        return await work(None)


class Rows:
    """What the table of signs would hold."""

    def __init__(self) -> None:
        self.runs: dict[str, hearing.Run] = {}
        self.removed_all = 0

    async def write(self, _conn: object, run: hearing.Run) -> None:
        self.runs[run.id] = run

    async def remove(self, _conn: object, **_bounds: datetime) -> None: ...

    async def remove_all(self, _conn: object) -> None:
        self.removed_all += 1
        self.runs.clear()


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch, clock: FrozenClock) -> Rows:
    async def told(_conn: object) -> datetime:
        return clock.now()

    rows = Rows()
    monkeypatch.setattr(listening, "rows", rows)
    monkeypatch.setattr(listening, "database_time", told)
    return rows


def signs(database: FakeDatabase, monotonic: list[float], can_store: Callable[[], bool] = lambda: True) -> SignsOfLife:
    machine = FrozenClock()
    machine.advance(timedelta(days=-1))
    made = SignsOfLife(database, "a", DatabaseClock(machine, lambda: monotonic[0]), can_store)  # type: ignore[arg-type]
    made._listener.monotonic = lambda: monotonic[0]
    return made


async def test_signs_without_a_gap_are_one_run_and_the_clock_is_the_databases(rows: Rows, clock: FrozenClock) -> None:
    monotonic = [0.0]
    made = signs(FakeDatabase(), monotonic)
    began = clock.now()
    for _ in range(10):
        assert await made.write()
        clock.advance(timedelta(seconds=5))
        monotonic[0] += 5
    (run,) = rows.runs.values()
    assert (run.instance_id, run.since, run.until) == ("a", began, began + timedelta(seconds=45))
    assert made._clock is not None
    assert made._clock.now() == began + timedelta(seconds=50)


@pytest.mark.parametrize(
    ("passed", "elapsed", "why"),
    [(60, 60, "gap"), (3605, 5, "clock_stepped"), (-3595, 5, "clock_stepped"), (15, 15, None)],
)
async def test_what_was_missed_begins_another_run(
    rows: Rows,
    clock: FrozenClock,
    caplog: pytest.LogCaptureFixture,
    passed: float,
    elapsed: float,
    why: str | None,
) -> None:
    monotonic = [0.0]
    made = signs(FakeDatabase(), monotonic)
    await made.write()
    clock.advance(timedelta(seconds=passed))
    monotonic[0] += elapsed
    with caplog.at_level(logging.WARNING):
        await made.write()
    newest = max(rows.runs.values(), key=lambda run: run.since)
    assert (newest.since == clock.now()) is (why is not None)
    assert [record.__dict__["why"] for record in caplog.records] == ([why] if why else [])
    assert rows.removed_all == (why == "clock_stepped")


async def test_no_sign_is_written_while_signs_of_chargers_cannot_be_stored(rows: Rows) -> None:
    made = signs(FakeDatabase(), [0.0], lambda: False)
    assert not await made.write()
    assert rows.runs == {}


async def test_a_sign_that_failed_was_not_written(rows: Rows, clock: FrozenClock) -> None:
    """Its commit is lost, so the next one is compared with the one before."""
    database, monotonic = FakeDatabase(), [0.0]
    made = signs(database, monotonic)
    await made.write()
    database.error = psycopg.OperationalError("away")
    for _ in range(6):
        clock.advance(timedelta(seconds=5))
        monotonic[0] += 5
        assert not await made.write()
    database.error = None
    assert await made.write()
    assert [run.since == run.until for run in rows.runs.values()] == [True, True]


async def test_a_database_that_never_answers_is_waited_for_only_so_long(rows: Rows) -> None:
    database = FakeDatabase()
    database.answers = False
    assert not await signs(database, [0.0]).write(0.01)
    assert hearing.LONGEST_GAP.total_seconds() > signs_of_life.DEADLINE_S
