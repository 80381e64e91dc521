"""Every metric of the product: name, unit, dimensions and meaning. What is not here is not written.

The code that writes metrics, the dashboard and the alarms read this one list, so that an alarm cannot wait for a name
that nobody writes. Cardinality: CloudWatch bills each combination of name and dimension values as one metric, so a
dimension has a few values that the code chooses; a station, a client or a session is never one.
"""

from dataclasses import dataclass
from typing import Literal

NAMESPACE = "EvPower"
"""Where nothing else is said; a deployment sets POWERTOOLS_METRICS_NAMESPACE, so that stages do not mix."""

Unit = Literal["Count", "Milliseconds", "Seconds", "None"]
Source = Literal["functions", "socket tier", "both"]
Rest = Literal["zero", "silent"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    Args:
        name: its name in CloudWatch.
        unit: CloudWatch's unit. Som and kWh have none there and are "None"; the name says which it is.
        source: who writes it.
        meaning: one sentence for the operator.
        dimensions: sets of dimension names that each value is written under; () is the total.
        resting: "zero" is written as 0 (under the total) while nothing happens, so that an alarm on a failure that has
            never happened has data; "silent" is not, because a 0 would be a false measurement.
    """

    name: str
    unit: Unit
    source: Source
    meaning: str
    dimensions: tuple[tuple[str, ...], ...] = ((),)
    resting: Rest = "silent"

    @property
    def dimension_names(self) -> frozenset[str]:
        return frozenset(name for names in self.dimensions for name in names)


def _count(name: str, source: Source, meaning: str, *by: str) -> Metric:
    """Something that happens: a total, and the same by dimension."""
    return Metric(name, "Count", source, meaning, ((), by) if by else ((),), "zero")


def _split(name: str, unit: Unit, source: Source, meaning: str, *by: str) -> Metric:
    """Something that only makes sense by dimension."""
    return Metric(name, unit, source, meaning, (by,))


def _gauge(name: str, unit: Unit, source: Source, meaning: str) -> Metric:
    """A measured state; written each time it is measured."""
    return Metric(name, unit, source, meaning)


def _time(name: str, unit: Unit, source: Source, meaning: str, *by: str) -> Metric:
    """A duration; nothing is written while nothing happens."""
    return Metric(name, unit, source, meaning, ((), by) if by else ((),))


_CHARGING = (
    _count("StartsAccepted", "both", "starts whose money was reserved", "Source"),
    _count("ChargingsStarted", "socket tier", "StartTransaction bound to a session", "Source"),
    _count("StartsFailed", "both", "starts that ended without energy, by reason", "Reason"),
    _time("StartToCharge", "Milliseconds", "socket tier", "from the app's start to StartTransaction"),
    _count("SessionsSettled", "both", "sessions billed for the first time"),
    _count("SettlementsRevised", "both", "settled sessions whose bill a truer reading changed"),
    Metric("EnergyDeliveredKwh", "None", "both", "energy of sessions at their first settlement, kWh", resting="zero"),
    Metric("RevenueSom", "None", "both", "what settlements took for charging, som", resting="zero"),
    Metric("WrittenOffSom", "None", "both", "energy delivered that could not be collected, som", resting="zero"),
)
_MONEY = (
    _split("MoneyMovedSom", "None", "both", "ledger movements, som without sign, by type of the ledger row", "Type"),
    _count("TopUpsCredited", "functions", "top-ups credited"),
    _count("InvoicesCreated", "functions", "invoices that a driver can pay", "Provider"),
    _count("InvoicesNotCreated", "functions", "top-ups for which the provider gave no invoice", "Provider", "Outcome"),
    _count("PaymentChecks", "functions", "messages of the payment-checks queue worked on", "Outcome"),
    _count("PaymentChecksFailed", "functions", "messages of the payment-checks queue that ended with a fault"),
    _count("PaymentChecksNotQueued", "functions", "checks that SQS did not take; the sweep asks instead"),
    _count("PaymentsNotCredited", "functions", "approved payments that were not credited, by reason", "Reason"),
    _count("CardPaymentsNotMade", "functions", "card payments without an answer that ends them", "Provider", "Outcome"),
    _count("ProviderNotAnswering", "functions", "questions about a payment without an answer", "Provider"),
    _count("ProviderCalls", "functions", "calls to a provider, by how they ended", "Provider", "Outcome"),
    _time("ProviderCallDuration", "Milliseconds", "functions", "duration of a call to a provider", "Provider"),
    _count("RefundsNotDone", "functions", "refunds that the provider did not confirm", "Outcome"),
    _count("RefundsUnknown", "functions", "refunds asked about again without an answer"),
    _count("WebhooksAccepted", "functions", "signed callbacks that are safe in the inbox", "Provider"),
    _count("WebhooksRejected", "functions", "callbacks without a valid signature", "Provider"),
    _count("WebhooksMalformed", "functions", "signed callbacks that cannot be read", "Provider"),
    _count("WebhooksLimited", "functions", "unsigned callbacks refused by the rate limit", "Provider"),
    _count("WebhooksNotStored", "functions", "signed callbacks that could not be stored", "Provider"),
    _count("UnknownOrderCallbacks", "functions", "signed callbacks for an order that is not ours"),
    _count("UnconfirmedCallbacks", "functions", "callbacks that the provider's own status never confirmed"),
    _gauge("LedgerFindings", "Count", "functions", "what the ledger audit found wrong"),
    _gauge("LedgerDifferenceSom", "None", "functions", "sum of the differences that the ledger audit found, som"),
)
_MESSAGES = (
    Metric("Pushes", "Count", "functions", "push messages, by channel and by how they ended",
           ((), ("Outcome",), ("Channel", "Outcome")), "zero"),
    _count("PushesNotQueued", "both", "pushes that SQS did not take; the sweep hands them over"),
    _count("LoginCodesSent", "functions", "login codes handed to the SMS provider"),
    _count("LoginCodesNotSent", "functions", "login codes that the SMS provider did not take"),
    _count("LoginCodesRefused", "functions", "login codes that a cap or the list of countries refused", "Reason"),
)  # fmt: skip
_STATE = (
    _gauge("StationsOnline", "Count", "functions", "active stations heard within STATION_OFFLINE_AFTER_S"),
    _gauge("StationsExpected", "Count", "functions", "active stations that have ever connected"),
    _gauge("HearingLasts", "Seconds", "functions", "time in which chargers were audible without a gap"),
    _gauge("LiveSessions", "Count", "functions", "sessions that hold a connector"),
    _gauge("OldestPendingStartAge", "Seconds", "functions", "age of the oldest start that still waits for its charger"),
    _gauge("OldestCommandAge", "Seconds", "functions", "age of the oldest open command of a connected station"),
    _gauge("OldestCallbackAge", "Seconds", "functions", "age of the oldest callback that has not been worked on"),
    _gauge("OldestPushAge", "Seconds", "functions", "age of the oldest notification that is due"),
    _gauge("RefundsOpen", "Count", "functions", "refunds older than 15 minutes without a known end"),
    _gauge("SessionsForReview", "Count", "functions", "sessions that wait for an operator's look"),
    _gauge("MessagesQuarantined", "Count", "functions", "charger messages put aside that nobody has dealt with"),
    _gauge("CertificatesExpiring", "Count", "functions", "certificates that end within the warning time"),
)
_RUNNING = (
    _split("SweepRuns", "Count", "functions", "runs of a sweep that ended well", "Sweep"),
    _count("SweepFailed", "functions", "runs of a sweep that ended with a fault", "Sweep"),
    _split("SweepDuration", "Milliseconds", "functions", "duration of a sweep", "Sweep"),
    _split("SweepFindings", "Count", "functions", "what a sweep found and did, by its own words", "Sweep", "Finding"),
    _count("ColdStarts", "functions", "invocations that started a process", "Function"),
    _count("DatabaseAway", "both", "functions: connections refused; socket tier: probes without an answer"),
    _count("RedisAway", "both", "functions: calls without an answer; socket tier: instances that work without it"),
)
_SOCKETS = (
    _gauge("ConnectedStations", "Count", "socket tier", "stations connected, once a minute from each instance"),
    _count("ConnectionsAccepted", "socket tier", "chargers' sockets accepted"),
    _count("ConnectionsRefused", "socket tier", "upgrades refused, by HTTP status", "Status"),
    _count("Messages", "socket tier", "messages of chargers answered", "Action"),
    _split("MessageDuration", "Milliseconds", "socket tier", "from the message to its answer", "Action"),
    _count("CallErrors", "socket tier", "CALLERRORs sent to chargers", "Code"),
    _count("UnansweredMessages", "socket tier", "transaction messages left unanswered for want of a commit"),
    _count("UnexpectedAnswers", "socket tier", "answers of chargers that nobody waited for"),
    _count("MessagesPaced", "socket tier", "messages that waited, because the charger sends too many"),
    _count("MessagesLogged", "socket tier", "entries written to the message log"),
    _count("MessagesUnlogged", "socket tier", "entries that the message log left out", "Reason"),
    _count("MeterRows", "socket tier", "meter readings stored"),
    _count("MeterRowsQuarantined", "socket tier", "meter messages that the database refused"),
    _count("MeterMessagesLocked", "socket tier", "times that readings were set aside while their session was locked"),
    _count("DatabaseConnectionsSilent", "socket tier", "database connections given up because no answer came"),
    _count("BackgroundRestarts", "socket tier", "background work that stood or ended, and began anew"),
    _time("MeterFlushDuration", "Milliseconds", "socket tier", "duration of one group commit of meter readings"),
    Metric("CommandOutcomes", "Count", "socket tier", "commands by how they ended",
           (("Outcome",), ("Action", "Outcome"))),
    _time("CommandDuration", "Milliseconds", "socket tier", "from the command's creation to its end", "Action"),
)  # fmt: skip

CATALOGUE: dict[str, Metric] = {
    metric.name: metric for metric in (*_CHARGING, *_MONEY, *_MESSAGES, *_STATE, *_RUNNING, *_SOCKETS)
}


def resting(*sources: Source) -> dict[str, float]:
    """The zeros of what has a total and happens at these sources."""
    return {metric.name: 0 for metric in CATALOGUE.values() if metric.resting == "zero" and metric.source in sources}
