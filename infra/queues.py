"""The product's queues: the one definition for the local system and for the SQS queues in AWS."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class QueueDefinition:
    """One queue with its dead-letter queue; times in seconds."""

    name: str
    visibility_timeout_s: int
    max_receive_count: int
    setting: str  # environment variable that carries the queue's URL
    function: str | None = None  # the function that it feeds as an event source; None: the socket tier receives

    @property
    def fifo(self) -> bool:
        return self.name.endswith(".fifo")

    @property
    def dead_letter_name(self) -> str:
        return f"{self.name.removesuffix('.fifo')}-dlq{'.fifo' if self.fifo else ''}"


BATCH_SIZE = 10
"""Messages per invocation of an event source."""

DEAD_LETTER_RETENTION_S = 14 * 24 * 3600

# commands: a consumer only hands a message over, it never waits for the charger, hence the short time-out.
# The others: six times the function's time-out, as AWS asks for an event source.
QUEUES = (
    QueueDefinition("commands.fifo", 30, 20, "SQS_COMMANDS_QUEUE_URL"),
    QueueDefinition("payment-checks", 180, 8, "SQS_PAYMENT_CHECKS_QUEUE_URL", "payment_checks"),
    QueueDefinition("push", 180, 5, "SQS_PUSH_QUEUE_URL", "push"),
)
