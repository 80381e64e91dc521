"""Reading our own metric lines as CloudWatch would, refusals included."""

import json
from pathlib import Path
from typing import Any

import pytest

from infra.local.emf import BadEmfError, Written, lines, written


def document(**changes: Any) -> str:
    directive = {
        "Namespace": "EvPower",
        "Dimensions": [[], ["Provider"]],
        "Metrics": [{"Name": "WebhooksAccepted", "Unit": "Count"}],
    }
    line = {"_aws": {"Timestamp": 1, "CloudWatchMetrics": [directive]}, "Provider": "ODENGI", "WebhooksAccepted": 2}
    return json.dumps(line | changes, separators=(",", ":"))


def test_each_set_of_dimensions_is_a_metric_of_its_own() -> None:
    assert list(written(document())) == [
        (Written("EvPower", "WebhooksAccepted", frozenset(), "Count"), [2]),
        (Written("EvPower", "WebhooksAccepted", frozenset({("Provider", "ODENGI")}), "Count"), [2]),
    ]
    assert next(written(document(WebhooksAccepted=[1, 2.5])))[1] == [1, 2.5]


@pytest.mark.parametrize(
    "changes",
    [
        {"WebhooksAccepted": None},
        {"WebhooksAccepted": "2"},
        {"WebhooksAccepted": True},
        {"WebhooksAccepted": []},
        {"WebhooksAccepted": [1] * 101},
        {"Provider": 7},
        {"Provider": ""},
        {"_aws": {"CloudWatchMetrics": []}},
    ],
    ids=str,
)
def test_what_cloudwatch_would_not_take_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(BadEmfError):
        list(written(document(**changes)))


def test_only_metric_lines_of_logs_are_read(tmp_path: Path) -> None:
    (tmp_path / "function-api.log").write_text('{"message": "x"}\n' + document() + "\nTraceback _aws\n")
    (tmp_path / "state.json").write_text(document())
    assert list(lines(tmp_path)) == [document() + "\n"]
