"""The dashboard as data: from what drivers and the books feel (top) down to the causes."""

from collections.abc import Iterator
from dataclasses import dataclass

from infra.observability.series import Drawn, Formula, aws, own, ratio
from infra.schedules import SCHEDULES
from infra.stacks.monitored import MonitoredResources


@dataclass(frozen=True, slots=True)
class Widget:
    """One picture. ``numbers``: the latest values instead of lines. ``limit``: a line that should not be passed."""

    title: str
    left: tuple[Drawn, ...]
    right: tuple[Drawn, ...] = ()
    unit: str = ""
    period_s: int = 60
    numbers: bool = False
    limit: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A heading with a sentence on how to read it, and its widgets side by side (24 columns in all)."""

    heading: str
    widgets: tuple[Widget, ...]


def rows(resources: MonitoredResources) -> list[Row]:
    """The whole dashboard."""
    found = [_now(), _drivers(), _money(), _payments(), _chargers(), _commands(), _sweeps()]
    return [*found, *_causes(resources)]


def _now() -> Row:
    return Row(
        "Are drivers charging? Is the money right?",
        (
            Widget("Stations online", (own("StationsOnline", "Maximum", "online"),), numbers=True),
            Widget("Live sessions", (own("LiveSessions", "Maximum", "sessions"),), numbers=True),
            Widget("Charges begun in the last hour", (own("ChargingsStarted"),), period_s=3600, numbers=True),
            Widget("Revenue in the last day, som", (own("RevenueSom"),), period_s=86_400, numbers=True),
            Widget("Ledger findings", (own("LedgerFindings", "Maximum", "findings"),), period_s=3600, numbers=True),
            Widget(
                "Waits for an operator",
                (
                    own("SessionsForReview", "Maximum", "sessions"),
                    own("MessagesQuarantined", "Maximum", "messages"),
                    own("RefundsOpen", "Maximum", "refunds"),
                ),
                numbers=True,
            ),
        ),
    )


def _drivers() -> Row:
    return Row(
        "Drivers: a start that is accepted should become a charge within a minute, and never fail",
        (
            Widget(
                "Starts",
                (own("StartsAccepted", label="accepted"), own("ChargingsStarted", label="charging")),
                (own("StartsFailed", label="failed"),),
                period_s=300,
            ),
            Widget(
                "Start to charge",
                (own("StartToCharge", "p50", "median"), own("StartToCharge", "p90", "90 %")),
                unit="ms",
                period_s=300,
                limit=120_000,
            ),
            Widget(
                "Stations",
                (
                    own("StationsOnline", "Maximum", "online"),
                    own("StationsExpected", "Maximum", "known"),
                    own("ConnectedStations", "Sum", "sockets"),
                ),
                (own("HearingLasts", "Maximum", "heard without a gap, s"),),
            ),
            Widget(
                "Oldest start and command that wait",
                (
                    own("OldestPendingStartAge", "Maximum", "start"),
                    own("OldestCommandAge", "Maximum", "command"),
                ),
                unit="s",
                limit=180,
            ),
        ),
    )


def _money() -> Row:
    moved = [("balance_topup", "top-ups"), ("charge_reserve", "reserved"), ("charge_refund", "returned")]
    return Row(
        "Money in som: what is reserved comes back as revenue and refund; differences and write-offs should be 0",
        (
            Widget(
                "Ledger movements",
                tuple(own("MoneyMovedSom", label=label, Type=kind) for kind, label in moved),
                unit="som",
                period_s=300,
            ),
            Widget(
                "Revenue and energy",
                (own("RevenueSom", label="revenue, som"),),
                (own("EnergyDeliveredKwh", label="energy, kWh"),),
                period_s=3600,
            ),
            Widget(
                "Settlements",
                (own("SessionsSettled", label="settled"), own("SettlementsRevised", label="revised")),
                (own("WrittenOffSom", label="written off, som"),),
                period_s=3600,
            ),
            Widget(
                "Ledger audit",
                (own("LedgerFindings", "Maximum", "findings"),),
                (own("LedgerDifferenceSom", "Maximum", "difference, som"),),
                period_s=3600,
                limit=1,
            ),
        ),
    )


def _payments() -> Row:
    return Row(
        "Payments: invoices -> callbacks -> checks -> credit",
        (
            Widget(
                "Top-ups",
                (own("InvoicesCreated", label="invoices"), own("TopUpsCredited", label="credited")),
                (own("InvoicesNotCreated", label="no invoice"),),
                period_s=300,
            ),
            Widget(
                "Callbacks",
                (own("WebhooksAccepted", label="accepted"),),
                (
                    own("WebhooksRejected", label="bad signature"),
                    own("WebhooksMalformed", label="unreadable"),
                    own("WebhooksLimited", label="limited"),
                    own("WebhooksNotStored", label="not stored"),
                ),
                period_s=300,
            ),
            Widget(
                "Provider",
                (own("ProviderCallDuration", "p50", "median"), own("ProviderCallDuration", "p99", "99 %")),
                (own("ProviderNotAnswering", label="no answer"), own("ProviderCalls", label="calls")),
                unit="ms",
                period_s=300,
            ),
            Widget(
                "Money that needs somebody",
                (
                    own("UnknownOrderCallbacks", label="unknown order"),
                    own("UnconfirmedCallbacks", label="unconfirmed"),
                    own("PaymentsNotCredited", label="not credited"),
                    own("RefundsUnknown", label="refund unknown"),
                    own("RefundsNotDone", label="refund not done"),
                    own("CardPaymentsNotMade", label="card not charged"),
                ),
                (own("OldestCallbackAge", "Maximum", "oldest callback, s"),),
                period_s=300,
            ),
            Widget(
                "Checks and messages to people",
                (
                    own("PaymentChecks", label="checks"),
                    own("Pushes", label="pushes"),
                    own("LoginCodesSent", label="login codes"),
                ),
                (
                    own("PaymentChecksFailed", label="checks failed"),
                    own("PaymentChecksNotQueued", label="checks not queued"),
                    own("PushesNotQueued", label="pushes not queued"),
                    own("LoginCodesNotSent", label="codes not sent"),
                    own("LoginCodesRefused", label="codes refused"),
                    own("OldestPushAge", "Maximum", "oldest push, s"),
                ),
                period_s=300,
            ),
        ),
    )


def _chargers() -> Row:
    actions = (
        "MeterValues",
        "StartTransaction",
        "StopTransaction",
        "StatusNotification",
        "Heartbeat",
        "BootNotification",
    )
    return Row(
        "Chargers: messages, how fast they are answered, and what is refused",
        (
            Widget("Messages", tuple(own("Messages", label=name, Action=name) for name in actions)),
            Widget(
                "Answer time, 95 %",
                tuple(own("MessageDuration", "p95", name, Action=name) for name in actions[:4]),
                unit="ms",
                limit=2000,
            ),
            Widget(
                "Refused and put aside",
                (
                    own("CallErrors", label="CALLERRORs"),
                    own("UnansweredMessages", label="unanswered"),
                    own("UnexpectedAnswers", label="unexpected answers"),
                    own("MeterRowsQuarantined", label="meter quarantined"),
                    own("MeterMessagesLocked", label="waiting for a lock"),
                    own("MessagesPaced", label="slowed down"),
                    own("MessagesUnlogged", label="not in the log"),
                ),
                (ratio(own("CallErrors"), own("Messages"), "% refused"),),
            ),
            Widget(
                "Connections and meter",
                (own("ConnectionsAccepted", label="opened"), own("ConnectionsRefused", label="refused")),
                (own("MeterRows", label="readings"), own("MeterFlushDuration", "p95", "commit 95 %, ms")),
            ),
        ),
    )


def _commands() -> Row:
    outcomes = ("accepted", "rejected", "failed", "timed_out")
    return Row(
        "Commands to chargers",
        (
            Widget("Outcomes", tuple(own("CommandOutcomes", label=o, Outcome=o) for o in outcomes), period_s=300),
            Widget(
                "From creation to the end",
                (own("CommandDuration", "p50", "median"), own("CommandDuration", "p95", "95 %")),
                unit="ms",
                period_s=300,
            ),
            Widget(
                "Found by the redelivery sweep",
                tuple(
                    own("SweepFindings", label=finding, Sweep="command_redelivery", Finding=finding)
                    for finding in ("sent_again", "failed", "expired")
                ),
                period_s=300,
            ),
        ),
    )


def _sweeps() -> Row:
    hanging = (
        "stops_by_card",
        "never_started",
        "too_long",
        "station_offline",
        "readings_overdue",
        "stop_unanswered",
        "late_readings",
        "left_open",
    )
    return Row(
        "Sweeps: each line should be there; what they find is what the fast paths missed",
        (
            Widget(
                "Runs",
                tuple(own("SweepRuns", label=schedule.name, Sweep=schedule.name) for schedule in SCHEDULES),
                (own("SweepFailed", label="failed"),),
                period_s=300,
            ),
            Widget(
                "Duration",
                tuple(own("SweepDuration", "Maximum", schedule.name, Sweep=schedule.name) for schedule in SCHEDULES),
                unit="ms",
                period_s=300,
            ),
            Widget(
                "Hanging sessions",
                tuple(own("SweepFindings", label=name, Sweep="hanging_sessions", Finding=name) for name in hanging),
                period_s=300,
            ),
            Widget("Certificates that end soon", (own("CertificatesExpiring", "Maximum"),), period_s=3600),
        ),
    )


def _causes(resources: MonitoredResources) -> Iterator[Row]:
    by_function = {short: {"FunctionName": function.name} for short, function in resources.functions.items()}
    cold = tuple(own("ColdStarts", label=short, Function=short) for short in resources.functions)
    yield Row(
        "Functions",
        (
            Widget("Invocations", tuple(aws("Lambda", "Invocations", "Sum", s, **d) for s, d in by_function.items())),
            Widget(
                "Errors and throttles",
                tuple(aws("Lambda", "Errors", "Sum", f"{s} errors", **d) for s, d in by_function.items()),
                tuple(aws("Lambda", "Throttles", "Sum", f"{s} throttled", **d) for s, d in by_function.items()),
            ),
            Widget(
                "Duration, 99 %",
                tuple(aws("Lambda", "Duration", "p99", s, **d) for s, d in by_function.items()),
                unit="ms",
            ),
            Widget("Cold starts", cold, period_s=300),
        ),
    )
    yield Row("Gateway, queues, edge", tuple(_edge(resources)))
    yield Row("Database, Redis, containers", tuple(_below(resources)))


def _edge(resources: MonitoredResources) -> Iterator[Widget]:
    api = {"ApiName": resources.api.name, "Stage": resources.api.stage}
    yield Widget(
        "API",
        (aws("ApiGateway", "Count", "Sum", "calls", **api),),
        (
            aws("ApiGateway", "4XXError", "Sum", "4xx", **api),
            aws("ApiGateway", "5XXError", "Sum", "5xx", **api),
        ),
    )
    latency = tuple(aws("ApiGateway", "Latency", stat, f"{stat}", **api) for stat in ("p50", "p99"))
    yield Widget("API answer time", latency, unit="ms")
    yield Widget(
        "Age of the oldest message",
        tuple(
            aws("SQS", "ApproximateAgeOfOldestMessage", "Maximum", short, QueueName=queue.name)
            for short, queue in resources.queues.items()
        ),
        unit="s",
    )
    yield Widget(
        "Dead letters",
        tuple(
            aws("SQS", "ApproximateNumberOfMessagesVisible", "Maximum", short, QueueName=queue.dead_letter_name)
            for short, queue in resources.queues.items()
        ),
        limit=1,
    )


def _below(resources: MonitoredResources) -> Iterator[Widget]:
    away = (
        own("DatabaseAway", label="PostgreSQL"),
        own("RedisAway", label="Redis"),
        own("DatabaseConnectionsSilent", label="connections without an answer"),
        own("BackgroundRestarts", label="work begun anew"),
    )
    yield Widget("Away", away, limit=1)
    if resources.database is not None:
        by = {"DBInstanceIdentifier": resources.database.identifier}
        yield Widget(
            "Database",
            (
                aws("RDS", "CPUUtilization", "Average", "CPU %", **by),
                aws("RDS", "DatabaseConnections", "Maximum", "connections", **by),
            ),
            (
                Formula("free / 1073741824", {"free": aws("RDS", "FreeStorageSpace", "Minimum", **by)}, "free, GiB"),
                aws("RDS", "ReadLatency", "Average", "read latency, s", **by),
            ),
        )
    if resources.cache is not None:
        nodes = [(node, {"CacheClusterId": node}) for node in resources.cache.node_ids]
        memory = (aws("ElastiCache", "DatabaseMemoryUsagePercentage", "Maximum", f"{n} %", **d) for n, d in nodes)
        evicted = (aws("ElastiCache", "Evictions", "Sum", f"{n} evicted", **d) for n, d in nodes)
        yield Widget("Redis memory", tuple(memory), tuple(evicted))
    if resources.socket_tier is not None:
        tier = resources.socket_tier
        service = {"ClusterName": tier.cluster, "ServiceName": tier.service}
        balancer = {"LoadBalancer": tier.load_balancer}
        targets = balancer | {"TargetGroup": tier.target_group}
        yield Widget(
            "Containers",
            (
                aws("ECS", "CPUUtilization", "Average", "CPU %", **service),
                aws("ECS", "MemoryUtilization", "Average", "memory %", **service),
            ),
            (aws("ApplicationELB", "HealthyHostCount", "Minimum", "healthy", **targets),),
        )
        yield Widget(
            "Load balancer",
            (aws("ApplicationELB", "ActiveConnectionCount", "Sum", "connections", **balancer),),
            (
                aws("ApplicationELB", "HTTPCode_ELB_5XX_Count", "Sum", "5xx of its own", **balancer),
                aws("ApplicationELB", "HTTPCode_Target_5XX_Count", "Sum", "5xx of containers", **balancer),
            ),
        )
