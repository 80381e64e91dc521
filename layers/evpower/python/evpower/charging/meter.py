"""The meter of a session: registers that lie, made into energy that may be billed. Pure; Wh, W, aware datetimes.

Rules (ocpp.md §3 MeterValues, §5; mobile-api.md §0.7):

* A register that falls to a small value and goes on from there restarted at zero (power loss in the transaction):
  what it shows since then is added, never subtracted. One that goes on from the old value showed a glitch. At the end
  nothing follows that could tell: a fall of meterStop is a restart.
* A difference that the connector's power cannot explain is not billed. The register is remembered as a candidate: if
  the next reading continues from it, the register really moved and counting goes on from there; if the next reading
  continues from the old value, it was a glitch.
* Whatever happens, the billable energy never falls and never exceeds what the connector could have delivered since
  the session began. What the register shows beyond that stays owed, and counts once there was time enough for it.
* The server's clock may be set back. Then the charger's own differences tell how much time passed (decisions/0018).
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import ROUND_FLOOR, Decimal
from functools import lru_cache

from msgspec.structs import replace

from evpower.charging.models import ZERO, MeterState, Reading

TOLERANCE = Decimal("1.25")  # chargers exceed their rating, clocks of samples jitter
ALLOWANCE_WH = Decimal(200)  # coarse registers step by 100 Wh
_CLOCK_STEP = timedelta(minutes=1)  # by which a clock is corrected while it charges
# A queue that was kept longer than this, or a clock that runs this far ahead, is not believed.
_LONGEST_QUEUE = timedelta(days=30)
_FURTHEST_AHEAD = timedelta(hours=24)
_LONGEST_CHARGE = timedelta(hours=12)
_PER_SECOND = TOLERANCE / 3600
_MICROSECOND = timedelta(microseconds=1)
_MILLIONTH = Decimal("0.000001")
_NO_TIME = timedelta(0)
_TENTH = Decimal("0.1")  # Wh, as stored

RESET = "register_reset"
JUMP = "register_jump"
NEGATIVE = "register_negative"


def begin(meter_start_wh: Decimal, received_at: datetime, started_at: datetime | None) -> MeterState:
    """The meter at StartTransaction. A negative start register counts as 0 until readings say more."""
    start = max(meter_start_wh, ZERO)
    return MeterState(meter_start_wh=meter_start_wh, register_wh=start, since=received_at, since_charger=started_at)


def plausible_wh(elapsed: timedelta, max_power_w: Decimal) -> Decimal:
    """Most energy (Wh) that a connector of ``max_power_w`` can deliver in ``elapsed``."""
    return max_power_w * seconds(elapsed) * _PER_SECOND + ALLOWANCE_WH


@lru_cache(maxsize=32)
def seconds(span: timedelta) -> Decimal:
    """``span`` in seconds, exact to the microsecond (a decimal made of a float drags fifty digits along); at least 0.

    One reading asks for the same span several times.
    """
    return Decimal(span // _MICROSECOND) * _MILLIONTH if span > _NO_TIME else ZERO


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
    register = reading.energy_wh
    if register is None:
        return _telemetry(state, reading), ()
    if register < ZERO:
        return _telemetry(state, reading), (NEGATIVE,)

    elapsed = None
    if state.since is not None and state.since - received_at > _CLOCK_STEP:
        received_at, elapsed = _by_charger(state, state.since, reading, began_at)
    difference = register - state.register_wh
    if ZERO <= difference <= ALLOWANCE_WH:  # plausible in any time
        return _accept(state, reading, register, difference, received_at, max_power_w, began_at)
    bound = plausible_wh(elapsed or _elapsed(state, reading, received_at, began_at), max_power_w)
    if 0 <= difference <= bound:
        return _accept(state, reading, register, difference, received_at, max_power_w, began_at)
    if difference < 0 and _is_stale(state, reading, received_at, charger_began_at):
        # Use case: transactionData of StopTransaction repeats Transaction.Begin after later readings were counted.
        return state, ()
    if -ALLOWANCE_WH <= difference < 0 and register > state.register_wh / 2:
        return _telemetry(state, reading), ()  # rounding jitter of the register, not a restart
    # Use case: power loss in the middle of a transaction, the register starts again at 0.
    fell_to_start = register <= min(bound, state.register_wh / 2)
    candidate = state.candidate_wh
    if candidate is not None and 0 <= register - candidate <= bound:
        restarted = candidate <= state.register_wh / 2 and register <= bound
        added = register if restarted else register - candidate
        return _accept(state, reading, register, added, received_at, max_power_w, began_at)
    if is_last and fell_to_start and candidate is None:
        return _accept(state, reading, register, register, received_at, max_power_w, began_at, RESET)
    return replace(_telemetry(state, reading), candidate_wh=register), (RESET if fell_to_start else JUMP,)


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
    """Count ``added`` Wh, up to what can have been delivered since the session began."""
    wanted = energy = state.energy_wh + state.owed_wh + added
    elapsed = received_at - began_at
    # Within the rating by whole seconds, no look at tolerance and allowance is needed: nearly always.
    if wanted * 3600 > max_power_w * (elapsed.days * 86400 + elapsed.seconds):
        ceiling = plausible_wh(elapsed, max_power_w)
        if wanted > ceiling:
            energy = min(wanted, max(ceiling.quantize(_TENTH, ROUND_FLOOR), state.energy_wh))
            if energy < wanted:
                flags = (*flags, JUMP)
    charger_at = reading.sampled_at or state.since_charger
    return _moved(state, reading, register, energy, None, received_at, charger_at, wanted - energy), flags


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


def finish(
    state: MeterState,
    meter_stop_wh: Decimal,
    stopped_at: datetime | None,
    received_at: datetime,
    max_power_w: Decimal,
    began_at: datetime,
    charger_began_at: datetime | None = None,
) -> tuple[MeterState, tuple[str, ...]]:
    """The meter after StopTransaction's meterStop.

    Use case: chargers send meterStop = 0 or -1 when they lost the register; then the last reading stands.
    """
    if meter_stop_wh <= 0 < state.register_wh:
        return state, (NEGATIVE if meter_stop_wh < 0 else RESET,)
    last = Reading(stopped_at, energy_wh=meter_stop_wh)
    return apply(state, last, received_at, max_power_w, began_at, charger_began_at=charger_began_at, is_last=True)


def clock_is_dead(said: datetime, received_at: datetime) -> bool:
    """Whether a charger that said ``said`` in a message received at ``received_at`` cannot know the time."""
    return said < received_at - _LONGEST_QUEUE or said > received_at + _FURTHEST_AHEAD


def fell_back(at: datetime | None, charger_began_at: datetime) -> bool:
    """Whether the charger's clock, which says ``at``, was set back since the transaction began.

    Use case: the power failed in the middle of the charge, and the charger believes that it is 1970.
    """
    return at is not None and charger_began_at - at > _CLOCK_STEP


def _is_stale(state: MeterState, reading: Reading, received_at: datetime, charger_began_at: datetime | None) -> bool:
    """Whether the reading is older than what was counted. A clock that fell back, or never knew the time, cannot tell:
    the register may have restarted by the same loss of power, and the order in which readings come counts. One that is
    too high for a restart is old even so: the charger sends it again because it did not see the answer.
    """
    at = reading.sampled_at
    if at is None or state.since_charger is None or at > state.since_charger:
        return False
    may_be_restart = reading.energy_wh is not None and reading.energy_wh <= state.register_wh / 2
    return not may_be_restart or (
        charger_began_at is None
        or not (fell_back(at, charger_began_at) or clock_is_dead(charger_began_at, received_at))
    )


def _elapsed(state: MeterState, reading: Reading, received_at: datetime, began_at: datetime) -> timedelta:
    """Time in which the difference can have been delivered.

    Use case: after an outage the queued samples of an hour arrive within a second; the charger's own time differences
    count then, but never more than the server's since the session began.
    """
    server = received_at - (state.since or began_at)
    if reading.sampled_at is None or state.since_charger is None:
        return server
    charger = reading.sampled_at - state.since_charger
    return max(server, min(charger, received_at - began_at))


def _by_charger(state: MeterState, since: datetime, reading: Reading, began_at: datetime) -> tuple[datetime, timedelta]:
    """Server time of a reading, and the time in which its difference can have been delivered, when the server's clock
    says less than at the reading before.

    Use case: the server's clock is set back by an hour. What is delivered in that hour is not refused for having taken
    no time. Where the charger's clock does not tell either, only the time since the begin bounds the energy.
    """
    if reading.sampled_at is not None and state.since_charger is not None:
        passed = min(reading.sampled_at - state.since_charger, _LONGEST_CHARGE)
        if passed > _NO_TIME:
            return since + passed, passed
    return since, since - began_at


def _telemetry(state: MeterState, reading: Reading) -> MeterState:
    """The register stays, the rest of the reading counts."""
    return _moved(
        state,
        reading,
        state.register_wh,
        state.energy_wh,
        state.candidate_wh,
        state.since,
        state.since_charger,
        state.owed_wh,
    )


def _moved(
    state: MeterState,
    reading: Reading,
    register: Decimal,
    energy: Decimal,
    candidate: Decimal | None,
    since: datetime | None,
    since_charger: datetime | None,
    owed: Decimal,
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
        owed,
    )


def billable_minutes(
    started_charger: datetime, stopped_charger: datetime, started_server: datetime, stopped_server: datetime
) -> Decimal:
    """Minutes to bill: the charger's difference, clamped to 0 ... the server's (clocks lie, ocpp.md §3)."""
    charger = (stopped_charger - started_charger).total_seconds()
    server = (stopped_server - started_server).total_seconds()
    return Decimal(max(0.0, min(charger, max(server, 0.0)))).quantize(Decimal("0.01")) / 60
