"""The OCPP 1.6 JSON schemas, applied strictly to everything that the server sends.

Source: the schema files of the PyPI package ``ocpp`` (OCPP 1.6 edition 2 and the security whitepaper).
A simulator that forgives would hide the server's mistakes, so nothing is repaired here.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

import jsonschema_rs
import orjson

SERVER_ACTIONS = frozenset(
    {
        "CancelReservation",
        "CertificateSigned",
        "ChangeAvailability",
        "ChangeConfiguration",
        "ClearCache",
        "ClearChargingProfile",
        "DataTransfer",
        "DeleteCertificate",
        "ExtendedTriggerMessage",
        "GetCompositeSchedule",
        "GetConfiguration",
        "GetDiagnostics",
        "GetInstalledCertificateIds",
        "GetLocalListVersion",
        "GetLog",
        "InstallCertificate",
        "RemoteStartTransaction",
        "RemoteStopTransaction",
        "ReserveNow",
        "Reset",
        "SendLocalList",
        "SetChargingProfile",
        "SignedUpdateFirmware",
        "TriggerMessage",
        "UnlockConnector",
        "UpdateFirmware",
    }
)
"""Actions that a central system may call (OCPP 1.6 section 5, security whitepaper section 5)."""


class ProtocolViolationError(Exception):
    """The server sent something that OCPP-J 1.6 does not allow."""


@cache
def _validator(name: str) -> Any:
    text = files("ocpp.v16").joinpath("schemas", f"{name}.json").read_bytes()
    return jsonschema_rs.Draft4Validator(orjson.loads(text), validate_formats=True)


def _check(name: str, what: str, payload: object) -> dict[str, Any]:
    if not isinstance(payload, dict):
        raise ProtocolViolationError(f"{what}: the payload is {type(payload).__name__}, not an object")
    error = next(iter(_validator(name).iter_errors(payload)), None)
    if error is not None:
        raise ProtocolViolationError(f"{what}: {error.message} in {orjson.dumps(payload).decode()}")
    return payload


def check_server_call(action: object, payload: object) -> dict[str, Any]:
    """Return the payload of a CALL from the server, or raise `ProtocolViolationError`."""
    if action not in SERVER_ACTIONS:
        raise ProtocolViolationError(f"{action!r} is not an action of a central system")
    return _check(str(action), f"CALL {action}", payload)


def check_answer(action: str, payload: object) -> dict[str, Any]:
    """Return the payload of the server's CALLRESULT to ``action``, or raise `ProtocolViolationError`."""
    return _check(f"{action}Response", f"CALLRESULT of {action}", payload)


def check_own_call(action: str, payload: dict[str, Any]) -> None:
    """Raise `ProtocolViolationError` when the simulator itself would send an invalid CALL (its own mistake)."""
    _check(action, f"own CALL {action}", payload)


def check_own_answer(action: str, payload: dict[str, Any]) -> None:
    """Raise `ProtocolViolationError` when the simulator itself would send an invalid CALLRESULT."""
    _check(f"{action}Response", f"own CALLRESULT of {action}", payload)
