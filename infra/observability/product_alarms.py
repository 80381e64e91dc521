"""Alarms on the product's own metrics: drivers, money, messages, chargers, sweeps."""

from collections.abc import Iterator

from infra.observability.alarm import DAY, HOUR, MINUTE, Alarm
from infra.observability.series import Formula, aws, own, ratio
from infra.schedules import SCHEDULES
from infra.stacks.monitored import MonitoredResources


def product_alarms(resources: MonitoredResources) -> Iterator[Alarm]:
    """What drivers, the owner's books and chargers feel, whatever causes it."""
    yield from _drivers()
    yield from _money(resources)
    yield from _messages()
    yield from _chargers()
    yield from _sweeps()


def _drivers() -> Iterator[Alarm]:
    online, expected = own("StationsOnline", "Minimum"), own("StationsExpected", "Maximum")
    yield Alarm(
        "no-stations-online",
        "not one charger is connected: nobody can charge",
        Formula(
            "IF(expected >= 1 AND online < 1, 1, 0)", {"online": online, "expected": expected}, "no station online"
        ),
        1,
        MINUTE,
        3,
        severity="page",
    )
    yield Alarm(
        "stations-dropped",
        "more than half of the chargers are not heard from",
        Formula(
            "IF(expected >= 4, 100 * online / expected, 100)", {"online": online, "expected": expected}, "% online"
        ),
        50,
        MINUTE,
        10,
        below=True,
        severity="page",
    )
    yield Alarm(
        "hearing-interrupted",
        "for half an hour no charger's silence has counted: nobody who is gone is settled, no dead start refunded",
        own("HearingLasts", "Maximum"),
        600,
        5 * MINUTE,
        6,
        below=True,
        severity="page",
    )
    yield Alarm(
        "starts-failing",
        "a third of the starts ends without energy",
        ratio(own("StartsFailed"), own("StartsAccepted"), "% of starts failed", at_least=3),
        33,
        15 * MINUTE,
        severity="page",
    )
    yield Alarm(
        "start-to-charge-slow",
        "drivers wait more than two minutes for their charge to begin",
        own("StartToCharge", "p90"),
        120_000,
        15 * MINUTE,
    )
    yield Alarm(
        "starts-waiting",
        "a driver's money is reserved for a start that neither began nor was refunded",
        own("OldestPendingStartAge", "Maximum"),
        15 * MINUTE,
        MINUTE,
        3,
        severity="page",
    )
    yield Alarm(
        "commands-waiting",
        "a command for a connected charger is not carried out",
        own("OldestCommandAge", "Maximum"),
        3 * MINUTE,
        MINUTE,
        3,
        severity="page",
    )
    failed, timed_out = own("CommandOutcomes", Outcome="failed"), own("CommandOutcomes", Outcome="timed_out")
    yield Alarm(
        "commands-failing",
        "chargers do not answer commands, or answer with errors",
        Formula("FILL(failed, 0) + FILL(timed_out, 0)", {"failed": failed, "timed_out": timed_out}, "commands failed"),
        10,
        15 * MINUTE,
    )


def _money(resources: MonitoredResources) -> Iterator[Alarm]:
    yield Alarm(
        "ledger-difference", "the books do not add up", own("LedgerFindings", "Maximum"), 1, HOUR, severity="page"
    )
    for resource in resources.api.webhook_resources:
        dimensions = {
            "ApiName": resources.api.name,
            "Stage": resources.api.stage,
            "Resource": resource,
            "Method": "POST",
        }
        suffix = "-legacy" if "/v1/" not in resource else ""
        yield Alarm(
            f"webhook-server-errors{suffix}",
            f"payment callbacks to {resource} end with a server error",
            aws("ApiGateway", "5XXError", "Sum", **dimensions),
            1,
            severity="page",
            runbook="webhook-server-errors",
        )
    yield Alarm(
        "webhooks-not-stored",
        "signed payment callbacks could not be stored",
        own("WebhooksNotStored"),
        1,
        severity="page",
    )
    rejected, accepted = own("WebhooksRejected"), own("WebhooksAccepted")
    yield Alarm(
        "webhooks-all-rejected",
        "callbacks come, and not one has a valid signature",
        Formula(
            "IF(rejected >= 3 AND accepted < 1, rejected, 0)",
            {"rejected": rejected, "accepted": accepted},
            "rejected while none was accepted",
        ),
        3,
        30 * MINUTE,
    )
    yield Alarm(
        "unknown-order-callbacks", "somebody paid for an order that is not ours", own("UnknownOrderCallbacks"), 1
    )
    yield Alarm(
        "unconfirmed-callbacks",
        "a callback says paid, and the provider's status never did",
        own("UnconfirmedCallbacks"),
        1,
    )
    yield Alarm(
        "callbacks-waiting",
        "stored payment callbacks are not worked on",
        own("OldestCallbackAge", "Maximum"),
        10 * MINUTE,
        MINUTE,
        5,
        severity="page",
    )
    yield Alarm("payments-not-credited", "an approved payment was not credited", own("PaymentsNotCredited"), 1)
    yield Alarm(
        "payment-checks-not-queued",
        "questions about payments do not reach their queue",
        own("PaymentChecksNotQueued"),
        3,
    )
    yield Alarm(
        "provider-not-answering",
        "the payment provider does not answer",
        own("ProviderNotAnswering"),
        5,
        5 * MINUTE,
        3,
        2,
        severity="page",
    )
    yield Alarm(
        "invoices-not-created",
        "drivers get no invoice and cannot top up",
        own("InvoicesNotCreated"),
        5,
        15 * MINUTE,
        severity="page",
    )
    open_refunds, asked = own("RefundsOpen", "Maximum"), own("RefundsUnknown")
    yield Alarm(
        "refunds-unknown",
        "a refund has no known end",
        Formula("FILL(open, 0) + FILL(asked, 0)", {"open": open_refunds, "asked": asked}, "refunds without an end"),
        1,
        15 * MINUTE,
    )
    yield Alarm(
        "write-offs-high",
        "energy worth more than 2,000 som in a day could not be collected",
        own("WrittenOffSom"),
        2000,
        DAY,
    )


def _messages() -> Iterator[Alarm]:
    yield Alarm(
        "pushes-waiting",
        "notifications wait longer than ten minutes",
        own("OldestPushAge", "Maximum"),
        10 * MINUTE,
        MINUTE,
        5,
    )
    yield Alarm(
        "login-codes-not-sent", "drivers get no login code", own("LoginCodesNotSent"), 3, 10 * MINUTE, severity="page"
    )
    by_prefix, by_network = own("LoginCodesRefused", Reason="prefix"), own("LoginCodesRefused", Reason="network")
    yield Alarm(
        "login-codes-capped",
        "so many login codes are ordered that new drivers get none",
        Formula("FILL(prefix, 0) + FILL(network, 0)", {"prefix": by_prefix, "network": by_network}, "codes refused"),
        1,
        5 * MINUTE,
        severity="page",
    )


def _chargers() -> Iterator[Alarm]:
    yield Alarm(
        "meter-rows-quarantined",
        "the database refuses meter readings",
        own("MeterRowsQuarantined"),
        1,
        runbook="messages-quarantined",
    )
    yield Alarm(
        "messages-quarantined",
        "charger messages wait for an operator",
        own("MessagesQuarantined", "Minimum"),
        1,
        HOUR,
        4,
    )
    yield Alarm(
        "call-errors-high",
        "chargers' messages are refused",
        ratio(own("CallErrors"), own("Messages"), "% refused", at_least=20),
        10,
        15 * MINUTE,
    )
    yield Alarm(
        "unanswered-messages",
        "starts and stops of chargers cannot be stored",
        own("UnansweredMessages"),
        1,
        5 * MINUTE,
        2,
        severity="page",
    )
    yield Alarm(
        "sessions-locked",
        "readings wait because somebody holds their session locked in the database",
        own("MeterMessagesLocked"),
        200,
        5 * MINUTE,
        2,
    )
    yield Alarm(
        "background-work-standing",
        "a part of the socket tier stood and was begun anew",
        own("BackgroundRestarts"),
        1,
        5 * MINUTE,
        severity="page",
    )
    yield Alarm(
        "messages-slow",
        "chargers wait more than two seconds for an answer",
        own("MessageDuration", "p95", Action="MeterValues"),
        2000,
        5 * MINUTE,
        3,
    )
    yield Alarm("connections-refused", "chargers are refused at the door", own("ConnectionsRefused"), 300, 15 * MINUTE)
    yield Alarm("certificates-expiring", "certificates end soon", own("CertificatesExpiring", "Maximum"), 1, HOUR)


# Sweeps by how often they run: period, periods, and how many runs may be missing.
_PATIENCE = {"rate(1 minute)": (MINUTE, 5), "rate(2 minutes)": (5 * MINUTE, 2), "rate(1 hour)": (HOUR, 2)}


def _sweeps() -> Iterator[Alarm]:
    for schedule in SCHEDULES:
        period, periods = _PATIENCE.get(schedule.expression, (DAY, 2))
        is_urgent = period < HOUR
        yield Alarm(
            f"sweep-not-running-{schedule.name.replace('_', '-')}",
            f"the sweep {schedule.name} does not run: {schedule.description}",
            own("SweepRuns", Sweep=schedule.name),
            1,
            period,
            periods,
            below=True,
            missing="breaching",
            severity="page" if is_urgent else "ticket",
            runbook="sweep-not-running",
        )
    yield Alarm("sweep-failing", "sweeps end with faults", own("SweepFailed"), 3, 10 * MINUTE)
