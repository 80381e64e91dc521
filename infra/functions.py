"""The Lambda functions: the one definition for the local system and for AWS."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FunctionSpec:
    """One function; time-out in seconds, memory in MB (CPU grows with it: 1769 MB is one whole processor)."""

    name: str
    timeout_s: int
    memory_mb: int
    database_role: str  # taken in each transaction; empty: the schema's owner
    description: str
    event_source_concurrency: int | None = None  # SQS: batches at once

    @property
    def handler(self) -> str:
        return f"functions.{self.name}.handler.handler"


# API Gateway (REST) gives up after 29 s, and `api` must have answered by then.
GATEWAY_TIMEOUT_S = 29

FUNCTIONS = {
    spec.name: spec
    for spec in (
        FunctionSpec("api", GATEWAY_TIMEOUT_S, 1024, "evpower_api", "REST API of the app and of operators"),
        FunctionSpec("payment_webhook", 10, 512, "evpower_worker", "Payment callbacks: verify, store, queue, answer"),
        FunctionSpec("payment_checks", 30, 512, "evpower_worker", "Ask the payment provider, credit", 5),
        FunctionSpec("push", 30, 512, "evpower_worker", "Push notifications to FCM, APNs and browsers", 5),
        FunctionSpec("sweeps", 60, 512, "evpower_worker", "Scheduled repair and upkeep"),
    )
}

MIGRATE = FunctionSpec("migrate", 900, 512, "", "Migrate the database before new code is deployed")
"""Called by the deployment only. 15 minutes are Lambda's longest; a longer adoption is run by hand (docs)."""
