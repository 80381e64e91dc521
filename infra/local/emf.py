"""The metrics that the running system wrote: EMF lines among the log lines of its processes."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAX_VALUES = 100
MAX_DIMENSIONS = 30


@dataclass(frozen=True, slots=True)
class Written:
    """One metric under one set of dimensions with their values, as CloudWatch would keep it."""

    namespace: str
    name: str
    dimensions: frozenset[tuple[str, str]]
    unit: str


class BadEmfError(Exception):
    """A line that CloudWatch would not accept."""


def lines(logs: Path) -> Iterator[str]:
    """The EMF lines of all logs in a directory."""
    for log in sorted(logs.glob("*.log")):
        with log.open(encoding="utf-8", errors="replace") as text:
            yield from (line for line in text if line.startswith('{"_aws":'))


def written(line: str) -> Iterator[tuple[Written, list[float]]]:
    """What CloudWatch reads from one line, by the format's specification.

    Raises:
        BadEmfError: it would read nothing, or not what is meant.
    """
    document: dict[str, Any] = json.loads(line)
    if not isinstance(document["_aws"].get("Timestamp"), int):
        raise BadEmfError(f"no timestamp: {line}")
    for directive in document["_aws"]["CloudWatchMetrics"]:
        for names in directive["Dimensions"]:
            values = {name: document.get(name) for name in names}
            if len(names) > MAX_DIMENSIONS or not all(isinstance(value, str) and value for value in values.values()):
                raise BadEmfError(f"dimensions {values}: {line}")
            for metric in directive["Metrics"]:
                found = document.get(metric["Name"])
                measured = found if isinstance(found, list) else [found]
                if not 0 < len(measured) <= MAX_VALUES or not all(type(m) in (int, float) for m in measured):
                    raise BadEmfError(f"{metric['Name']} is {found!r}: {line}")
                key = frozenset((name, str(value)) for name, value in values.items())
                numbers = [float(m) for m in measured if m is not None]
                yield Written(directive["Namespace"], metric["Name"], key, metric["Unit"]), numbers
