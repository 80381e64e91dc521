"""The app's WebSocket with live station status (mobile-api.md §5): snapshot on connect, then differences.

Publishers announce changed stations through Redis; this instance reads them anew from PostgreSQL, many at once, and
sends what differs to the apps that subscribed. Redis away: everything is read again every few seconds instead.
"""

import asyncio
import re
import uuid
from collections import Counter
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import orjson
from websockets.asyncio.server import ServerConnection

from evpower.clock import Clock
from evpower.config import Settings
from evpower.db import Database
from evpower.logging import get_logger
from evpower.realtime.events import Event
from evpower.realtime.service import CHANNEL, changed_stations
from socket_tier.background import Background, Work
from socket_tier.status_board import StatusBoard
from socket_tier.stream_client import StreamClient
from socket_tier.unavailable import is_unavailable

if TYPE_CHECKING:
    from evpower.redis_client import RedisClient

log = get_logger(__name__)

STREAM_PATHS = frozenset({"/api/v1/locations/stream", "/api/v1/ws/locations", "/api/v1/locations/ws/locations"})
POLICY_VIOLATION, TRY_AGAIN_LATER, RESTART = 1008, 1013, 1012
SOCKETS_PER_ADDRESS = 20
MAX_SOCKETS = 5_000
PING_S = 20.0
SEND_TIMEOUT_S = 10.0
COALESCE_S = 0.05
REREAD_S = 30.0
REREAD_DEGRADED_S = 5.0
RETRY_S = 1.0
_SNAPSHOT_TIMEOUT_S = 10.0
_PUBSUB_WAIT_S = 5.0
_CLIENT_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def is_stream_path(path: str) -> bool:
    """Whether a request path (without query) belongs to the locations stream."""
    return path.rstrip("/") in STREAM_PATHS


class LocationStream:
    """All stream sockets of one instance."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        redis: "RedisClient",
        clock: Clock,
        *,
        ping_s: float = PING_S,
        send_timeout_s: float = SEND_TIMEOUT_S,
        reread_s: float = REREAD_S,
        reread_degraded_s: float = REREAD_DEGRADED_S,
        sockets_per_address: int = SOCKETS_PER_ADDRESS,
        background: Background | None = None,
    ) -> None:
        """``redis`` is used for the subscription alone: its socket timeout must exceed 5 s."""
        self._origins = frozenset(origin.rstrip("/").lower() for origin in settings.cors_origin_list)
        self._redis = redis
        self._clock = clock
        self._board = StatusBoard(database, clock)
        self._ping_s = ping_s
        self._send_timeout_s = send_timeout_s
        self._reread_s = reread_s
        self._reread_degraded_s = reread_degraded_s
        self._sockets_per_address = sockets_per_address
        self._clients: dict[StreamClient, ServerConnection] = {}
        self._per_address: Counter[str] = Counter()
        self._changed: set[str] | None = set()  # None: read everything
        self._wake = asyncio.Event()
        self._ready = asyncio.Event()
        self._background = background or Background()
        self.degraded = True  # until the subscription stands

    # --- life ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start listening for changes."""
        self._background.start("stream subscription", self._subscribe_forever)
        self._background.start("stream refresh", self._refresh_forever)

    async def stop(self) -> None:
        """Close every stream socket (the app connects again, to another instance) and stop."""
        await self._background.stop("stream subscription", "stream refresh")
        closing = [socket.close(RESTART, "the server restarts") for socket in self._clients.values()]
        await asyncio.gather(*closing, return_exceptions=True)
        await self._redis.aclose()

    def __len__(self) -> int:
        return len(self._clients)

    # --- one socket ---------------------------------------------------------------------------------------------

    async def handle_stream(self, socket: ServerConnection, address: str) -> None:
        """Serve one app until it leaves. ``address`` is the caller's own, behind our proxies."""
        origin = socket.request.headers.get("Origin") if socket.request else None
        if origin is not None and "*" not in self._origins and origin.rstrip("/").lower() not in self._origins:
            await socket.close(POLICY_VIOLATION, "origin not allowed")
            return
        if self._per_address[address] >= self._sockets_per_address or len(self._clients) >= MAX_SOCKETS:
            await socket.close(TRY_AGAIN_LATER, "too many connections")
            return
        self._per_address[address] += 1
        client = StreamClient(socket, _client_id(socket), self._clock)
        try:
            await self._serve(client, socket)
        finally:
            self._clients.pop(client, None)
            self._per_address[address] -= 1
            if not self._per_address[address]:
                del self._per_address[address]

    async def _serve(self, client: StreamClient, socket: ServerConnection) -> None:
        client.reply("connection", status="connected", client_id=client.client_id, message="locations stream")
        jobs = [
            asyncio.ensure_future(client.send_forever(self._send_timeout_s)),
            asyncio.ensure_future(self._greet(client, socket)),
        ]
        try:
            done, _ = await asyncio.wait(jobs, return_when=asyncio.FIRST_COMPLETED)
            slow = any(isinstance(job.exception(), TimeoutError) for job in done if not job.cancelled())
        finally:
            for job in jobs:
                job.cancel()
            await asyncio.gather(*jobs, return_exceptions=True)
        if slow:
            log.info("stream client too slow", extra={"client_id": client.client_id})
            # A client that does not read will not answer a close handshake either.
            socket.transport.abort()

    async def _greet(self, client: StreamClient, socket: ServerConnection) -> None:
        """Snapshot and membership in one step, so that no change falls between them; then obey and ping."""
        self._clients[client] = socket
        if not self._board.loaded:
            self._ready.clear()
            self._changed = None
            self._wake.set()
            try:
                async with asyncio.timeout(_SNAPSHOT_TIMEOUT_S):
                    await self._ready.wait()  # the refresher sends the first state to every client
            except TimeoutError:
                client.reply("error", message="service_unavailable")
        else:
            client.send_events(self._board.snapshot(client.channels))
        pinger = asyncio.ensure_future(self._ping_forever(client))
        try:
            await client.receive_forever(self._board.snapshot)
        finally:
            pinger.cancel()

    async def _ping_forever(self, client: StreamClient) -> None:
        while True:
            await asyncio.sleep(self._ping_s)
            client.reply("ping", timestamp=client.timestamp())

    # --- changes ------------------------------------------------------------------------------------------------

    def changed(self, stations: set[str] | None) -> None:
        """Read these stations again soon (None: all)."""
        if stations is None or self._changed is None:
            self._changed = None
        else:
            self._changed |= stations
        self._wake.set()

    async def _refresh_forever(self, work: Work) -> None:
        while True:
            try:
                async with asyncio.timeout(self._reread_degraded_s if self.degraded else self._reread_s):
                    await self._wake.wait()
                await asyncio.sleep(COALESCE_S)
            except TimeoutError:
                self._changed = None
            self._wake.clear()
            if not self._clients:
                self._board.forget()
                self._changed = set()
                continue
            await self._refresh(work)

    async def _refresh(self, work: Work) -> None:
        changed, self._changed = self._changed, set()
        try:
            async with work.step():
                events = await self._board.refresh(changed)
        except Exception as error:
            if is_unavailable(error) or isinstance(error, TimeoutError):
                log.warning("live status waits for the database", extra={"error": str(error)})
            else:
                log.exception("live status could not be read")
            self._changed = None
            asyncio.get_running_loop().call_later(RETRY_S, self._wake.set)
            return
        self._broadcast(events)
        self._ready.set()

    def _broadcast(self, events: list[Event]) -> None:
        now = self._clock.now()
        for event in events:
            frame = orjson.dumps(event.message(now)).decode()
            for client in self._clients:
                if not event.channels.isdisjoint(client.channels):
                    client.update(event.key, frame)

    async def _subscribe_forever(self, work: Work) -> None:
        """Keep the subscription; after every interruption everything may have changed."""
        pause = 0.2
        while True:
            try:
                async with work.step():
                    await self._redis.initialize()  # a cluster client knows its nodes only after this
                async with self._redis.pubsub() as pubsub:
                    async with work.step():
                        await pubsub.subscribe(CHANNEL)
                    self.changed(None)
                    self.degraded = False
                    pause = 0.2
                    while True:
                        async with work.step():
                            await self._listen(pubsub)
            except Exception as error:
                # Also what redis-py raises while its picture of a cluster is incomplete: nothing may end this loop.
                if not self.degraded:
                    log.warning("live updates fall back to reading", extra={"error": repr(error)})
                self.degraded = True
                self.changed(None)
            await asyncio.sleep(pause)
            pause = min(pause * 2, 2.0)

    async def _listen(self, pubsub: Any) -> None:
        message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=_PUBSUB_WAIT_S)
        if message is not None and message.get("type") == "message":
            self.changed(changed_stations(message["data"]))
        elif message is None:
            await pubsub.ping()  # a dead TCP connection is silent


def _client_id(socket: ServerConnection) -> str:
    """The caller's own name for itself, if harmless; it selects nothing."""
    query = urlsplit(socket.request.path).query if socket.request else ""
    given = parse_qs(query).get("client_id", [""])[0]
    return given if _CLIENT_ID.fullmatch(given) else str(uuid.uuid4())
