"""What the server knows of one connected charger; handlers get it as their first argument."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from evpower.charging.running import MeterContext
from evpower.logging import get_logger
from evpower.stations import service as stations
from evpower.stations.models import Admission, RegistrationStatus
from socket_tier.schemas import Lost
from socket_tier.services import Services
from socket_tier.unavailable import is_unavailable

log = get_logger(__name__)

_ACCEPTED = RegistrationStatus.ACCEPTED  # looking it up costs more than comparing it

ASK_AGAIN_S = 10.0


class Caller(Protocol):
    """The way back to the charger."""

    async def call(self, action: str, payload: dict[str, Any], timeout: float | None = None) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Inbound:
    """The CALL that is being handled: its id, its payload as it was sent, and what of it could not be used.

    ``is_torn``: its text was no JSON and not all of it could be read.
    """

    message_id: str = ""
    payload: Any = None
    lost: tuple[Lost, ...] = ()
    is_torn: bool = False


class Charger:
    """One charger on one socket.

    Attributes:
        admission: the station's record as loaded at the upgrade; boots are answered from it.
        epoch: fencing token of this socket (``stations.connection_epoch``).
        transactions: running transactions by id, kept so that a reading needs no query; advanced only after commit.
            None: a transaction without a session.
        unnamed: by connector and named id, the running transaction whose readings come without its id; None: there is
            none. Forgotten when a transaction starts or stops, and when readings name it.
        inbound: the CALL that is being handled; set by the connection.
        caller: calls the charger back; set by the connection.
        boot_drains: a boot is being stored, and what waits for the station is run with it.
    """

    def __init__(self, admission: Admission, epoch: int, services: Services) -> None:
        self.admission = admission
        self.epoch = epoch
        self.services = services
        self.transactions: dict[int, MeterContext | None] = {}
        self.unnamed: dict[tuple[int, int], int | None] = {}
        self.inbound = Inbound()
        self.caller: Caller | None = None
        self.boot_drains = False
        self._ask_again_at = time.monotonic() + ASK_AGAIN_S
        self._deferred: list[Callable[[], Awaitable[None]]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def station_id(self) -> str:
        return self.admission.station_id

    @property
    def accepted(self) -> bool:
        """The operator has accepted this station (``registration_status``)."""
        return self.admission.registration_status is _ACCEPTED

    async def look_again(self) -> None:
        """Load the station's record anew; while the database is away, what is in memory stands.

        Use case: the operator accepts a waiting station while it is connected; its next boot must succeed.
        """
        station_id = self.station_id
        try:
            found = await self.services.database.run(lambda conn: stations.load_for_admission(conn, station_id))
        except Exception as error:
            if not is_unavailable(error):
                raise
            return
        if found is not None:
            self.admission = found

    async def accepted_meanwhile(self) -> bool:
        """Whether the operator has accepted the station since it was told to wait; asked every few seconds at most.

        Use case: the charger was answered Pending and never boots again, but sends everything else.
        """
        now = time.monotonic()
        if now < self._ask_again_at:
            return False
        self._ask_again_at = now + ASK_AGAIN_S
        await self.look_again()
        if self.accepted:
            self.services.drain(self.station_id)
        return self.accepted

    def another_begins(self, connector_id: int) -> None:
        """A transaction began on the connector: what is known of earlier ones there is out of date."""
        self.unnamed.clear()
        for transaction_id, context in list(self.transactions.items()):
            if context is not None and context.connector_id == connector_id:
                del self.transactions[transaction_id]

    def is_named(self, transaction_id: int) -> None:
        """Readings name the transaction: those that name none are not taken for its own any more."""
        for key in [key for key, found in self.unnamed.items() if found == transaction_id]:
            del self.unnamed[key]

    def tell_changed(self) -> None:
        """Publish the station's new public state once the present message has been answered."""
        self.defer(lambda: self.services.changed([self.station_id]))

    def dispatch(self, command_id: str | None) -> None:
        """Run a committed command at once; None and a station that has moved are left to queue and sweep."""
        if command_id is not None:
            self.services.dispatch(self.station_id, command_id)

    def dispatch_later(self, command_id: str | None) -> None:
        """:meth:`dispatch` once the present message has been answered: the charger must know the transaction first."""

        async def work() -> None:
            self.dispatch(command_id)

        if command_id is not None:
            self.defer(work)

    def defer(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run ``work`` in the background once the present message has been answered."""
        self._deferred.append(work)

    def run_deferred(self) -> None:
        """Start what the handler deferred; called by the connection after the answer."""
        if self._deferred:
            deferred, self._deferred = self._deferred, []
            for work in deferred:
                self.spawn(work())

    def spawn(self, work: Awaitable[None]) -> None:
        """Run ``work`` in the background; a failure is logged."""
        task = asyncio.get_running_loop().create_task(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, work: Awaitable[None]) -> None:
        try:
            await work
        except Exception:
            log.exception("background work for a charger failed", extra={"station_id": self.station_id})

    async def finish_background(self, patience_s: float) -> None:
        """Let background work end, at most ``patience_s``, then cancel it."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=patience_s)
        for task in list(self._tasks):
            task.cancel()
