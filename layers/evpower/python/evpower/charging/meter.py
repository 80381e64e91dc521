"""The meter of a session: registers that lie, made into energy that may be billed. Pure; Wh, W, aware datetimes.

Rules (ocpp.md §3 MeterValues, §5; mobile-api.md §0.7):

* A register that falls to a small value and goes on from there restarted at zero (power loss in the transaction):
  what it shows since then is added, never subtracted. One that goes on from the old value showed a glitch, also after
  several readings: zeros while the car pauses, or a register of the session among those of the meter.
* A difference that the connector's power cannot explain is not billed. The register is remembered as a candidate: if
  the next reading continues from it, the register really moved and counting goes on from there; if the next reading
  continues from the old value, it was a glitch.
* Without any register an estimate stands in until there is one (:mod:`evpower.charging.estimate`).
* At the end meterStop is a second witness beside the readings (:mod:`evpower.charging.witnesses`).
* Whatever happens, the billable energy never exceeds what the connector could have delivered since the session began,
  and what a register has shown never falls while the session runs. What it shows beyond that stays owed, and counts
  once there was time enough for it (docs/decisions/0018).
"""

from collections.abc import Iterable
from datetime import datetime
from decimal import ROUND_DOWN, Decimal

from msgspec.structs import replace

from evpower.charging import bounds, estimate, witnesses
from evpower.charging.bounds import ALLOWANCE_WH, clock_is_dead, fell_back, plausible_wh, seconds
from evpower.charging.models import ZERO, EnergySource, MeterMemory, MeterState, Reading

__all__ = [
    "ALLOWANCE_WH",
    "DIFFERS",
    "JUMP",
    "NEGATIVE",
    "RESET",
    "apply",
    "apply_all",
    "begin",
    "billable_minutes",
    "clock_is_dead",
    "fell_back",
    "finish",
    "moved_on",
    "plausible_wh",
    "scaled",
    "seconds",
]

_NOTHING = MeterMemory()
_TENTH = Decimal("0.1")  # Wh, as stored
_REGISTER = EnergySource.REGISTER.value  # a member of an enumeration takes long to look up

RESET = "register_reset"
JUMP = "register_jump"
NEGATIVE = "register_negative"
DIFFERS = witnesses.DIFFERS


def begin(meter_start_wh: Decimal, received_at: datetime, started_at: datetime | None) -> MeterState:
    """The meter at StartTransaction. A negative start register counts as 0 until readings say more."""
    start = max(meter_start_wh, ZERO)
    return MeterState(meter_start_wh=meter_start_wh, register_wh=start, since=received_at, since_charger=started_at)


def scaled(readings: Iterable[Reading], factor: int) -> tuple[Reading, ...]:
    """Readings of a register that counts ``factor`` Wh where it says one (staff confirmed it for the station)."""
    if factor == 1:
        return tuple(readings)
    return tuple(
        reading if reading.energy_wh is None else replace(reading, energy_wh=reading.energy_wh * factor)
        for reading in readings
    )


def apply(
    state: MeterState,
    reading: Reading,
    received_at: datetime,
    max_power_w: Decimal,
    began_at: datetime,
    *,
    charger_began_at: datetime | None = None,
    is_last: bool = False,
) -> tuple[MeterState, tuple[str, ...]]:
    """The meter after ``reading`` and the faults found in it.

    Args:
        received_at: server time of the message.
        began_at: server time before which no energy of this session can have been delivered.
        charger_began_at: when the transaction began by the charger's clock, where that is known.
        is_last: nothing comes after it that could confirm or refute it.
    """
    if bounds.went_back(state.since, received_at):
        state, received_at = _in_order(state, reading.sampled_at, received_at, began_at)
    register = reading.energy_wh
    if register is None:
        return _uncounted(state, reading, received_at, max_power_w, began_at), ()
    if register < ZERO:
        return _uncounted(state, reading, received_at, max_power_w, began_at), (NEGATIVE,)

    if state.memory is not None and not state.register_wh:
        # Use case: zeros for a while. What comes now goes on from before, or was all delivered since: the lower counts.
        back = _returned(state, reading, register, received_at, max_power_w, began_at)
        if back is not None:
            return back
    difference = register - state.register_wh
    if ZERO <= difference <= ALLOWANCE_WH:  # plausible in any time
        return _accept(state, reading, register, difference, received_at, max_power_w, began_at)
    since, since_charger = _last_register(state, began_at, charger_began_at)
    bound = plausible_wh(bounds.elapsed(since, since_charger, reading.sampled_at, received_at, began_at), max_power_w)
    if 0 <= difference <= bound:
        return _accept(state, reading, register, difference, received_at, max_power_w, began_at)
    if difference < 0 and _is_stale(state, reading, since_charger, received_at, charger_began_at):
        # Use case: transactionData of StopTransaction repeats Transaction.Begin after later readings were counted.
        return state, ()
    if witnesses.is_jitter(state, register):
        if state.source != _REGISTER:
            return _uncounted(state, reading, received_at, max_power_w, began_at), ()
        still = replace(state, since=received_at, since_charger=reading.sampled_at or since_charger)
        return _telemetry(still, reading), ()
    return _implausible(
        state, reading, register, bound, received_at, max_power_w, began_at, since, since_charger, is_last=is_last
    )


def _in_order(
    state: MeterState, at: datetime | None, received_at: datetime, began_at: datetime
) -> tuple[MeterState, datetime]:
    """The meter and the time of receipt by the session's own order of time, where the server's clock went back."""
    assert state.since is not None
    since, received_at = bounds.in_order(state.since, state.since_charger, at, received_at, began_at)
    return replace(state, since=since), received_at


def _implausible(
    state: MeterState,
    reading: Reading,
    register: Decimal,
    bound: Decimal,
    received_at: datetime,
    max_power_w: Decimal,
    began_at: datetime,
    since: datetime,
    since_charger: datetime | None,
    *,
    is_last: bool,
) -> tuple[MeterState, tuple[str, ...]]:
    """A register that does not go on from the last one: one that was left before, a candidate, or one confirmed."""
    back = _returned(state, reading, register, received_at, max_power_w, began_at)
    if back is not None:
        return back
    # Use case: power loss in the middle of a transaction, the register starts again at 0.
    fell_to_start = register <= min(bound, state.register_wh / 2)
    candidate = state.candidate_wh
    if candidate is not None and 0 <= register - candidate <= bound:
        restarted = candidate <= state.register_wh / 2 and register <= bound
        added = register if restarted else register - candidate
        after, flags = _accept(state, reading, register, added, received_at, max_power_w, began_at)
        counted = state.energy_wh if state.source == _REGISTER else ZERO
        return _remember(after, state.register_wh, counted, since, since_charger), flags
    if is_last and fell_to_start and candidate is None:
        return _accept(state, reading, register, register, received_at, max_power_w, began_at, RESET)
    uncounted = _uncounted(state, reading, received_at, max_power_w, began_at)
    return replace(uncounted, candidate_wh=register), (RESET if fell_to_start else JUMP,)


def _returned(
    state: MeterState,
    reading: Reading,
    register: Decimal,
    received_at: datetime,
    max_power_w: Decimal,
    began_at: datetime,
) -> tuple[MeterState, tuple[str, ...]] | None:
    """The meter after a register that goes on from the one that was left before; None if it does not."""
    returned = witnesses.returned_wh(state, register, reading.sampled_at, received_at, max_power_w, began_at)
    if returned is None:
        return None
    added = max(returned - state.energy_wh, ZERO)
    after, flags = _accept(state, reading, register, added, received_at, max_power_w, began_at)
    left = state.register_wh or None  # zeros are no register that could come back
    return _remember(after, left, state.energy_wh, state.since, state.since_charger), flags


def _last_register(
    state: MeterState, began_at: datetime, charger_began_at: datetime | None
) -> tuple[datetime, datetime | None]:
    """When the register stood where it is known to have stood, by the server's and by the charger's clock."""
    if estimate.is_estimate(state):  # that was at the begin: what moved on since was the estimate
        return began_at, charger_began_at
    return state.since or began_at, state.since_charger


def _remember(
    state: MeterState,
    register: Decimal | None,
    energy: Decimal,
    since: datetime | None,
    since_charger: datetime | None,
) -> MeterState:
    """Keep the register that is left in mind, if there is one: it may come back."""
    memory = _forget(state.memory or _NOTHING)
    if register is not None:
        memory = replace(
            memory, left_wh=register, left_energy_wh=energy, left_since=since, left_since_charger=since_charger
        )
    return replace(state, memory=None if memory == _NOTHING else memory)


def _forget(memory: MeterMemory) -> MeterMemory:
    """Without the register that was left."""
    return replace(memory, left_wh=None, left_energy_wh=ZERO, left_since=None, left_since_charger=None)


def _accept(
    state: MeterState,
    reading: Reading,
    register: Decimal,
    added: Decimal,
    received_at: datetime,
    max_power_w: Decimal,
    began_at: datetime,
    *flags: str,
) -> tuple[MeterState, tuple[str, ...]]:
    """Count ``added`` Wh, up to what can have been delivered since the session began. It replaces an estimate."""
    counted = state.energy_wh if state.source == _REGISTER or state.source is None else ZERO
    memory = state.memory
    owed = memory.owed_wh if memory is not None and counted is state.energy_wh else ZERO
    wanted = energy = counted + owed + added
    elapsed = received_at - began_at
    # Within the rating by whole seconds, no look at tolerance and allowance is needed: nearly always.
    shown, at_most = wanted * 3600, max_power_w * (elapsed.days * 86400 + elapsed.seconds)
    if shown > at_most:
        ceiling = plausible_wh(elapsed, max_power_w)
        if wanted > ceiling:
            energy = min(wanted, max(ceiling.quantize(_TENTH, ROUND_DOWN), counted))
            if energy < wanted:
                flags = (*flags, JUMP)
    # Nor can the register be far below the power when it shows a hundredth of all that the connector can deliver.
    if memory is not None or (energy < ALLOWANCE_WH and shown * estimate.FAR_BELOW < at_most):
        memory = estimate.beside_register(state, reading, received_at, max_power_w, began_at, energy)
    if owed or energy is not wanted:
        memory = replace(memory or _NOTHING, owed_wh=wanted - energy)
    if memory is not None:
        if memory.left_wh is not None and state.register_wh < memory.left_wh <= register:
            # Use case: it restarts again, and what it shows then does not go on from one that this one has passed.
            memory = _forget(memory)
        memory = None if memory == _NOTHING else memory
    charger_at = reading.sampled_at or state.since_charger
    return _moved(state, reading, register, energy, None, received_at, charger_at, memory), flags


def apply_all(
    state: MeterState,
    readings: Iterable[Reading],
    received_at: datetime,
    max_power_w: Decimal,
    began_at: datetime,
    charger_began_at: datetime | None = None,
) -> tuple[MeterState, tuple[str, ...]]:
    """:func:`apply` over several readings of one message, in the order of their timestamps; of their sending where the
    clock cannot tell, so that the last ones do not look the first.
    """
    readings = tuple(readings)
    if len(readings) == 1:
        return apply(state, readings[0], received_at, max_power_w, began_at, charger_began_at=charger_began_at)
    flags: dict[str, None] = {}
    if charger_began_at is None or not (
        clock_is_dead(charger_began_at, received_at)
        or any(fell_back(reading.sampled_at, charger_began_at) for reading in readings)
    ):
        readings = tuple(sorted(readings, key=lambda r: (r.sampled_at is not None, r.sampled_at or received_at)))
    for reading in readings:
        state, found = apply(state, reading, received_at, max_power_w, began_at, charger_began_at=charger_began_at)
        flags.update(dict.fromkeys(found))
    return state, tuple(flags)


def moved_on(before: MeterState, after: MeterState) -> bool:
    """Whether the readings between the two told energy, by a register or as an estimate."""
    return after.since != before.since


def finish(
    state: MeterState,
    meter_stop_wh: Decimal,
    stopped_at: datetime | None,
    received_at: datetime,
    max_power_w: Decimal,
    began_at: datetime,
    charger_began_at: datetime | None = None,
) -> tuple[MeterState, tuple[str, ...]]:
    """The meter after the register of the end: StopTransaction's meterStop, or what another protocol has for it.

    Use case: chargers send meterStop = 0 or -1 when they lost the register; then the last reading stands.
    """
    if meter_stop_wh <= 0 and (state.register_wh > 0 or (estimate.is_estimate(state) and state.energy_wh > 0)):
        return state, (NEGATIVE if meter_stop_wh < 0 else RESET,)
    if bounds.went_back(state.since, received_at):
        state, received_at = _in_order(state, stopped_at, received_at, began_at)
    last = Reading(stopped_at, energy_wh=meter_stop_wh)
    since, since_charger = _last_register(state, began_at, charger_began_at)
    bound = plausible_wh(bounds.elapsed(since, since_charger, stopped_at, received_at, began_at), max_power_w)
    weighed = None
    if state.source == _REGISTER and not witnesses.goes_on(state, meter_stop_wh, bound):
        may_have_restarted = meter_stop_wh <= min(bound, state.register_wh / 2) and not _is_stale(
            state, last, since_charger, received_at, charger_began_at
        )
        weighed = witnesses.weigh(
            state, meter_stop_wh, stopped_at, received_at, max_power_w, began_at, may_have_restarted=may_have_restarted
        )
    if weighed is None:
        return apply(state, last, received_at, max_power_w, began_at, charger_began_at=charger_began_at, is_last=True)
    ceiling = plausible_wh(received_at - began_at, max_power_w)
    energy = min(weighed.energy_wh, max(ceiling, state.energy_wh))
    if not weighed.takes_register:
        return replace(state, energy_wh=energy, candidate_wh=weighed.candidate_wh), weighed.flags
    charger_at = stopped_at or state.since_charger
    ended = _moved(state, last, meter_stop_wh, energy, None, received_at, charger_at, state.memory)
    return ended, weighed.flags


def _is_stale(
    state: MeterState,
    reading: Reading,
    since_charger: datetime | None,
    received_at: datetime,
    charger_began_at: datetime | None,
) -> bool:
    """Whether the reading is older than what was counted. A clock that fell back, or never knew the time, cannot tell:
    the register may have restarted by the same loss of power, and the order in which readings come counts. One that is
    too high for a restart is old even so: the charger sends it again because it did not see the answer.
    """
    at = reading.sampled_at
    if at is None or since_charger is None or at > since_charger:
        return False
    may_be_restart = reading.energy_wh is not None and reading.energy_wh <= state.register_wh / 2
    return not may_be_restart or (
        charger_began_at is None
        or not (fell_back(at, charger_began_at) or clock_is_dead(charger_began_at, received_at))
    )


def _uncounted(
    state: MeterState, reading: Reading, received_at: datetime, max_power_w: Decimal, began_at: datetime
) -> MeterState:
    """The register stays, the rest of the reading counts: where no register has come yet also as an estimate."""
    estimated = estimate.without_register(state, reading, received_at, max_power_w, began_at)
    return _telemetry(estimated or state, reading)


def _telemetry(state: MeterState, reading: Reading) -> MeterState:
    """The energy stays, the rest of the reading counts."""
    return _moved(
        state,
        reading,
        state.register_wh,
        state.energy_wh,
        state.candidate_wh,
        state.since,
        state.since_charger,
        state.memory,
        state.source,
    )


def _moved(
    state: MeterState,
    reading: Reading,
    register: Decimal,
    energy: Decimal,
    candidate: Decimal | None,
    since: datetime | None,
    since_charger: datetime | None,
    memory: MeterMemory | None,
    source: str | None = _REGISTER,
) -> MeterState:
    return MeterState(
        state.meter_start_wh,
        register,
        energy,
        candidate,
        since,
        since_charger,
        reading.power_w if reading.power_w is not None else state.power_w,
        reading.current_a if reading.current_a is not None else state.current_a,
        reading.voltage_v if reading.voltage_v is not None else state.voltage_v,
        reading.soc_percent if reading.soc_percent is not None else state.soc_percent,
        reading.temperature_c if reading.temperature_c is not None else state.temperature_c,
        source,
        memory,
    )


def billable_minutes(
    started_charger: datetime, stopped_charger: datetime, started_server: datetime, stopped_server: datetime
) -> Decimal:
    """Minutes to bill: the charger's difference, clamped to 0 ... the server's (clocks lie, ocpp.md §3)."""
    charger = (stopped_charger - started_charger).total_seconds()
    server = (stopped_server - started_server).total_seconds()
    return Decimal(max(0.0, min(charger, max(server, 0.0)))).quantize(Decimal("0.01")) / 60
