"""One app on the locations stream: what it subscribed to, what waits to be sent, what it may ask (mobile-api.md §5)."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import orjson
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from evpower.clock import Clock, iso_z
from evpower.realtime.events import Event

MESSAGES_PER_SECOND = 10
MAX_CHANNELS = 200
_MAX_CHANNEL_CHARS = 200
_MAX_REPLIES = 32
_CHANNEL_KINDS = ("location:", "location_stations:", "station:")


@dataclass(frozen=True, slots=True)
class Order:
    """A client's message, in either dialect."""

    action: str
    channel: str | None = None


def parse_order(text: bytes | str) -> Order | str:
    """Read a message of the app's or the older clients' dialect; a string is the reason why it cannot be."""
    try:
        data = orjson.loads(text)
    except orjson.JSONDecodeError:
        return "bad JSON"
    if not isinstance(data, dict):
        return "a message is a JSON object"
    action = data.get("action", data.get("type"))
    if action == "ping":
        return Order("ping")
    if action == "pong":
        return Order("pong")
    if action not in ("subscribe", "unsubscribe"):
        return "unknown action"
    wrapped = data.get("data")
    channel = data.get("channel", wrapped.get("channel") if isinstance(wrapped, dict) else None)
    if not isinstance(channel, str) or not _is_channel(channel):
        return "unknown channel"
    return Order(action, channel)


def _is_channel(channel: str) -> bool:
    if channel == "all":
        return True
    if len(channel) > _MAX_CHANNEL_CHARS:
        return False
    return any(channel.startswith(kind) and len(channel) > len(kind) for kind in _CHANNEL_KINDS)


class StreamClient:
    """Sends in a task of its own. What waits is bounded: one message per subject (the newest), and a few replies."""

    def __init__(self, socket: ServerConnection, client_id: str, clock: Clock) -> None:
        self.client_id = client_id
        self.channels = {"all"}
        self.overflowed = False
        self._socket = socket
        self._clock = clock
        self._replies: deque[str] = deque()
        self._updates: dict[str, str] = {}
        self._wake = asyncio.Event()
        self._arrivals: deque[float] = deque(maxlen=MESSAGES_PER_SECOND)
        self._warned_at = 0.0

    # --- sending ------------------------------------------------------------------------------------------------

    def update(self, key: str, frame: str) -> None:
        """Queue an update; a newer one about the same subject replaces one that still waits."""
        self._updates.pop(key, None)
        self._updates[key] = frame
        self._wake.set()

    def reply(self, kind: str, **members: Any) -> None:
        """Queue a message that is about this connection."""
        if len(self._replies) >= _MAX_REPLIES:
            self.overflowed = True
        else:
            self._replies.append(orjson.dumps({"type": kind, **members}).decode())
        self._wake.set()

    def timestamp(self) -> str:
        return iso_z(self._clock.now())

    async def send_forever(self, send_timeout_s: float) -> None:
        """Write what is queued. Raises TimeoutError when the app does not read: it must not cost us memory."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._replies or self._updates:
                frame = self._replies.popleft() if self._replies else self._updates.pop(next(iter(self._updates)))
                async with asyncio.timeout(send_timeout_s):
                    await self._socket.send(frame)
            if self.overflowed:
                raise TimeoutError("replies are not read")

    # --- receiving ----------------------------------------------------------------------------------------------

    async def receive_forever(self, snapshot: Callable[[Iterable[str]], list[Event]]) -> None:
        """Obey the app's messages until it leaves."""
        while True:
            try:
                text = await self._socket.recv(decode=False)
            except ConnectionClosed:
                return
            if self._too_fast():
                continue
            order = parse_order(text)
            if isinstance(order, str):
                self.reply("error", message=order)
            else:
                self._obey(order, snapshot)

    def _obey(self, order: Order, snapshot: Callable[[Iterable[str]], list[Event]]) -> None:
        if order.action == "ping":
            self.reply("pong", timestamp=self.timestamp())
        elif order.action == "unsubscribe" and order.channel is not None:
            self.channels.discard(order.channel)
            self.reply("subscription", status="unsubscribed", channel=order.channel)
        elif order.action == "subscribe" and order.channel is not None:
            if len(self.channels) >= MAX_CHANNELS:
                self.reply("error", message="too many channels")
                return
            self.channels.add(order.channel)
            self.reply("subscription", status="subscribed", channel=order.channel)
            self.send_events(snapshot([order.channel]))

    def send_events(self, events: Iterable[Event]) -> None:
        """Queue these events, whatever the subscription (snapshot)."""
        now = self._clock.now()
        for event in events:
            self.update(event.key, orjson.dumps(event.message(now)).decode())

    def _too_fast(self) -> bool:
        """Above 10 messages in a second: ignored, and said once a second."""
        now = time.monotonic()
        if len(self._arrivals) == MESSAGES_PER_SECOND and now - self._arrivals[0] < 1.0:
            if now - self._warned_at >= 1.0:
                self._warned_at = now
                self.reply("error", message="rate_limited")
            return True
        self._arrivals.append(now)
        return False
