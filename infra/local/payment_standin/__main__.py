"""``python -m infra.local.payment_standin --port N``: run the stand-in until SIGINT or SIGTERM."""

import argparse
import asyncio
import os
import signal
from pathlib import Path

from infra.local.payment_standin.server import PaymentStandin


async def _serve(options: argparse.Namespace) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stopping.set)
    standin = PaymentStandin(
        merchant_id=options.merchant_id,
        password=options.password,
        host=options.host,
        port=options.port,
        state_file=options.state,
    )
    async with standin:
        print(f"payment stand-in ready: {standin.base_url}", flush=True)
        await stopping.wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m infra.local.payment_standin", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--merchant-id", default=os.environ.get("ODENGI_MERCHANT_ID") or "local-merchant")
    parser.add_argument("--password", default=os.environ.get("ODENGI_PASSWORD") or "local-odengi-password")
    parser.add_argument("--state", type=Path, help="file that keeps invoices and payments over a restart")
    asyncio.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()
