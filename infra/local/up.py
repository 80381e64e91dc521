"""`./dev up`: run the whole system until Ctrl-C. Prints one line `ready {json}` with every address."""

import argparse
import asyncio
import contextlib
import fcntl
import json
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

from infra.local.configuration import DEFAULT_PORT, DEFAULT_SOCKET_TIER_PORT, LocalOptions
from infra.local.lambda_pool import FunctionInitError, has_awslambdaric
from infra.local.processes import LocalSystemError
from infra.local.running_systems import FOLDER, listed
from infra.local.system import LocalSystem

__all__ = ["LocalOptions", "LocalSystem", "main"]

_TIER_OFFSET = DEFAULT_SOCKET_TIER_PORT - DEFAULT_PORT


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev up", description=__doc__)
    parser.add_argument("--no-demo", action="store_true", help="no demo data and no simulated chargers")
    parser.add_argument("--data", type=Path, metavar="DIR", help="keep the state there (default: temporary)")
    parser.add_argument(
        "--port", type=int, default=DEFAULT_PORT, help="port of the gateway (default: %(default)s; 0: any)"
    )
    parser.add_argument(
        "--socket-tier-port",
        type=int,
        help=f"port of the socket tier (default: {DEFAULT_SOCKET_TIER_PORT}, or the gateway's port + 10)",
    )
    return parser.parse_args()


def _options(arguments: argparse.Namespace) -> LocalOptions:
    data = arguments.data
    if data is not None:
        # `./dev` changes to the checkout; the user means the directory where the command was typed.
        data = Path(os.environ.get("EVPOWER_CALLER_DIR", ".")) / data.expanduser()
    return LocalOptions(
        data=data.resolve() if data is not None else None,
        port=arguments.port,
        socket_tier_port=arguments.socket_tier_port
        or (arguments.port and arguments.port + _TIER_OFFSET),  # 0: any free
        demo_data=not arguments.no_demo,
        chargers=not arguments.no_demo,
    )


def _say(line: str) -> None:
    print(f"evpower: {line}", file=sys.stderr, flush=True)


def _lock(data: Path | None) -> object:
    """Hold the data directory for this process; two systems on one database directory would destroy it."""
    if data is None:
        return None
    try:
        data.mkdir(parents=True, exist_ok=True)
        file = (data / "lock").open("w")
    except OSError as exc:
        raise LocalSystemError(f"cannot keep data in {data}: {exc.strerror}") from exc
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        raise LocalSystemError(f"{data} is in use by another ./dev up") from exc
    return file


async def _run(options: LocalOptions) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    system = LocalSystem(options, progress=_say)
    known = contextlib.ExitStack()
    starting = asyncio.create_task(system.start())
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            await starting
            try:
                known.enter_context(listed(system.describe(), system.port))
            except OSError as exc:
                _say(f"cannot write to {FOLDER} ({exc.strerror}): ./dev psql will not find this system")
            print(f"ready {json.dumps(system.describe(), ensure_ascii=False)}", flush=True)
            _say("stop with Ctrl-C")
            ends: set[asyncio.Future[Any]] = {stopped, system.failure}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if system.failure.done():
                raise system.failure.result()
        _say("stopping")
        return 0
    finally:
        for task in (starting, stopped):
            task.cancel()
        await asyncio.gather(starting, stopped, return_exceptions=True)
        known.close()
        await system.stop()


def main() -> int:
    """Exit status: 0 after Ctrl-C, 1 when the system could not start or go on."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s", stream=sys.stderr)
    if not has_awslambdaric():
        _say("awslambdaric is not available on this platform: the functions run in plain worker processes")
    options = _options(_arguments())
    try:
        lock = _lock(options.data)
        status = asyncio.run(_run(options))
        del lock
    except (LocalSystemError, FunctionInitError) as exc:
        _say(str(exc))
        return 1
    return status


if __name__ == "__main__":
    sys.exit(main())
