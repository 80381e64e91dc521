"""MeterValues of OCPP 1.6 made into readings. Pure (ocpp.md §3 MeterValues; OCPP 1.6 sections 7.31-7.33, 7.45).

Default unit Wh, kWh converted; default measurand Energy.Active.Import.Register; where a measurand has no total, its
phases L1..L3 are summed (voltages averaged, line voltages never mixed in); signed values are kept raw; texts are
cleaned of NUL. A value that cannot be read is left out and flagged, never guessed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import MIN_EMIN, ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

import orjson

from evpower.charging.models import Reading
from socket_tier.timestamps import parse_time

ENERGY = "Energy.Active.Import.Register"
SIGNED = "signed"
UNREADABLE = "unreadable_value"
UNKNOWN_UNIT = "unknown_unit"
OUT_OF_RANGE = "out_of_range"
NO_TIME = "unreadable_timestamp"
BEGIN = "begin_register"

_TENTH = Decimal("0.1")
_HUNDREDTH = Decimal("0.01")
_ONE = Decimal(1)
_THOUSAND = Decimal(1000)

# measurand -> (field of Reading, unit -> factor, default unit, step, largest magnitude the column holds)
_Rule = tuple[str, Mapping[str, Decimal], str, Decimal, Decimal]
_RULES: dict[str, _Rule] = {
    ENERGY: ("energy_wh", {"wh": _ONE, "kwh": _THOUSAND}, "wh", _TENTH, Decimal(10) ** 12),
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
_LINE = "line"  # L1-L2 and its like: used for a voltage only when nothing else is there
# The energy that the car got is measured at the outlet; other places are a last resort.
_LOCATION_RANK = {None: 0, "": 0, "Outlet": 0, "Cable": 1, "EV": 2, "Inlet": 3, "Body": 4}


@dataclass(frozen=True, slots=True)
class _Meaning:
    """What the words of a sample say: where its value goes, or why it goes nowhere."""

    field: str | None = None
    flag: str | None = None
    factor: Decimal = _ONE
    unit: str = ""
    step: Decimal = _TENTH
    largest: Decimal = _ONE
    rank: int = 0
    phase: str | None = None  # None: the total
    certain: int = MIN_EMIN  # a value of no more digits before the point needs no look at its size and no conversion


# A charger says the same few words in every message; what they mean is worked out once. Bounded, and only for words
# of ordinary length, so that a charger that invents words costs no memory.
_meanings: dict[tuple[str | None, ...], _Meaning] = {}
_MAX_MEANINGS = 2000
_MAX_WORDS = 200


def _meaning(words: tuple[str | None, ...]) -> _Meaning:
    found = _meanings.get(words)
    if found is None:
        found = _interpret(*words)
        if len(_meanings) < _MAX_MEANINGS and sum(len(word) for word in words if word) < _MAX_WORDS:
            _meanings[words] = found
    return found


def _interpret(
    measurand: str | None, unit: str | None, phase: str | None, location: str | None, form: str | None
) -> _Meaning:
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
    kind = _PHASES.get(phase, _LINE if "-L" in phase else "N") if phase else None
    if kind == "N":
        return _Meaning()
    rank = _LOCATION_RANK.get(location, 5)
    certain = largest.adjusted() if factor == _ONE and field not in ("temperature_c", "soc_percent") else MIN_EMIN
    return _Meaning(field, None, factor, name, step, largest, rank, kind, certain)


def readings(meter_values: Iterable[Mapping[str, Any]]) -> tuple[Reading, ...]:
    """One reading per ``meterValue`` entry, in the order sent. Wh, W, A, V, percent, degrees Celsius."""
    return tuple([_reading(entry) for entry in meter_values])


def _reading(entry: Mapping[str, Any]) -> Reading:
    sampled_at = parse_time(entry["timestamp"])
    flags: list[str] = [] if sampled_at is not None else [NO_TIME]
    values: dict[str, Decimal] = {}
    ranks: dict[str, int] = {}
    phases: dict[str, dict[str, Decimal]] = {}
    context: str | None = None
    for sample in entry["sampledValue"]:
        get = sample.get
        measurand = get("measurand")
        meaning = _meaning((measurand, get("unit"), get("phase"), get("location"), get("format")))
        field = meaning.field
        if field is None:
            if meaning.flag is not None:
                flags.append(meaning.flag)
            continue
        value = _value(sample["value"], meaning, flags)
        if value is None:
            continue
        if context is None or field == "energy_wh":
            context = get("context") or context
        known = ranks.get(field)
        if known is None or meaning.rank < known:
            ranks[field] = meaning.rank
            values.pop(field, None)
            phases.pop(field, None)
        elif meaning.rank > known:
            continue
        if meaning.phase is None:
            values[field] = value
        else:
            phases.setdefault(field, {})[meaning.phase] = value
    for field, by_phase in phases.items():
        if field not in values:
            values[field] = _combine(field, by_phase)
    if context == "Transaction.Begin" and "energy_wh" in values:
        # Nothing was delivered yet, and some chargers send 0 here whatever their register shows.
        del values["energy_wh"]
        flags.append(BEGIN)
    known_value = values.get
    return Reading(
        sampled_at,
        known_value("energy_wh"),
        known_value("power_w"),
        known_value("current_a"),
        known_value("voltage_v"),
        known_value("soc_percent"),
        known_value("temperature_c"),
        _context(context),
        tuple(dict.fromkeys(flags)) if flags else (),
        raw_text(entry),
    )


def _context(text: str | None) -> str | None:
    return text.replace("\x00", "")[:50] if text else None


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
        return value.quantize(meaning.step, ROUND_HALF_UP)
    if digits > 15:
        flags.append(OUT_OF_RANGE)
        return None
    if meaning.factor is not _ONE:
        value *= meaning.factor
    if meaning.field == "temperature_c":
        value = _celsius(value, meaning.unit)
    if abs(value) > meaning.largest or (meaning.field == "soc_percent" and value < 0):
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
    phases = [value for phase, value in by_phase.items() if phase != _LINE] or list(by_phase.values())
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
