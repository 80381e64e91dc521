"""Entries as they are stored: masked, bounded, and written as JSON by native code."""

from collections.abc import Iterable

import msgspec

from evpower.message_log.models import NewEntry
from evpower.message_log.wire import is_plain, kept, storable

_MAX_WORD = 255  # longer ids and actions are kept in the frame only
_encoder = msgspec.json.Encoder()


class Row(msgspec.Struct, omit_defaults=True, gc=False):
    """One entry under the short names of the statement."""

    s: str  # station
    t: float  # seconds since 1970
    d: str  # direction
    a: str | None = None  # action
    i: str | None = None  # message id
    q: str | msgspec.Raw | None = None  # request: its text, or as it is
    r: str | msgspec.Raw | None = None  # response
    e: str | None = None  # error
    l: float | None = None  # noqa: E741 - latency in ms
    x: bool = False  # truncated


def row_of(entry: NewEntry) -> Row:
    """An entry as it is stored."""
    action = entry.action
    request: str | msgspec.Raw | None
    response: str | msgspec.Raw | None
    if entry.is_json and entry.request and entry.response and is_plain(entry.request, action):
        # Frames within the document, not texts of it: no quotation mark to escape here and to read again there.
        request, response, is_cut = msgspec.Raw(entry.request), msgspec.Raw(entry.response), False
    else:
        request, is_request_cut = kept(entry.request, action)
        response, is_response_cut = kept(entry.response, action)
        is_cut = is_request_cut or is_response_cut
    return Row(
        entry.station_id,
        entry.at,
        entry.direction,
        _word(action),
        _word(entry.message_id),
        request,
        response,
        entry.error,
        None if entry.latency_s is None else entry.latency_s * 1000,
        is_cut,
    )


def document(entries: Iterable[NewEntry]) -> str:
    """The rows of a batch as one JSON text."""
    return _encoder.encode([row_of(entry) for entry in entries]).decode()


def _word(word: str | int | float | None) -> str | None:
    if word is None or (type(word) is str and len(word) <= _MAX_WORD and "\x00" not in word):
        return word
    return storable(str(word))[:_MAX_WORD]
