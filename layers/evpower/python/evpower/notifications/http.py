"""Requests to the providers of push messages: HTTP/2 where it is spoken, one connection for many messages."""

import json as json_text
from collections.abc import Iterable
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Protocol

from evpower.clock import Clock
from evpower.config import Settings
from evpower.notifications.models import Address, Push, Result, TryLater
from evpower.outside import http as outgoing

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

    Two clients: what carries our tokens goes to the deployer's hosts alone, what goes to an address that a browser gave
    us goes to the public internet alone. Connections idle for longer than 30 s are not used again: a frozen Lambda
    process does not see them closed.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._providers: httpx.AsyncClient | None = None
        self._endpoints: httpx.AsyncClient | None = None

    async def post(
        self,
        url: str,
        headers: dict[str, str],
        *,
        json: Any = None,
        form: dict[str, str] | None = None,
        body: bytes | None = None,
    ) -> "httpx.Response | TryLater":
        """One POST to a provider of the settings: Google, Apple, or whoever the deployer named instead."""
        if self._providers is None:
            self._providers = self._client(_providers(self._settings), given=False)
        return await self._post(self._providers, url, headers, json=json, data=form, content=body)

    async def post_to_endpoint(self, url: str, headers: dict[str, str], body: bytes) -> "httpx.Response | TryLater":
        """One POST to a push service that a browser named. Hosts that the deployer listed with a port are his own."""
        if self._endpoints is None:
            self._endpoints = self._client(exact_hosts(self._settings.web_push_hosts), given=True)
        return await self._post(self._endpoints, url, headers, content=body)

    def _client(self, fixed: Iterable[str], *, given: bool) -> "httpx.AsyncClient":
        settings = self._settings
        return outgoing.client(
            timeout_s=settings.push_timeout_s,
            fixed=fixed,
            given=given,
            tls=outgoing.authorities(settings.push_ca_file),
            http2=True,
            idle_s=_IDLE_S,
        )

    @staticmethod
    async def _post(
        client: "httpx.AsyncClient", url: str, headers: dict[str, str], **content: Any
    ) -> "httpx.Response | TryLater":
        """Redirects are not followed: no provider has any, and they would carry our tokens elsewhere.

        Use case: the provider has closed the idle connection that we use next. That shows only at the request, which
        is then made again at once on a new one; a message that arrives twice is shown once (its collapse id).
        """
        import httpx

        for attempt in (1, 2):
            try:
                return await client.post(url, headers=headers, **content)
            except (httpx.ReadError, httpx.WriteError, httpx.CloseError, httpx.RemoteProtocolError) as error:
                if attempt == 2:
                    return TryLater(f"connection lost: {error!r}")
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                return TryLater(f"no answer: {error!r}")
        raise AssertionError("unreachable")

    async def close(self) -> None:
        """Release connections (tests; a Lambda process just ends)."""
        clients, self._providers, self._endpoints = (self._providers, self._endpoints), None, None
        for client in filter(None, clients):
            await client.aclose()


def exact_hosts(web_push_hosts: str) -> list[str]:
    """The entries of WEB_PUSH_HOSTS that name one host and one port, as URLs."""
    return [f"https://{name.strip()}" for name in web_push_hosts.split(",") if ":" in name]


def _providers(settings: Settings) -> list[str]:
    """Whom the settings name; Google's token service is named in the service account's key."""
    try:
        token_uri = json_text.loads(settings.fcm_service_account.get_secret_value())["token_uri"]
    except (ValueError, KeyError, TypeError):
        token_uri = ""
    return [settings.fcm_api_url, settings.apns_api_url, str(token_uri)]


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
