"""One connector of a charge point: its register, the car at the plug, the transaction. Pure: time is an argument."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from infra.local.simulator.battery import Vehicle, charge

VOLTAGE = 230.0
PHASES = ("L1", "L2", "L3")


@dataclass(slots=True)
class Transaction:
    """A charging transaction as the charger remembers it. Registers in Wh, times true (UTC)."""

    connector: int
    id_tag: str
    meter_start: int
    started_at: datetime
    transaction_id: int | None = None
    answered: bool = False
    """The server has answered StartTransaction (or the charger has given up asking)."""
    id_tag_status: str | None = None
    stopped_at: datetime | None = None
    meter_stop: int | None = None
    reason: str | None = None
    confirmed: bool = False
    """The server has answered StopTransaction."""

    @property
    def is_running(self) -> bool:
        """True until the charger has stopped it."""
        return self.stopped_at is None


@dataclass(frozen=True, slots=True)
class Reservation:
    """A connector kept for one id tag (OCPP 1.6 section 5.13)."""

    number: int
    id_tag: str
    expires_at: datetime


@dataclass(slots=True)
class Outlet:
    """A connector. ``register_wh`` is the energy register, which never falls unless the power is lost.

    ``time_scale``: the car charges that many times faster than ``power_w`` would allow. Power, current and energy are
    all scaled, so that they stay consistent with the true timestamps; a central system that checks plausibility must
    be told a connector power of ``power_w * time_scale``.
    """

    number: int
    power_w: float
    register_wh: float = 0.0
    time_scale: float = 1.0
    status: str = "Available"
    error_code: str = "NoError"
    operative: bool = True
    vehicle: Vehicle | None = None
    transaction: Transaction | None = None
    waiting_tag: str | None = None
    """A RemoteStart was accepted and waits for the plug."""
    reservation: Reservation | None = None
    charged_until: datetime | None = None
    offers: Callable[[datetime, float], Iterable[tuple[float, float]]] | None = None
    """What charging profiles allow from a moment on for some seconds: pieces of (W, seconds)."""
    offered_w: float | None = None
    """What they allow now; None: nothing limits the outlet."""
    history: list[Transaction] = field(default_factory=list)

    def is_kept_from(self, id_tag: str) -> bool:
        """Another id tag has reserved the connector."""
        return self.reservation is not None and self.reservation.id_tag.lower() != id_tag.lower()

    def advance(self, now: datetime) -> float:
        """Charge up to ``now`` and return the energy in Wh since the last call."""
        if self.transaction is None or not self.transaction.is_running or self.charged_until is None:
            return 0.0
        began, seconds = self.charged_until, (now - self.charged_until).total_seconds()
        if seconds < 0:
            return 0.0
        self.charged_until = now
        if self.vehicle is None or self.status not in ("Charging", "SuspendedEV", "SuspendedEVSE"):
            return 0.0
        total = 0.0
        for power_w, length in [(self.power_w, seconds)] if self.offers is None else self.offers(began, seconds):
            self.offered_w = power_w
            self.vehicle, energy = charge(self.vehicle, power_w, length * self.time_scale)
            total += energy
        self.register_wh += total
        return total

    def power_now_w(self) -> float:
        """Power in W that flows now."""
        if self.vehicle is None or self.transaction is None or self.status != "Charging":
            return 0.0
        offered_w = self.power_w if self.offered_w is None else self.offered_w
        return self.vehicle.power_w(offered_w) * self.time_scale

    def samples(self, measurands: frozenset[str], context: str) -> list[dict[str, Any]]:
        """OCPP 1.6 section 7.43 SampledValue list of what the meter shows, limited to ``measurands``."""
        power = self.power_now_w()
        current = power / (VOLTAGE * len(PHASES))
        all_values: list[dict[str, Any]] = [
            _value(f"{self.register_wh:.0f}", "Energy.Active.Import.Register", "Wh", context),
            _value(f"{power:.0f}", "Power.Active.Import", "W", context),
        ]
        all_values += [_value(f"{current:.2f}", "Current.Import", "A", context, phase) for phase in PHASES]
        all_values += [_value(f"{VOLTAGE:.1f}", "Voltage", "V", context, f"{phase}-N") for phase in PHASES]
        if self.vehicle is not None:
            percent = f"{self.vehicle.state_of_charge * 100:.1f}"
            all_values.append({**_value(percent, "SoC", "Percent", context), "location": "EV"})
        heat = 25 + 20 * power / (self.power_w * self.time_scale)
        all_values.append({**_value(f"{heat:.1f}", "Temperature", "Celsius", context), "location": "Body"})
        return [value for value in all_values if value["measurand"] in measurands]


def _value(value: str, measurand: str, unit: str, context: str, phase: str | None = None) -> dict[str, Any]:
    sample: dict[str, Any] = {"value": value, "context": context, "measurand": measurand, "unit": unit}
    if phase is not None:
        sample["phase"] = phase
    return sample
