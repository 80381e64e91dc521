"""``./dev demo``: the whole system on free ports, one story through its public interfaces, every som accounted for."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

from infra.local import emf, scratch
from infra.local.configuration import LocalOptions
from infra.local.demo.driver import Driver
from infra.local.demo.login import sign_in
from infra.local.demo.phone import Phone
from infra.local.demo.story import Story
from infra.local.demo.transcript import Transcript
from infra.local.lambda_pool import FunctionInitError
from infra.local.processes import LocalSystemError
from infra.local.system import LocalSystem, temporary_directory
from infra.schedules import SCHEDULES

_METRICS_EVERY_S = "1"


async def play(options: LocalOptions, *, sweep_all: bool = False) -> int:
    """Start the system, tell the story, stop the system. Returns the exit code: 0 only if every som adds up.

    ``sweep_all``: run every sweep once at the end, also those whose time does not come during the story.
    """
    say = Transcript()
    say.chapter("Start the system")
    async with LocalSystem(options, progress=say.line) as system:
        demo = system.demo
        if demo is None:
            raise LocalSystemError("the database holds other data: unset DATABASE_URL, or name an empty database")
        say.line(f"ready: {system.base_url}, chargers {', '.join(demo.stations)}")
        say.line(f"the simulated cars charge {options.time_scale:g} times faster than real ones")
        say.chapter("Log in")
        login = await sign_in(system.base_url, system.sms.outbox_url, demo.phone)
        async with Driver(system.base_url, login["access_token"]) as driver:
            say.line(f"signed in as {(await driver.profile())['phone']} by the code of the text message")
            story = Story(driver, (demo.stations[0], demo.stations[1]), say, phone=Phone(system.push))
            wrong = await story.tell()
        for schedule in SCHEDULES if sweep_all else ():
            await system.run_sweep(schedule.name)
        if not wrong:
            say.line("every som adds up: balance = sum of the ledger = top-ups - energy x price")
        for sentence in wrong:
            say.line(f"WRONG: {sentence}")
        say.chapter("Stop the system")
    return 1 if wrong else 0


async def play_measured(options: LocalOptions, metrics: Path) -> int:
    """`play`, then write every metric of functions and socket tier to the file ``metrics``, one EMF line each."""
    data = options.data or temporary_directory()
    environment = {**options.environment, "METRICS_INTERVAL_S": _METRICS_EVERY_S}
    try:
        status = await play(replace(options, data=data, environment=environment), sweep_all=True)
        found = list(emf.lines(data / "logs"))
        metrics.write_text("".join(found))  # noqa: ASYNC240 - nothing else runs any more
        print(f"{len(found)} lines of metrics in {metrics}", flush=True)
        return status
    finally:
        if options.data is None:
            scratch.remove(data)


async def play_until_signal(options: LocalOptions, metrics: Path | None = None) -> int:
    """`play`, ended cleanly by Ctrl-C."""
    story = asyncio.create_task(play_measured(options, metrics) if metrics else play(options))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, story.cancel)
    try:
        return await story
    except asyncio.CancelledError:
        return 130


def main() -> int:
    """Entry of ``python -m infra.local.demo``."""
    parser = argparse.ArgumentParser(prog="./dev demo", description=__doc__)
    parser.add_argument("--data", type=Path, metavar="DIR", help="keep logs and state there (default: temporary)")
    parser.add_argument("--emf", type=Path, metavar="FILE", help="write the metrics of the run there, as EMF lines")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s", stream=sys.stderr)
    data = arguments.data.expanduser().resolve() if arguments.data else None
    try:
        caller = Path(os.environ.get("EVPOWER_CALLER_DIR", "."))
        metrics = (caller / arguments.emf.expanduser()).resolve() if arguments.emf else None
        return asyncio.run(play_until_signal(LocalOptions(data=data), metrics))
    except (LocalSystemError, FunctionInitError, TimeoutError, RuntimeError) as error:
        print(f"demo: {error}", file=sys.stderr, flush=True)
        return 1


if __name__ == "__main__":
    sys.exit(main())
