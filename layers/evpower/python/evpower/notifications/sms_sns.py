"""Text messages by AWS SNS (Publish to a phone number)."""

import asyncio
from typing import Any

from evpower.config import Settings
from evpower.notifications.sms import SmsNotSent
from evpower.outside.aws import aws_client


class SnsSms:
    """Transactional messages. boto3 is imported and its client built at the first message."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: Any = None

    async def send(self, phone: str, text: str) -> None:
        """Publish one message.

        Raises:
            SmsNotSent: SNS refused it, or did not answer (then it may arrive all the same).
        """
        from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError

        try:
            await asyncio.to_thread(self._publish, phone, text)
        except ClientError as error:
            raise SmsNotSent(str(error), certain=True) from error
        except BotoCoreError as error:
            raise SmsNotSent(str(error), certain=isinstance(error, EndpointConnectionError)) from error

    def _publish(self, phone: str, text: str) -> None:
        settings = self._settings
        if self._client is None:
            self._client = aws_client(
                "sns",
                region=settings.aws_region,
                endpoint_url=settings.aws_endpoint_url,
                read_timeout_s=settings.sms_timeout_s,
                # One attempt: a repeated one would send, and bill, a second message.
                retries={"total_max_attempts": 1},
            )
        attributes: dict[str, Any] = {"AWS.SNS.SMS.SMSType": {"DataType": "String", "StringValue": "Transactional"}}
        if settings.sms_sender_id:
            attributes["AWS.SNS.SMS.SenderID"] = {"DataType": "String", "StringValue": settings.sms_sender_id}
        self._client.publish(PhoneNumber=phone, Message=text, MessageAttributes=attributes)
