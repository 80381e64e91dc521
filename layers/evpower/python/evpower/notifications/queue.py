"""The queue ``push``: a port and its SQS adapter. A message is a wish, the outbox decides what is due."""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from evpower import metrics
from evpower.config import Settings, get_settings
from evpower.logging import get_logger
from evpower.sqs import SqsSender

_log = get_logger(__name__)
_MAX_DELAY_S = 900  # SQS
_BATCH = 10  # SQS
_PAUSE_S = 15.0


@dataclass(frozen=True, slots=True)
class PushMessage:
    """Deliver one row of the outbox."""

    outbox_id: int

    def body(self) -> str:
        return json.dumps({"outbox_id": self.outbox_id})

    @staticmethod
    def parse(body: str) -> "PushMessage":
        """Read a message.

        Raises:
            ValueError: not one of ours.
        """
        members: Any = json.loads(body)
        outbox_id = members.get("outbox_id") if isinstance(members, dict) else None
        if type(outbox_id) is not int:
            raise ValueError("no outbox_id")
        return PushMessage(outbox_id)


class PushQueue(Protocol):
    """Where deliveries wait."""

    async def send(self, outbox_ids: Sequence[int], delay_s: float = 0) -> bool:
        """Enqueue; False when that failed. Never raises: the sweep is the backstop."""
        ...


class SqsPushQueue:
    """Standard queue SQS_PUSH_QUEUE_URL. Nothing is connected before the first message.

    After a failure nobody waits for SQS for 15 s: the entries that wake it have better things to do, and a charger
    waits for their answer.
    """

    def __init__(self, settings: Settings) -> None:
        self._url = settings.sqs_push_queue_url
        self._sender = SqsSender(settings, attempts=1)
        self._away_until = 0.0

    def _send(self, outbox_ids: Sequence[int], delay_s: int) -> None:
        for first in range(0, len(outbox_ids), _BATCH):
            entries = [
                {"Id": str(outbox_id), "MessageBody": PushMessage(outbox_id).body(), "DelaySeconds": delay_s}
                for outbox_id in outbox_ids[first : first + _BATCH]
            ]
            answer = self._sender.call("SendMessageBatch", {"QueueUrl": self._url, "Entries": entries})
            if answer.get("Failed"):
                raise RuntimeError(f"SQS refused {answer['Failed']}")

    async def send(self, outbox_ids: Sequence[int], delay_s: float = 0) -> bool:
        if time.monotonic() < self._away_until:
            return False
        delay = min(max(0, round(delay_s)), _MAX_DELAY_S)
        try:
            await asyncio.to_thread(self._send, outbox_ids, delay)
        except Exception as error:
            self._away_until = time.monotonic() + _PAUSE_S
            _log.error("push was not queued", extra={"outbox_ids": list(outbox_ids), "reason": repr(error)})
            metrics.emit({"PushesNotQueued": len(outbox_ids)})
            return False
        return True


class Waker:
    """Sends what many transactions ask for in few calls: one at a time, each with all that has gathered meanwhile.

    Use case: a thousand chargers come back after an outage and end their transactions at once.
    """

    def __init__(self, queue: PushQueue) -> None:
        self._queue = queue
        self._lock = asyncio.Lock()
        self._gathered: list[int] = []

    async def wake(self, outbox_ids: Sequence[int]) -> None:
        """Returns when these have been sent, or could not be."""
        self._gathered += outbox_ids
        async with self._lock:
            if self._gathered:
                batch, self._gathered = self._gathered, []
                await self._queue.send(batch)


_of_process: tuple[Settings, asyncio.AbstractEventLoop, Waker] | None = None


async def wake(outbox_ids: Sequence[int]) -> None:
    """Tell the push function that rows are committed; nothing where no queue is configured."""
    global _of_process
    settings, loop = get_settings(), asyncio.get_running_loop()
    if not outbox_ids or not settings.sqs_push_queue_url:
        return
    if _of_process is None or _of_process[0] is not settings or _of_process[1] is not loop:
        _of_process = (settings, loop, Waker(SqsPushQueue(settings)))
    await _of_process[2].wake(outbox_ids)
