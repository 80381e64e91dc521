"""A whole deployment as dashboard and alarms see it."""

from infra.functions import FUNCTIONS
from infra.queues import QUEUES
from infra.schedules import SCHEDULES
from infra.stacks.monitored import (
    MonitoredApi,
    MonitoredCache,
    MonitoredDatabase,
    MonitoredFunction,
    MonitoredQueue,
    MonitoredResources,
    MonitoredSocketTier,
)


def monitored(environment: str = "dev") -> MonitoredResources:
    """Every part that a deployment can have."""
    prefix = f"evpower-{environment}"
    return MonitoredResources(
        environment=environment,
        region="eu-central-1",
        functions={
            spec.name: MonitoredFunction(f"{prefix}-{spec.name}", spec.timeout_s, f"/aws/lambda/{spec.name}", None)
            for spec in FUNCTIONS.values()
        },
        queues={q.name: MonitoredQueue(f"{prefix}-{q.name}", f"{prefix}-{q.dead_letter_name}") for q in QUEUES},
        rules={schedule.name: f"{prefix}-{schedule.name}" for schedule in SCHEDULES},
        api=MonitoredApi(prefix, "v1", ("/api/v1/payment/webhook", "/api/payment/webhook"), "access"),
        socket_tier=MonitoredSocketTier(prefix, "socket-tier", 2, 4, "app/x/1", "targetgroup/x/1", "/ecs/socket-tier"),
        database=MonitoredDatabase(prefix, 50, 200),
        cache=MonitoredCache((f"{prefix}-001", f"{prefix}-002")),
        distribution_id="E1",
        web_acl=prefix,
        namespace=f"EvPower/{environment}",
    )
