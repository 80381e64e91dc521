"""`./dev simulate URL --station ID ...`: simulated OCPP 1.6 chargers against any central system."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime

from infra.local.simulator.battery import Vehicle
from infra.local.simulator.charge_point import ChargePoint

HELP = """commands on standard input with --control (STATION may be left out when there is only one):
  plug STATION CONNECTOR | unplug STATION CONNECTOR | start STATION CONNECTOR TAG | stop STATION CONNECTOR
  drop STATION | power-loss STATION | offline STATION | online STATION | reboot STATION
  jump STATION CONNECTOR WH | fault STATION CONNECTOR | status | quit"""


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """Command line of the simulator."""
    parser = argparse.ArgumentParser(
        prog="./dev simulate", description=__doc__, epilog=HELP, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("url", type=_prefix, help="prefix of the OCPP endpoint, e.g. ws://127.0.0.1:9210/ocpp")
    parser.add_argument(
        "--station", action="append", required=True, metavar="ID[:PASSWORD]", help="a charger; may be repeated"
    )
    parser.add_argument("--connectors", type=int, default=2)
    parser.add_argument("--power-kw", type=float, default=22.0, help="power of each connector")
    parser.add_argument("--meter-wh", type=int, default=0, help="energy register at the start")
    parser.add_argument("--battery-kwh", type=float, default=60.0)
    parser.add_argument("--soc", type=float, default=20.0, help="state of charge of arriving cars in percent")
    parser.add_argument("--time-scale", type=float, default=1.0, help="how many times faster than real cars charge")
    parser.add_argument(
        "--sample-interval",
        type=float,
        default=None,
        help="seconds between MeterValues",
    )
    parser.add_argument(
        "--manual", action="store_true", help="nobody plugs in by itself (default: a car comes with each RemoteStart)"
    )
    parser.add_argument("--control", action="store_true", help="read commands from standard input")
    parser.add_argument("--quiet", action="store_true", help="print only connection changes and failures")
    return parser.parse_args(arguments)


def _prefix(text: str) -> str:
    if not text.startswith(("ws://", "wss://")):
        raise argparse.ArgumentTypeError(f"{text!r} does not begin with ws:// or wss://")
    return text


def build(options: argparse.Namespace) -> dict[str, ChargePoint]:
    """The charge points that the command line asks for."""
    points: dict[str, ChargePoint] = {}
    for text in options.station:
        station_id, _, password = text.partition(":")

        def log(line: str, station_id: str = station_id) -> None:
            if not options.quiet or line.startswith(("refused", "closed", "cannot", "FAILED")):
                print(f"{datetime.now(UTC):%H:%M:%S.%f}"[:-3], station_id, line, flush=True)

        points[station_id] = ChargePoint(
            options.url,
            station_id,
            password=password or None,
            connectors=options.connectors,
            power_kw=options.power_kw,
            meter_wh=options.meter_wh,
            time_scale=options.time_scale,
            sample_interval_s=options.sample_interval,
            auto_plug=not options.manual,
            vehicle=Vehicle(options.battery_kwh, options.soc / 100),
            log=log,
        )
    return points


async def obey(points: dict[str, ChargePoint], line: str) -> bool:
    """Execute one control line. Returns False for ``quit``. Raises ValueError for what it does not understand."""
    verb, *words = line.split()
    if verb == "quit":
        return False
    if verb == "status":
        for point in points.values():
            state = {o.number: (o.status, round(o.register_wh)) for o in point.outlets.values()}
            print(point.station_id, "online" if point.link.is_online else "offline", state, flush=True)
        return True
    if words and words[0] in points:
        point = points[words.pop(0)]
    elif len(points) == 1:
        point = next(iter(points.values()))
    else:
        raise ValueError(f"which station? one of {', '.join(points)}")
    await _act(point, verb, words)
    return True


async def _act(point: ChargePoint, verb: str, words: list[str]) -> None:
    whole: dict[str, Callable[[], None]] = {
        "drop": point.drop_tcp,
        "power-loss": point.lose_power,
        "offline": point.go_offline,
        "online": point.go_online,
    }
    one: dict[str, Callable[[int], None]] = {
        "plug": point.plug,
        "unplug": point.unplug,
        "stop": point.stop_locally,
        "fault": point.break_connector,
    }
    if verb in whole:
        whole[verb]()
    elif verb == "reboot":
        await point.restart()
    elif verb not in one and verb not in ("start", "jump"):
        raise ValueError(f"unknown command {verb!r}\n{HELP}")
    elif not words or not words[0].isdecimal() or int(words[0]) not in point.outlets:
        raise ValueError(f"{verb!r} needs a connector number of {sorted(point.outlets)}\n{HELP}")
    elif verb in one:
        one[verb](int(words[0]))
    elif verb == "start" and len(words) == 2:
        started = await point.start_with_tag(int(words[0]), words[1])
        print("started" if started else "the card was not accepted", flush=True)
    elif verb == "jump" and len(words) == 2:
        point.jump_register(int(words[0]), float(words[1]))
    else:
        raise ValueError(f"{verb!r} needs another argument\n{HELP}")


async def control(points: dict[str, ChargePoint]) -> None:
    """Read commands from standard input until ``quit``; its end (no terminal) leaves the chargers running."""
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[str] = asyncio.Queue()

    def read() -> None:
        for line in sys.stdin:
            loop.call_soon_threadsafe(lines.put_nowait, line)

    # A daemon thread: nothing can interrupt a blocking read, and it must not hold up the end of the process.
    threading.Thread(target=read, daemon=True).start()
    while True:
        line = await lines.get()
        if not line.strip():
            continue
        try:
            if not await obey(points, line):
                return
        except Exception as error:
            print(f"? {error}", flush=True)


async def run(options: argparse.Namespace) -> int:
    """Run until a signal, ``quit`` or a protocol violation. Returns the exit code: 1 after a server's mistake."""
    points = build(options)
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    for point in points.values():
        await point.start()
    waits = {asyncio.create_task(point.wait_for(lambda: False, timeout_s=float("inf"))) for point in points.values()}
    waits.add(asyncio.create_task(_ended(ended)))
    if options.control:
        waits.add(asyncio.create_task(control(points)))
    done, pending = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    code = 0
    for task in done:
        if task.exception() is not None:
            print(f"FAILED: {task.exception()!r}", file=sys.stderr, flush=True)
            code = 1
    await asyncio.gather(*(point.stop() for point in points.values()), return_exceptions=True)
    return code


async def _ended(event: asyncio.Event) -> None:
    await event.wait()


def main() -> None:
    """Entry of ``python -m infra.local.simulator``."""
    sys.exit(asyncio.run(run(parse_arguments(sys.argv[1:]))))


if __name__ == "__main__":
    main()
