"""Values that a JSON schema describes, as pydantic writes its schemas: for properties about bodies."""

from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

_TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"))


def values(schema: dict[str, Any], definitions: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values of ``schema``; its references are found in ``definitions``."""
    if "$ref" in schema:
        return st.deferred(lambda: values(definitions[schema["$ref"].rpartition("/")[2]], definitions))
    if "anyOf" in schema:
        return st.one_of([values(part, definitions) for part in schema["anyOf"]])
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    kind = schema["type"]
    if kind == "object":
        return _objects(schema, definitions)
    if kind == "array":
        most = min(schema.get("maxItems", 4), 4)
        return st.lists(values(schema["items"], definitions), min_size=schema.get("minItems", 0), max_size=most)
    if kind == "integer":
        return st.integers(schema.get("minimum"), schema.get("maximum"))
    if kind == "number":
        low, high = schema.get("minimum", 0), schema.get("maximum", 10**6)
        return st.integers(int(low) * 10, int(high) * 10).map(lambda tenths: tenths / 10)
    if kind == "string":
        return _texts(schema)
    return {"boolean": st.booleans(), "null": st.none()}[kind]


def _objects(schema: dict[str, Any], definitions: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    required = set(schema.get("required", ()))
    members = {name: values(inner, definitions) for name, inner in schema.get("properties", {}).items()}
    return st.fixed_dictionaries(
        {name: inner for name, inner in members.items() if name in required},
        optional={name: inner for name, inner in members.items() if name not in required},
    )


def _texts(schema: dict[str, Any]) -> st.SearchStrategy[str]:
    if schema.get("format") == "date-time":
        moments = st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001
        return moments.map(lambda moment: moment.isoformat())
    shortest, longest = schema.get("minLength", 0), schema.get("maxLength", 40)
    found = st.from_regex(schema["pattern"], fullmatch=True) if "pattern" in schema else _TEXT
    return found.filter(lambda text: shortest <= len(text) <= longest)
