"""Apple Push Notification service: HTTP/2 with a provider token (ES256)."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from evpower.clock import Clock
from evpower.config import Settings
from evpower.logging import get_logger
from evpower.notifications.http import HttpClient, error_body, retry_after_s
from evpower.notifications.models import Address, Delivered, Gone, Push, Refused, Result, TryLater

if TYPE_CHECKING:
    import httpx

# Apple refuses tokens older than an hour, and senders that change them more often than every 20 minutes.
_TOKEN_LIFE = timedelta(minutes=40)
# Not DeviceTokenNotForTopic: with a wrong APNS_TOPIC that is every phone.
_DEAD = frozenset({"BadDeviceToken", "Unregistered", "ExpiredToken"})
_TOKEN_REFUSED = frozenset({"ExpiredProviderToken", "InvalidProviderToken", "MissingProviderToken"})

_log = get_logger(__name__)


class Apns:
    """Sender for iOS, whose app registers raw APNs device tokens (mobile-api.md §6.1)."""

    def __init__(self, settings: Settings, http: HttpClient, clock: Clock) -> None:
        """
        Raises:
            ValueError: APNS_KEY_ID, APNS_TEAM_ID or APNS_TOPIC is missing, or APNS_KEY is no private key.
        """
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        if not (settings.apns_key_id and settings.apns_team_id and settings.apns_topic):
            raise ValueError("APNS_KEY needs APNS_KEY_ID, APNS_TEAM_ID and APNS_TOPIC")
        key = load_pem_private_key(settings.apns_key.get_secret_value().encode(), password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError("APNS_KEY is not a P-256 key")
        self._key = key
        self._settings = settings
        self._http = http
        self._clock = clock
        self._token = ""
        self._made_at: datetime | None = None

    def _provider_token(self, now: datetime) -> str:
        if self._made_at is None or now - self._made_at >= _TOKEN_LIFE:
            import jwt

            claims = {"iss": self._settings.apns_team_id, "iat": int(now.timestamp())}
            self._token = jwt.encode(claims, self._key, "ES256", headers={"kid": self._settings.apns_key_id})
            self._made_at = now
        return self._token

    async def send(self, address: Address, push: Push) -> Result:
        now = self._clock.now()
        token = self._provider_token(now)
        headers = {
            "authorization": f"bearer {token}",
            "apns-topic": self._settings.apns_topic,
            "apns-push-type": "alert",
            "apns-priority": "10",
            "apns-expiration": str(int(now.timestamp()) + push.ttl_s),
            "apns-collapse-id": push.collapse_id,
        }
        url = f"{self._settings.apns_api_url}/3/device/{address.token}"
        response = await self._http.post(url, headers, json=payload(push))
        if isinstance(response, TryLater):
            return response
        return self._judge(response, token)

    def _judge(self, response: "httpx.Response", token: str) -> Result:
        """Apple: "Handling notification responses from APNs"."""
        status = response.status_code
        if status == 200:
            return Delivered()
        code = str(error_body(response).get("reason", ""))
        reason = f"{status} {code}"
        if status == 410 or code in _DEAD:
            return Gone(reason)
        if code in _TOKEN_REFUSED:
            _log.error("APNs does not accept our provider token", extra={"reason": code})
            if token == self._token and code == "ExpiredProviderToken":
                self._made_at = None
            return TryLater(reason)
        if status == 429 or status >= 500:
            return TryLater(reason, retry_after_s(response, self._clock))
        return Refused(reason)


def payload(push: Push) -> dict[str, Any]:
    """The JSON body: what iOS shows, and the data members beside it, where the app looks for them."""
    return {**push.data, "aps": {"alert": {"title": push.title, "body": push.body}, "sound": "default"}}
