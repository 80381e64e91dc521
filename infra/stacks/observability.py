"""Dashboard, alarms and the topic that they report to. Their content is in :mod:`infra.observability`."""

from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from infra.environment import Environment
from infra.observability import attach
from infra.stacks.base import ProductStack
from infra.stacks.monitored import MonitoredResources


class ObservabilityStack(ProductStack):
    """Deployed last: it only names what the others made."""

    def __init__(self, scope: Construct, environment: Environment, inputs: MonitoredResources) -> None:
        super().__init__(scope, "Observability", environment)
        self.topic = sns.Topic(
            self,
            "Alarms",
            topic_name=f"{environment.prefix}-alarms",
            display_name=f"EvPower {environment.name}",
            enforce_ssl=True,
        )
        self.topic.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                actions=["sns:Publish"],
                resources=[self.topic.topic_arn],
                conditions={"StringEquals": {"aws:SourceAccount": self.account}},
            )
        )
        for address in environment.alarm_emails:
            self.topic.add_subscription(subscriptions.EmailSubscription(address))
        attach(self, inputs, self.topic)
