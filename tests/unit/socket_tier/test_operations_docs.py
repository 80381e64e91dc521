"""The Grafana dashboard and docs/operations/metrics.md name exactly what the code offers."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from evpower.metric_names import CATALOGUE
from socket_tier import metrics

OPERATIONS = Path(__file__).resolve().parents[3] / "docs/operations"


def samples() -> dict[str, set[str]]:
    """Sample name -> its labels, of a process in which everything has happened once."""
    metrics.handled("Heartbeat", 0.001)
    metrics.call_errors("NotSupported")
    metrics.paced("Heartbeat")
    metrics.refused.labels("404").inc()
    metrics.unlogged("flood")
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(metrics.exposition().decode()):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def panels() -> list[dict[str, Any]]:
    board = json.loads((OPERATIONS / "grafana.json").read_text())
    assert board["schemaVersion"] >= 39
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    return [panel for panel in board["panels"] if panel["type"] != "row"]


@pytest.mark.parametrize("panel", panels(), ids=lambda panel: panel["title"])
def test_every_expression_names_what_the_socket_tier_exposes(panel: dict[str, Any]) -> None:
    known = samples()
    assert panel["targets"]
    for target in panel["targets"]:
        expression = target["expr"]
        names = set(re.findall(r"evpower_\w+", expression))
        assert names
        assert names <= known.keys(), names - known.keys()
        (name,) = names
        grouped = {
            label.strip() for labels in re.findall(r"by \(([^)]*)\)", expression) for label in labels.split(",")
        } - {"instance"}  # Prometheus adds it
        assert grouped <= known[name], expression
        shown = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) - {"instance"}
        assert shown <= known[name], target["legendFormat"]
        assert expression.count("(") == expression.count(")")
        assert ("rate(" in expression) == name.endswith(("_total", "_count", "_bucket"))


def test_the_board_shows_every_metric() -> None:
    shown = " ".join(target["expr"] for panel in panels() for target in panel["targets"])
    missing = {
        name
        for name in samples()
        if name.startswith("evpower_") and not name.endswith(("_sum", "_created", "_bucket", "_count"))
    }
    assert {name for name in missing if name not in shown} == set()


def test_the_page_lists_the_catalogue_and_prometheus() -> None:
    text = (OPERATIONS / "metrics.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]*) \|", text, flags=re.MULTILINE))
    assert CATALOGUE.keys() <= rows.keys()
    for metric in CATALOGUE.values():
        assert rows[metric.name] == metric.unit, metric.name
    exposed = {family.name for family in metrics.registry.collect()}
    families = {name.removesuffix("_total") for name in rows if name.startswith("evpower_")}
    assert families == {name.removesuffix("_total") for name in exposed}
