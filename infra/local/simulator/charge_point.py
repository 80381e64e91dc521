"""A whole OCPP 1.6J charge point: the class that demos, tests and benches use.

Example::

    async with ChargePoint("ws://127.0.0.1:9210/ocpp", "DEMO-1", time_scale=60) as point:
        await point.wait_online()
        await point.wait_for(lambda: point.transactions)
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from websockets.exceptions import ConnectionClosed

from infra.local.simulator.battery import Vehicle
from infra.local.simulator.certificates import Certificates
from infra.local.simulator.charging import Charging, ChargingSettings
from infra.local.simulator.commands import handle_command
from infra.local.simulator.configuration import Configuration
from infra.local.simulator.faults import Faults
from infra.local.simulator.jobs import Jobs
from infra.local.simulator.link import Link, LinkSettings
from infra.local.simulator.local_list import LocalList
from infra.local.simulator.outbox import Acknowledged
from infra.local.simulator.outlet import Outlet, Transaction
from infra.local.simulator.profiles import Profiles
from infra.local.simulator.rpc import Answer, AnswerLostError, CallError


@dataclass(frozen=True, slots=True)
class Command:
    """A command of the server and what the charger answered (None: CALLERROR NotImplemented)."""

    action: str
    payload: dict[str, Any]
    answer: dict[str, Any] | None


class ChargePoint:
    """One simulated charger. All methods must be called from the event loop it was started in.

    ``url`` is the prefix before the station id (``ws://host:port/ocpp``), powers in kW, registers in Wh.
    ``time_scale``: how much more energy flows per second than ``power_kw`` would allow (see `Outlet`); time itself
    stays true. ``sample_interval_s`` overrules MeterValueSampleInterval.
    """

    def __init__(
        self,
        url: str,
        station_id: str,
        *,
        password: str | None = None,
        connectors: int = 2,
        power_kw: float = 22.0,
        meter_wh: int = 0,
        time_scale: float = 1.0,
        sample_interval_s: float | None = None,
        auto_plug: bool = True,
        vehicle: Vehicle | None = None,
        faults: Faults | None = None,
        link: LinkSettings | None = None,
        call_timeout_s: float = 30.0,
        seed: int = 0,
        log: Callable[[str], None] | None = None,
    ) -> None:
        self.station_id = station_id
        self.faults = faults or Faults()
        self.configuration = Configuration(connectors)
        self.outlets = {n: Outlet(n, power_kw * 1000, float(meter_wh), time_scale) for n in range(1, connectors + 1)}
        self.commands: list[Command] = []
        self.local_list = LocalList()
        self.profiles = Profiles()
        self.certificates = Certificates()
        self.password_after_restart: str | None = None
        self._log = log or (lambda _line: None)
        self._pulse = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._runner: asyncio.Task[None] | None = None
        self._failure: BaseException | None = None
        self.link = Link(
            link or LinkSettings(url, station_id, password, call_timeout_s=call_timeout_s),
            faults=self.faults,
            configuration=self.configuration,
            handle=self._on_command,
            statuses=lambda: self.charging.all_statuses(),
            changed=self._changed,
            log=self._log,
            seed=seed,
        )
        self.charging = Charging(
            self.outlets,
            ChargingSettings(sample_interval_s, auto_plug, vehicle or Vehicle()),
            configuration=self.configuration,
            faults=self.faults,
            profiles=self.profiles,
            put=self.link.put,
            changed=self._changed,
            spawn=self.spawn,
        )
        self.jobs = Jobs(station_id, self.link.put)

    # --- life ------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to connect. Returns at once; see `wait_online`."""
        self._runner = asyncio.create_task(self.link.run())
        self._runner.add_done_callback(self._on_done)

    async def stop(self) -> None:
        """Disconnect and forget. Raises what the server did wrong, if it did."""
        await self.link.close()
        tasks = [*self._tasks, *([self._runner] if self._runner else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.check()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def check(self) -> None:
        """Raise if the server broke the protocol or a task of the simulator failed."""
        if self._failure is not None:
            raise self._failure

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something beside; its failure fails the charge point."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(self._on_done)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self._failure = self._failure or task.exception()
            self._log(f"FAILED: {task.exception()!r}")
            self._changed()

    def _changed(self) -> None:
        self._pulse.set()
        self._pulse = asyncio.Event()

    async def wait_for(self, condition: Callable[[], object], timeout_s: float = 20.0) -> None:
        """Wait until ``condition()`` is true. Raises TimeoutError, or the server's mistake."""
        async with asyncio.timeout(timeout_s):
            while True:
                self.check()
                pulse = self._pulse
                if condition():
                    return
                await pulse.wait()

    async def wait_online(self, timeout_s: float = 20.0) -> None:
        """Wait until the boot is accepted and everything that waited has been sent."""
        await self.wait_for(lambda: self.link.is_online and not len(self.link.outbox), timeout_s)

    # --- looking ---------------------------------------------------------------------------------------------

    @property
    def acknowledged(self) -> list[Acknowledged]:
        """Every message that the server has acknowledged, in order."""
        return self.link.record.acknowledged

    @property
    def transactions(self) -> list[Transaction]:
        """Every transaction so far, running ones included, connector by connector."""
        return [transaction for outlet in self.outlets.values() for transaction in outlet.history]

    def acknowledged_of(self, action: str) -> list[Acknowledged]:
        """The acknowledged messages of one action."""
        return [item for item in self.acknowledged if item.action == action]

    def outlet_of(self, transaction_id: int) -> Outlet | None:
        """The connector on which that transaction runs."""
        for outlet in self.outlets.values():
            if outlet.transaction is not None and outlet.transaction.transaction_id == transaction_id:
                return outlet
        return None

    # --- the driver at the charger ---------------------------------------------------------------------------

    def plug(self, connector: int = 1, vehicle: Vehicle | None = None) -> None:
        """Plug a car in."""
        self.charging.plug(self.outlets[connector], vehicle)

    def unplug(self, connector: int = 1) -> None:
        """Pull the plug."""
        self.charging.unplug(self.outlets[connector])

    async def start_with_tag(self, connector: int, id_tag: str, *, authorize: bool = True) -> Transaction | None:
        """Hold an RFID card to the reader of a connector. None when the server does not accept the card.

        Offline the charger starts without asking (LocalAuthorizeOffline) unless its local list refuses the card.
        """
        if authorize and self.link.is_online:
            answer = await self.link.exchange("Authorize", {"idTag": id_tag})
            if answer["idTagInfo"]["status"] != "Accepted":
                return None
        outlet = self.outlets[connector]
        listed = not self.link.is_online and self.configuration.flag("LocalAuthListEnabled")
        if outlet.is_kept_from(id_tag) or (listed and self.local_list.refuses(id_tag)):
            return None
        if outlet.vehicle is None:
            self.plug(connector)
        return self.charging.begin(outlet, id_tag)

    def stop_locally(self, connector: int, reason: str = "Local") -> None:
        """Stop at the charger itself."""
        self.charging.finish(self.outlets[connector], reason)

    async def heartbeat(self) -> None:
        """Send a Heartbeat now; a failure is a matter of the connection, not of this call."""
        try:
            await self.link.exchange("Heartbeat", {})
        except (AnswerLostError, CallError, ConnectionClosed) as error:
            self._log(f"heartbeat: {error!r}")

    # --- faults ----------------------------------------------------------------------------------------------

    def drop_tcp(self) -> None:
        """The connection is gone with no close frame; the charger reconnects with back-off."""
        self.link.abort()

    def go_offline(self) -> None:
        """The network is down: no close frame, no reconnect until `go_online`. Charging goes on."""
        self.link.forbid()
        self.link.abort()

    def go_online(self) -> None:
        """The network is back: reconnect and replay what was queued, with the old timestamps."""
        self.link.allow()

    def lose_power(self) -> None:
        """Power loss: registers restart at 0, the charger boots again, the same transaction goes on."""
        for outlet in self.outlets.values():
            outlet.advance(self.charging.now())
            outlet.register_wh = 0.0
        self.link.require_boot()
        self.link.abort()

    def jump_register(self, connector: int, energy_wh: float) -> None:
        """The register jumps (a broken meter); negative runs it backwards."""
        self.outlets[connector].register_wh += energy_wh

    def break_connector(self, connector: int, error_code: str = "GroundFailure") -> None:
        """The connector reports Faulted; a running transaction ends with reason Other."""
        outlet = self.outlets[connector]
        if outlet.transaction is not None:
            self.charging.finish(outlet, "Other")
        outlet.error_code = error_code
        self.charging.set_status(outlet, "Faulted")

    async def restart(self, reason: str = "Reboot") -> None:
        """Stop transactions with ``reason``, deliver that if possible, reconnect and boot."""
        for outlet in self.outlets.values():
            if outlet.transaction is not None:
                self.charging.finish(outlet, reason)
        if reason != "HardReset" and self.link.is_online:
            await self.wait_for(lambda: not len(self.link.outbox) or not self.link.is_online)
        if self.password_after_restart is not None:
            self.link.change_password(self.password_after_restart)
            self.password_after_restart = None
        self.link.require_boot()
        await self.link.close()

    async def ask_for_certificate(self, name: str | None = None) -> str:
        """Make a key and send its signing request; the server's word. ``name``: this station's, unless a test lies."""
        csr = self.certificates.request(name or self.station_id, self.configuration.values.get("CpoName", ""))
        return str((await self.link.exchange("SignCertificate", {"csr": csr}))["status"])

    async def reboot_on_same_socket(self) -> None:
        """BootNotification again without a new connection."""
        await self.link.reboot_on_same_socket()

    # --- commands --------------------------------------------------------------------------------------------

    async def _on_command(self, action: str, payload: dict[str, Any]) -> Answer:
        self._log(f"<= {action} {payload}")
        answer: Answer | None = None
        try:
            answer = await handle_command(self, action, payload)
        finally:
            self.commands.append(Command(action, payload, answer.payload if answer else None))
            self._changed()
        self._log(f"=> {action} {answer.payload}")
        return answer
