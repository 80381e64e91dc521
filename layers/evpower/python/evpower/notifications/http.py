"""The one HTTP client of the providers: HTTP/2 where it is spoken, one connection for many messages."""

import asyncio
import ssl
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Protocol

from evpower.clock import Clock
from evpower.config import Settings
from evpower.logging import get_logger
from evpower.notifications.models import Address, Push, Result, TryLater

if TYPE_CHECKING:
    import httpx

_IDLE_S = 30.0
_MAX_WAIT_S = 900.0


class Sender(Protocol):
    """A provider of push messages."""

    async def send(self, address: Address, push: Push) -> Result:
        """Hand over one message. Never raises for what the network or the provider does."""
        ...


class HttpClient:
    """Made at the first request; a process keeps it.

    Connections idle for longer than 30 s are not used again: a frozen Lambda process does not see them closed.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: httpx.AsyncClient | None = None

    async def post(
        self,
        url: str,
        headers: dict[str, str],
        *,
        json: Any = None,
        form: dict[str, str] | None = None,
        body: bytes | None = None,
    ) -> "httpx.Response | TryLater":
        """One POST. Redirects are not followed: no provider has any, and they would carry our tokens elsewhere.

        Use case: the provider has closed the idle connection that we use next. That shows only at the request, which
        is then made again at once on a new one; a message that arrives twice is shown once (its collapse id).
        """
        import httpx

        if self._client is None:
            # Its line about each request would carry device tokens and endpoints.
            get_logger("httpx").setLevel("WARNING")
            context = ssl.create_default_context(cafile=self._settings.push_ca_file or None)
            self._client = httpx.AsyncClient(
                http2=True,
                verify=context,
                timeout=self._settings.push_timeout_s,
                limits=httpx.Limits(keepalive_expiry=_IDLE_S),
                follow_redirects=False,
                trust_env=False,
            )
        for attempt in (1, 2):
            try:
                # The client's time-out is for each thing that it does: an answer that trickles in would have no end.
                async with asyncio.timeout(2 * self._settings.push_timeout_s):
                    return await self._client.post(url, headers=headers, json=json, data=form, content=body)
            except (httpx.ReadError, httpx.WriteError, httpx.CloseError, httpx.RemoteProtocolError) as error:
                if attempt == 2:
                    return TryLater(f"connection lost: {error!r}")
            except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
                return TryLater(f"no answer: {error!r}")
        raise AssertionError("unreachable")

    async def close(self) -> None:
        """Release connections (tests; a Lambda process just ends)."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None


def retry_after_s(response: "httpx.Response", clock: Clock) -> float | None:
    """How long the provider wants us to wait (RFC 9110 §10.2.3: seconds or a date); None when it does not say."""
    value = response.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value), _MAX_WAIT_S)
    try:
        until = parsedate_to_datetime(value)
        return min(max(0.0, (until - clock.now()).total_seconds()), _MAX_WAIT_S)
    except (ValueError, TypeError):
        return None


def error_body(response: "httpx.Response") -> dict[str, Any]:
    """The JSON object of an answer; empty when it is none (a proxy's page)."""
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
