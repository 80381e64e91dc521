"""Counters of the socket tier: Prometheus at ``/metrics``, and the same numbers as EMF lines once a minute."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

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
_errors = Counter("evpower_call_errors_total", "CALLERRORs sent", ["code"], registry=registry)
_messages = Histogram(
    "evpower_message_seconds",
    "Messages handled, from queue to answer",
    ["action"],
    buckets=(0.002, 0.005, 0.01, 0.025, 0.1, 0.5, 2, 10),
    registry=registry,
)
_by_action: dict[str, Histogram] = {}
_MAX_ACTIONS = 100  # labels come from the routing table only, so this is never reached by hostile names


def handled(action: str, seconds: float) -> None:
    """Count one answered message."""
    child = _by_action.get(action)
    if child is None:
        if len(_by_action) >= _MAX_ACTIONS:
            return
        child = _by_action[action] = _messages.labels(action)
    child.observe(seconds)


def call_errors(code: str) -> None:
    """Count one CALLERROR."""
    _errors.labels(code).inc()


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
