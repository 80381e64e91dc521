"""Takes command messages from SQS and gives each to the instance that holds the station's socket.

A message only says that a command is queued; the row in PostgreSQL decides who may write it. So a message is deleted
as soon as its holder has taken it over (never after the charger's answer), and also when nobody holds the station:
the row stays queued and the next owner claims it on connect.
"""

import asyncio
import threading
from collections.abc import Iterable
from concurrent.futures import CancelledError
from functools import partial
from typing import TYPE_CHECKING

from evpower.commands.queue import CommandMessage, UnreadableMessage, make_sqs_client
from evpower.config import Settings
from evpower.logging import get_logger
from socket_tier.background import STEP_S, Background
from socket_tier.dispatcher import Dispatcher
from socket_tier.registry import Registry

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

log = get_logger(__name__)

RECEIVERS = 2  # one unreachable owner must not hold up every other station
LONG_POLL_S = 2  # a shutdown waits for the poll under way, whose messages would else be hidden for a while
VISIBILITY_S = 10
_PAUSE_AFTER_FAILURE_S = 1.0
_HAND_OFF_TRIES = 2


class CommandConsumer:
    """Receiver threads (boto3 is blocking) that hand their batches to the event loop."""

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        dispatcher: Dispatcher,
        *,
        receivers: int = RECEIVERS,
        long_poll_s: int = LONG_POLL_S,
        background: Background | None = None,
    ) -> None:
        self._settings = settings
        self._registry = registry
        self._dispatcher = dispatcher
        self._receivers = receivers
        self._long_poll_s = long_poll_s
        self._background = background or Background()
        self._stop = threading.Event()
        self._threads: dict[int, threading.Thread] = {}
        self._failing: set[int] = set()
        dispatcher.queue_degraded = lambda: self.degraded

    @property
    def degraded(self) -> bool:
        """No queue is configured, or it failed the last time: the dispatcher polls PostgreSQL more often."""
        return bool(self._failing) or not self._settings.sqs_commands_queue_url

    def start(self) -> None:
        """Start receiving. Needs the running event loop."""
        loop = asyncio.get_running_loop()
        for number in range(self._receivers):
            self._background.register(_name(number), partial(self._begin, loop, number))
            self._begin(loop, number)

    def _begin(self, loop: asyncio.AbstractEventLoop, number: int) -> None:
        # Daemon threads: a long poll under way must not hold the process after the shutdown time. One that stands is
        # left to itself, as nothing can end it; it ends when it sees that another has its number.
        thread = threading.Thread(target=self._receive_forever, args=(loop, number), name=_name(number), daemon=True)
        self._threads[number] = thread
        thread.start()

    async def stop(self) -> None:
        """Finish the polls under way (at most one long poll) and stop."""
        self._stop.set()
        patience = self._long_poll_s + 3
        await asyncio.gather(*(asyncio.to_thread(thread.join, patience) for thread in self._threads.values()))
        for number in self._threads:
            self._background.works.pop(_name(number), None)

    # --- one message --------------------------------------------------------------------------------------------

    async def handle(self, message: CommandMessage) -> bool:
        """Give the command to its holder. True: the queue message has done its work and can be deleted."""
        for _ in range(_HAND_OFF_TRIES):
            if self._dispatcher.submit(message.station_id, message.command_id):
                return True
            lookup = await self._registry.owner(message.station_id)
            if not lookup.known or lookup.owner is None or lookup.owner.instance_id == self._registry.instance_id:
                # Nobody holds it, or Redis cannot say: then the holder finds the row by connect or by its poll.
                return True
            taken = await self._registry.hand_off(lookup.owner, message.station_id, message.command_id)
            if taken is None:
                return False  # no acknowledgement: the message comes again after its visibility time
            if taken:
                return True
            # Use case: the charger moved while the message was under way; the registry knows its new place by now.
        return False

    async def _handle_batch(self, messages: Iterable["MessageTypeDef"]) -> list[str]:
        """Receipt handles to delete. Stations in parallel, the messages of one station in their order."""
        stations: dict[str, list[tuple[CommandMessage, str]]] = {}
        done: list[str] = []
        for raw in messages:
            receipt = raw["ReceiptHandle"]
            try:
                message = CommandMessage.decode(raw["Body"])
            except UnreadableMessage as error:
                log.error("unreadable command message dropped", extra={"error": str(error)})
                done.append(receipt)
                continue
            stations.setdefault(message.station_id, []).append((message, receipt))

        async def station(items: list[tuple[CommandMessage, str]]) -> None:
            for message, receipt in items:
                if not await self.handle(message):
                    return
                done.append(receipt)

        await asyncio.gather(*(station(items) for items in stations.values()))
        return done

    # --- receiver thread ----------------------------------------------------------------------------------------

    def _receive_forever(self, loop: asyncio.AbstractEventLoop, number: int) -> None:
        client: SQSClient | None = None
        work = self._background.works[_name(number)]
        while not self._stop.is_set() and self._threads[number] is threading.current_thread():
            try:
                with work.step_of_thread():
                    if client is None:
                        client = make_sqs_client(self._settings, read_timeout_s=self._long_poll_s + 5)
                    self._receive_once(client, loop)
                self._failing.discard(number)
            except Exception as error:
                if loop.is_closed() or isinstance(error, CancelledError):
                    return  # the process ends
                if number not in self._failing:
                    log.exception("the command queue cannot be reached")
                self._failing.add(number)
                self._stop.wait(_PAUSE_AFTER_FAILURE_S)

    def _receive_once(self, client: "SQSClient", loop: asyncio.AbstractEventLoop) -> None:
        url = self._settings.sqs_commands_queue_url
        answer = client.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=10,
            WaitTimeSeconds=self._long_poll_s,
            VisibilityTimeout=VISIBILITY_S,
        )
        messages = answer.get("Messages", [])
        if not messages:
            return
        done = asyncio.run_coroutine_threadsafe(self._handle_batch(messages), loop).result(STEP_S)
        if done:
            client.delete_message_batch(
                QueueUrl=url,
                Entries=[{"Id": str(index), "ReceiptHandle": receipt} for index, receipt in enumerate(done)],
            )


def _name(number: int) -> str:
    return f"command queue {number}"
