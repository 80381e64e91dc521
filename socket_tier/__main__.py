"""``python -m socket_tier``: one instance until SIGTERM or SIGINT."""

import asyncio
import gc
import os
import signal
import sys
import threading
from contextlib import suppress

from evpower import error_reports
from evpower.config import get_settings
from evpower.logging import configure_logging, get_logger
from socket_tier.draining import watch_from
from socket_tier.tasks import cancel_all
from socket_tier.tier import SocketTier

log = get_logger("socket_tier")

STOP_WITHIN_S = 28.0
END_WITHIN_S = 29.5
GC_THRESHOLDS = (20_000, 20, 50)


async def main() -> int:
    """Run until a signal, or until the load balancer drains this container; 0 after a clean stop."""
    settings = get_settings()
    configure_logging("socket-tier", settings.log_level)
    error_reports.start(settings, "socket-tier", at_once=True)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    tier = SocketTier(settings)
    try:
        await tier.start()
    except BaseException:
        # Use case: the port is taken. What runs already must end for certain, or the process would hang instead of
        # telling, and nobody would start another one.
        with suppress(Exception):
            async with asyncio.timeout(STOP_WITHIN_S):
                await tier.stop()
        raise
    # What is loaded now lives as long as the process; the collector need not look at it again and again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    await _stopped(stop, settings.aws_region)
    _end_for_certain()
    try:
        async with asyncio.timeout(STOP_WITHIN_S):
            await tier.stop()
    except TimeoutError:
        log.error("not everything ended in time; unanswered messages will be sent again by the chargers")
        return 1
    return 0


def _end_for_certain() -> None:
    """Use case: a thread looks up the name of a host that does not answer, and the interpreter would wait for it."""
    timer = threading.Timer(END_WITHIN_S, os._exit, (1,))
    timer.daemon = True
    timer.start()


async def _stopped(signalled: asyncio.Event, region: str) -> None:
    reasons: list[asyncio.Task[object]] = [asyncio.ensure_future(signalled.wait())]
    if watch := watch_from(os.environ, region):
        reasons.append(asyncio.ensure_future(watch.wait_until_draining()))
    await asyncio.wait(reasons, return_when=asyncio.FIRST_COMPLETED)
    await cancel_all(reasons)


def run() -> int:
    """Use uvloop where it exists: it halves the loop's own cost."""
    if sys.platform == "win32":
        return asyncio.run(main())
    import uvloop

    return uvloop.run(main())


if __name__ == "__main__":
    sys.exit(run())
