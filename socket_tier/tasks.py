"""Ending background tasks for certain."""

import asyncio
from collections.abc import Iterable
from typing import Any

from evpower.logging import get_logger

log = get_logger(__name__)

_AGAIN_S = 0.5
_WITHIN_S = 5.0


async def cancel_all(tasks: Iterable[asyncio.Task[Any]], *, within_s: float = _WITHIN_S) -> None:
    """Cancel ``tasks`` and return when all have ended, or after ``within_s``.

    Use case: a client library turns the cancellation into a time-out of its own while its server comes back, and the
    loop that called it goes on. One cancellation is then lost, and a shutdown that waits for it would never end.
    """
    pending = set(tasks)
    until = asyncio.get_running_loop().time() + within_s
    while pending:
        for task in pending:
            task.cancel()
        done, pending = await asyncio.wait(pending, timeout=_AGAIN_S)
        for task in done:
            if not task.cancelled():
                task.exception()  # seen; the loops log their own failures
        if pending and asyncio.get_running_loop().time() >= until:
            log.error("tasks do not end", extra={"tasks": sorted(task.get_name() for task in pending)})
            return
