"""The way from a committed command to the socket tier: SQS FIFO, one message group per station."""

import asyncio
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import orjson

from evpower.commands.models import Command
from evpower.config import Settings
from evpower.logging import get_logger
from evpower.outside.aws import aws_client
from evpower.sqs import SqsSender

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

log = get_logger(__name__)

# SQS: MessageGroupId has up to 128 characters of letters, digits and ASCII punctuation.
_GROUP = re.compile(r"[!-~]{1,128}")


class CommandQueue(Protocol):
    """Port: tell the socket tier that a command is queued. Never raises; the redelivery sweep repairs a loss."""

    async def send(self, command: "Command | CommandMessage") -> None: ...

    async def send_all(self, commands: "Iterable[Command | CommandMessage]") -> None: ...


class UnreadableMessage(ValueError):
    """The body of a queue message is not a command message."""


@dataclass(frozen=True, slots=True)
class CommandMessage:
    """Body of a queue message. The payload stays in the database, where the claim reads it."""

    command_id: str
    station_id: str
    attempt: int = 1
    correlation_id: str | None = None

    def encode(self) -> str:
        return orjson.dumps(self).decode()

    @classmethod
    def decode(cls, body: str) -> "CommandMessage":
        """Raises UnreadableMessage for anything that is not such a message."""
        try:
            data = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise UnreadableMessage(f"not JSON: {error}") from None
        if not isinstance(data, dict):
            raise UnreadableMessage("a command message is a JSON object")
        command_id, station_id, attempt = data.get("command_id"), data.get("station_id"), data.get("attempt")
        if not isinstance(command_id, str) or not isinstance(station_id, str) or not isinstance(attempt, int):
            raise UnreadableMessage("command_id, station_id and attempt are required")
        correlation = data.get("correlation_id")
        return cls(command_id, station_id, attempt, correlation if isinstance(correlation, str) else None)


def message_of(command: Command) -> CommandMessage:
    return CommandMessage(command.id, command.station_id, command.attempt, command.correlation_id)


def group_id(station_id: str) -> str:
    """Message group of a station: its id where SQS allows the characters, else a digest."""
    if _GROUP.fullmatch(station_id):
        return station_id
    return "sha256-" + hashlib.sha256(station_id.encode()).hexdigest()


class SqsCommandQueue:
    """SQS adapter. Nothing is connected before the first message; sending runs in a thread."""

    def __init__(self, settings: Settings) -> None:
        self._url = settings.sqs_commands_queue_url
        self._sender = SqsSender(settings, timeout_s=3.0)

    async def send(self, command: Command | CommandMessage) -> None:
        """Hand over one command. Deduplication id = command + attempt, so a repeated send is one message."""
        await self._sent(command)

    async def send_all(self, commands: Iterable[Command | CommandMessage]) -> None:
        """Hand over many commands in order; the first failure ends it (the queue is away, the rest waits too)."""
        for command in commands:
            if not await self._sent(command):
                return

    async def _sent(self, command: Command | CommandMessage) -> bool:
        message = message_of(command) if isinstance(command, Command) else command
        wanted = {
            "QueueUrl": self._url,
            "MessageBody": message.encode(),
            "MessageGroupId": group_id(message.station_id),
            "MessageDeduplicationId": f"{message.command_id}:{message.attempt}",
        }
        try:
            await asyncio.to_thread(self._sender.call, "SendMessage", wanted)
        except Exception:
            # Use case: SQS is away. The row is committed; the socket tier's poll or the sweep delivers it.
            log.exception("command not handed to the queue", extra={"command_id": message.command_id})
            return False
        return True


def make_sqs_client(settings: Settings, *, read_timeout_s: float = 3.0) -> "SQSClient":
    """boto3 client of the configured endpoint that gives up quickly; ``read_timeout_s`` must exceed a long poll."""
    client: SQSClient = aws_client(
        "sqs",
        region=settings.aws_region,
        endpoint_url=settings.aws_endpoint_url,
        connect_timeout_s=1,
        read_timeout_s=read_timeout_s,
    )
    return client
