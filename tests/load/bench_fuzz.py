"""Hostile frames against a running socket tier: no crash, no well-formed CALL without an answer, memory bounded.

The frames are those of the unit test (tests/unit/socket_tier/test_fuzz.py), here over real sockets to the real
handlers, the message log and the database. Each charger sends a window of frames and waits for as many answers. Beside
them a few rude sockets send bytes that are no text at all and are cut off, again and again.
"""

import asyncio
import os
import random
import sys
import time
from collections.abc import Callable
from typing import Any

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus, WebSocketException
from websockets.typing import Subprotocol

from socket_tier import rpc
from tests.load.bench_scale import BOOT, add_stations, resident_kib
from tests.load.harness import backend, cpu_seconds, database, machine, report, socket_tier
from tests.unit.socket_tier.test_fuzz import frame

CHARGERS = 100
FRAMES = 600_000
RUDE = 5
WINDOW = 40
ANSWER_WITHIN_S = 20.0
TRIES = 30
AIM_GROWTH_MIB = 32.0
"""Growth of the process over the second half of the run: what is kept of each frame would show here."""


class Silent(Exception):
    """A CALL was not answered in time."""


def is_text(data: bytes) -> bool:
    """Whether ``data`` may be a text message at all (RFC 6455 section 8.1)."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def window(source: random.Random) -> tuple[list[bytes], int, list[str]]:
    """Frames, how many of them get an answer, and the ids of the CALLs among them."""
    frames = [data for data in (frame(source) for _ in range(WINDOW)) if is_text(data)]
    parsed = [rpc.parse(data) for data in frames]
    expected = sum(not isinstance(item, rpc.CallResult | rpc.CallError) for item in parsed)
    return frames, expected, [repr(item.id) for item in parsed if isinstance(item, rpc.Call)]


async def answers(socket: ClientConnection, count: int) -> list[str]:
    """Ids of the next ``count`` answers; commands of the server are answered in passing."""
    ids: list[str] = []
    async with asyncio.timeout(ANSWER_WITHIN_S):
        while len(ids) < count:
            message = orjson.loads(await socket.recv(decode=False))
            if message[0] == 2:
                await socket.send(orjson.dumps([3, message[1], {"configurationKey": []}]).decode())
            else:
                ids.append(repr(message[1]))
    return ids


async def connected(url: str) -> ClientConnection:
    """A socket; a refusal for want of room is asked again after the time that it names."""
    for _ in range(TRIES):
        try:
            return await connect(url, subprotocols=[Subprotocol("ocpp1.6")], compression=None, ping_interval=None)
        except InvalidStatus as refusal:
            if refusal.response.status_code != 503:
                raise
            await asyncio.sleep(float(refusal.response.headers.get("Retry-After", 1)))
    raise Silent(f"{url} found no room in {TRIES} attempts")


async def hostile(url: str, seed: int, frames: int, sent_by_all: Callable[[int], None]) -> tuple[int, int]:
    """One charger; how many frames it sent and how many CALLs of them were answered."""
    source = random.Random(seed)
    sent = answered = 0
    async with await connected(url) as socket:
        await socket.send(orjson.dumps([2, "boot", "BootNotification", BOOT]).decode())
        await answers(socket, 1)
        while sent < frames:
            batch, expected, calls = window(source)
            for data in batch:
                await socket.send(data, text=True)
            try:
                got = await answers(socket, expected)
            except TimeoutError:
                raise Silent(f"seed {seed}, after {sent} frames: fewer than {expected} answers") from None
            for name in set(calls):
                if got.count(name) < calls.count(name):
                    raise Silent(f"seed {seed}, after {sent} frames: a CALL {name} has no answer")
            sent += len(batch)
            answered += len(calls)
            sent_by_all(len(batch))
    return sent, answered


async def rude(url: str, seed: int, done: asyncio.Event) -> int:
    """Connects, sends bytes that are no message, is cut off; how often."""
    source, cuts = random.Random(seed), 0
    while not done.is_set():
        try:
            async with connect(url, subprotocols=[Subprotocol("ocpp1.6")], compression=None) as socket:
                transport: Any = socket.transport
                transport.write(source.randbytes(source.randint(1, 4000)))
                async with asyncio.timeout(10):
                    await socket.wait_closed()
        except (OSError, WebSocketException, TimeoutError):
            await asyncio.sleep(0.1)
        cuts += 1
        await asyncio.sleep(0.05)
    return cuts


def progress_of(frames: int) -> Callable[[int], None]:
    """Says on stderr when another tenth of ``frames`` is sent."""
    total = 0

    def sent(count: int) -> None:
        nonlocal total
        if (total + count) * 10 // frames > total * 10 // frames:
            sys.stderr.write(f"fuzz: {total + count} of {frames} frames\n")
        total += count

    return sent


async def main(frames: int = FRAMES) -> dict[str, Any]:
    """Run, print and return the result."""
    seed = int(os.environ.get("EVPOWER_FUZZ_SEED", "0")) or random.SystemRandom().randrange(1, 2**31)
    sys.stderr.write(f"fuzz: EVPOWER_FUZZ_SEED={seed} repeats the frames of this run\n")
    async with backend() as services, database(services) as db:
        names = await add_stations(db, "fuzz-", CHARGERS + RUDE)
        async with socket_tier(services, LOG_LEVEL="ERROR") as (child, port):
            urls = [f"ws://127.0.0.1:{port}/ocpp/{name}" for name in names]
            done, began, cpu = asyncio.Event(), time.perf_counter(), cpu_seconds(child.pid)
            rough = [asyncio.create_task(rude(url, seed + 1000 + n, done)) for n, url in enumerate(urls[CHARGERS:])]
            sizes = []
            sent = answered = 0
            progress = progress_of(frames)
            for half in range(2):
                each = frames // (2 * CHARGERS)
                seeds = (seed + half * CHARGERS + number for number in range(CHARGERS))
                for counts in await asyncio.gather(
                    *(hostile(url, own, each, progress) for url, own in zip(urls[:CHARGERS], seeds, strict=True))
                ):
                    sent, answered = sent + counts[0], answered + counts[1]
                sizes.append(resident_kib(child.pid) / 1024)
            done.set()
            cuts = sum(await asyncio.gather(*rough))
            took, cpu = time.perf_counter() - began, cpu_seconds(child.pid) - cpu
            assert child.alive, "the socket tier ended"
    growth = sizes[1] - sizes[0]
    assert growth < AIM_GROWTH_MIB, f"the process grew by {growth:.0f} MiB over the second half"
    rows: list[tuple[object, ...]] = [
        ("", "value"),
        ("hostile frames", sent),
        ("well-formed CALLs, all answered", answered),
        ("rude sockets cut off", cuts),
        ("frames/s", round(sent / took)),
        ("CPU per frame µs", f"{cpu / sent * 1e6:.0f}"),
        ("memory after half of it, MiB", f"{sizes[0]:.0f}"),
        ("memory after all of it, MiB", f"{sizes[1]:.0f}"),
    ]
    result = {
        "bench": "fuzz",
        "seed": seed,
        "frames": sent,
        "calls": answered,
        "unanswered": 0,
        "rude": cuts,
        "growth_mib": round(growth, 1),
        **machine(),
    }
    report(f"fuzz: {CHARGERS} hostile chargers against one running socket tier", rows, result)
    return result
