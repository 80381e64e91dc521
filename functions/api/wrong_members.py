"""What is wrong with a request, member by member: pydantic's findings in the words of the API's own reader.

The reader knows the names on the wire, not the models behind them.
"""

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel

from functions.api.schemas.patterns import words_of

_DETAIL_MAX = 1000
"""Characters; the list of all actions fits."""
_PLACES = ("body", "query", "path", "header")
_SUBJECT = re.compile(r"^(Input|String|Value|List|Decimal input|Number|Data|Bytes) should ")
_QUOTED = re.compile(r"'([^']*)'")
_DATE_TIME = "must be a date-time with its zone, for example 2026-01-15T06:00:00Z"
_OBJECT = "must be a JSON object"
# Of pydantic's kinds, those whose sentences speak of Python or of how it reads.
_DETAILS = {
    "model_attributes_type": _OBJECT,
    "model_type": _OBJECT,
    "dict_type": _OBJECT,
    "list_type": "must be a JSON array",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": "must be an integer",
    "int_parsing": "must be an integer",
    "int_from_float": "must be an integer",
    "datetime_type": _DATE_TIME,
    "datetime_parsing": _DATE_TIME,
    "datetime_from_date_parsing": _DATE_TIME,
    "timezone_aware": "must have a zone: Z, or an offset as +06:00",
}
_PROBLEMS = {
    "union_tag_not_found": "missing",
    "union_tag_invalid": "literal_error",
    "datetime_from_date_parsing": "datetime_parsing",
}


def field_names(errors: Sequence[Mapping[str, Any]], body: Any = None) -> list[dict[str, str]]:
    """Which members of a request are wrong and how, from pydantic's list: ``[{"field", "problem", "detail"}]``.

    ``problem`` is a machine word, ``detail`` a sentence in English with the bound or the words that are allowed; where
    another name or word was probably meant, ``did_you_mean`` has it. ``body`` is the annotation of the route's body.
    """
    return [_told(error, body) for error in errors]


def _told(error: Mapping[str, Any], body: Any) -> dict[str, str]:
    kind, location = str(error["type"]), list(error["loc"])
    place = location.pop(0) if location and location[0] in _PLACES else "body"
    names, holders = _resolved(body, location) if place == "body" else ([str(part) for part in location], [])
    allowed: list[str] = []
    meant_for = error.get("input")
    if kind.startswith("union_tag_"):  # the member that tells which of several bodies this is
        names.append(str(error["ctx"]["discriminator"]).strip("'"))
        allowed = _tags(holders, names[-1])
        meant_for = error["ctx"].get("tag")
        detail = f"{'is missing;' if kind == 'union_tag_not_found' else 'must be'} one of {', '.join(allowed)}"
    elif kind == "extra_forbidden":
        allowed = [name for holder in holders for name in holder.model_fields]
        meant_for = names[-1]
        detail = f"unknown member; known here: {', '.join(allowed)}"
    else:
        detail = _detail(error, place, names)
        if kind in ("literal_error", "enum"):
            allowed = _QUOTED.findall(str(error["ctx"]["expected"]))
    field = ".".join(names) or "body"
    told = {"field": field, "problem": _PROBLEMS.get(kind, kind), "detail": detail[:_DETAIL_MAX]}
    meant = close_to(meant_for, allowed) if isinstance(meant_for, str) else None
    return {**told, "did_you_mean": meant} if meant else told


def close_to(word: str, known: Sequence[str]) -> str | None:
    """The known word that was probably meant, whatever its letter case."""
    by_lower = {one.lower(): one for one in known}
    close = get_close_matches(word[:100].lower(), by_lower, n=1)
    return by_lower[close[0]] if close else None


def _detail(error: Mapping[str, Any], place: str, names: Sequence[str]) -> str:
    kind, said = str(error["type"]), str(error["msg"])
    if kind == "missing" and place == "query":
        return f"required in the query (?{names[-1]}=...), not in the body"
    if kind == "string_pattern_mismatch":
        return f"must be {words_of(str(error['ctx']['pattern']))}"
    if kind in ("too_short", "too_long"):
        side, count = ("least", "min_length") if kind == "too_short" else ("most", "max_length")
        bound = error["ctx"][count]
        unit = "character" if isinstance(error.get("input"), str) else "item"
        return f"must have at {side} {bound} {unit}{'' if bound == 1 else 's'}"
    if not _SUBJECT.match(said):  # a sentence of our own
        return said.removeprefix("Value error, ")
    return _DETAILS.get(kind) or _SUBJECT.sub("must ", said)


def _resolved(body: Any, location: Sequence[str | int]) -> tuple[list[str], list[type[BaseModel]]]:
    """A place in a body by the names on the wire, and the models that may hold what is there.

    pydantic names the body that it chose among several (``Reset.type``); on the wire there is no such member.
    """
    names: list[str] = []
    shape, holders = body, _models(body)
    for part in location:
        alternatives = _models(shape)
        chosen = [model for model in alternatives if _is_tag(model, part)] if len(alternatives) > 1 else []
        if chosen:
            shape, holders = chosen[0], chosen
            continue
        names.append(str(part))
        if isinstance(part, str):
            holders = alternatives
            shape = next((model.model_fields[part].annotation for model in holders if part in model.model_fields), None)
    return names, holders


def _models(shape: Any) -> list[type[BaseModel]]:
    """The models in an annotation: itself, or its alternatives, or what its list holds."""
    if isinstance(shape, type) and issubclass(shape, BaseModel):
        return [shape]
    return [model for part in get_args(shape) for model in _models(part)]


def _is_tag(model: type[BaseModel], word: str | int) -> bool:
    return any(
        get_origin(field.annotation) is Literal and get_args(field.annotation) == (word,)
        for field in model.model_fields.values()
    )


def _tags(models: Sequence[type[BaseModel]], member: str) -> list[str]:
    return [str(get_args(model.model_fields[member].annotation)[0]) for model in models]
