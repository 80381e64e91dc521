"""The schedules of the sweeps: the one definition for the local system and for the EventBridge rules in AWS.

Each rule's target is function ``sweeps``, which finds the module by the rule's name (design.md §3 Sweeps).
"""

from dataclasses import dataclass

RULE_PREFIX = "evpower-"


@dataclass(frozen=True, slots=True)
class Schedule:
    """One EventBridge rule; ``expression`` is a `rate(...)` or `cron(...)` in UTC."""

    name: str
    expression: str
    module: str
    description: str

    @property
    def rule_name(self) -> str:
        return f"{RULE_PREFIX}{self.name}"


def _sweep(name: str, expression: str, description: str) -> Schedule:
    return Schedule(name, expression, f"functions.sweeps.{name}", description)


SCHEDULES = (
    _sweep("payment_checks", "rate(1 minute)", "ask the provider about open top-ups (backstop of the queue)"),
    _sweep("payment_cleanup", "rate(1 hour)", "expire old unpaid top-ups, ask again about canceled ones"),
    _sweep("station_status", "rate(2 minutes)", "mark silent stations unavailable"),
    _sweep("hanging_sessions", "rate(1 minute)", "settle or refund sessions that hang (10 minutes, 12 hours)"),
    _sweep("command_redelivery", "rate(1 minute)", "re-send commands without a terminal state, expire old ones"),
    _sweep("push_outbox", "rate(1 minute)", "hand over notifications whose message was lost"),
    _sweep("ledger_audit", "rate(1 minute)", "check that balances, ledger and sessions agree"),
    _sweep("vital_signs", "rate(1 minute)", "measure how the system stands, for dashboard and alarms"),
    _sweep("charger_state", "rate(2 minutes)", "end reservations and profiles, push closed cards out of lists"),
    _sweep("certificates", "rate(5 minutes)", "go on with the chargers' certificates and keys, tell which ones end"),
    _sweep("housekeeping", "cron(30 20 * * ? *)", "partitions ahead, retention, purge (02:30 in Bishkek)"),
)
