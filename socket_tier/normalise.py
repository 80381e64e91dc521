"""MeterValues of OCPP 1.6 made into readings. Pure (ocpp.md §3 MeterValues; OCPP 1.6 sections 7.31-7.33, 7.45).

Default unit Wh, kWh converted; default measurand Energy.Active.Import.Register; where a measurand has no total, its
phases L1..L3 are summed (voltages averaged, line voltages never mixed in); signed values are kept raw; texts are
cleaned of NUL. A value that cannot be read is left out and flagged, never guessed.

Where one reading has a measurand with several contexts, in whatever order, the latest usable one counts: the end of the
transaction before samples in it, these before an interruption, all of them before its begin. Energy at the begin is
never progress.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import MIN_EMIN, ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

import msgspec
import orjson
from msgspec.structs import replace

from evpower.charging import members
from evpower.charging.models import NO_TIME, Reading

ENERGY = "Energy.Active.Import.Register"
INTERVAL = "Energy.Active.Import.Interval"
SIGNED = "signed"
UNREADABLE = "unreadable_value"
UNKNOWN_UNIT = "unknown_unit"
OUT_OF_RANGE = "out_of_range"
BEGIN = "begin_register"

_TENTH = Decimal("0.1")
_HUNDREDTH = Decimal("0.01")
_ONE = Decimal(1)
_THOUSAND = Decimal(1000)

# measurand -> (field of Reading, unit -> factor, default unit, step, largest magnitude the column holds)
_Rule = tuple[str, Mapping[str, Decimal], str, Decimal, Decimal]
_RULES: dict[str, _Rule] = {
    ENERGY: ("energy_wh", {"wh": _ONE, "kwh": _THOUSAND}, "wh", _TENTH, Decimal(10) ** 12),
    INTERVAL: ("interval_wh", {"wh": _ONE, "kwh": _THOUSAND}, "wh", _TENTH, Decimal(10) ** 9),
    "Power.Active.Import": ("power_w", {"w": _ONE, "kw": _THOUSAND}, "w", _TENTH, Decimal(10) ** 9),
    "Current.Import": ("current_a", {"a": _ONE}, "a", _HUNDREDTH, Decimal(10) ** 6),
    "Voltage": ("voltage_v", {"v": _ONE, "kv": _THOUSAND}, "v", _HUNDREDTH, Decimal(10) ** 6),
    "SoC": ("soc_percent", {"percent": _ONE, "%": _ONE}, "percent", _TENTH, Decimal(100)),
    "Temperature": (
        "temperature_c",
        {"celsius": _ONE, "celcius": _ONE, "c": _ONE, "k": _ONE, "kelvin": _ONE, "fahrenheit": _ONE, "f": _ONE},
        "celsius",
        _TENTH,
        Decimal(1000),
    ),
}
_AVERAGED = frozenset({"voltage_v", "soc_percent", "temperature_c"})
_PHASES = {"L1": "L1", "L1-N": "L1", "L2": "L2", "L2-N": "L2", "L3": "L3", "L3-N": "L3"}
_NEUTRAL = "N"  # of a register that names no other phase, it is the register: some chargers tag the total so
_LINE = "line"  # L1-L2 and its like: used for a voltage only when nothing else is there
# The energy that the car got is measured at the outlet; other places are a last resort.
_LOCATION_RANK = {None: 0, "": 0, "Outlet": 0, "Cable": 1, "EV": 2, "Inlet": 3, "Body": 4}


# members of Reading
_FIELDS = ("energy_wh", "power_w", "current_a", "voltage_v", "soc_percent", "temperature_c", "interval_wh")
_ENERGY, _SOC, _TEMPERATURE, _INTERVAL = (
    _FIELDS.index(name) for name in ("energy_wh", "soc_percent", "temperature_c", "interval_wh")
)
_OF_BEGIN = "Transaction.Begin"
_PERIODIC = "Sample.Periodic"  # what a sample without a context is (OCPP 1.6 section 7.43)
_SAMPLED = 3
# From the earliest in the transaction to the latest; all others are samples in it.
_ORDER = {_OF_BEGIN: 0, "Interruption.Begin": 1, "Interruption.End": 2, "Transaction.End": 4}


class Sample(msgspec.Struct, gc=False):
    """One ``sampledValue``; "" for what the charger does not say."""

    value: str
    context: str = ""
    format: str = ""
    measurand: str = ""
    phase: str = ""
    location: str = ""
    unit: str = ""


@dataclass(frozen=True, slots=True)
class _Meaning:
    """What the words of a sample say: where its value goes, or why it goes nowhere.

    ``certain``: a number of no more digits before the point is in range for certain; ``digits``: so is a text of no
    more digits and nothing else, which needs neither conversion nor rounding.
    """

    field: int = -1  # index in _FIELDS; -1: nowhere
    flag: str | None = None
    factor: Decimal = _ONE
    unit: str = ""
    step: Decimal = _TENTH
    largest: Decimal = _ONE
    rank: int = 0
    phase: str | None = None  # None: the total
    certain: int = MIN_EMIN
    digits: int = 0
    is_plain: bool = False  # a total at the outlet, as nearly all are


# A charger says the same few words in every message; what they mean is worked out once. Bounded, and only for words
# of ordinary length, so that a charger that invents words costs no memory.
_Words = tuple[str, str, str, str, str]
_meanings: dict[_Words, _Meaning] = {}
_MAX_MEANINGS = 2000
_MAX_WORDS = 200


def _meaning(words: _Words) -> _Meaning:
    found = _interpret(*words)
    if len(_meanings) < _MAX_MEANINGS and sum(map(len, words)) < _MAX_WORDS:
        _meanings[words] = found
    return found


def _interpret(measurand: str, unit: str, phase: str, location: str, form: str) -> _Meaning:
    rule = _RULES.get(measurand or ENERGY)
    if rule is None:
        return _Meaning()
    if form == "SignedData":
        return _Meaning(flag=SIGNED)
    field, units, default_unit, step, largest = rule
    name = (unit or default_unit).lower()
    factor = units.get(name)
    if factor is None:
        return _Meaning(flag=UNKNOWN_UNIT)
    kind = _PHASES.get(phase, _LINE if "-L" in phase else _NEUTRAL) if phase else None
    if kind == _NEUTRAL and field != "energy_wh":
        return _Meaning()
    rank = _LOCATION_RANK.get(location, 5)
    below = largest.adjusted() - factor.adjusted()
    kelvin_or_fahrenheit = field == "temperature_c" and not name.startswith("c")
    return _Meaning(
        _FIELDS.index(field),
        None,
        factor,
        name,
        step,
        largest,
        rank,
        kind,
        MIN_EMIN if field in ("temperature_c", "soc_percent") else below,
        0 if factor is not _ONE or kelvin_or_fahrenheit else below,
        is_plain=rank == 0 and kind is None,
    )


def readings(meter_values: Iterable[Mapping[str, Any]]) -> tuple[Reading, ...]:
    """One reading per ``meterValue`` entry, in the order sent. Wh, W, A, V, percent, degrees Celsius."""
    return tuple([_entry(entry) for entry in meter_values])


def _entry(entry: Mapping[str, Any]) -> Reading:
    samples = [
        Sample(
            sample["value"],
            (sample.get("context") or "").replace("\x00", "")[:50],
            sample.get("format") or "",
            sample.get("measurand") or "",
            sample.get("phase") or "",
            sample.get("location") or "",
            sample.get("unit") or "",
        )
        for sample in entry["sampledValue"]
    ]
    return reading(members.moment(entry.get("timestamp")), samples, raw_text(entry))


def reading(sampled_at: datetime | None, samples: Sequence[Sample], raw: str) -> Reading:
    """The reading of one moment. ``raw``: the entry as JSON that PostgreSQL's jsonb takes."""
    flags: list[str] = [] if sampled_at is not None else [NO_TIME]
    context = samples[0].context if samples else ""
    values = _values(samples, context, flags)
    if values is None:
        values, context = _latest(samples, flags)
    elif context == _OF_BEGIN:
        _forget_begin(values, flags)
    energy, power, current, voltage, soc, temperature, interval = values
    told = tuple(dict.fromkeys(flags)) if flags else ()
    return Reading(sampled_at, energy, power, current, voltage, soc, temperature, context or None, told, raw, interval)


def _values(samples: Iterable[Sample], context: str, flags: list[str]) -> list[Decimal | None] | None:
    """What samples of one ``context`` say, by field; None when one of them has another."""
    values: list[Decimal | None] = [None, None, None, None, None, None, None]
    others: _Others | None = None
    for sample in samples:
        if sample.context != context:
            return None
        words = (sample.measurand, sample.unit, sample.phase, sample.location, sample.format)
        meaning = _meanings.get(words) or _meaning(words)
        field = meaning.field
        if field < 0:
            if meaning.flag is not None:
                flags.append(meaning.flag)
            continue
        text = sample.value
        if len(text) <= meaning.digits and text.isdecimal():
            value = Decimal(text)
        else:
            read = _value(text, meaning, flags)
            if read is None:
                continue
            value = read
        if others is None and meaning.is_plain:
            values[field] = value
        else:
            if others is None:
                others = _Others(values)
            others.take(meaning, value)
    if others is not None:
        others.combine()
    return values


def _latest(samples: Sequence[Sample], flags: list[str]) -> tuple[list[Decimal | None], str]:
    """Of samples with several contexts the latest usable value of each field, and the context of the energy.

    Use case: a charger puts the register of the begin behind the present one, in the same entry.
    """
    of_context: dict[str, list[Sample]] = {}
    positions: dict[tuple[str, int], int] = {}
    for position, sample in enumerate(samples):
        context = sample.context or _PERIODIC
        of_context.setdefault(context, []).append(sample)
        words = (sample.measurand, sample.unit, sample.phase, sample.location, sample.format)
        positions[context, (_meanings.get(words) or _meaning(words)).field] = position
    chosen: list[Decimal | None] = [None] * len(_FIELDS)
    chosen_from: list[str] = [""] * len(_FIELDS)
    is_begin_left_out = False
    for context, its_samples in of_context.items():
        values = _values([replace(sample, context=context) for sample in its_samples], context, flags) or []
        if context == _OF_BEGIN:
            is_begin_left_out = _forget_begin(values, [])
        for field, value in enumerate(values):
            known = chosen_from[field]
            rank = (_ORDER.get(context, _SAMPLED), positions.get((context, field), -1))
            if value is not None and (
                not known or rank > (_ORDER.get(known, _SAMPLED), positions.get((known, field), -1))
            ):
                chosen[field], chosen_from[field] = value, context
    if is_begin_left_out and chosen[_ENERGY] is None:
        flags.append(BEGIN)
    return chosen, chosen_from[_ENERGY] or next(iter(of_context))


def _forget_begin(values: list[Decimal | None], flags: list[str]) -> bool:
    """Leave the energy of a begin out: nothing was delivered yet, and some chargers send 0 whatever their register
    shows. True if there was any.
    """
    if values[_ENERGY] is None and values[_INTERVAL] is None:
        return False
    values[_ENERGY] = values[_INTERVAL] = None
    flags.append(BEGIN)
    return True


class _Others:
    """Values of a reading that come by phase or from other places than the outlet, put together in ``values``."""

    def __init__(self, values: list[Decimal | None]) -> None:
        self._values = values
        self._ranks = [0 if value is not None else None for value in values]
        self._phases: dict[int, dict[str, Decimal]] = {}

    def take(self, meaning: _Meaning, value: Decimal) -> None:
        """Keep the value if no better place has told one."""
        field, known = meaning.field, self._ranks[meaning.field]
        if known is None or meaning.rank < known:
            self._ranks[field] = meaning.rank
            self._values[field] = None
            self._phases.pop(field, None)
        elif meaning.rank > known:
            return
        if meaning.phase is None:
            self._values[field] = value
        else:
            self._phases.setdefault(field, {})[meaning.phase] = value

    def combine(self) -> None:
        """Make totals where the charger gives none."""
        for field, by_phase in self._phases.items():
            if self._values[field] is None:
                self._values[field] = _combine(_FIELDS[field], by_phase)


def _value(text: str, meaning: _Meaning, flags: list[str]) -> Decimal | None:
    """The number in the reading's unit, or None with a flag that says why it is not used."""
    try:
        value = Decimal(text if len(text) <= 40 else "")
    except InvalidOperation:
        if "\x00" in text:
            return _value(text.replace("\x00", "").strip(), meaning, flags)
        flags.append(UNREADABLE)
        return None
    if not value.is_finite():
        flags.append(UNREADABLE)
        return None
    digits = value.adjusted()
    if digits < meaning.certain:
        return (value if meaning.factor is _ONE else value * meaning.factor).quantize(meaning.step, ROUND_HALF_UP)
    if digits > 15:
        flags.append(OUT_OF_RANGE)
        return None
    if meaning.factor is not _ONE:
        value *= meaning.factor
    if meaning.field == _TEMPERATURE:
        value = _celsius(value, meaning.unit)
    if abs(value) > meaning.largest or (meaning.field == _SOC and value < 0):
        flags.append(OUT_OF_RANGE)
        return None
    return value.quantize(meaning.step, ROUND_HALF_UP)


def _celsius(value: Decimal, unit: str) -> Decimal:
    if unit in ("k", "kelvin"):
        return value - Decimal("273.15")
    if unit in ("fahrenheit", "f"):
        return (value - 32) * 5 / 9
    return value


def _combine(field: str, by_phase: dict[str, Decimal]) -> Decimal:
    """What the phases say where the charger gives no total."""
    phases = [value for phase, value in by_phase.items() if phase not in (_LINE, _NEUTRAL)] or list(by_phase.values())
    total = sum(phases, Decimal(0))
    if field in _AVERAGED:
        return (total / len(phases)).quantize(_HUNDREDTH if field == "voltage_v" else _TENTH, ROUND_HALF_UP)
    return total


def raw_text(document: Any) -> str:
    """JSON text that PostgreSQL's jsonb takes: as it came, without NUL characters."""
    text = orjson.dumps(document).decode()
    if "\\u0000" in text:
        return orjson.dumps(clean(document)).decode()
    return text


def clean(value: Any) -> Any:
    """Copy of a JSON value without NUL characters in texts and names (PostgreSQL cannot store them)."""
    if isinstance(value, str):
        return value.replace("\x00", "")
    if isinstance(value, dict):
        return {clean(key): clean(item) for key, item in value.items()}
    if isinstance(value, list):
        return [clean(item) for item in value]
    return value
