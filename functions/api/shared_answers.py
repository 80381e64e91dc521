"""Answers that are the same for everybody: made once for all processes, and not sent again to who has them.

An answer belongs to a state of the database and to a few seconds. The state is part of its name, so that whatever
changes what is shown, by whichever way, is shown at once; the seconds, because some of it changes with time alone (a
charger grows silent, a tariff begins).
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime

from starlette.responses import Response

from evpower.redis_access import RedisAccess, RedisAway

KEPT_S = 10
_ETAG_BYTES = 34  # with its quotes


@dataclass(frozen=True, slots=True)
class SharedAnswer:
    """A JSON body and its entity tag."""

    etag: bytes
    body: bytes

    @classmethod
    def of(cls, body: bytes) -> "SharedAnswer":
        return cls(f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'.encode(), body)

    def response(self, if_none_match: str | None) -> Response:
        """The answer, or 304 for who names its tag (RFC 9110 §13.1.2: weak comparison). Stored ones are asked about."""
        headers = {"ETag": self.etag.decode(), "Cache-Control": "no-cache"}
        tags = {tag.strip().removeprefix("W/") for tag in (if_none_match or "").split(",")}
        if "*" in tags or headers["ETag"] in tags:
            return Response(status_code=304, headers=headers)
        return Response(self.body, media_type="application/json", headers=headers)


def state_at(state: str, now: datetime) -> str:
    """What an answer belongs to: the state of what it shows, and the present few seconds."""
    return f"{state}@{int(now.timestamp()) // KEPT_S}"


class SharedAnswers:
    """The last answer of each name in this process, behind it those of all processes in Redis.

    Redis away: each process makes its own.
    """

    def __init__(self, redis: RedisAccess) -> None:
        self._redis = redis
        self._last: dict[str, tuple[str, SharedAnswer]] = {}

    async def get(self, name: str, state: str) -> SharedAnswer | None:
        """The answer of this name for this state, if somebody has made it."""
        known, answer = self._last.get(name, ("", None))
        if known == state:
            return answer
        try:
            found = await self._redis.run(lambda client: client.get(_key(name, state)))
        except RedisAway:
            return None
        if not found:
            return None
        answer = SharedAnswer(found[:_ETAG_BYTES], found[_ETAG_BYTES:])
        self._last[name] = (state, answer)
        return answer

    async def put(self, name: str, state: str, answer: SharedAnswer) -> None:
        """Keep it for others."""
        self._last[name] = (state, answer)
        try:
            await self._redis.run(lambda client: client.set(_key(name, state), answer.etag + answer.body, ex=KEPT_S))
        except RedisAway:
            return


def _key(name: str, state: str) -> str:
    return f"evpower:answer:{name}:{state}"
