"""Manual adjustments under concurrency: one key, one movement."""

import asyncio
from decimal import Decimal

import pytest

from evpower.accounts.adjustment import Adjustment, adjust
from evpower.accounts.models import LedgerEntry
from evpower.db import PooledDatabase
from evpower.errors import IdempotencyConflict
from tests.fakes.network import add_client


def wish(client_id: str, amount: int = 100) -> Adjustment:
    return Adjustment(client_id, Decimal(amount), "goodwill", actor="root", key="k-1")


async def waits_for_a_lock(db: PooledDatabase) -> None:
    """Until some connection of this database waits for another one."""
    while True:
        async with db.transaction() as conn:
            cursor = await conn.execute(
                """SELECT count(*) AS waiting FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
                    WHERE NOT l.granted AND a.datname = current_database()"""
            )
            row = await cursor.fetchone()
        if row is not None and row["waiting"]:
            return
        await asyncio.sleep(0.02)


async def in_two_transactions(db: PooledDatabase, second: Adjustment) -> LedgerEntry:
    """Book for client a; before that is committed, begin ``second``; commit; the outcome of ``second``."""
    async with db.transaction() as conn:
        await add_client(conn, "a", Decimal(0))
        await add_client(conn, "b", Decimal(0))
    async with db.transaction() as conn:
        await adjust(conn, wish("a"))
        other = asyncio.create_task(db.run(lambda inner: adjust(inner, second)))
        await asyncio.wait_for(waits_for_a_lock(db), 20)
    return await other


async def balances(db: PooledDatabase) -> list[Decimal]:
    async with db.transaction() as conn:
        cursor = await conn.execute("SELECT balance FROM clients ORDER BY id")
        return [row["balance"] for row in await cursor.fetchall()]


async def test_the_same_key_for_the_same_client_is_the_same_movement(db: PooledDatabase) -> None:
    entry = await in_two_transactions(db, wish("a"))
    assert (entry.created, entry.balance_before, entry.balance_after) == (False, 0, 100)
    assert await balances(db) == [100, 0]


@pytest.mark.parametrize("second", [wish("b"), wish("a", 50)])
async def test_the_same_key_for_something_else_is_refused(db: PooledDatabase, second: Adjustment) -> None:
    with pytest.raises(IdempotencyConflict):
        await in_two_transactions(db, second)
    assert await balances(db) == [100, 0]
