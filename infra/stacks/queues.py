"""The queues of infra/queues.py, each with its dead-letter queue."""

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.environment import Environment
from infra.queues import DEAD_LETTER_RETENTION_S, QUEUES, QueueDefinition
from infra.stacks.base import ProductStack
from infra.stacks.monitored import MonitoredQueue

MESSAGE_RETENTION_DAYS = 4


class QueuesStack(ProductStack):
    """Queues by the name of their definition: ``queues["push"]``."""

    def __init__(self, scope: Construct, environment: Environment) -> None:
        super().__init__(scope, "Queues", environment)
        self.queues = {definition.name: self._add(definition) for definition in QUEUES}
        self.monitored = {
            definition.name: MonitoredQueue(self._name(definition.name), self._name(definition.dead_letter_name))
            for definition in QUEUES
        }

    def _name(self, name: str) -> str:
        return f"{self.environment_values.prefix}-{name}"

    def _add(self, definition: QueueDefinition) -> sqs.Queue:
        source_arn = self.named_arn("sqs", self._name(definition.name))
        dead = sqs.Queue(
            self,
            f"Dead-{definition.name}",
            queue_name=self._name(definition.dead_letter_name),
            fifo=definition.fifo or None,
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=Duration.seconds(DEAD_LETTER_RETENTION_S),
            removal_policy=RemovalPolicy.RETAIN,
        )
        # By name: the two queues would otherwise refer to each other.
        dead.node.default_child.add_property_override(
            "RedriveAllowPolicy", {"redrivePermission": "byQueue", "sourceQueueArns": [source_arn]}
        )
        return sqs.Queue(
            self,
            definition.name,
            queue_name=self._name(definition.name),
            fifo=definition.fifo or None,
            # Stations are the message groups: many, each slow. High throughput counts per group.
            deduplication_scope=sqs.DeduplicationScope.MESSAGE_GROUP if definition.fifo else None,
            fifo_throughput_limit=sqs.FifoThroughputLimit.PER_MESSAGE_GROUP_ID if definition.fifo else None,
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            visibility_timeout=Duration.seconds(definition.visibility_timeout_s),
            retention_period=Duration.days(MESSAGE_RETENTION_DAYS),
            receive_message_wait_time=Duration.seconds(20),
            dead_letter_queue=sqs.DeadLetterQueue(queue=dead, max_receive_count=definition.max_receive_count),
            removal_policy=RemovalPolicy.RETAIN,
        )

    def urls(self, names: frozenset[str]) -> dict[str, str]:
        """Environment variables with the URLs of the named queues."""
        return {
            definition.setting: self.queues[definition.name].queue_url
            for definition in QUEUES
            if definition.name in names
        }
