"""Web push (RFC 8030) with VAPID (RFC 8292) and message encryption (RFC 8291)."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

import orjson

from evpower.clock import Clock
from evpower.config import Settings
from evpower.notifications.http import HttpClient, retry_after_s
from evpower.notifications.models import Address, Delivered, Gone, Push, Refused, Result, TryLater

if TYPE_CHECKING:
    import httpx
    from cryptography.hazmat.primitives.asymmetric import ec

_TOKEN_LIFE = timedelta(hours=12)  # RFC 8292 §2: at most 24 hours
_MAX_ENDPOINT_CHARS = 2048


def check_endpoint(endpoint: str, allowed_hosts: str) -> SplitResult:
    """An endpoint that we are ready to call.

    Use case: anybody who may subscribe names an address that our function then sends requests to. It must be a push
    service and not, say, the metadata service of our own network.

    ``allowed_hosts`` is comma-separated: a host stands for itself and those below it at the standard port, and
    ``host:port`` for just that.

    Raises:
        ValueError: not an https address there.
    """
    if len(endpoint) > _MAX_ENDPOINT_CHARS or not endpoint.isascii() or not endpoint.isprintable() or " " in endpoint:
        raise ValueError("not a URL")
    parts = urlsplit(endpoint)
    if parts.scheme != "https" or "@" in parts.netloc:
        raise ValueError("not an https URL of a push service")
    host, standard = (parts.hostname or "").lower(), parts.port in (None, 443)
    for allowed in filter(None, (name.strip().lower() for name in allowed_hosts.split(","))):
        if parts.netloc.lower() == allowed or (standard and (host == allowed or host.endswith("." + allowed))):
            return parts
    raise ValueError("not a known push service")


def private_key(settings: Settings) -> "ec.EllipticCurvePrivateKey":
    """The application server's key.

    Raises:
        ValueError: VAPID_PRIVATE_KEY is not a private value of P-256 in base64url.
    """
    from cryptography.hazmat.primitives.asymmetric import ec

    from evpower.notifications import web_crypto

    raw = web_crypto.decode(settings.vapid_private_key.get_secret_value())
    if len(raw) != 32:
        raise ValueError("VAPID_PRIVATE_KEY must be 32 bytes in base64url")
    return ec.derive_private_key(int.from_bytes(raw, "big"), ec.SECP256R1())


def public_key(settings: Settings) -> str:
    """What browsers subscribe with (``applicationServerKey``), base64url; empty when web push is not configured."""
    if not settings.vapid_private_key.get_secret_value():
        return ""
    from evpower.notifications import web_crypto

    return web_crypto.encode(web_crypto.point(private_key(settings).public_key()))


class WebPush:
    """Sender for browsers."""

    def __init__(self, settings: Settings, http: HttpClient, clock: Clock) -> None:
        """
        Raises:
            ValueError: the key is none, or VAPID_SUBJECT is not a contact.
        """
        if not settings.vapid_subject.startswith(("mailto:", "https:")):
            raise ValueError("VAPID_PRIVATE_KEY needs VAPID_SUBJECT, a mailto: or https: address")
        self._key = private_key(settings)
        self._public = public_key(settings)
        self._settings = settings
        self._http = http
        self._clock = clock
        self._tokens: dict[str, tuple[str, datetime]] = {}

    def _authorization(self, origin: str, now: datetime) -> str:
        token, good_until = self._tokens.get(origin, ("", now))
        if now >= good_until:
            import jwt

            expires = now + _TOKEN_LIFE
            claims = {"aud": origin, "exp": int(expires.timestamp()), "sub": self._settings.vapid_subject}
            token = jwt.encode(claims, self._key, "ES256")
            self._tokens[origin] = (token, expires - timedelta(hours=1))
        return f"vapid t={token}, k={self._public}"

    async def send(self, address: Address, push: Push) -> Result:
        from evpower.notifications import web_crypto

        try:
            parts = check_endpoint(address.token, self._settings.web_push_hosts)
            plain = orjson.dumps({"title": push.title, "body": push.body, "data": dict(push.data)})
            body = web_crypto.encrypt(plain, address.p256dh, address.auth)
        except ValueError as error:
            return Refused(str(error))
        headers = {
            "Authorization": self._authorization(f"https://{parts.netloc}", self._clock.now()),
            "Content-Encoding": "aes128gcm",
            "Content-Type": "application/octet-stream",
            "TTL": str(push.ttl_s),
            "Urgency": "high",
            "Topic": push.collapse_id,
        }
        response = await self._http.post_to_endpoint(address.token, headers, body)
        if isinstance(response, TryLater):
            return response
        return self._judge(response)

    def _judge(self, response: "httpx.Response") -> Result:
        """RFC 8030 §5-7; 404 and 410 mean that the subscription is over (mobile-api.md §6.4)."""
        status = response.status_code
        if 200 <= status < 300:
            return Delivered()
        if status in (404, 410):
            return Gone(str(status))
        if status in (408, 429) or status >= 500:
            return TryLater(str(status), retry_after_s(response, self._clock))
        return Refused(f"{status} {response.text[:200]}")
