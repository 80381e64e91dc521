"""What every stack has in common: names, tags, keeping or removing, log groups."""

from typing import Any

import aws_cdk as cdk
from aws_cdk import RemovalPolicy
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.environment import Environment

_UNTAGGED = ["AWS::RDS::DBProxyTargetGroup"]  # the CDK thinks that it takes tags, CloudFormation does not


class ProductStack(cdk.Stack):
    """One stack of one deployment, named ``EvPower-<environment>-<Part>``."""

    def __init__(self, scope: Construct, part: str, environment: Environment, **options: Any) -> None:
        options.setdefault("env", cdk.Environment(account=environment.account or None, region=environment.region))
        super().__init__(
            scope,
            f"EvPower-{environment.name}-{part}",
            description=f"EvPower {environment.name}: {part}",
            termination_protection=environment.is_production,
            **options,
        )
        self.environment_values = environment
        for key, value in {"Product": "EvPower", "Environment": environment.name, **environment.tags}.items():
            cdk.Tags.of(self).add(key, value, exclude_resource_types=_UNTAGGED)

    @property
    def removal(self) -> RemovalPolicy:
        """For what is only a record (logs): kept, but in dev."""
        return RemovalPolicy.DESTROY if self.environment_values.name == "dev" else RemovalPolicy.RETAIN

    def log_group(self, name: str) -> logs.LogGroup:
        """A log group with the environment's retention."""
        return logs.LogGroup(
            self,
            f"Logs{name.rpartition('/')[2]}",
            log_group_name=name,
            retention=retention(self.environment_values.log_retention_days),
            removal_policy=self.removal,
        )

    def named_arn(self, service: str, resource: str, **parts: Any) -> str:
        """The ARN of a resource with a known name, without a reference to it."""
        return self.format_arn(service=service, resource=resource, **parts)


_RETENTION = {
    1: "ONE_DAY",
    3: "THREE_DAYS",
    5: "FIVE_DAYS",
    7: "ONE_WEEK",
    14: "TWO_WEEKS",
    30: "ONE_MONTH",
    60: "TWO_MONTHS",
    90: "THREE_MONTHS",
    120: "FOUR_MONTHS",
    180: "SIX_MONTHS",
    365: "ONE_YEAR",
    400: "THIRTEEN_MONTHS",
    545: "EIGHTEEN_MONTHS",
    731: "TWO_YEARS",
}


def retention(days: int) -> logs.RetentionDays:
    """CloudWatch's own name of a number of days."""
    return getattr(logs.RetentionDays, _RETENTION[days])
