"""``python -m infra.local.push_standin --folder DIR --port N``: run the stand-in until SIGINT or SIGTERM.

Prints every notification that a phone or browser would show.
"""

import argparse
import asyncio
import signal
from pathlib import Path

from infra.local.push_standin.credentials import credentials
from infra.local.push_standin.server import PushStandin


async def _serve(options: argparse.Namespace) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stopping.set)
    async with PushStandin(credentials(options.folder), port=options.port, show=True) as standin:
        print(f"push stand-in ready: {standin.base_url}", flush=True)
        await stopping.wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m infra.local.push_standin", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="holds its keys and certificates")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    asyncio.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()
