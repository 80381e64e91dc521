"""Schema checks: strict for what we send, lenient for what real chargers send (ocpp.md §2).

The JSON schemas are those of the ``ocpp`` package, compiled by ``jsonschema_rs`` on first use. A message that passes
strictly costs one native call; only a message that does not is looked at fault by fault.
"""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema_rs
import orjson

from socket_tier import rpc
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
_LONGEST_WORD = 50  # of an enumeration, blanks around it included


@dataclass(frozen=True, slots=True)
class Fault:
    """A schema fault that cannot be tolerated, with the CALLERROR code that names it."""

    code: str
    description: str


@dataclass(frozen=True, slots=True)
class Checked:
    """Outcome of a lenient check: the usable payload, the oddities tolerated, or the fault."""

    payload: dict[str, Any]
    quirks: tuple[str, ...] = ()
    fault: Fault | None = None


class OutboundInvalid(Exception):
    """We were about to send something that the specification forbids: a defect of ours, never the charger's."""


_EMPTY = "empty member"
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

    def __init__(self, version: str, *, request_suffix: str = "", response_suffix: str = "Response") -> None:
        found = find_spec("ocpp")
        if found is None or not found.submodule_search_locations:
            raise RuntimeError("the package ocpp is not installed: its schemas are needed")
        self._files = Path(found.submodule_search_locations[0]) / version / "schemas"
        self._suffixes = (request_suffix, response_suffix)
        names = {item.name.removesuffix(".json") for item in self._files.iterdir() if item.name.endswith(".json")}
        self.actions = frozenset(name for name in names if name + response_suffix in names)
        self._compiled: dict[str, jsonschema_rs.Validator] = {}

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
        schema: dict[str, Any] = orjson.loads((self._files / f"{name}.json").read_bytes())
        return schema

    def request(self, action: str) -> dict[str, Any]:
        """The JSON schema of a request."""
        return self._schema(action + self._suffixes[0])

    def check_request(self, action: str, payload: dict[str, Any]) -> Checked:
        """Check a request of a charger, leniently. ``action`` must be one of :attr:`actions`."""
        return self._check(self._validator(action, self._suffixes[0]), payload)

    def check_response(self, action: str, payload: dict[str, Any]) -> Checked:
        """Check a charger's answer, leniently."""
        return self._check(self._validator(action, self._suffixes[1]), payload)

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

    @staticmethod
    def _check(validator: jsonschema_rs.Validator, payload: dict[str, Any]) -> Checked:
        if validator.is_valid(payload):
            return Checked(payload)
        repaired = copy.deepcopy(payload)
        quirks: list[str] = []
        for error in validator.iter_errors(payload):
            path = list(error.instance_path)
            quirk = _tolerate(repaired, path, error)
            if quirk is None:
                code = _CODE_BY_KIND.get(error.kind.name, rpc.PROPERTY_VIOLATION)
                return Checked(payload, tuple(quirks), Fault(code, f"{_dotted(path)}{error.message}"))
            quirks.append(quirk)
        if any(quirk.startswith(_EMPTY) for quirk in quirks):
            # Dropping an empty member is fine only where the member is optional.
            for error in validator.iter_errors(repaired):
                if error.kind.name == "required":
                    return Checked(payload, tuple(quirks), Fault(rpc.PROPERTY_VIOLATION, error.message))
        return Checked(repaired, tuple(quirks))


def _dotted(path: list[Any]) -> str:
    return ".".join(map(str, path)) + ": " if path else ""


def _field(path: list[Any]) -> str:
    """Path without positions, so that an oddity is logged once and not once per list entry."""
    return ".".join(step for step in path if isinstance(step, str))


def _tolerate(document: dict[str, Any], path: list[Any], error: jsonschema_rs.ValidationError) -> str | None:
    """Repair or accept one fault in ``document``; the name of the oddity, or None when it must be refused."""
    kind = error.kind.name
    if kind == "additionalProperties":
        extra = getattr(error.kind, "unexpected", [])
        return f"extra member {_field([*path, *extra])}"[:200]
    if not path:
        return None
    name, value = path[-1], error.instance
    if value is None or value == "":
        return _drop_empty(document, path)
    if kind == "type" and not _may_repair_type(error, path, value):
        return None
    if kind == "enum" and (quirk := _respell(document, path, value, getattr(error.kind, "options", ()))):
        return quirk
    repair = _REPAIRS.get(kind)
    return repair(document, path, str(name), value) if repair else None


def _respell(document: dict[str, Any], path: list[Any], value: Any, words: Sequence[Any]) -> str | None:
    """Use case: a charger answers RemoteStartTransaction with ``accepted``, and charges.

    Taken for a refusal the driver would get the money back, and the car its energy. Words of the specification differ
    by more than the case of their letters.
    """
    parent = _parent(document, path)
    if not isinstance(value, str) or len(value) > _LONGEST_WORD or not isinstance(parent, dict | list):
        return None
    folded = value.strip().casefold()
    for word in words:
        if isinstance(word, str) and word.casefold() == folded:
            parent[path[-1]] = word
            return f"spelling of {_field(path)} {value}"
    return None


def _may_repair_type(error: jsonschema_rs.ValidationError, path: list[Any], value: Any) -> bool:
    """Whether the value can be made to fit: a number that is no date-time and no id tag, or a written-out boolean.

    Use case: one key of GetConfiguration comes with ``"readonly": "false"``; all the others would be lost with it.
    """
    types = getattr(error.kind, "types", ())
    if isinstance(value, str):
        return "boolean" in types and value.strip().lower() in ("true", "false")
    return "integer" in types or (path[-1] == "value" and ("sampledValue" in path or "configurationKey" in path))


def _parent(document: Any, path: list[Any]) -> Any:
    """The container of the last step, or None when an earlier repair already removed it."""
    for step in path[:-1]:
        try:
            document = document[step]
        except (KeyError, IndexError, TypeError):
            return None
    return document


def _drop_empty(document: dict[str, Any], path: list[Any]) -> str | None:
    """Chargers send "" or null for a member that they do not have: the same as leaving it out."""
    parent = _parent(document, path)
    if not isinstance(parent, dict):
        return None
    parent.pop(path[-1], None)
    return f"{_EMPTY} {_field(path)}"


def _repair_type(document: dict[str, Any], path: list[Any], name: str, value: Any) -> str | None:
    parent = _parent(document, path)
    if parent is None:
        return None
    if isinstance(value, str):  # of a boolean: see _may_repair_type
        parent[path[-1]] = value.strip().lower() == "true"
        return f"text instead of true or false in {_field(path)}"
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value):
        return None
    if name == "value" and ("sampledValue" in path or "configurationKey" in path):
        parent[path[-1]] = repr(value)
        return f"number instead of text in {_field(path)}"
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**31:
        parent[path[-1]] = int(value)
        return f"decimal instead of integer in {_field(path)}"
    return None


def _repair_length(document: dict[str, Any], path: list[Any], name: str, value: Any) -> str | None:
    return f"over-long {_field(path)}" if name in _FREE_TEXT else None


def _repair_enum(document: dict[str, Any], path: list[Any], name: str, value: Any) -> str | None:
    if name in _OPEN_ENUMS and isinstance(value, str) and len(value) <= 500:
        return f"unknown {_field(path)} {value[:50]}"
    return None


def _repair_count(document: dict[str, Any], path: list[Any], name: str, value: Any) -> str | None:
    """Use case: GetInstalledCertificateIds answered ``NotFound`` with an empty list instead of none."""
    return _drop_empty(document, path) if name == "certificateHashData" and value == [] else None


def _repair_format(document: dict[str, Any], path: list[Any], name: str, value: Any) -> str | None:
    if isinstance(value, str) and parse_time(value) is not None:
        return f"date-time form of {_field(path)}"
    return None


def _repair_multiple(document: dict[str, Any], path: list[Any], name: str, value: Any) -> str | None:
    """Binary floating point makes 1.1 no multiple of 0.1: a validator's artefact, not the charger's fault."""
    return f"rounding of {_field(path)}"


_Repair = Callable[[dict[str, Any], list[Any], str, Any], str | None]
_REPAIRS: dict[str, _Repair] = {
    "type": _repair_type,
    "maxLength": _repair_length,
    "enum": _repair_enum,
    "minItems": _repair_count,
    "format": _repair_format,
    "multipleOf": _repair_multiple,
}
