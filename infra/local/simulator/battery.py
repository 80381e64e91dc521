"""The car: a battery that takes constant power up to the knee of its curve and less and less after it. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

KNEE = 0.8
"""State of charge (0..1) from which the power falls in proportion to what is missing."""
FULL = 0.995
"""State of charge from which the car takes nothing more and the connector says SuspendedEV."""


@dataclass(frozen=True, slots=True)
class Vehicle:
    """One car at the plug. ``state_of_charge`` is 0..1, capacity in kWh, its own power limit in kW."""

    capacity_kwh: float = 60.0
    state_of_charge: float = 0.2
    max_power_kw: float = 150.0

    @property
    def is_full(self) -> bool:
        """True once the car takes no more energy."""
        return self.state_of_charge >= FULL

    def power_w(self, outlet_power_w: float) -> float:
        """Power in W that the car draws now from an outlet that offers ``outlet_power_w``."""
        if self.is_full:
            return 0.0
        peak = min(outlet_power_w, self.max_power_kw * 1000)
        if self.state_of_charge <= KNEE:
            return peak
        return peak * (1 - self.state_of_charge) / (1 - KNEE)


def charge(vehicle: Vehicle, outlet_power_w: float, seconds: float) -> tuple[Vehicle, float]:
    """Charge for ``seconds`` (simulated). Returns the car afterwards and the energy in Wh that it took.

    Closed form: a straight line up to the knee, then the missing charge decays exponentially.
    """
    peak = min(outlet_power_w, vehicle.max_power_kw * 1000)
    capacity_wh = vehicle.capacity_kwh * 1000
    start = vehicle.state_of_charge
    if peak <= 0 or seconds <= 0 or vehicle.is_full:
        return vehicle, 0.0
    level = start
    if level < KNEE:
        until_knee = (KNEE - level) * capacity_wh / peak * 3600
        straight = min(seconds, until_knee)
        level += peak * straight / 3600 / capacity_wh
        seconds -= straight
    if seconds > 0:
        time_constant = capacity_wh * (1 - KNEE) / peak * 3600
        level = 1 - (1 - level) * math.exp(-seconds / time_constant)
    level = min(level, FULL)
    return replace(vehicle, state_of_charge=level), (level - start) * capacity_wh
