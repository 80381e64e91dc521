"""Energy of a charge whose charger shows no register, and what its power says of a register. Pure; Wh, W.

A charger that never sends a usable register may send the energy of each interval, or at least its power. These make an
estimate: it stands beside the register, is never added to it, keeps the charge alive and limits it, and goes as soon as
a register comes. Whoever is billed by one is flagged for review.

Power also bounds a register from below: one that stands still, or moves by a thousandth of what the power delivers,
cannot be right. It seems to count kWh then. Nothing is multiplied until staff confirm it for the station.
"""

from datetime import datetime
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal

from msgspec.structs import replace

from evpower.charging.bounds import ALLOWANCE_WH, clock_is_dead, plausible_wh, seconds
from evpower.charging.models import ZERO, EnergySource, MeterMemory, MeterState, Reading

ESTIMATED = "energy_estimated"
BELOW_POWER = "register_below_power"

_ESTIMATES = (EnergySource.INTERVAL, EnergySource.POWER)
_MOST_INTERVALS = 64  # timestamps that are remembered; an older interval than all of them is not counted
_MILLI, _TENTH = Decimal("0.001"), Decimal("0.1")
_NOTHING = MeterMemory()
FAR_BELOW = 100  # a register that shows less than a hundredth of what the power delivers
_STANDS_STILL_WH = Decimal(500)  # delivered by the power while the register did not move at all
KWH_IN_WH = 1000


def is_estimate(state: MeterState) -> bool:
    return state.source in _ESTIMATES


def without_register(
    state: MeterState, reading: Reading, received_at: datetime, max_power_w: Decimal, began_at: datetime
) -> MeterState | None:
    """The meter after a reading without a usable register, if it tells energy all the same; else None.

    Its values beside the energy are not taken over yet.
    """
    if state.source == EnergySource.REGISTER:
        return None
    memory = state.memory or _NOTHING
    memory = _with_interval(memory, reading, received_at)
    if reading.power_w is not None:
        memory = _with_power(memory, state, reading, received_at, began_at, _mean(state, reading, max_power_w))
    if memory is (state.memory or _NOTHING):
        return None
    by_interval = bool(memory.intervals)
    wanted = memory.interval_wh if by_interval else memory.power_wh
    ceiling = plausible_wh(received_at - began_at, max_power_w).quantize(_TENTH, ROUND_DOWN)
    energy = min(wanted.quantize(_TENTH, ROUND_HALF_UP), ceiling)
    times = [time for time in (state.since_charger, reading.sampled_at) if time is not None]
    return replace(
        state,
        energy_wh=energy,
        source=EnergySource.INTERVAL if by_interval else EnergySource.POWER,
        memory=memory,
        since=received_at,
        since_charger=max(times) if times else None,
    )


def beside_register(
    state: MeterState,
    reading: Reading,
    received_at: datetime,
    max_power_w: Decimal,
    began_at: datetime,
    energy_wh: Decimal,
) -> MeterMemory | None:
    """What is remembered once the register shows ``energy_wh``: the energy by power, while that may refute it."""
    memory = state.memory or _NOTHING
    if memory.intervals:
        memory = replace(memory, intervals=(), interval_wh=ZERO)
    if energy_wh < ALLOWANCE_WH:
        power = _mean(state, reading, max_power_w, from_current=True)
        memory = _with_power(memory, state, reading, received_at, began_at, power)
    elif not is_far_below(energy_wh, memory.power_wh):
        memory = replace(memory, power_wh=ZERO, measured_s=ZERO)
    return None if memory == _NOTHING else memory


def is_far_below(register_wh: Decimal, power_wh: Decimal) -> bool:
    """Whether a register that rose by ``register_wh`` cannot be right beside ``power_wh`` of power over time."""
    if register_wh <= 0:
        return power_wh >= _STANDS_STILL_WH
    return power_wh >= ALLOWANCE_WH and register_wh * FAR_BELOW < power_wh


def counts_kwh(register_wh: Decimal, power_wh: Decimal) -> bool:
    """Whether the register moves as one does that counts kWh: by about a thousandth, give or take its last digit."""
    expected = power_wh / KWH_IN_WH
    return register_wh > 0 and is_far_below(register_wh, power_wh) and abs(register_wh - expected) <= 1 + expected / 2


def doubts(state: MeterState) -> tuple[str, ...]:
    """Why a bill by this meter wants a look."""
    if is_estimate(state):
        return (ESTIMATED,) if state.energy_wh > 0 else ()
    power_wh = state.memory.power_wh if state.memory is not None else ZERO
    return (BELOW_POWER,) if is_far_below(state.energy_wh, power_wh) else ()


def _with_interval(memory: MeterMemory, reading: Reading, received_at: datetime) -> MeterMemory:
    """The interval energies, each timestamp once: the charger sends messages again whose answer it did not see."""
    energy = reading.interval_wh
    at, known = reading.sampled_at or received_at, memory.intervals
    if energy is None or energy < 0 or at in known or (len(known) >= _MOST_INTERVALS and at < known[0]):
        return memory
    newest = tuple(sorted((*known, at))[-_MOST_INTERVALS:])
    return replace(memory, intervals=newest, interval_wh=memory.interval_wh + energy)


def _with_power(
    memory: MeterMemory,
    state: MeterState,
    reading: Reading,
    received_at: datetime,
    began_at: datetime,
    power_w: Decimal | None,
) -> MeterMemory:
    """Power over the time since the last reading; all these times together are never longer than the session."""
    step_s = min(_step_s(state, reading, received_at, began_at), seconds(received_at - began_at) - memory.measured_s)
    if power_w is None or step_s <= 0:
        return memory
    return replace(
        memory,
        power_wh=(memory.power_wh + power_w * step_s / 3600).quantize(_MILLI, ROUND_HALF_UP),
        measured_s=memory.measured_s + step_s,
    )


def _step_s(state: MeterState, reading: Reading, received_at: datetime, began_at: datetime) -> Decimal:
    """Seconds since the last reading that counted, by the charger's clock: a message that comes again adds none.

    The server's counts where the charger has no clock.
    """
    if reading.sampled_at is None or state.since_charger is None or clock_is_dead(reading.sampled_at, received_at):
        return seconds(received_at - (state.since or began_at))
    return seconds(reading.sampled_at - state.since_charger)


def _mean(state: MeterState, reading: Reading, max_power_w: Decimal, *, from_current: bool = False) -> Decimal | None:
    """Mean power between the last reading and this one, at most the connector's; None: the charger does not say."""
    told = (_power(state), _power(reading)) if from_current else (state.power_w, reading.power_w)
    known = [max(ZERO, min(power, max_power_w)) for power in told if power is not None]
    return sum(known, ZERO) / len(known) if known else None


def _power(values: MeterState | Reading) -> Decimal | None:
    """Power, or current times voltage: too little for a current by phase that names no phase, which does no harm."""
    if values.power_w is None and values.current_a is not None and values.voltage_v is not None:
        return values.current_a * values.voltage_v
    return values.power_w
