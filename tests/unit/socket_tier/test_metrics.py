"""The socket tier's numbers in both forms: Prometheus and EMF."""

from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram

from evpower.metric_names import CATALOGUE, resting
from socket_tier import metrics
from socket_tier.metrics import ActionTimes, EmfReporter, draw
from socket_tier.ocpp16.routes import DIALECT

# Gauges are written by name; they need no table.
GAUGES = {"evpower_connected_stations", "evpower_database_away", "evpower_redis_away"}


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> CollectorRegistry:
    """Counters of this test only."""
    fresh = CollectorRegistry()
    monkeypatch.setattr(metrics, "registry", fresh)
    return fresh


def written(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in capsys.readouterr().out.splitlines()]


def families() -> Iterator[tuple[str, list[str]]]:
    metrics.handled("Heartbeat", 0.001)
    metrics.call_errors("NotSupported")
    for family in metrics.registry.collect():
        yield family.name, [s.name for s in family.samples if not s.name.endswith(("_created", "_bucket", "_sum"))]


def test_every_prometheus_metric_has_its_place_in_cloudwatch() -> None:
    for name, samples in families():
        assert name in GAUGES or name in metrics.HISTOGRAMS or set(samples) <= metrics.COUNTERS.keys(), name
    for metric, dimension in (*metrics.COUNTERS.values(), *metrics.HISTOGRAMS.values()):
        assert CATALOGUE[metric].dimension_names == ({dimension} if dimension else frozenset()), metric
        assert CATALOGUE[metric].source == "socket tier"


def test_counters_are_written_as_what_happened_since(
    registry: CollectorRegistry, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = Counter("evpower_meter_rows_total", "x", registry=registry)
    refused = Counter("evpower_refused_connections_total", "x", ["status"], registry=registry)
    reporter = EmfReporter()
    for number, status in ((3, "404"), (4, "401"), (0, "")):
        rows.inc(number)
        if status:
            refused.labels(status).inc()
        reporter.report(is_database_away=False)
        lines = written(capsys)
        assert lines[0]["MeterRows"] == number
        assert [line["Status"] for line in lines if line.get("ConnectionsRefused")] == ([status] if status else [])


def test_labels_that_are_no_dimension_are_added_up(
    registry: CollectorRegistry, capsys: pytest.CaptureFixture[str]
) -> None:
    paced = Counter("evpower_paced_messages_total", "x", ["action"], registry=registry)
    paced.labels("Heartbeat").inc(2)
    paced.labels("StatusNotification").inc(3)
    EmfReporter().report()
    assert written(capsys)[0]["MessagesPaced"] == 5


def test_what_is_at_rest_is_written_as_zero(registry: CollectorRegistry, capsys: pytest.CaptureFixture[str]) -> None:
    EmfReporter(DIALECT.routes).report(is_database_away=True, is_redis_away=True)
    first, *rest = written(capsys)
    assert resting("socket tier").items() <= first.items()
    assert (first["DatabaseAway"], first["RedisAway"], first["ConnectedStations"]) == (1, 1, 0)
    assert {line["Action"] for line in rest if line.get("Messages") == 0} == set(DIALECT.routes)
    assert {line["Outcome"] for line in rest if line.get("CommandOutcomes") == 0} == set(metrics._OUTCOMES)


def test_the_last_report_measures_no_state(registry: CollectorRegistry, capsys: pytest.CaptureFixture[str]) -> None:
    EmfReporter().report()
    (first, *_) = written(capsys)
    assert "MeterRows" in first
    assert not {"ConnectedStations", "DatabaseAway", "RedisAway"} & first.keys()


def test_durations_leave_as_measurements_by_action(
    registry: CollectorRegistry, capsys: pytest.CaptureFixture[str]
) -> None:
    times = ActionTimes()
    registry.register(times)
    flush = Histogram("evpower_meter_flush_seconds", "x", buckets=(0.01, 0.1), registry=registry)
    for seconds in [0.001] * 980 + [0.3] * 20:
        times.observe("MeterValues", seconds)
    flush.observe(0.05)
    reporter = EmfReporter()
    reporter.report()
    lines = written(capsys)
    (durations,) = [line["MessageDuration"] for line in lines if line.get("Action") == "MeterValues"]
    assert len(durations) == 100
    assert (max(durations[:97]), min(durations[98:])) <= (2, 100.1)
    assert min(durations[98:]) >= 100
    assert lines[0]["MeterFlushDuration"] == [55]
    reporter.report()
    assert not any("MessageDuration" in line or "MeterFlushDuration" in line for line in written(capsys))


@given(st.lists(st.integers(min_value=0, max_value=5000), min_size=9, max_size=9))
def test_drawn_measurements_lie_in_their_buckets(counts: list[int]) -> None:
    bounds = [*ActionTimes.BOUNDS, float("inf")]
    cumulated = [(bound, float(sum(counts[: index + 1]))) for index, bound in enumerate(bounds)]
    values = draw(cumulated, 100)
    assert len(values) == min(100, sum(counts))
    assert values == sorted(values)
    for index, (bound, upto) in enumerate(cumulated[:-2]):  # what is beyond the last bound stands at it
        at_or_below = sum(value <= bound * 1000 + 0.01 for value in values)
        share = upto / max(sum(counts), 1) * len(values)
        assert abs(at_or_below - share) <= 1.0, (index, counts)


def test_prometheus_text_has_every_metric() -> None:
    metrics.handled("Heartbeat", 0.001)
    text = metrics.exposition().decode()
    for name in ("evpower_connected_stations", "evpower_message_seconds_bucket", "evpower_meter_rows_total"):
        assert f"\n{name}" in text
