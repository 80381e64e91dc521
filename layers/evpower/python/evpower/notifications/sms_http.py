"""Text messages by an HTTP gateway.

``POST SMS_GATEWAY_URL`` with ``Authorization: Bearer SMS_GATEWAY_TOKEN`` and the JSON body
``{"to": "+996...", "text": "...", "sender": SMS_SENDER_ID}``; any 2xx answer accepts the message. An operator's gateway
of another form is one more adapter of this size.
"""

from typing import TYPE_CHECKING

from evpower.config import Settings
from evpower.notifications.sms import SmsNotSent
from evpower.outside import http as outgoing

if TYPE_CHECKING:
    import httpx


class HttpSms:
    """One client per process, made at the first message."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: httpx.AsyncClient | None = None

    async def send(self, phone: str, text: str) -> None:
        """Hand one message to the gateway.

        Raises:
            SmsNotSent: refused or unreachable (certain), or no answer in SMS_TIMEOUT_S (it may arrive all the same).
        """
        import httpx

        settings = self._settings
        if self._client is None:
            self._client = outgoing.client(timeout_s=settings.sms_timeout_s, fixed=[settings.sms_gateway_url])
        headers = {"Authorization": f"Bearer {settings.sms_gateway_token.get_secret_value()}"}
        body = {"to": phone, "text": text, **({"sender": settings.sms_sender_id} if settings.sms_sender_id else {})}
        try:
            response = await self._client.post(settings.sms_gateway_url, json=body, headers=headers)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise SmsNotSent(repr(error), certain=True) from error
        except httpx.HTTPError as error:
            raise SmsNotSent(repr(error), certain=False) from error
        if not response.is_success:
            raise SmsNotSent(f"the gateway answered {response.status_code}", certain=response.status_code < 500)
