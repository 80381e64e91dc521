"""Public keys of a token issuer, fetched once an hour and shared by all requests of the process."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from evpower.errors import ServiceUnavailable
from evpower.logging import get_logger
from evpower.outside import http as outgoing

if TYPE_CHECKING:
    from jwt import PyJWK

TTL_S = 3600.0
COOL_DOWN_S = 30.0
FAILURE_COOL_DOWN_S = 5.0
_FETCH_TIMEOUT_S = 3.0
_MAX_DOCUMENT_BYTES = 64 * 1024
_MAX_KEYS = 32

_log = get_logger(__name__)

Fetch: TypeAlias = Callable[[], Awaitable[dict[str, Any]]]


class JwksCache:
    """Keys by ``kid`` (RFC 7517).

    - One fetch at a time: requests that need the keys meanwhile wait for it.
    - A ``kid`` that is not in the set causes one more fetch, at most every 30 s (use case: key rotation;
      abuse case: a flood of tokens with invented ``kid`` must not become a flood of fetches).
    - While the issuer is away, known keys stay valid past their hour: logging everybody out helps nobody.
    """

    def __init__(self, fetch: Fetch, *, now: Callable[[], float] = time.monotonic) -> None:
        self._fetch = fetch
        self._now = now
        self._keys: dict[str, PyJWK] = {}
        self._fetched_at: float | None = None
        self._attempted_at: float | None = None
        self._last_failed = False
        self._lock = asyncio.Lock()

    async def key(self, kid: str) -> "PyJWK | None":
        """The key, or None when the issuer has no such key.

        Raises:
            ServiceUnavailable: the keys cannot be fetched, so nothing can be said about this one. (A 401 would make
                the app erase its tokens, mobile-api.md §2.2.)
        """
        if kid not in self._keys or self._is_stale():
            async with self._lock:
                if (kid not in self._keys or self._is_stale()) and self._may_attempt():
                    await self._refresh()
        found = self._keys.get(kid)
        if found is None and (self._fetched_at is None or self._last_failed):
            raise ServiceUnavailable("The token issuer's keys cannot be fetched")
        return found

    def _is_stale(self) -> bool:
        return self._fetched_at is None or self._now() - self._fetched_at >= TTL_S

    def _may_attempt(self) -> bool:
        pause = FAILURE_COOL_DOWN_S if self._last_failed else COOL_DOWN_S
        return self._attempted_at is None or self._now() - self._attempted_at >= pause

    async def _refresh(self) -> None:
        self._attempted_at = self._now()
        try:
            keys = _parse(await self._fetch())
        except Exception as error:
            self._last_failed = True
            _log.warning("jwks fetch failed: %s", error)
            return
        self._keys = keys
        self._fetched_at = self._now()
        self._last_failed = False


def _parse(document: dict[str, Any]) -> "dict[str, PyJWK]":
    """Signing keys of a JWKS document; keys of a kind we do not use are left out, not an error."""
    from jwt import PyJWK
    from jwt.exceptions import PyJWTError

    keys: dict[str, PyJWK] = {}
    for member in document.get("keys", [])[:_MAX_KEYS]:
        kid = member.get("kid")
        if not isinstance(kid, str) or member.get("use", "sig") != "sig" or member.get("kty") not in ("RSA", "EC"):
            continue
        try:
            keys[kid] = PyJWK(member)
        except PyJWTError as error:
            _log.warning("jwks key %s is unusable: %s", kid, error)
    return keys


def http_fetch(url: str) -> Fetch:
    """Fetches a JWKS document over HTTPS within 3 s."""

    async def fetch() -> dict[str, Any]:
        import orjson

        async with outgoing.client(timeout_s=_FETCH_TIMEOUT_S, fixed=[url]) as client:
            response = await client.get(url, headers={"Accept": "application/json"})
        response.raise_for_status()
        if len(response.content) > _MAX_DOCUMENT_BYTES:
            raise ValueError("JWKS document is too large")
        document = orjson.loads(response.content)
        if not isinstance(document, dict) or not isinstance(document.get("keys"), list):
            raise ValueError("not a JWKS document")
        return document

    return fetch
