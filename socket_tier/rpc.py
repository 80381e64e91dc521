"""OCPP-J frames, pure: bytes in, typed frames out, and back. No I/O, no state (OCPP-J 1.6 section 4).

A frame that cannot be used is a value too (:class:`BadFrame`): it says which CALLERROR answers it, so that no frame is
dropped and no socket is closed for one bad frame.
"""

from typing import Any, Final, TypeAlias, TypeGuard

import orjson

from evpower import json_text
from evpower.records import Record
from socket_tier.coercion import as_object

CALL: Final = 2
CALLRESULT: Final = 3
CALLERROR: Final = 4

# Used in a CALLERROR when no message id could be read (OCPP-J 2.0.1 section 4.2.3; 1.6 leaves it open).
NO_ID: Final = "-1"
_MAX_ID_CHARS: Final = 255  # the limit is 36; longer ones of sloppy chargers are echoed, within reason
_MAX_ERROR_DESCRIPTION: Final = 255
_NUL: Final = b"\\u0000"
_KINDS: Final = {"2": 2, "3": 3, "4": 4}
_DEEP: Final = "nested too deeply"

# Error codes, spelled as OCPP-J 1.6 section 4.2.3 spells them ("Occurence", "Formation").
FORMATION_VIOLATION: Final = "FormationViolation"
NOT_IMPLEMENTED: Final = "NotImplemented"
NOT_SUPPORTED: Final = "NotSupported"
INTERNAL_ERROR: Final = "InternalError"
SECURITY_ERROR: Final = "SecurityError"
GENERIC_ERROR: Final = "GenericError"
OCCURENCE_VIOLATION: Final = "OccurenceConstraintViolation"
PROPERTY_VIOLATION: Final = "PropertyConstraintViolation"
TYPE_VIOLATION: Final = "TypeConstraintViolation"

# Numeric ids come from sloppy chargers and are echoed as sent.
MessageId: TypeAlias = str | int | float


class Call(Record, frozen=True):
    """A request. ``payload`` is what the peer sent, not yet checked against a schema."""

    id: MessageId
    action: str
    payload: dict[str, Any]


class CallResult(Record, frozen=True):
    """The answer to one of our requests."""

    id: MessageId
    payload: dict[str, Any]


class CallError(Record, frozen=True):
    """The refusal of one of our requests; also made from an answer whose shape is wrong."""

    id: MessageId
    code: str
    description: str
    details: Any


class BadFrame(Record, frozen=True):
    """Something that is not a frame: answered by CALLERROR ``code`` for ``id``.

    ``action`` and ``payload`` are kept when they could be read: a StopTransaction is never refused, however odd.
    ``is_torn``: a CALL in a text that is no JSON, of which not all could be read.
    """

    id: MessageId
    description: str
    code: str = FORMATION_VIOLATION
    action: str | None = None
    payload: Any = None
    is_torn: bool = False


Frame: TypeAlias = Call | CallResult | CallError | BadFrame


def parse(data: bytes) -> Frame:
    """Read one frame. Never raises: whatever arrives is one of the four kinds."""
    try:
        message = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        # A StopTransaction that is refused for a byte around it is lost, and the charge with it.
        repaired = json_text.within(data)
        return _parse_loosely(data, error) if repaired is None else parse(repaired)
    if isinstance(message, str) and message.startswith("["):
        return parse(message.encode())  # the frame as a text, written as JSON once more
    return _parse_message(message, data)


def _parse_loosely(data: bytes, error: orjson.JSONDecodeError) -> Frame:
    """Read a frame whose text is no JSON; what is left out of it is never guessed."""
    found = json_text.loosely(data)
    if found is None or not isinstance(found.value, list):
        return BadFrame(NO_ID, f"not JSON: {error}")
    frame = _parse_message(found.value, data if json_text.is_deep(found.value) else orjson.dumps(found.value))
    if found.is_whole:
        return frame
    description = f"not JSON: {error}"
    if isinstance(frame, Call):
        return BadFrame(frame.id, description, action=frame.action, payload=frame.payload, is_torn=True)
    if isinstance(frame, CallResult):
        return CallError(frame.id, FORMATION_VIOLATION, description, {})
    return frame


def _parse_message(message: Any, data: bytes) -> Frame:
    if not isinstance(message, list) or not message:
        return BadFrame(NO_ID, "a frame is a JSON array of 3 to 5 members")
    message_id = message[1] if len(message) > 1 else None
    kind = _kind(message[0])
    if kind != CALL and _is_deep(data, message):
        return _too_deep(message, message_id)
    if _NUL in data and not _is_deep(data, message):
        message[2:] = [_without_nul(item) for item in message[2:]]
    if not _is_message_id(message_id):
        frame = _parse_call(NO_ID, message, data) if kind == CALL else None
        description = "the message id must be a string of at most 36 characters"
        # What it says may be the end of a charge, and is not lost with its id.
        return BadFrame(NO_ID, description, action=frame.action if frame else None, payload=frame and frame.payload)
    if kind is None:
        return BadFrame(message_id, "the message type must be a number")
    if kind == CALL:
        return _parse_call(message_id, message, data)
    if kind == CALLRESULT:
        return _parse_result(message_id, message)
    if kind == CALLERROR:
        return _parse_error(message_id, message)
    return BadFrame(message_id, f"unknown message type {kind}")


def _kind(value: Any) -> int | None:
    """The message type, also of who writes numbers as text or with a fraction; None when it is no number."""
    if type(value) is str:
        return _KINDS.get(value.strip())
    if type(value) is float and value.is_integer():
        return int(value)
    return value if type(value) is int else None


def _without_nul(value: Any) -> Any:
    """Use case: a card reader pads its ids with NUL. No text of PostgreSQL holds one, so the message could never be
    stored, and a transaction message that is never acknowledged blocks a charger's queue for good.
    """
    if isinstance(value, str):
        return value.replace("\0", "")
    if isinstance(value, list):
        return [_without_nul(item) for item in value]
    if isinstance(value, dict):
        return {_without_nul(name): _without_nul(item) for name, item in value.items()}
    return value


def bounded(call: Call, data: bytes) -> Call | BadFrame:
    """``call``, read from ``data``, unless it nests without end; for calls that no schema has passed strictly.

    Use case: a StopTransaction with such a payload is used without what lies too deep.
    """
    if not _is_deep(data, call.payload):
        return call
    return BadFrame(call.id, _DEEP, action=call.action, payload=json_text.pruned(call.payload), is_torn=True)


def _is_deep(data: bytes, message: Any) -> bool:
    return data.count(b"[") + data.count(b"{") > json_text.MAX_DEPTH and json_text.is_deep(message)


def _too_deep(message: list[Any], message_id: Any) -> Frame:
    """An answer that nests without end still ends the waiting call."""
    known = message_id if _is_message_id(message_id) else NO_ID
    if _kind(message[0]) in (CALLRESULT, CALLERROR):
        return CallError(known, FORMATION_VIOLATION, _DEEP, {})
    return BadFrame(known, _DEEP)


def _is_message_id(value: Any) -> TypeGuard[MessageId]:
    if type(value) is str:
        return 0 < len(value) <= _MAX_ID_CHARS
    return type(value) in (int, float)


def _parse_call(message_id: MessageId, message: list[Any], data: bytes) -> Call | BadFrame:
    if len(message) == 4:
        action, payload = message[2], message[3]
        if type(action) is str and type(payload) is dict:
            return Call(message_id, action, payload)
    action = message[2] if len(message) > 2 and isinstance(message[2], str) else None
    payload = message[3] if len(message) > 3 else None
    if _is_deep(data, message):
        payload = json_text.pruned(payload)
    found = {} if payload is None else as_object(payload)
    if action is not None and found is not None:
        return Call(message_id, action, found)
    return BadFrame(message_id, "a CALL is [2, id, action, payload object]", action=action, payload=payload)


def _parse_result(message_id: MessageId, message: list[Any]) -> CallResult | CallError:
    payload = message[2] if len(message) > 2 else None
    found = payload if type(payload) is dict else {} if payload is None else as_object(payload)
    if found is not None:
        return CallResult(message_id, found)
    # The waiting call must end at once; nobody answers an answer.
    return CallError(message_id, FORMATION_VIOLATION, "a CALLRESULT is [3, id, payload object]", {})


def _parse_error(message_id: MessageId, message: list[Any]) -> CallError:
    code = message[2] if len(message) > 2 and isinstance(message[2], str) and message[2] else GENERIC_ERROR
    description = message[3] if len(message) > 3 and isinstance(message[3], str) else ""
    return CallError(message_id, code, description, message[4] if len(message) > 4 else {})


def _compact(written: bytes) -> bytes:
    """A copy of its own size: orjson hands out buffers of 4 KiB, and answers are kept for repeats and for the log."""
    return memoryview(written).tobytes()


def call_frame(message_id: str, action: str, payload: dict[str, Any]) -> bytes:
    """Serialise a CALL."""
    return _compact(orjson.dumps([CALL, message_id, action, payload]))


def result_frame(message_id: MessageId, payload: dict[str, Any]) -> bytes:
    """Serialise a CALLRESULT."""
    return _compact(orjson.dumps([CALLRESULT, message_id, payload]))


def error_frame(message_id: MessageId, code: str, description: str, details: dict[str, Any] | None = None) -> bytes:
    """Serialise a CALLERROR; the description is cut to the 255 characters that OCPP-J allows."""
    return _compact(orjson.dumps([CALLERROR, message_id, code, description[:_MAX_ERROR_DESCRIPTION], details or {}]))


def fingerprint(action: str, payload: dict[str, Any]) -> int:
    """What makes a repeated message id "the same message": its action and its content."""
    return hash((action, orjson.dumps(payload, option=orjson.OPT_SORT_KEYS)))
