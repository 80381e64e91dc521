"""Schema checks: strict for what we send, lenient for what real chargers send (ocpp.md §2).

The JSON schemas are those of the ``ocpp`` package, compiled by ``jsonschema_rs`` on first use. A message that passes
strictly costs one native call; only a message that does not is brought into the form that its schema wants
(:mod:`socket_tier.coercion`), and what is then still wrong is looked at fault by fault: tolerated, left out where the
rest can do without it, or refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

import jsonschema_rs
import orjson

from evpower.charging import members
from socket_tier import rpc
from socket_tier.coercion import Coercion
from socket_tier.timestamps import parse_time

# Texts that only people read: one character more than the schema allows harms nobody.
_FREE_TEXT = frozenset(
    {
        "chargePointVendor", "chargePointModel", "chargePointSerialNumber", "chargeBoxSerialNumber",
        "firmwareVersion", "iccid", "imsi", "meterType", "meterSerialNumber",
        "info", "vendorId", "vendorErrorCode", "messageId", "data", "type", "techInfo",
        "fileName", "filename",
    }
)  # fmt: skip
# Enumerations that vendors extend. An unknown word is kept as sent; whoever reads it decides what it means.
_OPEN_ENUMS = frozenset({"measurand", "unit", "context", "phase", "location", "format", "errorCode", "reason"})
# Answers whose faults are told without the value: a key of the charger may be a password or a PIN.
_SECRET_ANSWERS = frozenset({"GetConfigurationResponse"})
_SHOWN = "what it told"
# Lists whose entries mean the same without each other. One that cannot be used costs only itself; a charging schedule
# without one of its periods would be another one.
_INDEPENDENT = frozenset(
    {"meterValue", "transactionData", "sampledValue", "configurationKey", "unknownKey", "certificateHashData"}
)
# Of a moment that cannot be read, the time of receipt takes the place.
_MOMENT = "timestamp"
# A meter shows fractions, whatever the schema says of its type.
_REGISTERS = frozenset({"meterStart", "meterStop"})
_MOST_FAULTS = 20_000  # looked at in one message
_ROUNDS = 8  # what is left out may leave something else without what it needs, at most once a level


@dataclass(frozen=True, slots=True)
class Fault:
    """A schema fault that cannot be tolerated, with the CALLERROR code that names it."""

    code: str
    description: str


Place = tuple[str | int, ...]
"""Where a value stands in its message."""


@dataclass(frozen=True, slots=True)
class Lost:
    """A value that could not be used and was left out."""

    place: Place
    value: Any


@dataclass(frozen=True, slots=True)
class Checked:
    """Outcome of a lenient check: the usable payload, the oddities tolerated, what was left out, or the fault."""

    payload: dict[str, Any]
    quirks: tuple[str, ...] = ()
    fault: Fault | None = None
    lost: tuple[Lost, ...] = ()


@dataclass(frozen=True, slots=True)
class Leniency:
    """What the handler of one action can do without.

    Attributes:
        needed: members without which it cannot do anything; None: all that the schema requires.
        open_words: members whose unknown words it judges itself, besides those of all messages.
    """

    needed: frozenset[str] | None = None
    open_words: frozenset[str] = frozenset()


class OutboundInvalid(Exception):
    """We were about to send something that the specification forbids: a defect of ours, never the charger's."""


_EMPTY = "empty member"
_UNUSABLE = "unusable"
_CODE_BY_KIND = {
    "required": rpc.OCCURENCE_VIOLATION,
    "minItems": rpc.OCCURENCE_VIOLATION,
    "maxItems": rpc.OCCURENCE_VIOLATION,
    "type": rpc.TYPE_VIOLATION,
    "additionalProperties": rpc.FORMATION_VIOLATION,
}


class SchemaSet:
    """Validators of one OCPP version (``v16``), from the schema files of the ``ocpp`` package.

    The package itself is not imported: it brings modules that nothing here uses, 0.4 s of start and 15 MB.
    """

    def __init__(
        self,
        version: str,
        *,
        request_suffix: str = "",
        response_suffix: str = "Response",
        leniency: Mapping[str, Leniency] | None = None,
    ) -> None:
        found = find_spec("ocpp")
        if found is None or not found.submodule_search_locations:
            raise RuntimeError("the package ocpp is not installed: its schemas are needed")
        self._files = Path(found.submodule_search_locations[0]) / version / "schemas"
        self._suffixes = (request_suffix, response_suffix)
        names = {item.name.removesuffix(".json") for item in self._files.iterdir() if item.name.endswith(".json")}
        self.actions = frozenset(name for name in names if name + response_suffix in names)
        self._leniency = leniency or {}
        self._compiled: dict[str, jsonschema_rs.Validator] = {}
        self._loaded: dict[str, dict[str, Any]] = {}

    def _validator(self, action: str, suffix: str) -> jsonschema_rs.Validator:
        name = action + suffix
        found = self._compiled.get(name)
        if found is None:
            mask = _SHOWN if name in _SECRET_ANSWERS else None
            found = self._compiled[name] = jsonschema_rs.validator_for(
                self._schema(name), validate_formats=True, mask=mask
            )
        return found

    def _schema(self, name: str) -> dict[str, Any]:
        found = self._loaded.get(name)
        if found is None:
            found = self._loaded[name] = orjson.loads((self._files / f"{name}.json").read_bytes())
        return found

    def request(self, action: str) -> dict[str, Any]:
        """The JSON schema of a request."""
        return self._schema(action + self._suffixes[0])

    def check_request(self, action: str, payload: dict[str, Any]) -> Checked:
        """Check a request of a charger, leniently. ``action`` must be one of :attr:`actions`."""
        name = action + self._suffixes[0]
        validator = self._validator(action, self._suffixes[0])
        if validator.is_valid(payload):
            return Checked(payload)
        return _Check(validator, self._schema(name), self._leniency.get(action, _NONE)).run(payload)

    def check_response(self, action: str, payload: dict[str, Any]) -> Checked:
        """Check a charger's answer, leniently."""
        name = action + self._suffixes[1]
        validator = self._validator(action, self._suffixes[1])
        if validator.is_valid(payload):
            return Checked(payload)
        return _Check(validator, self._schema(name), _NONE, is_answer=True).run(payload)

    def require_request(self, action: str, payload: dict[str, Any]) -> None:
        """Check a request of ours, strictly.

        Raises:
            OutboundInvalid: the payload does not pass the schema.
        """
        self._require(self._validator(action, self._suffixes[0]), action, payload)

    def require_response(self, action: str, payload: dict[str, Any]) -> None:
        """Check an answer of ours, strictly. Raises: OutboundInvalid."""
        self._require(self._validator(action, self._suffixes[1]), action, payload)

    @staticmethod
    def _require(validator: jsonschema_rs.Validator, action: str, payload: dict[str, Any]) -> None:
        if not validator.is_valid(payload):
            fault = next(validator.iter_errors(payload))
            raise OutboundInvalid(f"{action}: {fault.message}")


_NONE = Leniency()
_TOO_MANY = Fault(rpc.FORMATION_VIOLATION, "wrong in too many places")


@dataclass(slots=True)
class _Check:
    """The lenient check of one message."""

    validator: jsonschema_rs.Validator
    schema: dict[str, Any]
    leniency: Leniency
    is_answer: bool = False
    quirks: dict[str, None] = field(default_factory=dict)
    lost: list[Lost] = field(default_factory=list)

    def run(self, payload: dict[str, Any]) -> Checked:
        coercion = Coercion(self.schema)
        document = coercion.apply(payload)
        self.quirks.update(coercion.quirks)
        for _ in range(_ROUNDS):
            fault, drops = self._judge(document)
            if fault is not None:
                return Checked(payload, tuple(self.quirks), fault)
            if not drops:
                return Checked(document, tuple(self.quirks), None, tuple(self.lost))
            for place in sorted(drops, key=_last_first, reverse=True):
                self._leave_out(document, place, drops[place])
        return Checked(payload, tuple(self.quirks), _TOO_MANY)

    def _judge(self, document: dict[str, Any]) -> tuple[Fault | None, dict[Place, str]]:
        """The first fault that cannot be tolerated, else what must be left out, with the kind of oddity that it is."""
        drops: dict[Place, str] = {}
        errors = list(islice(self.validator.iter_errors(document), _MOST_FAULTS))
        if len(errors) == _MOST_FAULTS:
            return _TOO_MANY, {}
        for error in errors:
            place = tuple(error.instance_path)
            if _is_empty(place, error):
                drops[place] = _EMPTY
                continue
            quirk = self._tolerated(place, error)
            if quirk is not None:
                self.quirks[quirk] = None
                continue
            unusable = self._unusable(document, place)
            if unusable is None:
                return Fault(self._code(error.kind.name), f"{_dotted(place)}{error.message}"), {}
            drops[unusable] = _UNUSABLE
        return None, drops

    def _code(self, kind: str) -> str:
        if kind == "required" and any(quirk.startswith(_EMPTY) for quirk in self.quirks):
            return rpc.PROPERTY_VIOLATION  # it was sent, without a value
        return _CODE_BY_KIND.get(kind, rpc.PROPERTY_VIOLATION)

    def _tolerated(self, place: Place, error: jsonschema_rs.ValidationError) -> str | None:
        """The name of an oddity that changes nothing."""
        kind = error.kind.name
        if kind == "additionalProperties":
            extra = getattr(error.kind, "unexpected", [])
            return f"extra member {_field((*place, *extra))}"[:200]
        if kind == "required":
            name = getattr(error.kind, "property", "")
            return f"missing {_field((*place, name))}" if self._can_miss(place, name) else None
        name, value = place[-1] if place else "", error.instance
        if name == _MOMENT:
            known = isinstance(value, str) and parse_time(value) is not None
            return f"{'date-time form of' if known else 'unreadable'} {_field(place)}"
        if kind == "type" and name in _REGISTERS and members.register(value) is not None:
            return f"fraction in {_field(place)}"
        if kind == "maxLength" and (name in _FREE_TEXT or self._can_miss(place[:-1], str(name))):
            return f"over-long {_field(place)}"
        if kind == "enum" and (name in _OPEN_ENUMS or name in self.leniency.open_words):
            return f"unknown {_field(place)} {value[:50]}" if isinstance(value, str) and len(value) <= 500 else None
        if kind == "format" and isinstance(value, str) and parse_time(value) is not None:
            return f"date-time form of {_field(place)}"
        # Binary floating point makes 1.1 no multiple of 0.1: a validator's artefact, not the charger's fault.
        return f"rounding of {_field(place)}" if kind == "multipleOf" else None

    def _can_miss(self, place: Place, name: str) -> bool:
        if name == _MOMENT:
            return not self.is_answer
        return not place and self.leniency.needed is not None and name not in self.leniency.needed

    def _unusable(self, document: Any, place: Place) -> Place | None:
        """The smallest part around ``place`` that the rest can do without."""
        for depth in range(len(place) - 1, 0, -1):
            if isinstance(place[depth], int) and place[depth - 1] in _INDEPENDENT:
                # An answer of which nothing is left is not one.
                return place[: depth + 1] if not self.is_answer or len(_at(document, place[:depth])) > 1 else None
        if not place:
            return None
        needed = self.leniency.needed
        needed = frozenset(self.schema.get("required", ())) if needed is None else needed
        return place[:1] if place[0] in self.schema.get("properties", {}) and place[0] not in needed else None

    def _leave_out(self, document: dict[str, Any], place: Place, why: str) -> None:
        parent = _at(document, place[:-1])
        value = parent.pop(place[-1])
        self.quirks[f"{why} {_field(place)}"] = None
        if why == _UNUSABLE:
            self.lost.append(Lost(place, value))


def _is_empty(place: Place, error: jsonschema_rs.ValidationError) -> bool:
    """Chargers send "" or null for a member that they do not have: the same as leaving it out."""
    if not place or not isinstance(place[-1], str) or error.kind.name in ("required", "additionalProperties"):
        return False
    return error.instance is None or error.instance == ""


def _at(document: Any, place: Place) -> Any:
    for step in place:
        document = document[step]
    return document


def _last_first(place: Place) -> tuple[tuple[str, int], ...]:
    """Sorted by it in reverse, entries of a list come from its end, and what lies within a value before the value."""
    return tuple((step, 0) if isinstance(step, str) else ("", step) for step in place)


def _dotted(place: Place) -> str:
    return ".".join(map(str, place)) + ": " if place else ""


def _field(place: Place) -> str:
    """Place without positions, so that an oddity is logged once and not once per list entry."""
    return ".".join(step for step in place if isinstance(step, str))
