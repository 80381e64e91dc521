"""Group commit: one transaction for all, no acknowledgement without it (design: Meter values)."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import psycopg
import pytest

from evpower.charging.models import FlushNumber, FlushOutcome, MeterUpdate
from evpower.db import PooledDatabase
from evpower.db.bounded import NoAnswer
from socket_tier.background import Background
from socket_tier.meter_flush import MeterFlush, Unstored


def update(number: int) -> MeterUpdate:
    return MeterUpdate(f"station-{number}", 1, 1, None, None, datetime(2026, 1, 15, tzinfo=UTC), ())


class FakeDatabase:
    """Runs the work at once; counts the transactions."""

    def __init__(self) -> None:
        self.transactions = 0

    async def run(self, work: Callable[[Any], Awaitable[Any]]) -> Any:
        self.transactions += 1
        await asyncio.sleep(0)
        return await work(None)

    run_single = run


class Store:
    def __init__(self, patience_s: float = 20.0) -> None:
        self.database = FakeDatabase()
        self.batches: list[list[str]] = []
        self.kept: list[str] = []
        self.errors: list[Exception] = []
        self.bad: set[str] = set()
        self.locked: set[str] = set()
        self.numbers: list[FlushNumber] = []
        self.stale: frozenset[int] = frozenset()
        self.hang: asyncio.Event | None = None
        self.background = Background()
        self.flush = MeterFlush(
            cast(PooledDatabase, self.database),
            self.rows,
            self.quarantine,
            linger_s=0.001,
            max_batch=50,
            patience_s=patience_s,
            background=self.background,
        )

    async def rows(self, _conn: Any, number: FlushNumber, batch: Sequence[MeterUpdate]) -> FlushOutcome:
        names = [item.station_id for item in batch]
        self.numbers.append(number)
        if self.hang is not None:
            await self.hang.wait()
        if self.errors:
            raise self.errors.pop(0)
        if self.bad.intersection(names):
            raise psycopg.DataError("refused")
        free = [name for name in names if name not in self.locked]
        if free:
            self.batches.append(free)
        return FlushOutcome(
            frozenset(position for position, name in enumerate(names) if name in self.locked), self.stale
        )

    async def quarantine(self, _conn: Any, item: MeterUpdate, error: str) -> None:
        assert error == "refused"
        self.kept.append(item.station_id)


async def test_all_that_arrive_together_share_one_commit() -> None:
    store = Store()
    assert await asyncio.gather(*(store.flush.store(update(number)) for number in range(40))) == [True] * 40
    assert [len(batch) for batch in store.batches] == [40]


async def test_a_batch_is_bounded() -> None:
    store = Store()
    await asyncio.gather(*(store.flush.store(update(number)) for number in range(120)))
    assert [len(batch) for batch in store.batches] == [50, 50, 20]


async def test_one_refused_message_costs_the_others_nothing() -> None:
    store = Store()
    store.bad = {"station-3"}
    outcomes = await asyncio.gather(*(store.flush.store(update(number)) for number in range(6)))
    assert outcomes == [True, True, True, False, True, True]
    assert store.kept == ["station-3"]
    assert sorted(name for batch in store.batches for name in batch) == [
        f"station-{number}" for number in (0, 1, 2, 4, 5)
    ]


async def test_a_defect_of_ours_is_not_tried_again_and_nothing_is_acknowledged_or_put_aside() -> None:
    store = Store()
    fault = psycopg.ProgrammingError("a defect of ours")
    store.errors = [fault]
    outcomes = await asyncio.gather(*(store.flush.store(update(number)) for number in range(5)), return_exceptions=True)
    assert outcomes == [fault] * 5
    assert store.kept == []
    assert await store.flush.store(update(1)) is True


@pytest.mark.parametrize("fault", [psycopg.OperationalError("away"), NoAnswer("no answer"), TimeoutError()])
async def test_what_may_have_been_stored_is_sent_again_under_the_same_number(fault: Exception) -> None:
    store = Store()
    store.errors = [fault, fault]
    assert await asyncio.gather(*(store.flush.store(update(number)) for number in range(5))) == [True] * 5
    assert len(store.batches) == 1
    assert store.numbers == [store.numbers[0]] * 3
    assert await store.flush.store(update(1)) is True
    assert store.numbers[-1].number > store.numbers[0].number
    assert {number.writer for number in store.numbers} == {store.numbers[0].writer}


async def test_who_waits_too_long_hears_of_it_although_nothing_fails() -> None:
    store = Store(patience_s=0.05)
    store.hang = asyncio.Event()
    with pytest.raises(Unstored):
        await store.flush.store(update(1))
    store.hang.set()
    await store.flush.drained()
    store.hang = None
    assert await store.flush.store(update(2)) is True


async def test_a_locked_session_waits_alone() -> None:
    store = Store()
    store.locked = {"station-2"}
    waiting = asyncio.ensure_future(store.flush.store(update(2)))
    assert await asyncio.gather(*(store.flush.store(update(number)) for number in (1, 3))) == [True, True]
    for number in range(4, 10):
        assert await store.flush.store(update(number)) is True
    assert not waiting.done()
    assert len(store.flush.aside) == 1
    store.locked = set()
    assert await waiting is True
    assert store.batches[-1] == ["station-2"]


async def test_a_session_that_stays_locked_is_given_up_when_its_patience_ends() -> None:
    store = Store(patience_s=0.05)
    store.locked = {"station-2"}
    with pytest.raises(Unstored):
        await store.flush.store(update(2))
    await store.flush.drained()
    assert store.batches == []


async def test_a_flush_that_stands_is_begun_anew_under_its_number() -> None:
    store = Store()
    hang = store.hang = asyncio.Event()
    waiting = [asyncio.ensure_future(store.flush.store(update(number))) for number in range(3)]
    while not store.numbers:
        await asyncio.sleep(0)
    store.hang = None
    store.background.restart("meter flush")
    assert await asyncio.gather(*waiting) == [True] * 3
    assert store.numbers == [store.numbers[0]] * 2
    hang.set()
    await store.flush.drained()
    assert len(store.batches) == 1


async def test_who_is_out_of_date_is_told() -> None:
    store = Store()
    store.stale = frozenset({1})
    outcomes = await asyncio.gather(*(store.flush.store(update(number)) for number in range(3)))
    assert outcomes == [True, False, True]


async def test_one_callback_that_fails_does_not_cost_the_others_their_answer() -> None:
    store = Store()
    told: list[int] = []

    def broken(_outcome: bool | Exception) -> None:
        raise RuntimeError("socket broke")

    store.flush.add(update(1), broken)
    store.flush.add(update(2), lambda _outcome: told.append(2))
    await store.flush.drained()
    assert told == [2]


async def test_a_caller_that_gave_up_does_not_stop_the_commit() -> None:
    store = Store()
    waiting = asyncio.create_task(store.flush.store(update(1)))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await store.flush.drained()
    assert store.batches == [["station-1"]]
