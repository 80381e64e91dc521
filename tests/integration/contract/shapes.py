"""A small language for the shapes of mobile-api.md, checked like the app's own schemas.

A member ``"name"`` is required; ``"name?"`` may be absent. No member is null but those of type ``nullable(...)``.
Members that the shape does not name are let pass, as the app does, but not as null.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

Check = Callable[[Any], bool]


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z")

TEXT: Check = lambda value: isinstance(value, str)  # noqa: E731 - a table of checks
FILLED: Check = lambda value: isinstance(value, str) and value != ""  # noqa: E731
FLAG: Check = lambda value: isinstance(value, bool)  # noqa: E731
TRUE: Check = lambda value: value is True  # noqa: E731
OBJECT: Check = lambda value: isinstance(value, dict)  # noqa: E731
NUMBER: Check = _number
INTEGER: Check = _integer
MOMENT: Check = lambda value: isinstance(value, str) and _MOMENT.fullmatch(value) is not None  # noqa: E731
NUMBERS: Check = lambda value: isinstance(value, dict) and all(map(_number, value.values()))  # noqa: E731
JWT: Check = lambda value: isinstance(value, str) and value.count(".") == 2  # noqa: E731


class Nullable:
    """Null, or the inner shape."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner


def nullable(inner: Any) -> Nullable:
    return Nullable(inner)


def one_of(*values: Any) -> Check:
    """Exactly one of the values, of the same type (1 is not True)."""
    return lambda value: any(value == known and type(value) is type(known) for known in values)


def problems(value: Any, shape: Any, path: str = "") -> Iterator[str]:
    """What is wrong with ``value``, member by member."""
    if isinstance(shape, Nullable):
        if value is not None:
            yield from problems(value, shape.inner, path)
    elif isinstance(shape, dict):
        if not isinstance(value, dict):
            yield f"{path}: not an object"
            return
        yield from _members(value, shape, path)
    elif isinstance(shape, list):
        if not isinstance(value, list):
            yield f"{path}: not an array"
            return
        for index, item in enumerate(value):
            yield from problems(item, shape[0], f"{path}[{index}]")
    elif not shape(value):
        yield f"{path}: {value!r}"


def _members(value: dict[str, Any], shape: dict[str, Any], path: str) -> Iterator[str]:
    named = set()
    for written, inner in shape.items():
        name = written.removesuffix("?")
        named.add(name)
        if name in value:
            yield from problems(value[name], inner, f"{path}.{name}")
        elif written == name:
            yield f"{path}.{name}: absent"
    for name in value.keys() - named:
        if value[name] is None:
            yield f"{path}.{name}: null, but the contract does not know it as nullable"


def seen(value: Any, shape: Any, path: str = "") -> Iterator[str]:
    """Paths of the shape's members that have a value (not null) in this answer."""
    inner = shape.inner if isinstance(shape, Nullable) else shape
    if isinstance(inner, dict) and isinstance(value, dict):
        for written, member in inner.items():
            name = written.removesuffix("?")
            if value.get(name) is not None:
                yield f"{path}.{name}"
                yield from seen(value[name], member, f"{path}.{name}")
    elif isinstance(inner, list) and isinstance(value, list):
        for item in value:
            yield from seen(item, inner[0], f"{path}[]")


def members(shape: Any, path: str = "") -> Iterator[str]:
    """Paths of all members of a shape."""
    inner = shape.inner if isinstance(shape, Nullable) else shape
    if isinstance(inner, dict):
        for written, member in inner.items():
            name = written.removesuffix("?")
            yield f"{path}.{name}"
            yield from members(member, f"{path}.{name}")
    elif isinstance(inner, list):
        yield from members(inner[0], f"{path}[]")


def spoiled(value: Any, shape: Any) -> Iterator[tuple[str, Any]]:
    """Copies of a good answer, each with one member renamed, made null, or of another type, that must not pass."""
    inner = shape.inner if isinstance(shape, Nullable) else shape
    if isinstance(inner, list):
        if isinstance(value, list) and value:
            for what, item in spoiled(value[0], inner[0]):
                yield f"[]{what}", [item, *value[1:]]
        return
    if not isinstance(inner, dict) or not isinstance(value, dict):
        return
    for written, member in inner.items():
        name = written.removesuffix("?")
        if name not in value:
            continue
        if written == name:
            yield f".{name} renamed", {f"{key}_" if key == name else key: item for key, item in value.items()}
        if not isinstance(member, Nullable):
            yield f".{name} null", {**value, name: None}
        if _number(value[name]):
            yield f".{name} as text", {**value, name: str(value[name])}
        if MOMENT(value[name]):
            yield f".{name} with an offset", {**value, name: value[name].replace("Z", "+00:00")}
        for what, item in spoiled(value[name], member):
            yield f".{name}{what}", {**value, name: item}
