"""Counters of the socket tier: Prometheus at ``/metrics``, and the same numbers as EMF lines once a minute.

``docs/operations/metrics.md`` lists both.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, generate_latest
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

from evpower import metrics as emf
from evpower.metric_names import resting

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
quarantined_rows = Counter("evpower_meter_rows_quarantined_total", "Meter messages refused by the database",
                           registry=registry)  # fmt: skip
flush_seconds = Histogram(
    "evpower_meter_flush_seconds",
    "Duration of one group commit",
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5),
    registry=registry,
)
silent_connections = Counter(
    "evpower_silent_connections_total", "Database connections thrown away because no answer came", registry=registry
)
background_restarts = Counter(
    "evpower_background_restarts_total", "Background work that stood or ended and began anew", registry=registry
)
locked_rows = Counter(
    "evpower_meter_messages_locked_total", "Meter messages set aside while their session was locked", registry=registry
)
database_away = Gauge("evpower_database_away", "1 while PostgreSQL does not answer this instance", registry=registry)
redis_away = Gauge("evpower_redis_away", "1 while this instance works without Redis", registry=registry)
_paced = Counter("evpower_paced_messages_total", "Messages that waited for their pace", ["action"], registry=registry)
logged_messages = Counter("evpower_logged_messages_total", "Entries written to the message log", registry=registry)
_unlogged = Counter(
    "evpower_unlogged_messages_total", "Entries that the message log left out", ["reason"], registry=registry
)
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


def unlogged(reason: str, count: int = 1) -> None:
    """Count entries that are not in the message log: ``backlog``, ``flood``, ``refused`` or ``shutdown``."""
    _unlogged.labels(reason).inc(count)


def exposition() -> bytes:
    """The Prometheus text format."""
    return generate_latest(registry)


# Prometheus sample -> metric of the catalogue, and the dimension that the label becomes.
COUNTERS: dict[str, tuple[str, str | None]] = {
    "evpower_connections_total": ("ConnectionsAccepted", None),
    "evpower_refused_connections_total": ("ConnectionsRefused", "Status"),
    "evpower_unexpected_answers_total": ("UnexpectedAnswers", None),
    "evpower_unanswered_total": ("UnansweredMessages", None),
    "evpower_meter_rows_total": ("MeterRows", None),
    "evpower_meter_rows_quarantined_total": ("MeterRowsQuarantined", None),
    "evpower_meter_messages_locked_total": ("MeterMessagesLocked", None),
    "evpower_silent_connections_total": ("DatabaseConnectionsSilent", None),
    "evpower_background_restarts_total": ("BackgroundRestarts", None),
    "evpower_paced_messages_total": ("MessagesPaced", None),
    "evpower_logged_messages_total": ("MessagesLogged", None),
    "evpower_unlogged_messages_total": ("MessagesUnlogged", "Reason"),
    "evpower_call_errors_total": ("CallErrors", "Code"),
    "evpower_message_seconds_count": ("Messages", "Action"),
}
HISTOGRAMS: dict[str, tuple[str, str | None]] = {
    "evpower_meter_flush_seconds": ("MeterFlushDuration", None),
    "evpower_message_seconds": ("MessageDuration", "Action"),
}
MEASUREMENTS = 100
"""Values that stand for a histogram in one EMF line; the format takes no more."""

_OUTCOMES = ("accepted", "rejected", "failed", "timed_out")  # the dispatcher counts them when they happen

_Split = dict[tuple[str, str], dict[str, emf.Value]]


class EmfReporter:
    """Writes what happened since its last call as CloudWatch metrics.

    Counters are written also when they are 0: an alarm on a failure that has never happened needs data.
    ``actions`` are those of the routing tables.
    """

    def __init__(self, actions: Iterable[str] = ()) -> None:
        self._actions = tuple(actions)
        self._before: dict[tuple[str, tuple[str, ...]], float] = {}

    def report(self, *, is_database_away: bool | None = None, is_redis_away: bool = False) -> None:
        """All metrics of this process. ``is_database_away`` of None: the last report, which measures no state.

        A state written at the end of an instance would be counted together with that of its successor.
        """
        values: dict[str, emf.Value] = dict(resting("socket tier"))
        if is_database_away is not None:
            database_away.set(is_database_away)
            redis_away.set(is_redis_away)
            values["ConnectedStations"] = float(connected._value.get())  # noqa: SLF001 - no public reader exists
            values |= {"DatabaseAway": float(is_database_away), "RedisAway": float(is_redis_away)}
        split: _Split = {("Outcome", outcome): {"CommandOutcomes": 0.0} for outcome in _OUTCOMES}
        split |= {("Action", action): {"Messages": 0.0} for action in self._actions}
        for family in registry.collect():
            self._count(family, values, split)
            self._measure(family, values, split)
        emf.emit(values)
        for (dimension, label), by_label in split.items():
            emf.emit(by_label, **{dimension: label})

    def _count(self, family: Metric, values: dict[str, emf.Value], split: _Split) -> None:
        for sample in family.samples:
            if sample.name not in COUNTERS:
                continue
            metric, dimension = COUNTERS[sample.name]
            labels = tuple(sample.labels.values())
            delta = self._delta(sample.name, labels, sample.value)
            if dimension is None:
                values[metric] = float(values.get(metric, 0.0)) + delta  # type: ignore[arg-type]
            elif delta:
                split.setdefault((dimension, labels[0]), {})[metric] = delta

    def _measure(self, family: Metric, values: dict[str, emf.Value], split: _Split) -> None:
        if family.name not in HISTOGRAMS:
            return
        metric, dimension = HISTOGRAMS[family.name]
        buckets: dict[str, list[tuple[float, float]]] = {}
        for sample in family.samples:
            if sample.name.endswith("_bucket"):
                count = self._delta(sample.name, tuple(sample.labels.values()), sample.value)
                label = sample.labels[dimension.lower()] if dimension else ""
                buckets.setdefault(label, []).append((float(sample.labels["le"]), count))
        for label, cumulated in buckets.items():
            if drawn := draw(cumulated, MEASUREMENTS):
                (values if dimension is None else split.setdefault((dimension, label), {}))[metric] = drawn

    def _delta(self, name: str, labels: tuple[str, ...], value: float) -> float:
        key = (name, labels)
        delta = value - self._before.get(key, 0.0)
        self._before[key] = value
        return delta


def draw(cumulated: Sequence[tuple[float, float]], most: int) -> list[float]:
    """Up to ``most`` measurements in milliseconds with the distribution of a histogram.

    ``cumulated`` has the upper bounds in seconds with the number of observations up to each. Within a bucket the values
    are spread evenly; those beyond the last bound stand at it. Percentiles of the result are as exact as the buckets.
    """
    total = cumulated[-1][1]
    number = min(most, round(total))
    values = []
    for index in range(number):
        rank = (index + 0.5) * total / number
        lower, below = 0.0, 0.0
        for upper, count in cumulated:
            if count >= rank:
                width = 0.0 if upper == float("inf") else upper - lower
                values.append(lower + width * (rank - below) / (count - below))
                break
            lower, below = upper, count
    return [round(value * 1000, 2) for value in values]
