"""Values in another form than their JSON schema wants, brought into it without loss. Pure; one rule for all messages.

The number 7 and the text "7" say the same, so do an object and a list that holds nothing else, ``Suspended_EV`` and
``SuspendedEV``, ``meterstop`` and ``meterStop``. What would have to be guessed stays as it was sent, and the schema
judges it.
"""

import math
import re
from collections.abc import Callable
from typing import Any, TypeAlias

import orjson

from evpower import json_text

Schema: TypeAlias = dict[str, Any]
Path: TypeAlias = tuple[str, ...]
"""Names without positions, so that an oddity of a list is noted once and not once per entry."""

_LONGEST_WORD = 50  # of an enumeration, blanks around it included
_EXACT = 2**53  # beyond it a float may not be the number that was written
_WHOLE = re.compile(r"[+-]?\d{1,18}(?:\.0{0,18})?", re.ASCII)
_DECIMAL = re.compile(r"[+-]?\d{1,18}(?:\.\d{1,18})?(?:[eE][+-]?\d{1,2})?", re.ASCII)
_BOOLEANS = {"true": True, "false": False, "1": True, "0": False}
_NOT_ALNUM = re.compile(r"[^0-9a-z]")


class Coercion:
    """Brings values into the form of one schema; ``quirks`` collects what was changed."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self.quirks: dict[str, None] = {}
        self._rules: dict[str, Callable[[Schema, Any, Path], Any]] = {
            "object": self._object,
            "array": self._array,
            "string": self._string,
            "integer": self._integer,
            "number": self._number,
            "boolean": self._boolean,
        }

    def apply(self, value: Any) -> Any:
        """A copy of ``value``; what no rule applies to is not copied."""
        return self._coerce(self._schema, value, ())

    def _coerce(self, schema: Schema, value: Any, path: Path) -> Any:
        if "$ref" in schema:
            schema = self._schema["definitions"][schema["$ref"].rpartition("/")[2]]
        rule = self._rules.get(schema.get("type", ""))
        return value if rule is None or value is None else rule(schema, value, path)

    def _note(self, what: str, path: Path, word: str = "") -> None:
        self.quirks[f"{what} {'.'.join(path)} {word}".rstrip()] = None

    def _object(self, schema: Schema, value: Any, path: Path) -> Any:
        found = as_object(value)
        if found is None:
            return value
        if found is not value:
            self._note("form of", path)
        members: Schema = schema.get("properties", {})
        result = {}
        for sent, item in found.items():
            name = sent
            if name not in members:
                name = _known(sent, members)
                if name is None or name in found or name in result:
                    result[sent] = item
                    continue
                self._note("spelling of", path, sent)
            result[name] = self._coerce(members[name], item, (*path, name))
        return result

    def _array(self, schema: Schema, value: Any, path: Path) -> Any:
        items: Schema = schema.get("items", {})
        found = as_list(value)
        if found is None:
            if isinstance(value, str) and value == "":
                return value
            # Use case: ``meterValue`` with one entry is that entry. A list of it says the same.
            found = [value]
        if found is not value:
            self._note("form of", path)
        return [self._coerce(items, item, path) for item in found]

    def _string(self, schema: Schema, value: Any, path: Path) -> Any:
        if isinstance(value, bool) and not schema.keys() & {"format", "enum"}:
            self._note("true or false instead of text in", path)
            return "true" if value else "false"
        if isinstance(value, int | float) and not isinstance(value, bool):
            if "format" in schema or not math.isfinite(value) or (isinstance(value, float) and abs(value) >= _EXACT):
                return value
            self._note("number instead of text in", path)
            value = repr(value)
        if not isinstance(value, str):
            return value
        if "enum" in schema:
            return self._word(schema["enum"], value, path)
        if len(value) > schema.get("maxLength", math.inf):
            stripped = value.replace("\0", "").strip()
            if len(stripped) <= schema["maxLength"]:
                self._note("blanks around", path)
                return stripped
        return value

    def _word(self, words: list[Any], value: str, path: Path) -> str:
        """Use case: a charger answers RemoteStartTransaction with ``accepted``, and charges.

        Taken for a refusal the driver would get the money back, and the car its energy. Words of the specification
        differ by more than the case of their letters and the marks between them.
        """
        if value in words or len(value) > _LONGEST_WORD:
            return value
        folded = _folded(value)
        for word in words:
            if isinstance(word, str) and folded and _folded(word) == folded:
                self._note("spelling of", path, value)
                return word
        return value

    def _integer(self, _schema: Schema, value: Any, path: Path) -> Any:
        if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
            self._note("decimal instead of integer in", path)
            return int(value)
        if isinstance(value, str) and _WHOLE.fullmatch(text := _plain(value)):
            self._note("text instead of integer in", path)
            return int(text.partition(".")[0])
        return value

    def _number(self, _schema: Schema, value: Any, path: Path) -> Any:
        if isinstance(value, str) and _DECIMAL.fullmatch(text := _plain(value)):
            self._note("text instead of number in", path)
            return float(text)
        return value

    def _boolean(self, _schema: Schema, value: Any, path: Path) -> Any:
        """Use case: a key of GetConfiguration comes with ``"readonly": "false"``."""
        if isinstance(value, bool) or not isinstance(value, str | int):
            return value
        found = _BOOLEANS.get(_plain(str(value)).lower())
        if found is None:
            return value
        self._note("text or number instead of true or false in", path)
        return found


def as_object(value: Any) -> dict[str, Any] | None:
    """The object that ``value`` is: itself, alone in a list, or its JSON as a text; an empty list is an empty object.

    Use case: libraries that know one type for lists and objects write an object without members as ``[]``.
    """
    if isinstance(value, str) and value.lstrip()[:1] == "{":
        value = _parsed(value)
    if isinstance(value, list) and len(value) <= 1:
        value = value[0] if value else {}
    return value if isinstance(value, dict) else None


def as_list(value: Any) -> list[Any] | None:
    """The list that ``value`` is: itself, its JSON as a text, or an object with the positions as names."""
    if isinstance(value, str) and value.lstrip()[:1] == "[":
        value = _parsed(value)
    if isinstance(value, dict) and value and list(value) == [str(position) for position in range(len(value))]:
        value = list(value.values())
    return value if isinstance(value, list) else None


def spelled(word: str, known: frozenset[str]) -> str | None:
    """The one of ``known`` that ``word`` is in other letters' case or with other marks."""
    folded = _folded(word) if len(word) <= _LONGEST_WORD else ""
    return next((name for name in known if folded and _folded(name) == folded), None)


def _known(name: str, members: Schema) -> str | None:
    return spelled(name, frozenset(members))


def _folded(word: str) -> str:
    return _NOT_ALNUM.sub("", word.casefold())


def _plain(text: str) -> str:
    return text.replace("\0", "").strip()


def _parsed(text: str) -> Any:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return None if json_text.is_deep(found) else found
