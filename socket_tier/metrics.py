"""Counters of the socket tier: Prometheus at ``/metrics``, and the same numbers as EMF lines once a minute."""

from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, generate_latest
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

from evpower import metrics as emf

registry = CollectorRegistry()

connected = Gauge("evpower_connected_stations", "Stations connected to this instance", registry=registry)
accepted = Counter("evpower_connections_total", "Sockets accepted", registry=registry)
refused = Counter("evpower_refused_connections_total", "Upgrades refused", ["status"], registry=registry)
unexpected_answers = Counter(
    "evpower_unexpected_answers_total", "CALLRESULT or CALLERROR that nobody waited for", registry=registry
)
unanswered = Counter(
    "evpower_unanswered_total", "Transaction messages left unanswered for want of a commit", registry=registry
)
flushed_rows = Counter("evpower_meter_rows_total", "Meter readings stored", registry=registry)
quarantined_rows = Counter("evpower_meter_rows_quarantined_total", "Meter readings refused by the database",
                           registry=registry)  # fmt: skip
flush_seconds = Histogram(
    "evpower_meter_flush_seconds",
    "Duration of one group commit",
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5),
    registry=registry,
)
_paced = Counter("evpower_paced_messages_total", "Messages that waited for their pace", ["action"], registry=registry)
_errors = Counter("evpower_call_errors_total", "CALLERRORs sent", ["code"], registry=registry)


class ActionTimes(Collector):
    """Durations by action. The library's histogram costs several microseconds an observation, this one half of one."""

    BOUNDS = (0.002, 0.005, 0.01, 0.025, 0.1, 0.5, 2.0, 10.0)

    def __init__(self) -> None:
        self._actions: dict[str, tuple[list[int], list[float]]] = {}  # counts by bucket, [sum]

    def observe(self, action: str, seconds: float) -> None:
        """Count one message; ``action`` comes from a routing table, never from outside."""
        found = self._actions.get(action)
        if found is None:
            found = self._actions[action] = ([0] * (len(self.BOUNDS) + 1), [0.0])
        found[0][bisect_left(self.BOUNDS, seconds)] += 1
        found[1][0] += seconds

    def collect(self) -> Iterator[Metric]:
        family = HistogramMetricFamily(
            "evpower_message_seconds", "Messages handled, from queue to answer", labels=["action"]
        )
        names = [*map(str, self.BOUNDS), "+Inf"]
        for action, (counts, total) in sorted(self._actions.items()):
            family.add_metric([action], list(zip(names, accumulate(counts), strict=True)), total[0])
        yield family


_messages = ActionTimes()
registry.register(_messages)
handled = _messages.observe


def call_errors(code: str) -> None:
    """Count one CALLERROR."""
    _errors.labels(code).inc()


def paced(action: str) -> None:
    """Count one message that waited; ``action`` comes from a routing table, never from outside."""
    _paced.labels(action).inc()


def exposition() -> bytes:
    """The Prometheus text format."""
    return generate_latest(registry)


class EmfReporter:
    """Writes what happened since its last call as CloudWatch metrics."""

    def __init__(self, instance_id: str) -> None:
        self._instance_id = instance_id
        self._before: dict[str, float] = {}

    def report(self) -> None:
        """One line of totals, one line per action with its count."""
        totals = {"ConnectedStations": float(connected._value.get())}  # noqa: SLF001 - no public reader exists
        per_action: dict[str, float] = {}
        for family in registry.collect():
            for sample in family.samples:
                if sample.name.endswith(("_created", "_bucket", "_sum")):
                    continue
                label = ",".join(sample.labels.values())
                if family.type == "gauge":
                    continue
                delta = sample.value - self._before.get(sample.name + label, 0.0)
                self._before[sample.name + label] = sample.value
                if sample.name == "evpower_message_seconds_count":
                    per_action[label] = delta
                elif delta:
                    name = _emf_name(sample.name)
                    totals[name] = totals.get(name, 0.0) + delta
        emf.emit(totals, service="socket-tier")
        for action, count in per_action.items():
            if count:
                emf.emit({"Messages": count}, service="socket-tier", action=action)


def _emf_name(prometheus_name: str) -> str:
    words = prometheus_name.removeprefix("evpower_").removesuffix("_total").split("_")
    return "".join(word.capitalize() for word in words)
