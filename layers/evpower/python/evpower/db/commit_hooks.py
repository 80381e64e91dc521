"""Work that follows a commit, asked for inside the transaction by code that does not know who commits it.

Use case: a settlement writes a row for the push outbox. The function that sends should hear of it at once, but only
when the row is there to be read, and not at all when the transaction is rolled back.

A hook is a wake-up, never a fact: it is lost when the process dies, so something else must find what it announced.
"""

from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar
from typing import Any, TypeAlias

from evpower.logging import get_logger

Hook: TypeAlias = Callable[[list[Any]], Awaitable[None]]

_log = get_logger(__name__)
_wanted: ContextVar[dict[Hook, list[Any]] | None] = ContextVar("after_commit", default=None)


def after_commit(hook: Hook, items: Iterable[Any]) -> None:
    """Call ``hook`` once after the present transaction has committed, with the items of all requests for it.

    Outside a transaction of :class:`evpower.db.Database` nothing happens.
    """
    wanted = _wanted.get()
    if wanted is not None:
        wanted.setdefault(hook, []).extend(items)


class CommitHooks:
    """The hooks of one transaction; made by the database before it begins."""

    def __init__(self) -> None:
        self._hooks: dict[Hook, list[Any]] = {}
        self._outer = _wanted.get()
        _wanted.set(self._hooks)

    def close(self) -> None:
        """The transaction is over: what is asked for from now on is not its own."""
        # Set and not reset: a generator may be closed in another context than it was started in.
        if _wanted.get() is self._hooks:
            _wanted.set(self._outer)

    async def run(self) -> None:
        """After the commit. A hook that fails is logged: what was committed stays a success."""
        for hook, items in self._hooks.items():
            try:
                await hook(items)
            except Exception:
                _log.exception("after-commit hook failed")
