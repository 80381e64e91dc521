"""What the charger still has to send, in order, and what the server has acknowledged."""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

TRANSACTION_ACTIONS = frozenset({"StartTransaction", "StopTransaction", "MeterValues"})


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A CALL that the server has answered by CALLRESULT: it now answers for it (true time, UTC)."""

    action: str
    payload: dict[str, Any]
    answer: dict[str, Any]
    message_id: str
    at: datetime


@dataclass(slots=True, eq=False)
class Message:
    """A CALL to be sent. The payload is built at the time of sending: the transaction id may only be known then."""

    action: str
    build: Callable[[], dict[str, Any]]
    on_answer: Callable[[dict[str, Any]], None] | None = None
    on_given_up: Callable[[], None] | None = None
    attempts: int = 0
    message_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def is_durable(self) -> bool:
        """Transaction messages survive a broken connection (OCPP 1.6 section 3.7.1); others do not."""
        return self.action in TRANSACTION_ACTIONS


class Outbox:
    """First in, first out. Status messages are dropped when the connection breaks and go first when it is back."""

    def __init__(self) -> None:
        self._messages: deque[Message] = deque()
        self._filled = asyncio.Event()

    def __len__(self) -> int:
        return len(self._messages)

    def put(self, message: Message) -> None:
        """Append a message."""
        self._messages.append(message)
        self._filled.set()

    def put_first(self, messages: list[Message]) -> None:
        """Put messages before everything that waits."""
        self._messages.extendleft(reversed(messages))
        if messages:
            self._filled.set()

    def drop_volatile(self) -> None:
        """Forget what makes no sense after a reconnect."""
        self._messages = deque(message for message in self._messages if message.is_durable)

    async def wait_filled(self) -> None:
        """Return once something waits."""
        while not self._messages:
            self._filled.clear()
            await self._filled.wait()

    def head(self) -> Message | None:
        """The first message, which stays in place until `remove`."""
        return self._messages[0] if self._messages else None

    def remove(self, message: Message) -> None:
        """Take a message out; it may have been dropped meanwhile."""
        if message in self._messages:
            self._messages.remove(message)

    @property
    def transactions(self) -> int:
        """How many transaction messages wait."""
        return sum(1 for message in self._messages if message.is_durable)
