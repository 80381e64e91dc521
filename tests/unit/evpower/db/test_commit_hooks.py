"""Hooks of a transaction, as the database classes drive them."""

from typing import Any

import pytest

from evpower.db import after_commit
from evpower.db.commit_hooks import CommitHooks

called: list[list[Any]] = []


@pytest.fixture(autouse=True)
def _nothing_called() -> None:
    called.clear()


async def hook(items: list[Any]) -> None:
    called.append(items)


async def other(items: list[Any]) -> None:
    raise RuntimeError(f"cannot take {items}")


async def test_items_of_one_transaction_come_together_after_it() -> None:
    hooks = CommitHooks()
    after_commit(hook, [1])
    after_commit(hook, [2, 3])
    hooks.close()
    assert called == []
    await hooks.run()
    assert called == [[1, 2, 3]]


async def test_a_transaction_that_is_rolled_back_calls_nothing() -> None:
    hooks = CommitHooks()
    after_commit(hook, [1])
    hooks.close()
    after = CommitHooks()
    after.close()
    await after.run()
    assert called == []


async def test_outside_a_transaction_nothing_is_kept() -> None:
    after_commit(hook, [1])
    hooks = CommitHooks()
    hooks.close()
    await hooks.run()
    assert called == []


async def test_an_inner_transaction_has_its_own() -> None:
    outer = CommitHooks()
    after_commit(hook, ["outer"])
    inner = CommitHooks()
    after_commit(hook, ["inner"])
    inner.close()
    await inner.run()
    after_commit(hook, ["outer too"])
    outer.close()
    await outer.run()
    assert called == [["inner"], ["outer", "outer too"]]


async def test_a_hook_that_fails_does_not_undo_the_success() -> None:
    hooks = CommitHooks()
    after_commit(other, [1])
    after_commit(hook, [2])
    hooks.close()
    await hooks.run()
    assert called == [[2]]
