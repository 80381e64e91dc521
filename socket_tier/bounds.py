"""Questions and parts of a stop that are given up in time, whatever becomes of them."""

import asyncio
import time
from collections.abc import Awaitable

from evpower.db import PooledDatabase
from evpower.logging import get_logger

log = get_logger(__name__)

PROBE_S = 2.5
"""Below what the container's own check and the load balancer give ``/health``."""


async def answers(probe: Awaitable[object]) -> bool:
    """Whether ``probe`` ends well, and soon."""
    try:
        async with asyncio.timeout(PROBE_S):
            await probe
    except Exception:
        return False
    return True


async def answers_anew(database: PooledDatabase) -> bool:
    """Whether PostgreSQL answers on a new connection, before whoever asks for our health gives up."""
    try:
        async with asyncio.timeout(PROBE_S):
            return await database.answers_anew()
    except Exception:
        return False


async def within(until: float, part: Awaitable[object]) -> None:
    """One part of a stop, given up at ``until`` (``time.monotonic``); whatever becomes of it, the next one follows."""
    try:
        async with asyncio.timeout(max(until - time.monotonic(), 0.1)):
            await part
    except Exception as error:
        log.warning("a part of the stop did not end well", extra={"error": repr(error)})
