"""The charger's connection: back-off, boot, heartbeats, and the ordered delivery of what waits in the outbox."""

from __future__ import annotations

import asyncio
import base64
import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from infra.local.simulator.configuration import Configuration
from infra.local.simulator.faults import Faults
from infra.local.simulator.outbox import Acknowledged, Message, Outbox
from infra.local.simulator.rpc import AnswerLostError, CallError, CommandHandler, RpcClient
from infra.local.simulator.schema import ProtocolViolationError

SUBPROTOCOL = Subprotocol("ocpp1.6")


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """How a charger connects. Times in real seconds."""

    url: str
    station_id: str
    password: str | None = None
    subprotocols: tuple[str, ...] = (SUBPROTOCOL,)
    call_timeout_s: float = 30.0
    backoff_first_s: float = 0.2
    backoff_most_s: float = 5.0
    retry_interval_s: float = 1.0
    """Pause before a transaction message is repeated after a CALLERROR, times the number of attempts."""
    vendor: str = "EvPower Simulator"
    model: str = "SIM-1"
    firmware: str = "1.0.0"
    headers: tuple[tuple[str, str], ...] = ()
    """Headers of the upgrade, as a proxy in front of the server would add them."""


@dataclass(slots=True)
class LinkRecord:
    """What happened on the wire, for tests to look at."""

    acknowledged: list[Acknowledged] = field(default_factory=list)
    errors: list[CallError] = field(default_factory=list)
    given_up: list[Message] = field(default_factory=list)
    lost_answers: int = 0
    boots: int = 0
    connections: int = 0
    refusals: list[int] = field(default_factory=list)
    closes: list[tuple[int | None, str]] = field(default_factory=list)


class Link:
    """Keeps one station connected and delivers its outbox. `run` ends only by cancellation or by a server's mistake."""

    def __init__(
        self,
        settings: LinkSettings,
        *,
        faults: Faults,
        configuration: Configuration,
        handle: CommandHandler,
        statuses: Callable[[], list[Message]],
        changed: Callable[[], None],
        log: Callable[[str], None],
        seed: int = 0,
    ) -> None:
        self.settings = settings
        self.record = LinkRecord()
        self.outbox = Outbox()
        self._faults = faults
        self._configuration = configuration
        self._handle = handle
        self._statuses = statuses
        self._changed = changed
        self._log = log
        self._random = random.Random(f"{seed}:{settings.station_id}")  # noqa: S311 - jitter, not a secret
        self._allowed = asyncio.Event()
        self._allowed.set()
        self._online = asyncio.Event()
        self._rpc: RpcClient | None = None
        self._socket: ClientConnection | None = None
        self._must_boot = True
        self._delay = settings.backoff_first_s

    @property
    def is_online(self) -> bool:
        """True while the socket is up and the boot was accepted."""
        return self._online.is_set()

    async def run(self) -> None:
        """Stay connected and deliver, until cancelled. Raises `ProtocolViolationError` (in a group) on bad frames."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._stay_connected())
            group.create_task(self._deliver())

    # --- what the owner of the link may do -------------------------------------------------------------------

    def put(self, message: Message) -> None:
        """Send in order; a message that is not durable is dropped while there is no connection."""
        if message.is_durable or self.is_online:
            self.outbox.put(message)

    async def exchange(self, action: str, payload: dict[str, Any]) -> dict[str, Any]:
        """Send now, outside the outbox. Raises `AnswerLostError` when offline, `CallError`, `ConnectionClosed`."""
        if self._rpc is None:
            raise AnswerLostError("offline")
        return await self._exchange(self._rpc, action, payload, str(uuid.uuid4()))

    def abort(self) -> None:
        """Drop the TCP connection without a close frame."""
        if self._socket is not None:
            self._socket.transport.abort()

    async def close(self) -> None:
        """Close the socket properly; the link then reconnects."""
        if self._socket is not None:
            await self._socket.close()

    def forbid(self) -> None:
        """Stay away from the server (the network is down) until `allow`."""
        self._allowed.clear()

    def allow(self) -> None:
        """Connect again, at once."""
        self._delay = self.settings.backoff_first_s
        self._allowed.set()

    def redirect(self, url: str) -> None:
        """The next connection goes to another prefix."""
        self.settings = replace(self.settings, url=url)

    def change_password(self, password: str) -> None:
        """The next connection logs in with another AuthorizationKey."""
        self.settings = replace(self.settings, password=password)

    def require_boot(self) -> None:
        """The next connection begins with a BootNotification whatever the faults say."""
        self._must_boot = True

    async def reboot_on_same_socket(self) -> None:
        """Send BootNotification again without closing the socket, then every status."""
        if self._rpc is None:
            raise AnswerLostError("offline")
        await self._boot(self._rpc)
        self.outbox.put_first(self._statuses())

    # --- connection ------------------------------------------------------------------------------------------

    async def _stay_connected(self) -> None:
        while True:
            await self._allowed.wait()
            try:
                await self._connect_once()
            except InvalidStatus as error:
                self.record.refusals.append(error.response.status_code)
                reason = (error.response.body or b"")[:200].decode(errors="replace").strip()
                self._log(f"refused: HTTP {error.response.status_code} {reason}".rstrip())
            except ConnectionClosed as error:
                close = error.rcvd
                self.record.closes.append((close.code, close.reason) if close else (None, "no close frame"))
                self._log(f"closed: {error}")
            except (OSError, InvalidHandshake, TimeoutError, EOFError) as error:
                self._log(f"cannot connect: {error}" if str(error) else f"cannot connect: {type(error).__name__}")
            finally:
                self._go_offline()
            await asyncio.sleep(self._delay * self._random.uniform(0.5, 1.0))
            self._delay = min(self._delay * 2, self.settings.backoff_most_s)

    def _go_offline(self) -> None:
        self._online.clear()
        self._rpc = None
        self._socket = None
        self.outbox.drop_volatile()
        self._changed()

    async def _connect_once(self) -> None:
        settings = self.settings
        headers = dict(settings.headers)
        if settings.password is not None:
            pair = base64.b64encode(f"{settings.station_id}:{settings.password}".encode()).decode()
            headers["Authorization"] = f"Basic {pair}"
        async with connect(
            f"{settings.url.rstrip('/')}/{quote(settings.station_id, safe='')}",
            subprotocols=[Subprotocol(name) for name in settings.subprotocols],
            additional_headers=headers,
            compression=None,
            proxy=None,
            close_timeout=2,
        ) as socket:
            if socket.subprotocol != SUBPROTOCOL:
                raise ProtocolViolationError(f"the server chose the subprotocol {socket.subprotocol!r}")
            self._socket = socket
            self.record.connections += 1
            await self._live_on(socket)

    async def _live_on(self, socket: ClientConnection) -> None:
        rpc = RpcClient(
            socket,
            self._handle,
            timeout_s=self.settings.call_timeout_s,
            loses_answer=self._faults.take_lost_answer,
            act_before_answer=lambda: self._faults.act_before_answer,
        )
        tasks = {asyncio.create_task(rpc.serve()), asyncio.create_task(self._greet_and_beat(rpc))}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _greet_and_beat(self, rpc: RpcClient) -> None:
        if self._must_boot or self._faults.boot_on_reconnect:
            await self._boot(rpc)
        self._must_boot = False
        self._delay = self.settings.backoff_first_s
        self.outbox.put_first(self._statuses())  # a charger that is back tells its state before its queue
        self._rpc = rpc
        self._online.set()
        self._changed()
        while True:
            await asyncio.sleep(max(self._configuration.number("HeartbeatInterval"), 1))
            try:
                await self._exchange(rpc, "Heartbeat", {}, str(uuid.uuid4()))
            except (AnswerLostError, CallError) as error:
                self._log(f"heartbeat: {error}")

    async def _boot(self, rpc: RpcClient) -> None:
        """BootNotification until it is accepted (OCPP 1.6 section 4.2)."""
        settings = self.settings
        payload = {
            "chargePointVendor": settings.vendor,
            "chargePointModel": settings.model,
            "chargePointSerialNumber": settings.station_id[:25],
            "firmwareVersion": settings.firmware,
        }
        while True:
            try:
                answer = await self._exchange(rpc, "BootNotification", payload, str(uuid.uuid4()))
            except (AnswerLostError, CallError) as error:
                self._log(f"boot: {error}")
                await asyncio.sleep(self.settings.retry_interval_s)
                continue
            interval = int(answer["interval"])
            if interval <= 0:
                raise ProtocolViolationError(f"BootNotification was answered with the interval {interval}")
            if answer["status"] == "Accepted":
                self._configuration.values["HeartbeatInterval"] = str(interval)
                self.record.boots += 1
                return
            await asyncio.sleep(interval)

    # --- delivery --------------------------------------------------------------------------------------------

    async def _exchange(self, rpc: RpcClient, action: str, payload: dict[str, Any], message_id: str) -> dict[str, Any]:
        self._log(f"-> {action} {payload}")
        try:
            answer = await rpc.call(action, payload, message_id)
        except CallError as error:
            self.record.errors.append(error)
            raise
        except AnswerLostError:
            self.record.lost_answers += 1
            raise
        self._log(f"<- {action} {answer}")
        self.record.acknowledged.append(Acknowledged(action, payload, answer, message_id, datetime.now(UTC)))
        return answer

    async def _deliver(self) -> None:
        while True:
            await self.outbox.wait_filled()
            await self._online.wait()
            rpc, message = self._rpc, self.outbox.head()  # looked at only now: coming online puts statuses first
            if rpc is None or message is None:
                continue
            try:
                await self._deliver_one(rpc, message)
            except ConnectionClosed:
                if self._rpc is rpc:  # the reader has not noticed yet
                    self._go_offline()
            except AnswerLostError as error:
                self._log(f"no answer to {message.action}: {error}")
                if not message.is_durable:
                    self.outbox.remove(message)
                elif not self._faults.repeat_with_same_id:
                    message.message_id = str(uuid.uuid4())
            except CallError as error:
                await self._after_error(message, error)
            self._changed()

    async def _deliver_one(self, rpc: RpcClient, message: Message) -> None:
        payload = message.build()
        answer = await self._exchange(rpc, message.action, payload, message.message_id)
        if message.action in self._faults.duplicate:
            repeated = await self._exchange(rpc, message.action, payload, str(uuid.uuid4()))
            if message.action == "StartTransaction" and repeated["transactionId"] != answer["transactionId"]:
                raise ProtocolViolationError(f"the same StartTransaction got two ids: {answer}, {repeated}")
        self.outbox.remove(message)
        if message.on_answer is not None:
            message.on_answer(answer)

    async def _after_error(self, message: Message, error: CallError) -> None:
        """OCPP 1.6 sections 9.1.27-28: repeat TransactionMessageAttempts times, waiting longer each time."""
        self._log(f"CALLERROR {error}")
        message.attempts += 1
        message.message_id = str(uuid.uuid4())
        most = self._configuration.number("TransactionMessageAttempts") if message.is_durable else 1
        if message.attempts < most:
            await asyncio.sleep(self.settings.retry_interval_s * message.attempts)
            return
        self.outbox.remove(message)
        self.record.given_up.append(message)
        if message.on_given_up is not None:
            message.on_given_up()
