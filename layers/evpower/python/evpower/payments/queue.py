"""The queue of payment checks: a port and its SQS adapter. A message is a wish, the database decides what is due."""

import asyncio
import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from evpower import metrics
from evpower.config import Settings
from evpower.ids import correlation_id
from evpower.logging import get_logger
from evpower.sqs import SqsSender

_log = get_logger(__name__)
_MAX_DELAY_S = 900  # SQS


@dataclass(frozen=True, slots=True)
class CheckMessage:
    """Ask about one top-up when it is due, or work on one callback of the inbox."""

    topup_id: int | None = None
    inbox_id: int | None = None
    correlation_id: str | None = None

    def body(self) -> str:
        members = {
            "topup_id": self.topup_id,
            "inbox_id": self.inbox_id,
            "correlation_id": self.correlation_id or correlation_id.get(),
        }
        return json.dumps({name: value for name, value in members.items() if value is not None})

    @staticmethod
    def parse(body: str) -> "CheckMessage":
        """Read a message.

        Raises:
            ValueError: not one of ours.
        """
        members: Any = json.loads(body)
        if not isinstance(members, dict):
            raise ValueError("not an object")
        topup_id, inbox_id, cid = members.get("topup_id"), members.get("inbox_id"), members.get("correlation_id")
        if (type(topup_id) is int) == (type(inbox_id) is int):
            raise ValueError("exactly one of topup_id and inbox_id")
        return CheckMessage(topup_id, inbox_id, cid if isinstance(cid, str) else None)


class CheckQueue(Protocol):
    """Where checks wait."""

    async def send(self, message: CheckMessage, delay: timedelta = timedelta(0)) -> bool:
        """Enqueue; False when that failed. Never raises: the sweep is the backstop."""
        ...


class SqsCheckQueue:
    """Standard queue SQS_PAYMENT_CHECKS_QUEUE_URL. Nothing is connected before the first message."""

    def __init__(self, settings: Settings) -> None:
        self._url = settings.sqs_payment_checks_queue_url
        self._sender = SqsSender(settings)

    async def send(self, message: CheckMessage, delay: timedelta = timedelta(0)) -> bool:
        delay_s = min(max(0, round(delay.total_seconds())), _MAX_DELAY_S)
        try:
            wanted = {"QueueUrl": self._url, "MessageBody": message.body(), "DelaySeconds": delay_s}
            await asyncio.to_thread(self._sender.call, "SendMessage", wanted)
        except Exception as error:
            _log.error("payment check was not queued", extra={"topup_id": message.topup_id, "reason": repr(error)})
            metrics.emit({"PaymentChecksNotQueued": 1})
            return False
        return True
