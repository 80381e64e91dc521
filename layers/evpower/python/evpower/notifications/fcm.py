"""Firebase Cloud Messaging, HTTP v1: projects.messages.send, authorised as a service account (RFC 7523)."""

import asyncio
import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from evpower.clock import Clock
from evpower.config import Settings
from evpower.logging import get_logger
from evpower.notifications.http import HttpClient, error_body, retry_after_s
from evpower.notifications.models import Address, Delivered, Gone, Push, Refused, Result, TryLater

if TYPE_CHECKING:
    import httpx

SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_EARLY = timedelta(minutes=5)
_PAUSE = timedelta(seconds=5)
_ASSERTION_S = 3600
_NO_TOKEN = "no access token"  # noqa: S105 - a log word

_log = get_logger(__name__)


class ServiceAccountToken:
    """The OAuth 2 access token of a service account, asked for again 5 minutes before it ends."""

    def __init__(self, account: dict[str, Any], http: HttpClient, clock: Clock) -> None:
        self._account = account
        self._http = http
        self._clock = clock
        self._lock = asyncio.Lock()
        self._token = ""
        self._good_until: datetime | None = None
        self._failed: tuple[datetime, TryLater] | None = None

    async def get(self) -> str | TryLater:
        """The token; of several at once one asks, and the others share a failure."""
        async with self._lock:
            now = self._clock.now()
            if self._good_until is not None and now < self._good_until:
                return self._token
            if self._failed is not None and now - self._failed[0] < _PAUSE:
                return self._failed[1]
            answer = await self._ask(now)
            self._failed = (self._clock.now(), answer) if isinstance(answer, TryLater) else None
            return answer

    def forget(self, token: str) -> None:
        """The provider did not accept this token."""
        if token == self._token:
            self._good_until = None

    async def _ask(self, now: datetime) -> str | TryLater:
        import jwt

        uri, issued = self._account["token_uri"], int(now.timestamp())
        claims = {
            "iss": self._account["client_email"],
            "scope": SCOPE,
            "aud": uri,
            "iat": issued,
            "exp": issued + _ASSERTION_S,
        }
        assertion = jwt.encode(
            claims, self._account["private_key"], "RS256", headers={"kid": self._account.get("private_key_id", "")}
        )
        response = await self._http.post(uri, {}, form={"grant_type": _GRANT, "assertion": assertion})
        if isinstance(response, TryLater):
            return response
        answer = error_body(response)
        if response.status_code != 200 or not isinstance(answer.get("access_token"), str):
            _log.error("no access token for FCM", extra={"status": response.status_code, "error": answer.get("error")})
            return TryLater(f"{_NO_TOKEN}: {response.status_code}", retry_after_s(response, self._clock))
        self._token = answer["access_token"]
        self._good_until = now + timedelta(seconds=float(answer.get("expires_in", 3600))) - _EARLY
        return self._token


class Fcm:
    """Sender for Android (and for web apps that registered an FCM token)."""

    def __init__(self, settings: Settings, http: HttpClient, clock: Clock) -> None:
        """
        Raises:
            ValueError: FCM_SERVICE_ACCOUNT is not a service account's JSON key.
        """
        try:
            account = json.loads(settings.fcm_service_account.get_secret_value())
            project = account["project_id"]
            missing = {"client_email", "private_key", "token_uri"} - account.keys()
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError("FCM_SERVICE_ACCOUNT is not a service account's JSON key") from error
        if missing:
            raise ValueError(f"FCM_SERVICE_ACCOUNT lacks {', '.join(sorted(missing))}")
        self._url = f"{settings.fcm_api_url}/v1/projects/{project}/messages:send"
        self._token = ServiceAccountToken(account, http, clock)
        self._http = http
        self._clock = clock

    async def send(self, address: Address, push: Push) -> Result:
        token = await self._token.get()
        if isinstance(token, TryLater):
            return token
        response = await self._http.post(
            self._url, {"Authorization": f"Bearer {token}"}, json={"message": message(address.token, push)}
        )
        if isinstance(response, TryLater):
            return response
        if response.status_code == 401:
            self._token.forget(token)
        return self._judge(response)

    def _judge(self, response: "httpx.Response") -> Result:
        """https://firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode"""
        status = response.status_code
        if status == 200:
            return Delivered()
        error = error_body(response).get("error")
        error = error if isinstance(error, dict) else {}
        code, bad_token = _details(error)
        reason = f"{status} {code or error.get('status', '')}"
        # Not SENDER_ID_MISMATCH: with a wrong service account that is every phone.
        if code == "UNREGISTERED" or (status == 400 and bad_token):
            return Gone(reason)
        if status in (401, 408, 429) or status >= 500:
            return TryLater(reason, retry_after_s(response, self._clock))
        return Refused(f"{reason} {error.get('message', '')}"[:300])


def message(token: str, push: Push) -> dict[str, Any]:
    """``projects.messages`` of one device. The tag makes a repeated message replace the one that is shown.

    Not ``collapse_key``: FCM keeps at most four of them per device, and would drop other news.
    """
    return {
        "token": token,
        "notification": {"title": push.title, "body": push.body},
        "data": dict(push.data),
        "android": {"priority": "HIGH", "ttl": f"{push.ttl_s}s", "notification": {"tag": push.collapse_id}},
    }


def _details(error: dict[str, Any]) -> tuple[str, bool]:
    """FCM's own error code, and whether the device token is what is wrong with the message."""
    code, bad_token = "", False
    details = error.get("details")
    for detail in details if isinstance(details, list) else []:
        if not isinstance(detail, dict):
            continue
        code = str(detail.get("errorCode") or code)
        violations = detail.get("fieldViolations")
        for violation in violations if isinstance(violations, list) else []:
            bad_token = bad_token or (isinstance(violation, dict) and violation.get("field") == "message.token")
    return code, bad_token
