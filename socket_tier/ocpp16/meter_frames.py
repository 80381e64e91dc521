"""MeterValues of running transactions, read straight from the frame. Pure.

The message that makes up nearly all the load is decoded and checked by one native pass (msgspec) into what
normalising needs, in a third of the time that parsing, the JSON schema and picking members take. Only what is exactly
as the specification has it is read here; the words that it allows come from its schema. Everything else, oddities
that are tolerated and faults alike, is left to the usual way by answering None.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from evpower.charging.models import Reading
from evpower.clock import in_range
from socket_tier import normalise
from socket_tier.ocpp16.schema import SCHEMAS

ACTION = "MeterValues"
_NAME = b'"MeterValues"'
_NAME_WITHIN = 300  # the longest message id and some blanks
# What stands behind an escape may be no character that PostgreSQL can hold; the usual way looks.
_ESCAPE = b"\\u"

_ENTRY = SCHEMAS.request(ACTION)["properties"]["meterValue"]["items"]["properties"]
_WORDS = {
    name: Literal[tuple(member["enum"])]
    for name, member in _ENTRY["sampledValue"]["items"]["properties"].items()
    if "enum" in member
}
_StrictSample: Any = msgspec.defstruct(
    "_StrictSample",
    [(name, words, "") for name, words in _WORDS.items()],
    bases=(normalise.Sample,),
    forbid_unknown_fields=True,
    gc=False,
)


class _Payload(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    connectorId: int  # names as in the specification
    transactionId: int
    meterValue: Annotated[list[msgspec.Raw], Meta(min_length=1)]  # kept as text beside what it says


class MeterFrame(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """``[2, id, "MeterValues", payload]`` with a transaction."""

    type: Literal[2]
    id: Annotated[str, Meta(min_length=1, max_length=255)]
    action: Literal["MeterValues"]
    payload: _Payload


_frames = msgspec.json.Decoder(MeterFrame)
_entries: msgspec.json.Decoder[Any] = msgspec.json.Decoder(
    msgspec.defstruct(
        "_Entry",
        [
            ("timestamp", Annotated[datetime, Meta(tz=True)]),
            ("sampledValue", Annotated[list[_StrictSample], Meta(min_length=1)]),
        ],
        forbid_unknown_fields=True,
        gc=False,
    )
)


def read(data: bytes) -> MeterFrame | None:
    """The frame, if it is such a message and its outer form is in order; its entries are not looked at yet."""
    if data.find(_NAME, 0, _NAME_WITHIN) < 0 or _ESCAPE in data:
        return None
    try:
        return _frames.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def readings(frame: MeterFrame) -> tuple[Reading, ...] | None:
    """What its entries say, in the order sent; None if one of them is not exactly as its schema wants it."""
    found = []
    try:
        for raw in frame.payload.meterValue:
            entry = _entries.decode(raw)
            found.append(normalise.reading(in_range(entry.timestamp), entry.sampledValue, bytes(raw).decode()))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return tuple(found)
