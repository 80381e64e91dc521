"""The final bill weighs two witnesses: the readings, and the register of the end against that of the begin. Pure; Wh.

They agree where the last register goes on from the last reading, as far as rated power allows: the rise is energy.
Where they differ, and only one of them is plausible, it wins; where both are, the lower is billed and somebody looks at
it. The end is implausible when it is below the begin, above what the connector can have delivered, or the readings saw
the register restart. The readings are implausible when their register is not the one of begin and end: a register of
the session, zeros. The rules know no protocol: the end of OCPP 1.6 is meterStop, that of 2.x the reading of
Transaction.End (docs/decisions/0013).
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from evpower.charging import bounds
from evpower.charging.bounds import ALLOWANCE_WH, plausible_wh
from evpower.charging.models import ZERO, MeterState

DIFFERS = "stop_differs_from_readings"
RESET = "register_reset"
JUMP = "register_jump"

_NEARLY, _HALF = Decimal("0.9"), Decimal("0.5")
_ROUNDING_WH = Decimal(10)  # readings in kWh with two decimals beside a meterStop in Wh


@dataclass(frozen=True, slots=True)
class Weighed:
    """``energy_wh`` is billed. ``takes_register``: the register of the end is the session's last one."""

    energy_wh: Decimal
    flags: tuple[str, ...]
    takes_register: bool
    candidate_wh: Decimal | None = None


def start_wh(state: MeterState) -> Decimal:
    """The register at the begin; one that is negative counts as 0."""
    return max(state.meter_start_wh, ZERO)


def goes_on(state: MeterState, register_wh: Decimal, bound_wh: Decimal) -> bool:
    """Whether the register goes on from the last reading, or confirms one that seemed implausible."""
    candidate = state.candidate_wh
    return ZERO <= register_wh - state.register_wh <= bound_wh or (
        candidate is not None and ZERO <= register_wh - candidate <= bound_wh
    )


def is_jitter(state: MeterState, register_wh: Decimal) -> bool:
    """Whether a register a little below the last reading is that register, rounded, and has not restarted.

    After a reading that seemed to be a restart only the smaller fall is: a register that has restarted may soon show
    nearly as much as it did before.
    """
    candidate = state.candidate_wh
    seemed_to_restart = candidate is not None and candidate <= min(state.register_wh / 2, register_wh)
    least = state.register_wh * (_NEARLY if seemed_to_restart else _HALF)
    return state.register_wh - ALLOWANCE_WH <= register_wh < state.register_wh and register_wh > least


def returned_wh(
    state: MeterState,
    register_wh: Decimal,
    at: datetime | None,
    received_at: datetime,
    max_power_w: Decimal,
    began_at: datetime,
) -> Decimal | None:
    """The session's energy if the register goes on from the one that was left before; else None.

    Use case: zeros while the car pauses, or readings of a register of the session beside one of the meter.
    """
    memory = state.memory
    if memory is None or memory.left_wh is None:
        return None
    rise = register_wh - memory.left_wh
    elapsed = bounds.elapsed(memory.left_since or began_at, memory.left_since_charger, at, received_at, began_at)
    return memory.left_energy_wh + rise if ZERO <= rise <= plausible_wh(elapsed, max_power_w) else None


def weigh(
    state: MeterState,
    stop_wh: Decimal,
    stopped_at: datetime | None,
    received_at: datetime,
    max_power_w: Decimal,
    began_at: datetime,
    *,
    may_have_restarted: bool,
) -> Weighed:
    """What is billed when the register of the end does not go on from the last reading.

    ``may_have_restarted``: it is low enough, and late enough, to be that of a restart at zero.
    """
    by_readings, by_stop = state.energy_wh, stop_wh - start_wh(state)
    is_plausible = state.meter_start_wh >= 0 and ZERO <= by_stop <= plausible_wh(received_at - began_at, max_power_w)
    returned = returned_wh(state, stop_wh, stopped_at, received_at, max_power_w, began_at)
    if returned is not None:
        at_least = min(by_readings, by_stop) if is_plausible else by_readings
        return Weighed(max(returned, at_least), (), takes_register=True)
    if stop_wh < state.register_wh:
        return _below(state, stop_wh, by_stop if is_plausible else None, may_have_restarted=may_have_restarted)
    if not is_plausible:
        return Weighed(by_readings, (JUMP,), takes_register=False, candidate_wh=stop_wh)
    are_zeros = state.register_wh == 0 and by_readings == 0
    if state.register_wh < start_wh(state) or are_zeros:
        return Weighed(by_stop, (DIFFERS,), takes_register=True)
    return Weighed(min(by_readings, by_stop), (DIFFERS,), takes_register=False)


def _below(state: MeterState, stop_wh: Decimal, by_stop: Decimal | None, *, may_have_restarted: bool) -> Weighed:
    """The register of the end is below the last reading. ``by_stop``: its energy, if that is plausible."""
    by_readings = state.energy_wh
    if by_stop == 0 and by_readings > 0:
        # Use case: a charger ends each transaction with the register of its begin. What has risen does not stand there.
        return Weighed(by_readings, (DIFFERS,), takes_register=False)
    fall = state.register_wh - stop_wh
    is_one_register = state.register_wh - start_wh(state) == by_readings
    if is_one_register and by_stop is not None:
        return Weighed(by_stop, (DIFFERS,) if fall > _ROUNDING_WH else (), takes_register=True)
    if is_jitter(state, stop_wh):
        return Weighed(by_readings, (), takes_register=False)  # jitter of a register, as in any reading
    if may_have_restarted and state.candidate_wh is None:
        # Use case: the register fell with the power, and only the end shows it. Nothing follows that could tell it from
        # a register of the session, which shows at least what the readings show; then that is the lower.
        energy = stop_wh if stop_wh >= by_readings else by_readings + stop_wh
        return Weighed(energy, (RESET,), takes_register=True)
    return Weighed(by_readings, (JUMP,), takes_register=False, candidate_wh=stop_wh)
