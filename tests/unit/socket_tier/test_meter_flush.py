"""Group commit: one transaction for all, no acknowledgement without it (design: Meter values)."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import psycopg
import pytest

from evpower.charging.models import MeterUpdate
from evpower.db import PooledDatabase
from socket_tier.meter_flush import MeterFlush


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
    def __init__(self) -> None:
        self.database = FakeDatabase()
        self.batches: list[list[str]] = []
        self.kept: list[str] = []
        self.errors: list[Exception] = []
        self.bad: set[str] = set()
        self.stale: frozenset[int] = frozenset()
        self.flush = MeterFlush(
            cast(PooledDatabase, self.database), self.rows, self.quarantine, linger_s=0.001, max_batch=50
        )

    async def rows(self, _conn: Any, batch: Sequence[MeterUpdate]) -> frozenset[int]:
        names = [item.station_id for item in batch]
        if self.errors:
            raise self.errors.pop(0)
        if self.bad.intersection(names):
            raise psycopg.DataError("refused")
        self.batches.append(names)
        return self.stale

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


@pytest.mark.parametrize("fault", [psycopg.OperationalError("away"), psycopg.ProgrammingError("a defect of ours")])
async def test_without_a_commit_nothing_is_acknowledged_or_put_aside(fault: Exception) -> None:
    store = Store()
    store.errors = [fault]
    outcomes = await asyncio.gather(*(store.flush.store(update(number)) for number in range(5)), return_exceptions=True)
    assert outcomes == [fault] * 5
    assert store.kept == []
    assert await store.flush.store(update(1)) is True


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
