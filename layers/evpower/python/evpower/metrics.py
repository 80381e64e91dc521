"""CloudWatch metrics in the Embedded Metric Format (EMF): one JSON log line per emission, no agent, no call.

Functions and the socket tier write the same form. Names, units and dimensions come from
:mod:`evpower.metric_names`; a name that is not there is refused with a log line, never with an exception, because no
payment may fail for the sake of a metric.

Format: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from evpower.db.commit_hooks import after_commit
from evpower.logging import get_logger
from evpower.metric_names import CATALOGUE, Metric
from evpower.metric_names import NAMESPACE as DEFAULT_NAMESPACE

NAMESPACE = os.environ.get("POWERTOOLS_METRICS_NAMESPACE") or DEFAULT_NAMESPACE

Value = float | Sequence[float]
"""A number, or up to 100 measurements of the same moment (EMF takes an array)."""
_MAX_VALUES = 100
_MAX_METRICS = 100

_log = get_logger(__name__)


def emit(values: Mapping[str, Value], **dimensions: str) -> None:
    """Write ``values`` (metric name -> value) at once, each under the dimension sets of the catalogue.

    ``dimensions`` are those of every metric in ``values``; a set for which one is missing is left out.
    """
    known = [(metric, _clean(value)) for metric, value in _known(values, dimensions)]
    for first in range(0, len(known), _MAX_METRICS):
        _write(known[first : first + _MAX_METRICS], dimensions)


def emit_after_commit(values: Mapping[str, float], **dimensions: str) -> None:
    """Write ``values`` when the present transaction has committed; nothing is written when it is rolled back.

    Use case: a settlement counts revenue and is then rolled back by a deadlock and repeated: it counts once. Values of
    one transaction under the same name and dimensions are added up. Outside a unit of work nothing is written.
    """
    after_commit(_emit_committed, [(name, value, dimensions) for name, value in values.items()])


async def _emit_committed(items: Iterable[tuple[str, float, dict[str, str]]]) -> None:
    sums: dict[tuple[tuple[str, str], ...], dict[str, Value]] = {}
    for name, value, dimensions in items:
        line = sums.setdefault(tuple(sorted(dimensions.items())), {})
        before = line.get(name, 0.0)
        assert isinstance(before, int | float)
        line[name] = before + value
    for key, values in sums.items():
        emit(values, **dict(key))


def _known(values: Mapping[str, Value], dimensions: Mapping[str, str]) -> Iterable[tuple[Metric, Value]]:
    for name, value in values.items():
        metric = CATALOGUE.get(name)
        if metric is None or not metric.dimension_names.issuperset(dimensions):
            _log.error("metric is not in the catalogue", extra={"metric": name, "dimensions": sorted(dimensions)})
        else:
            yield metric, value


def _clean(value: Value) -> Value:
    return list(value[:_MAX_VALUES]) if isinstance(value, Sequence) else value


def _write(known: Sequence[tuple[Metric, Value]], dimensions: Mapping[str, str]) -> None:
    directives: dict[tuple[tuple[str, ...], ...], list[dict[str, str]]] = {}
    for metric, _ in known:
        sets = tuple(names for names in metric.dimensions if set(names) <= dimensions.keys())
        if sets:
            directives.setdefault(sets, []).append({"Name": metric.name, "Unit": metric.unit})
    if not directives:
        return
    document: dict[str, Any] = {
        "_aws": {
            "Timestamp": int(time.time() * 1000),
            "CloudWatchMetrics": [
                {"Namespace": NAMESPACE, "Dimensions": [list(names) for names in sets], "Metrics": metrics}
                for sets, metrics in directives.items()
            ],
        },
        **dimensions,
        **{metric.name: value for metric, value in known},
    }
    sys.stdout.write(orjson.dumps(document).decode() + "\n")
    sys.stdout.flush()
