"""Text messages: a port, and the choice of its adapter by SMS_PROVIDER."""

from typing import Protocol

from evpower.config import Settings
from evpower.logging import get_logger

_log = get_logger(__name__)


class SmsNotSent(Exception):
    """The message was not accepted. ``certain``: it will not arrive either; else that is unknown."""

    def __init__(self, reason: str, *, certain: bool) -> None:
        super().__init__(reason)
        self.certain = certain


class SmsSender(Protocol):
    """Hands a message over for delivery; whether it arrives is not known."""

    async def send(self, phone: str, text: str) -> None:
        """Send ``text`` to ``phone`` (E.164).

        Raises:
            SmsNotSent: the provider did not accept it, or did not answer.
        """
        ...


class LocalSms:
    """Shows messages in the log, and only where nobody but the developer reads it."""

    def __init__(self, settings: Settings) -> None:
        self._allowed = settings.environment in ("local", "test")

    async def send(self, phone: str, text: str) -> None:
        """Log the message.

        Raises:
            SmsNotSent: this is a deployment: nobody has chosen an SMS_PROVIDER.
        """
        if not self._allowed:
            _log.error("SMS_PROVIDER is not set: no text message can be sent")
            raise SmsNotSent("no SMS provider is configured", certain=True)
        _log.info("sms to %s: %s", phone, text)


def sms_sender(settings: Settings) -> SmsSender:
    """The adapter that SMS_PROVIDER names."""
    if settings.sms_provider == "sns":
        from evpower.notifications.sms_sns import SnsSms

        return SnsSms(settings)
    if settings.sms_provider == "http":
        from evpower.notifications.sms_http import HttpSms

        return HttpSms(settings)
    return LocalSms(settings)
