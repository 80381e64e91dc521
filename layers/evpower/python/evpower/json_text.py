"""JSON with something around or within it, as firmware writes it. Pure.

Three steps, each only when the one before it failed: strict JSON; strict JSON within blanks, NULs or another encoding
(:func:`within`); what is not JSON and can still be read without guessing (:func:`loosely`).
"""

import json
import math
import re
from typing import Any

import orjson

from evpower.records import Record

_BLANKS = b"\0 \t\r\n"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

MAX_DEPTH = 100
"""No message of OCPP nests deeper than ten levels. What nests by the hundred can be parsed, but neither copied nor
written again."""
MAX_TOKENS = 100_000  # 0.1 s of work; a StopTransaction with 480 readings has 15,000

# Kinds of tokens by the number of their group.
_STRING, _SINGLE_QUOTED, _MARK, _BARE, _UNENDED = range(1, 6)
_TOKEN = re.compile(
    r'("[^"\\]*+(?:\\.[^"\\]*+)*+")'
    r"|('[^'\\]*+(?:\\.[^'\\]*+)*+')"
    r"|([\[\]{}:,])"
    r"|([^\s\0\"\[\]{}:,]+)"  # a number or a word
    r'|(".*)',
    re.S,
)
_ESCAPE = re.compile(r'\\(["\\/bfnrt]|u[0-9a-fA-F]{4})|\\', re.S)
_INTEGER = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_NOT_STORABLE = re.compile("[\ud800-\udfff]")
_WORDS = {"true": True, "false": False, "null": None, "True": True, "False": False, "None": None}
_CLOSES = {"]": list, "}": dict}


def within(data: bytes) -> bytes | None:
    """The JSON within ``data``, in UTF-8; None where there is none.

    Use case: a string with the closing NUL of C, a byte order mark, or a name in the letters of the charger's country.
    """
    found = data.strip(_BLANKS).removeprefix(_BYTE_ORDER_MARK).strip(_BLANKS)
    for text in (found, found.decode("latin-1").encode()):
        try:
            orjson.loads(text)
        except orjson.JSONDecodeError:
            continue
        return text
    return None


def is_deep(value: Any) -> bool:
    """Whether a value nests deeper than ``MAX_DEPTH``; without recursion."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            item
            for container in level
            if isinstance(container, list | dict)
            for item in (container.values() if isinstance(container, dict) else container)
            if isinstance(item, list | dict)
        ]
        if not level:
            return False
    return True


def pruned(value: Any, depth: int = MAX_DEPTH - 1) -> Any:
    """A copy of ``value`` with null for what lies deeper than ``depth`` levels."""
    if isinstance(value, dict):
        return {name: pruned(item, depth - 1) for name, item in value.items()} if depth else None
    if isinstance(value, list):
        return [pruned(item, depth - 1) for item in value] if depth else None
    return value


class Found(Record, frozen=True):
    """What :func:`loosely` read. ``is_whole``: nothing was left out, the text only broke the rules of JSON."""

    value: list[Any] | dict[str, Any]
    is_whole: bool


def loosely(data: bytes) -> Found | None:
    """The first array or object in a text that is not JSON; None where there is none.

    Read without loss are commas too many or too few, NULs and control characters, unknown escapes, single quotes,
    names without quotes, numbers such as ``007`` or ``NaN`` (kept as text), and what stands around it. A member that
    cannot be read for certain is left out: ``"meterStop":26,008`` is neither 26 nor 26008. So is the last value of a
    text that ends too early, which may be a part of it. The result can be written as JSON again.

    Use case: a firmware puts a comma before its first sample, or cuts a long StopTransaction at the end of its buffer.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    return _Reader(text).read()


class _Reader:
    """One pass over the tokens, without recursion; ``is_whole`` turns false where something is left out."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._open: list[list[Any] | dict[str, Any]] = []
        self._names: list[str | None] = []  # of the member that is being read, for each open container
        self._root: list[Any] | dict[str, Any] | None = None
        self._has_colon = False  # between the name and its value
        self._is_separated = True  # a comma or a bracket stands before what comes next
        self._last: str | None = None  # name of the last whole member of the innermost object
        self.is_whole = True

    def read(self) -> Found | None:
        start = min((at for at in (self._text.find("["), self._text.find("{")) if at >= 0), default=-1)
        if start < 0:
            return None
        for number, match in enumerate(_TOKEN.finditer(self._text, start)):
            if number >= MAX_TOKENS or len(self._open) > MAX_DEPTH:
                self.is_whole = False
                break
            assert match.lastindex is not None
            self._take(match.group(), match.lastindex, match.end() == len(self._text))
            if not self._open:
                break
        assert self._root is not None
        return Found(self._root, self.is_whole and not self._open)

    def _take(self, token: str, kind: int, is_last: bool) -> None:
        if kind == _MARK:
            self._mark(token)
        elif kind in (_STRING, _SINGLE_QUOTED):
            self._scalar(_string(token), is_certain=True)
        elif kind == _UNENDED or is_last:
            self.is_whole = False
        else:
            self._scalar(_bare(token), is_certain=self._is_separated)

    def _mark(self, mark: str) -> None:
        if mark in "[{":
            self._begin([] if mark == "[" else {})
        elif mark in "]}":
            self._end(_CLOSES[mark])
        elif mark == ",":
            self._drop_name()
            self._is_separated = True
        else:
            self._colon()

    def _scalar(self, value: Any, *, is_certain: bool) -> None:
        """``is_certain``: it cannot be a part of the value before it."""
        inner = self._open[-1]
        if isinstance(inner, list):
            if is_certain:
                inner.append(value)
            else:
                self.is_whole = False
                inner[-1] = None
        elif self._names[-1] is not None and self._has_colon:
            self._put(value)
        elif self._names[-1] is None and isinstance(value, str):
            self._names[-1] = value
        else:
            self._names[-1], self._has_colon = None, False
            self._spoil()
        self._is_separated = False

    def _put(self, value: Any) -> None:
        inner, name = self._open[-1], self._names[-1]
        assert isinstance(inner, dict)
        assert name is not None
        inner[name] = value
        self._last, self._names[-1], self._has_colon = name, None, False

    def _begin(self, container: list[Any] | dict[str, Any]) -> None:
        if not self._open:
            self._root = container
        elif isinstance(inner := self._open[-1], list):
            inner.append(container)
        elif self._names[-1] is not None and self._has_colon:
            self._put(container)
        else:
            self.is_whole = False  # read to its end, and left out
        self._open.append(container)
        self._names.append(None)
        self._is_separated, self._last = True, None

    def _end(self, kind: type) -> None:
        if not any(isinstance(container, kind) for container in self._open):
            self.is_whole = False
            return
        while True:
            self._drop_name()
            self._names.pop()
            if isinstance(self._open.pop(), kind):
                break
            self.is_whole = False  # a bracket is missing
        self._is_separated, self._last = False, None

    def _colon(self) -> None:
        if isinstance(self._open[-1], dict) and self._names[-1] is not None and not self._has_colon:
            self._has_colon = True
        else:
            self.is_whole = False

    def _drop_name(self) -> None:
        """Leave out a name that no value follows."""
        if self._names[-1] is None:
            return
        self.is_whole = False
        if not self._has_colon:
            self._spoil()
        self._names[-1], self._has_colon = None, False

    def _spoil(self) -> None:
        """What stands after the last member may be a part of its value."""
        self.is_whole = False
        inner = self._open[-1]
        if isinstance(inner, dict) and self._last is not None:
            inner.pop(self._last, None)
            self._last = None


def _string(token: str) -> str:
    inner = token[1:-1]
    if token[0] == "'":
        inner = inner.replace("\\'", "'").replace('"', '\\"')
    if "\\" in inner:
        inner = json.loads(f'"{_ESCAPE.sub(_repaired, inner)}"', strict=False)
        inner = _NOT_STORABLE.sub("\ufffd", inner)
    return inner.replace("\0", "")


def _repaired(escape: re.Match[str]) -> str:
    return escape.group() if escape.group(1) else "\\\\"


def _bare(token: str) -> Any:
    if token in _WORDS:
        return _WORDS[token]
    if _INTEGER.fullmatch(token):
        return int(token)
    if _NUMBER.fullmatch(token) and math.isfinite(number := float(token)):
        return number
    return _NOT_STORABLE.sub("\ufffd", token)
