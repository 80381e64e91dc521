"""Plugging, charging, metering, stopping: what the outlets of a charge point do, and the messages that this causes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import Any

from infra.local.simulator.battery import Vehicle
from infra.local.simulator.configuration import Configuration
from infra.local.simulator.faults import Faults
from infra.local.simulator.outbox import Message
from infra.local.simulator.outlet import Outlet, Reservation, Transaction
from infra.local.simulator.profiles import Profiles

ACCEPTED = "Accepted"


@dataclass(frozen=True, slots=True)
class ChargingSettings:
    """How the outlets behave."""

    sample_interval_s: float | None = None
    """Seconds between MeterValues; None: what MeterValueSampleInterval says."""
    auto_plug: bool = True
    """A driver stands by: plugs in when RemoteStart comes and unplugs when charging has ended."""
    vehicle: Vehicle = field(default_factory=Vehicle)


class Charging:
    """The outlets of one charge point."""

    def __init__(
        self,
        outlets: dict[int, Outlet],
        settings: ChargingSettings,
        *,
        configuration: Configuration,
        faults: Faults,
        profiles: Profiles,
        put: Callable[[Message], None],
        changed: Callable[[], None],
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self.outlets = outlets
        self.settings = settings
        self._configuration = configuration
        self._faults = faults
        self.profiles = profiles
        for outlet in outlets.values():
            outlet.offers = partial(self._offers, outlet)
        self._put = put
        self._changed = changed
        self._spawn = spawn

    # --- time ------------------------------------------------------------------------------------------------

    def stamp(self, moment: datetime) -> str:
        """A timestamp as the charger writes it: through its own, perhaps lying, clock."""
        shown = self._faults.clock(moment) if self._faults.clock else moment
        return shown.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    @staticmethod
    def now() -> datetime:
        """True time."""
        return datetime.now(UTC)

    # --- status ----------------------------------------------------------------------------------------------

    def set_status(self, outlet: Outlet, status: str) -> None:
        """Change a connector's status and tell the server."""
        if outlet.status == status:
            return
        outlet.status = status
        self._put(self.status_message(outlet))
        self._changed()

    def status_message(self, outlet: Outlet) -> Message:
        """StatusNotification with the status of this moment."""
        payload = {
            "connectorId": outlet.number,
            "status": outlet.status,
            "errorCode": outlet.error_code,
            "timestamp": self.stamp(self.now()),
        }
        return Message("StatusNotification", lambda: payload)

    def all_statuses(self) -> list[Message]:
        """The station itself (connector 0) and every connector."""
        whole = {
            "connectorId": 0,
            "status": "Available",
            "errorCode": "NoError",
            "timestamp": self.stamp(self.now()),
        }
        return [Message("StatusNotification", lambda: whole), *map(self.status_message, self.outlets.values())]

    def resting_status(self, outlet: Outlet) -> str:
        """The status of a connector with no transaction."""
        if not outlet.operative:
            return "Unavailable"
        if outlet.vehicle is not None:
            return "Preparing"
        return "Available" if outlet.reservation is None else "Reserved"

    async def expire(self, outlet: Outlet, reservation: Reservation) -> None:
        """Let go of a reservation at its end, if it is still that one."""
        await asyncio.sleep((reservation.expires_at - self.now()).total_seconds())
        if outlet.reservation == reservation:
            outlet.reservation = None
            if outlet.transaction is None and outlet.status == "Reserved":
                self.set_status(outlet, self.resting_status(outlet))

    # --- the driver ------------------------------------------------------------------------------------------

    def plug(self, outlet: Outlet, vehicle: Vehicle | None = None) -> None:
        """Put the cable in. A RemoteStart that waits for it begins now."""
        outlet.vehicle = vehicle or self.settings.vehicle
        if outlet.transaction is None and not self._faults.no_preparing:
            self.set_status(outlet, self.resting_status(outlet))
        if outlet.waiting_tag is not None and outlet.transaction is None:
            self.begin(outlet, outlet.waiting_tag)

    def unplug(self, outlet: Outlet) -> None:
        """Pull the cable: ends a running transaction (StopTransactionOnEVSideDisconnect)."""
        if outlet.transaction is not None:
            self.finish(outlet, "EVDisconnected")
        outlet.vehicle = None
        self.set_status(outlet, self.resting_status(outlet))

    # --- transactions ----------------------------------------------------------------------------------------

    def remote_start(self, outlet: Outlet) -> None:
        """What follows an accepted RemoteStart: begin at once if a car is (or will be) there, else wait for it."""
        if outlet.waiting_tag is None:
            return
        if outlet.vehicle is not None or self.settings.auto_plug:
            self.plug(outlet, outlet.vehicle)
        else:
            self._spawn(self._give_up_waiting(outlet, outlet.waiting_tag))

    async def _give_up_waiting(self, outlet: Outlet, tag: str) -> None:
        """OCPP 1.6 section 9.1.4 ConnectionTimeOut: nobody plugged in."""
        await asyncio.sleep(self._configuration.number("ConnectionTimeOut"))
        if outlet.waiting_tag == tag:
            outlet.waiting_tag = None
            self._changed()

    def begin(self, outlet: Outlet, id_tag: str) -> Transaction:
        """Start a transaction: message, status, metering."""
        if outlet.transaction is not None:
            raise RuntimeError(f"connector {outlet.number} is charging already")
        outlet.waiting_tag = None
        now = self.now()
        transaction = Transaction(outlet.number, id_tag, round(outlet.register_wh), now)
        outlet.transaction, outlet.charged_until, outlet.offered_w = transaction, now, None
        outlet.history.append(transaction)
        payload: dict[str, Any] = {
            "connectorId": outlet.number,
            "idTag": id_tag,
            "meterStart": transaction.meter_start,
            "timestamp": self.stamp(now),
        }
        if outlet.reservation is not None:
            payload["reservationId"] = outlet.reservation.number
            outlet.reservation = None
        self._put(
            Message(
                "StartTransaction",
                lambda: payload,
                on_answer=lambda answer: self._on_started(outlet, transaction, answer),
                on_given_up=lambda: setattr(transaction, "answered", True),
            )
        )
        self.set_status(outlet, "Charging")
        self._spawn(self._meter(outlet, transaction))
        return transaction

    def _on_started(self, outlet: Outlet, transaction: Transaction, answer: dict[str, Any]) -> None:
        transaction.transaction_id = int(answer["transactionId"])
        transaction.id_tag_status = str(answer["idTagInfo"]["status"])
        transaction.answered = True
        refused = transaction.id_tag_status != ACCEPTED
        if refused and transaction.is_running and self._configuration.flag("StopTransactionOnInvalidId"):
            self.finish(outlet, "DeAuthorized")

    def finish(self, outlet: Outlet, reason: str) -> None:
        """Stop the running transaction for ``reason`` (OCPP 1.6 section 7.36)."""
        transaction = outlet.transaction
        if transaction is None:
            return
        now = self.now()
        outlet.advance(now)
        transaction.stopped_at, transaction.reason = now, reason
        told = self._faults.meter_stop
        transaction.meter_stop = round(outlet.register_wh) if told is None else told
        end_value = {
            "timestamp": self.stamp(now),
            "sampledValue": outlet.samples(frozenset({"Energy.Active.Import.Register"}), "Transaction.End"),
        }
        payload = {
            "idTag": transaction.id_tag,
            "meterStop": transaction.meter_stop,
            "timestamp": self.stamp(now),
            "reason": reason,
            **({"transactionData": [end_value]} if told is None else {}),
        }
        self._put(
            Message(
                "StopTransaction",
                # -1: what chargers say for a transaction whose start was never answered
                lambda: {**payload, "transactionId": _known_id(transaction)},
                on_answer=lambda _: setattr(transaction, "confirmed", True),
            )
        )
        outlet.transaction, outlet.charged_until = None, None
        self.profiles.end_transaction(outlet.number)
        self.set_status(outlet, "Finishing" if outlet.operative else "Unavailable")
        if self.settings.auto_plug:
            self.unplug(outlet)

    # --- metering --------------------------------------------------------------------------------------------

    async def _meter(self, outlet: Outlet, transaction: Transaction) -> None:
        """MeterValues at the sample interval until the transaction ends."""
        clock = asyncio.get_running_loop().time
        last = clock()
        while True:
            # In short naps, so that a sample interval that the server changes meanwhile counts at once.
            while (left := last + (self._sample_interval() or 1) - clock()) > 0:
                await asyncio.sleep(min(left, 0.5))
            last = clock()
            if outlet.transaction is not transaction:
                return
            self.follow(outlet)
            if self._sample_interval():
                self._put(self.meter_message(outlet, "Sample.Periodic"))
            self._changed()

    def follow(self, outlet: Outlet) -> None:
        """Charge up to now, as the profiles allow, and tell when that begins or ends to let nothing flow."""
        outlet.advance(self.now())
        if outlet.transaction is None or outlet.status not in ("Charging", "SuspendedEV", "SuspendedEVSE"):
            return
        if outlet.vehicle is not None and outlet.vehicle.is_full:
            self.set_status(outlet, "SuspendedEV")
        else:
            self.set_status(outlet, "SuspendedEVSE" if outlet.offered_w == 0 else "Charging")

    def follow_all(self) -> None:
        """:meth:`follow` for all outlets: before and after a change of the profiles."""
        for outlet in self.outlets.values():
            self.follow(outlet)

    def _offers(self, outlet: Outlet, start: datetime, seconds: float) -> list[tuple[float, float]]:
        """What the profiles allow the outlet: pieces of (W, seconds). Busy outlets share the charger's limit evenly."""
        busy = [other for other in self.outlets.values() if other.transaction is not None]
        began = {other.number: other.transaction.started_at for other in busy if other.transaction is not None}
        marks: list[float] = [*self.profiles.changes(start, seconds, began), seconds]
        return [
            (
                self.profiles.limit(
                    outlet.number,
                    start + timedelta(seconds=mark),
                    outlet.power_w,
                    began.get(outlet.number, start),
                    sharers=max(len(busy), 1),
                ),
                after - mark,
            )
            for mark, after in pairwise(marks)
        ]

    def _sample_interval(self) -> float:
        """Seconds between MeterValues; 0: none are wanted."""
        if self.settings.sample_interval_s is not None:
            return self.settings.sample_interval_s
        return self._configuration.number("MeterValueSampleInterval")

    def meter_message(self, outlet: Outlet, context: str) -> Message:
        """MeterValues of this moment."""
        transaction = outlet.transaction
        value = {
            "timestamp": self.stamp(self.now()),
            "sampledValue": outlet.samples(self._configuration.measurands(), context),
        }

        def build() -> dict[str, Any]:
            payload: dict[str, Any] = {"connectorId": outlet.number, "meterValue": [value]}
            if transaction is not None:
                payload["transactionId"] = _known_id(transaction)
            return payload

        return Message("MeterValues", build)


def _known_id(transaction: Transaction) -> int:
    return -1 if transaction.transaction_id is None else transaction.transaction_id
