"""A client of the live map: connects, subscribes, and comes back after every interruption.

    python docs/api/locations_stream_client.py wss://HOST/api/v1/locations/stream location:ID ...

The stream tells changes only, so `on_reconnect` fetches the present state (GET /api/v1/locations) after each
connection: what changed in between would be missed otherwise. Needs the package `websockets`.
"""

import asyncio
import json
import random
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus, WebSocketException

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0
SILENCE_S = 45.0  # the server sends a ping message every 20 s: after two missed ones the connection is dead
UPDATES = frozenset({"location_status_update", "station_status_update"})

Update = dict[str, Any]


async def follow(
    url: str,
    channels: Sequence[str],
    on_update: Callable[[Update], None],
    on_reconnect: Callable[[], Awaitable[None]],
    *,
    first_pause_s: float = FIRST_PAUSE_S,
    silence_s: float = SILENCE_S,
) -> None:
    """Run until cancelled. Pauses between attempts double up to 30 s, with a random part, so that a thousand phones do
    not come back in the same second."""
    pause_s = first_pause_s
    while True:
        try:
            async with connect(url, open_timeout=10) as socket:
                await _subscribe(socket, channels)
                await on_reconnect()
                pause_s = first_pause_s
                await _read(socket, on_update, silence_s)
        except InvalidStatus as refusal:
            if refusal.response.status_code in (401, 403, 404):
                raise  # trying again would not help
        except (OSError, TimeoutError, WebSocketException):
            pass
        await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - no secret depends on it
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


async def _subscribe(socket: ClientConnection, channels: Sequence[str]) -> None:
    """A new connection hears `all`; whoever names channels wants only those."""
    for channel in channels:
        await socket.send(json.dumps({"action": "subscribe", "channel": channel}))
    if channels:
        await socket.send(json.dumps({"action": "unsubscribe", "channel": "all"}))


async def _read(socket: ClientConnection, on_update: Callable[[Update], None], silence_s: float) -> None:
    while True:
        async with asyncio.timeout(silence_s):
            message = json.loads(await socket.recv())
        if message.get("type") in UPDATES:  # ignore what you do not know: new kinds of messages may come
            on_update(message)


async def main(url: str, channels: Sequence[str]) -> None:
    """Print the updates as lines of JSON."""

    async def connected() -> None:
        sys.stderr.write("connected: now GET /api/v1/locations?include_stations=true\n")

    def show(update: Update) -> None:
        sys.stdout.write(json.dumps(update, ensure_ascii=False) + "\n")
        sys.stdout.flush()

    await follow(url, channels, show, connected)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2:]))
