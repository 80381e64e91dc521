"""Which instance holds the socket of a station, and how one instance reaches another.

Truth is PostgreSQL (``stations.connection_epoch``); Redis is the fast lookup. Every Redis key is used alone, so each
command and script touches one slot of a Redis Cluster:

``evpower:owner:{station}``    ``instance:epoch`` with a TTL, refreshed while the socket lives
``evpower:inbox:{instance}``   list of messages to one instance: hand-offs, their acknowledgements, lost ownership
``evpower:{connected}``        sorted set station -> time of its last refresh, for the fleet-wide count

Redis away: nothing here raises; :attr:`Registry.degraded` is true and the dispatcher polls PostgreSQL instead.
"""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from evpower.logging import get_logger
from evpower.redis_client import redis_errors
from socket_tier.background import Background, Work
from socket_tier.redis_link import PROBE_S, RedisAway, RedisLink
from socket_tier.tasks import cancel_all

if TYPE_CHECKING:
    from evpower.redis_client import RedisClient
    from socket_tier.dialect import Dialect

log = get_logger(__name__)

OWNER_TTL_S = 60
REFRESH_S = 20.0
HAND_OFF_TIMEOUT_S = 2.0
PING_TIMEOUT_S = 1.5  # below the time-out of a question to another instance
INBOX_TTL_S = 30
INBOX_BLOCK_S = 4.0  # below the socket timeout of the blocking client
REPLACED_CODE = 4001
REPLACED_REASON = "replaced by a newer connection of this station"
_CONNECTED_KEY = "evpower:{connected}"
_REFRESH_CHUNK = 64

# Fencing: a lower epoch never overwrites a higher one. Returns what was there before ('' = nothing).
_CLAIM = """
local current = redis.call('GET', KEYS[1])
if current then
  local epoch = tonumber(string.match(current, ':(%d+)$'))
  if epoch and epoch > tonumber(ARGV[2]) then return current end
end
redis.call('SET', KEYS[1], ARGV[1] .. ':' .. ARGV[2], 'PX', ARGV[3])
return current or ''
"""
# Compare-and-delete: closing an old socket never unregisters the new one.
_RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"
# The TTL throws away the inbox of an instance that died.
_POST = "redis.call('RPUSH', KEYS[1], ARGV[1]) return redis.call('PEXPIRE', KEYS[1], ARGV[2])"


class StationConnection(Protocol):
    """What registry and dispatcher need of one charger's socket."""

    @property
    def station_id(self) -> str: ...

    @property
    def epoch(self) -> int:
        """Fencing token from ``evpower.stations.service.claim_connection``."""
        ...

    @property
    def dialect(self) -> "Dialect":
        """The OCPP version spoken: its command table maps answers to outcomes."""
        ...

    @property
    def accepts_commands(self) -> bool:
        """False until the station's registration is accepted: its commands stay queued."""
        ...

    async def call(self, action: str, payload: Mapping[str, Any], timeout: float) -> dict[str, Any]:
        """Send one CALL and wait for its CALLRESULT; errors are those of ``socket_tier.connection``."""
        ...

    async def close(self, code: int, reason: str) -> None: ...

    async def answers_ping(self, timeout_s: float) -> bool:
        """Whether the charger answers a WebSocket ping in time."""
        ...

    def look_up_again(self) -> None:
        """What is kept of the station's running transactions may be out of date."""
        ...


@dataclass(frozen=True, slots=True)
class Owner:
    """Holder of a station's socket as Redis knows it."""

    instance_id: str
    epoch: int

    @classmethod
    def parse(cls, value: bytes | str | None) -> "Owner | None":
        text = value.decode() if isinstance(value, bytes) else value or ""
        instance, _, epoch = text.rpartition(":")
        return cls(instance, int(epoch)) if instance and epoch.isdigit() else None


@dataclass(frozen=True, slots=True)
class Lookup:
    """Answer of :meth:`Registry.owner`; ``known`` is false while Redis is away."""

    known: bool
    owner: Owner | None = None


HandOff = Callable[[str, str], bool]
"""(station_id, command_id) -> taken. Called for a command that another instance received."""
Reclaimed = Callable[[list[str]], None]
"""Called with stations whose owner key had vanished: commands received meanwhile found no owner."""


def _owner_key(station_id: str) -> str:
    # Braces in a station id would choose another hash tag, which is harmless: each key is used alone.
    return f"evpower:owner:{{{station_id}}}"


def _inbox_key(instance_id: str) -> str:
    return f"evpower:inbox:{{{instance_id}}}"


class Registry:
    """Local map station -> connection, mirrored into Redis, with an inbox for the other instances."""

    def __init__(
        self,
        redis: "RedisClient",
        blocking_redis: "RedisClient",
        instance_id: str,
        *,
        owner_ttl_s: float = OWNER_TTL_S,
        refresh_s: float = REFRESH_S,
        hand_off_timeout_s: float = HAND_OFF_TIMEOUT_S,
        background: Background | None = None,
    ) -> None:
        """``blocking_redis`` is for the inbox alone: its socket timeout must exceed ``INBOX_BLOCK_S``."""
        self.instance_id = instance_id
        self.on_hand_off: HandOff = lambda _station, _command: False
        self.on_reclaimed: Reclaimed = lambda _stations: None
        self.on_displaced: Callable[[str], None] = lambda _station: None
        self._background = background or Background()
        self._redis = redis
        self._blocking = blocking_redis
        self._ttl_ms = int(owner_ttl_s * 1000)
        self._refresh_s = refresh_s
        self._hand_off_timeout_s = hand_off_timeout_s
        self._connections: dict[str, StationConnection] = {}
        self._waiting: dict[str, asyncio.Future[bool]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._refresh_now = asyncio.Event()
        self._link = RedisLink()

    # --- life ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start refreshing owner keys and reading the inbox."""
        self._background.start("owner keys", self._refresh_forever)
        self._background.start("inbox", self._read_inbox_forever)

    async def stop(self) -> None:
        """Give up every owner key and stop. Sockets are closed by the server, not here."""
        await self._background.stop("owner keys", "inbox")
        await cancel_all(self._tasks)
        await asyncio.gather(*(self.unregister(c) for c in list(self._connections.values())))
        with suppress(*redis_errors()):
            await self._redis.aclose()
        with suppress(*redis_errors()):
            await self._blocking.aclose()

    @property
    def degraded(self) -> bool:
        """Redis failed the last time it was used."""
        return self._link.degraded

    # --- local stations -----------------------------------------------------------------------------------------

    def local(self, station_id: str) -> StationConnection | None:
        """The socket of this station if this instance holds it."""
        return self._connections.get(station_id)

    def local_epochs(self) -> dict[str, int]:
        """Station -> epoch of every socket of this instance that takes commands."""
        return {s: c.epoch for s, c in self._connections.items() if c.accepts_commands}

    def epochs_of(self, stations: Iterable[str]) -> dict[str, int]:
        """:meth:`local_epochs` of these stations only: what is done for each charger must not look at all of them."""
        found = ((station, self._connections.get(station)) for station in stations)
        return {s: c.epoch for s, c in found if c is not None and c.accepts_commands}

    def __len__(self) -> int:
        return len(self._connections)

    async def register(self, station_id: str, connection: StationConnection) -> None:
        """Make ``connection`` the station's socket here and everywhere; the newest epoch wins.

        Returns once Redis has it (or is known to be away), so that a command committed afterwards finds this
        owner; commands committed earlier are found by the dispatcher's ``drain``, to be called after this.
        """
        current = self._connections.get(station_id)
        if current is not None and current is not connection:
            if current.epoch > connection.epoch:
                self._replace(connection)
                return
            self._replace(current)
        self._connections[station_id] = connection
        with suppress(RedisAway):
            await self._claim(station_id, connection)
            await self._link.call(lambda: self._redis.zadd(_CONNECTED_KEY, {station_id: time.time()}))

    async def unregister(self, connection: StationConnection) -> None:
        """Forget ``connection``; a newer socket of the station, here or elsewhere, is untouched."""
        station_id = connection.station_id
        if self._connections.get(station_id) is connection:
            del self._connections[station_id]
        with suppress(RedisAway):
            if await self._release(station_id, connection.epoch):
                await self._link.call(lambda: self._redis.zrem(_CONNECTED_KEY, station_id))

    async def connected_count(self) -> int | None:
        """Stations connected to the whole fleet; None while Redis is away."""
        oldest = time.time() - self._ttl_ms / 1000
        try:
            return int(await self._link.call(lambda: self._redis.zcount(_CONNECTED_KEY, oldest, "+inf")))
        except RedisAway:
            return None

    async def connected_stations(self) -> list[str] | None:
        """Ids of the stations connected to the whole fleet; None while Redis is away."""
        oldest = time.time() - self._ttl_ms / 1000
        try:
            found = await self._link.call(lambda: self._redis.zrangebyscore(_CONNECTED_KEY, oldest, "+inf"))
        except RedisAway:
            return None
        return [item.decode() for item in found]

    # --- the other instances ------------------------------------------------------------------------------------

    async def owner(self, station_id: str) -> Lookup:
        """Who holds the station, as Redis knows it."""
        try:
            value = await self._link.call(lambda: self._redis.get(_owner_key(station_id)))
        except RedisAway:
            return Lookup(known=False)
        return Lookup(known=True, owner=Owner.parse(value))

    async def hand_off(self, owner: Owner, station_id: str, command_id: str) -> bool | None:
        """Give a command to another instance and wait for its acknowledgement of the hand-off, not of the charger.

        True: taken. False: that instance no longer holds the station. None: no answer in time.
        """
        message = {"type": "command", "station_id": station_id, "command_id": command_id}
        return await self._ask(owner, message)

    async def holder_answers(self, station_id: str) -> bool:
        """Whether the station's socket, here or on another instance, answers a ping."""
        local = self._connections.get(station_id)
        if local is not None:
            return await local.answers_ping(PING_TIMEOUT_S)
        lookup = await self.owner(station_id)
        if lookup.owner is None or lookup.owner.instance_id == self.instance_id:
            return False
        return await self._ask(lookup.owner, {"type": "ping", "station_id": station_id}) is True

    async def _ask(self, owner: Owner, message: dict[str, Any]) -> bool | None:
        """What another instance acknowledges; None: no answer in time."""
        message_id = uuid.uuid4().hex
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting[message_id] = future
        try:
            await self._post(owner.instance_id, {**message, "id": message_id, "from": self.instance_id})
            async with asyncio.timeout(self._hand_off_timeout_s):
                return await future
        except (RedisAway, TimeoutError):
            return None
        finally:
            self._waiting.pop(message_id, None)

    def drop_stale(self, current_epochs: Mapping[str, int]) -> None:
        """Close local sockets that PostgreSQL says have been replaced (used while Redis cannot tell)."""
        for station_id, epoch in current_epochs.items():
            self._lost(station_id, epoch)

    # --- inside -------------------------------------------------------------------------------------------------

    def _lost(self, station_id: str, newer_epoch: int) -> None:
        connection = self._connections.get(station_id)
        if connection is not None and connection.epoch < newer_epoch:
            del self._connections[station_id]
            log.info("station moved to another instance", extra={"station_id": station_id, "epoch": newer_epoch})
            self._replace(connection)

    def _replace(self, connection: StationConnection) -> None:
        self._spawn(connection.close(REPLACED_CODE, REPLACED_REASON))
        self.on_displaced(connection.station_id)

    async def _claim(self, station_id: str, connection: StationConnection, *, probe: bool = False) -> Owner | None:
        """Write or refresh the owner key; returns the owner before. A replaced owner is told, or we are."""
        previous = await self._link.call(
            lambda: self._redis.eval(
                _CLAIM, 1, _owner_key(station_id), self.instance_id, str(connection.epoch), str(self._ttl_ms)
            ),
            probe=probe,
        )
        before = Owner.parse(previous)
        if before is not None and before.epoch > connection.epoch:
            self._lost(station_id, before.epoch)
        elif before is not None and before.instance_id != self.instance_id and before.epoch < connection.epoch:
            self.on_displaced(station_id)
            await self._post(before.instance_id, {"type": "lost", "station_id": station_id, "epoch": connection.epoch})
        return before

    async def _release(self, station_id: str, epoch: int) -> bool:
        expected = f"{self.instance_id}:{epoch}"
        return bool(await self._link.call(lambda: self._redis.eval(_RELEASE, 1, _owner_key(station_id), expected)))

    async def _refresh_forever(self, work: Work) -> None:
        while True:
            try:
                async with asyncio.timeout(self._refresh_s):
                    await self._refresh_now.wait()
            except TimeoutError:
                pass
            self._refresh_now.clear()
            with suppress(RedisAway):
                await self._guarded(self._refresh(), work)

    async def _refresh(self) -> None:
        stations = list(self._connections.items())
        reclaimed: list[str] = []
        for start in range(0, len(stations), _REFRESH_CHUNK):
            chunk = stations[start : start + _REFRESH_CHUNK]
            # Each is tried although another failed: one node of a cluster may be away.
            before = await asyncio.gather(*(self._claim(s, c, probe=True) for s, c in chunk), return_exceptions=True)
            if all(isinstance(owner, BaseException) for owner in before):
                raise RedisAway
            reclaimed += [s for (s, _), owner in zip(chunk, before, strict=True) if owner is None]
        if reclaimed:
            self.on_reclaimed(reclaimed)
        now = time.time()
        scores = {s: now for s, _ in stations if s in self._connections}
        if scores:
            await self._link.call(lambda: self._redis.zadd(_CONNECTED_KEY, scores))
        await self._link.call(lambda: self._redis.zremrangebyscore(_CONNECTED_KEY, 0, now - self._ttl_ms / 500))

    async def _post(self, instance_id: str, message: dict[str, Any]) -> None:
        body = orjson.dumps(message)
        await self._link.call(
            lambda: self._redis.eval(_POST, 1, _inbox_key(instance_id), body, str(INBOX_TTL_S * 1000))
        )

    async def _read_inbox_forever(self, work: Work) -> None:
        key = _inbox_key(self.instance_id)
        while True:
            try:
                await self._guarded(self._read_inbox(key), work)
            except RedisAway:
                await asyncio.sleep(PROBE_S)

    async def _read_inbox(self, key: str) -> None:
        if self.degraded:
            await self._link.call(lambda: self._redis.exists(key), probe=True)
            self._refresh_now.set()  # Redis may have come back empty
        item = await self._link.call(lambda: self._blocking.blpop([key], timeout=INBOX_BLOCK_S))
        if item:
            await self._receive(item[1])

    async def _receive(self, body: bytes) -> None:
        try:
            message = orjson.loads(body)
            kind, station_id = message["type"], message.get("station_id", "")
            if kind == "command":
                taken = self.on_hand_off(station_id, message["command_id"])
                if not taken:
                    with suppress(RedisAway):
                        await self._forget_stale_key(station_id)
                self._spawn(self._post(message["from"], {"type": "ack", "id": message["id"], "taken": taken}))
            elif kind == "ping":
                self._spawn(self._acknowledge_ping(station_id, message["from"], message["id"]))
            elif kind == "ack":
                future = self._waiting.get(message["id"])
                if future is not None and not future.done():
                    future.set_result(bool(message["taken"]))
            elif kind == "lost":
                self._lost(station_id, int(message["epoch"]))
        except (ValueError, KeyError, TypeError) as error:
            log.warning("unreadable message in the inbox", extra={"error": str(error)})

    async def _acknowledge_ping(self, station_id: str, sender: str, message_id: str) -> None:
        local = self._connections.get(station_id)
        answers = local is not None and await local.answers_ping(PING_TIMEOUT_S)
        await self._post(sender, {"type": "ack", "id": message_id, "taken": answers})

    async def _forget_stale_key(self, station_id: str) -> None:
        """Our key for a socket that is gone (left by a crash of this instance): remove it, the sender looks again."""
        if station_id in self._connections:
            return
        lookup = await self.owner(station_id)
        if lookup.owner is not None and lookup.owner.instance_id == self.instance_id:
            await self._release(station_id, lookup.owner.epoch)

    async def _guarded(self, job: Awaitable[Any], work: Work | None = None) -> None:
        """Nothing unexpected may end a loop. Raises RedisAway only."""
        try:
            async with (work or Work("once")).step():
                await job
        except RedisAway:
            raise
        except Exception as error:
            log.exception("background work of the registry failed")
            raise RedisAway from error

    def _spawn(self, job: Awaitable[Any]) -> None:
        async def run() -> None:
            with suppress(RedisAway):
                await self._guarded(job)

        task = asyncio.get_running_loop().create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
