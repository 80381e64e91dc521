"""Dashboard and alarms of a deployment: tables (board, product_alarms, resource_alarms) and their constructs.

The tables need no CDK, so that tests can hold them against what the running system writes.
"""

from typing import TYPE_CHECKING

from infra.observability.alarm import Alarm
from infra.observability.board import Row, rows
from infra.observability.product_alarms import product_alarms
from infra.observability.resource_alarms import resource_alarms
from infra.observability.series import series_of
from infra.stacks.monitored import MonitoredResources

if TYPE_CHECKING:
    from aws_cdk import aws_sns as sns
    from constructs import Construct

__all__ = ["Alarm", "Row", "alarms", "attach", "rows", "series_of"]


def alarms(resources: MonitoredResources) -> list[Alarm]:
    """Every alarm of a deployment."""
    return [*product_alarms(resources), *resource_alarms(resources)]


def attach(scope: "Construct", resources: MonitoredResources, topic: "sns.ITopic") -> None:
    """Put the dashboard and the alarms into ``scope``; each alarm tells ``topic`` when it fires and when it is over."""
    from infra.observability import construct

    construct.attach(scope, resources, topic, alarms(resources), rows(resources))
