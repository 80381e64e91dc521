"""Idempotency-Key (mobile-api.md §1.8): a repeated POST, PUT or DELETE gets the first one's answer.

This saves the work and the surprise; money is protected in the database as well, by unique source keys and by one
live session per client. So, while Redis is away, requests go through unprotected by this layer.
"""

import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from evpower.errors import IdempotencyConflict, InvalidRequest
from evpower.ids import new_id
from evpower.logging import get_logger
from evpower.redis_access import RedisAccess, RedisAway
from functions.api.context import RequestContext, context_of, headers_of
from functions.api.envelope import JsonResponse

KEPT_S = 24 * 3600
IN_FLIGHT_S = 30
"""As long as the function may run: a request that crashed must not block its repetition for longer."""
MAX_KEPT_BYTES = 256 * 1024
_METHODS = frozenset({"POST", "PUT", "DELETE"})
# Answers of these carry tokens and keys, which must not be kept.
_EXEMPT = re.compile(r"/api/v1/auth/.*|/api/v1/admin/stations/[^/]+/credentials/key")
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_RETRYABLE = frozenset({401, 429})

# Only the request that holds the place may fill or free it.
_FINISH = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '' then return redis.call('DEL', KEYS[1]) end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
return 1
"""

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Place:
    """The place of one key in Redis, held by one running request."""

    name: str
    held: bytes


class IdempotencyMiddleware:
    """Keeps answers 24 h, scoped by client; one request of a key at a time; 401, 429 and 5xx are not kept."""

    def __init__(self, app: ASGIApp, *, redis: RedisAccess, secret: str) -> None:
        self._app = app
        self._redis = redis
        self._secret = secret.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in _METHODS or _EXEMPT.fullmatch(scope["path"]):
            await self._app(scope, receive, send)
            return
        given = headers_of(scope).get("idempotency-key")
        if given is not None and not _KEY.fullmatch(given):
            raise InvalidRequest("Idempotency-Key has 1 to 255 printable characters")
        key = given or new_id()
        send = _echo(send, key)
        context = context_of(scope)
        if given is None or context.principal is None:
            await self._app(scope, receive, send)
            return
        fingerprint = _fingerprint(scope, context, self._secret)
        name = _name(context.principal.subject, key)
        try:
            found = await self._take(name, fingerprint)
        except RedisAway:
            await self._app(scope, receive, send)
            return
        if isinstance(found, Place):
            await self._run(found, fingerprint, scope, receive, send)
            return
        if found["fingerprint"] != fingerprint:
            raise IdempotencyConflict("The Idempotency-Key was used for another request")
        if "status" not in found:
            raise IdempotencyConflict("The first request with this Idempotency-Key is still running")
        replay = JsonResponse(None, found["status"], {"Idempotency-Replayed": "true"})
        replay.body = str(found["body"]).encode()
        replay.headers["content-length"] = str(len(replay.body))
        await replay(scope, receive, send)

    async def _take(self, name: str, fingerprint: str) -> Place | dict[str, Any]:
        """The free place, now ours, or what is there."""
        held = orjson.dumps({"fingerprint": fingerprint, "holder": new_id()})
        for _ in range(2):
            if await self._redis.run(lambda client: client.set(name, held, nx=True, ex=IN_FLIGHT_S)):
                return Place(name, held)
            found = await self._redis.run(lambda client: client.get(name))
            if found is not None:  # else it expired in between: try to take it again
                kept: dict[str, Any] = orjson.loads(found)
                return kept
        raise IdempotencyConflict("The first request with this Idempotency-Key is still running")

    async def _run(self, place: Place, fingerprint: str, scope: Scope, receive: Receive, send: Send) -> None:
        status = 0
        body = bytearray()

        async def keeping_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            elif message["type"] == "http.response.body":
                body.extend(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, keeping_send)
        finally:
            await self._finish(place, _kept(status, bytes(body), fingerprint))

    async def _finish(self, place: Place, kept: bytes) -> None:
        try:
            await self._redis.run(lambda client: client.eval(_FINISH, 1, place.name, place.held, kept, KEPT_S))
        except RedisAway:
            _log.warning("answer not kept for its Idempotency-Key")


def _kept(status: int, body: bytes, fingerprint: str) -> bytes:
    """What to keep of an answer; empty for answers that a repetition should not get."""
    if not status or status >= 500 or status in _RETRYABLE or len(body) > MAX_KEPT_BYTES:
        return b""
    return orjson.dumps({"fingerprint": fingerprint, "status": status, "body": body.decode()})


def _name(subject: str, key: str) -> str:
    return f"evpower:idempotency:{hashlib.sha256(f'{subject}:{key}'.encode()).hexdigest()}"


def _fingerprint(scope: Scope, context: RequestContext, secret: bytes) -> str:
    """Which request this is. Keyed: a body may hold a card number, which must not be guessable from Redis."""
    parts = (scope["method"].encode(), scope["path"].encode(), scope["query_string"], context.body)
    return hmac.new(secret, b"\n".join(hashlib.sha256(part).digest() for part in parts), "sha256").hexdigest()


def _echo(send: Send, key: str) -> Send:
    async def send_with_key(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message)["Idempotency-Key"] = key
        await send(message)

    return send_with_key
