"""What is written of a metric, when, and that every call in the code names a metric of the catalogue."""

import ast
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from evpower import metrics
from evpower.db.commit_hooks import CommitHooks
from evpower.metric_names import CATALOGUE, Metric, resting

ROOT = Path(__file__).resolve().parents[3]
CODE = [ROOT / "functions", ROOT / "socket_tier", ROOT / "layers/evpower/python/evpower"]


def written(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in capsys.readouterr().out.splitlines() if '"_aws"' in line]


def test_a_metric_is_written_under_its_sets_of_dimensions(capsys: pytest.CaptureFixture[str]) -> None:
    metrics.emit({"Pushes": 2}, Channel="fcm", Outcome="Delivered")
    (line,) = written(capsys)
    assert line["Pushes"] == 2
    assert (line["Channel"], line["Outcome"]) == ("fcm", "Delivered")
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    assert directive == {
        "Namespace": "EvPower",
        "Dimensions": [[], ["Outcome"], ["Channel", "Outcome"]],
        "Metrics": [{"Name": "Pushes", "Unit": "Count"}],
    }
    assert abs(line["_aws"]["Timestamp"] / 1000 - time.time()) < 60


def test_units_and_sets_may_differ_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    metrics.emit({"SweepRuns": 1, "SweepDuration": 12.5, "SweepFailed": 0}, Sweep="housekeeping")
    (line,) = written(capsys)
    by_sets = {str(d["Dimensions"]): d["Metrics"] for d in line["_aws"]["CloudWatchMetrics"]}
    assert by_sets == {
        "[['Sweep']]": [
            {"Name": "SweepRuns", "Unit": "Count"},
            {"Name": "SweepDuration", "Unit": "Milliseconds"},
        ],
        "[[], ['Sweep']]": [{"Name": "SweepFailed", "Unit": "Count"}],
    }


def test_a_set_whose_dimension_is_missing_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    metrics.emit({"WebhooksAccepted": 0, "SweepRuns": 1})
    (line,) = written(capsys)
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    assert (directive["Dimensions"], directive["Metrics"]) == ([[]], [{"Name": "WebhooksAccepted", "Unit": "Count"}])


@pytest.mark.parametrize(("name", "dimensions"), [("NobodyKnows", {}), ("WebhooksAccepted", {"Station": "s-1"})])
def test_what_is_not_in_the_catalogue_is_refused_without_an_exception(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, name: str, dimensions: dict[str, str]
) -> None:
    with caplog.at_level(logging.ERROR):
        metrics.emit({name: 1}, **dimensions)
    assert written(capsys) == []
    assert [record.__dict__["metric"] for record in caplog.records] == [name]


def test_no_more_values_than_the_format_takes(capsys: pytest.CaptureFixture[str]) -> None:
    metrics.emit({"MeterFlushDuration": [float(number) for number in range(250)]})
    (line,) = written(capsys)
    assert line["MeterFlushDuration"] == [float(number) for number in range(100)]


async def test_money_is_counted_once_and_only_after_the_commit(capsys: pytest.CaptureFixture[str]) -> None:
    rolled_back = CommitHooks()
    metrics.emit_after_commit({"MoneyMovedSom": 50.0}, Type="balance_topup")
    rolled_back.close()  # never run: the transaction was rolled back
    hooks = CommitHooks()
    metrics.emit_after_commit({"MoneyMovedSom": 20.0}, Type="balance_topup")
    metrics.emit_after_commit({"MoneyMovedSom": 5.25}, Type="charge_refund")
    metrics.emit_after_commit({"MoneyMovedSom": 0.5}, Type="balance_topup")
    hooks.close()
    assert written(capsys) == []
    await hooks.run()
    assert {line["Type"]: line["MoneyMovedSom"] for line in written(capsys)} == {
        "balance_topup": 20.5,
        "charge_refund": 5.25,
    }


def test_outside_a_unit_of_work_nothing_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    metrics.emit_after_commit({"RevenueSom": 1.0})
    assert written(capsys) == []


def test_nothing_at_rest_has_a_unit_that_a_zero_would_falsify() -> None:
    zeros = resting("functions", "both", "socket tier")
    assert set(zeros.values()) == {0}
    for name in zeros:
        assert CATALOGUE[name].unit in {"Count", "None"}
        assert () in CATALOGUE[name].dimensions
        assert not name.startswith("Oldest")


@pytest.mark.parametrize("metric", CATALOGUE.values(), ids=CATALOGUE.keys())
def test_the_catalogue_obeys_cloudwatch(metric: Metric) -> None:
    assert metric.name.isidentifier()
    assert all(len(names) <= 3 for names in metric.dimensions)
    assert not metric.dimension_names & {"Station", "Client", "Session", "StationId", "Instance"}
    assert metric.meaning
    assert not metric.meaning.endswith(".")


Call = tuple[str, set[str], set[str]]


def calls() -> Iterator[Call]:
    """(place, metric names, dimensions) of every emission with literal names in the code of the product."""
    for path in (file for folder in CODE for file in sorted(folder.rglob("*.py"))):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and _called(node.func) in {"emit", "emit_after_commit"} and node.args:
                values = node.args[0]
                names = {
                    constant.value
                    for key in (values.keys if isinstance(values, ast.Dict) else [])
                    for constant in ast.walk(key or ast.Constant(None))
                    if isinstance(constant, ast.Constant) and isinstance(constant.value, str)
                }
                dimensions = {keyword.arg for keyword in node.keywords if keyword.arg}
                if names:
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", names, dimensions


def _called(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def test_the_code_writes_only_what_the_catalogue_has() -> None:
    found = list(calls())
    assert len(found) > 30
    wrong = [
        f"{place}: {name} {sorted(dimensions)}"
        for place, names, dimensions in found
        for name in names
        if name not in CATALOGUE or CATALOGUE[name].dimension_names != dimensions
    ]
    assert wrong == []


def test_every_metric_is_written_somewhere() -> None:
    from evpower.db import vital_signs
    from socket_tier.metrics import COUNTERS, HISTOGRAMS

    literal = {name for _, names, _ in calls() for name in names}
    tier = {name for name, _ in (*COUNTERS.values(), *HISTOGRAMS.values())}
    reporter = (ROOT / "socket_tier/metrics.py").read_text()
    measured = {name for name in CATALOGUE if f'"{name}"' in vital_signs._QUERY or f'"{name}"' in reporter}
    assert set(CATALOGUE) - literal - tier - measured == set()
