"""One EventBridge rule for each entry of infra/schedules.py, all to function ``sweeps``."""

from aws_cdk import Duration
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from constructs import Construct

from infra.environment import Environment
from infra.functions import FUNCTIONS
from infra.schedules import SCHEDULES
from infra.stacks.base import ProductStack
from infra.stacks.functions import Foundation, ProductFunctions
from infra.stacks.monitored import MonitoredFunction

# Two for each schedule: a slow run and the next one.
CONCURRENCY = 2 * len(SCHEDULES)


class SweepsStack(ProductStack):
    """``rules``: sweep -> name of its rule."""

    def __init__(self, scope: Construct, environment: Environment, foundation: Foundation) -> None:
        super().__init__(scope, "Sweeps", environment)
        self._functions = ProductFunctions(self, foundation)
        function = self._functions.add_product(
            FUNCTIONS["sweeps"],
            reserved=CONCURRENCY,
            queues=frozenset({"commands.fifo", "payment-checks", "push"}),
        )
        self.rules: dict[str, str] = {}
        for schedule in SCHEDULES:
            # The function finds the sweep by the end of the rule's name.
            name = f"{environment.prefix}-{schedule.name}"
            rule = events.Rule(
                self,
                schedule.name,
                rule_name=name,
                description=schedule.description,
                schedule=events.Schedule.expression(schedule.expression),
            )
            # A run that was missed is worth nothing once the next one starts.
            rule.add_target(targets.LambdaFunction(function, retry_attempts=2, max_event_age=Duration.minutes(5)))
            self.rules[schedule.name] = name

    @property
    def monitored_functions(self) -> dict[str, MonitoredFunction]:
        return self._functions.monitored
