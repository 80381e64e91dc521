"""Text from outside, made fit for PostgreSQL, whose text and jsonb hold neither NUL nor lone surrogates."""

from collections.abc import Mapping
from typing import Any


def addressable(text: str) -> bool:
    """Whether ``text`` can be compared with a column at all; both kinds can come out of a decoded path."""
    return "\0" not in text and not any("\ud800" <= char <= "\udfff" for char in text)


def clean(value: Any) -> Any:
    """Copy of a JSON value without what PostgreSQL refuses, at any depth; all else is kept."""
    if isinstance(value, str):
        return value if addressable(value) else value.replace("\0", "").encode(errors="replace").decode()
    if isinstance(value, Mapping):
        return {clean(str(name)): clean(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    return value
