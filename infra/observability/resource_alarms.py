"""Alarms on what the product runs on: functions, queues, gateway, database, Redis, containers."""

from collections.abc import Iterator

from infra.observability.alarm import MINUTE, Alarm
from infra.observability.series import aws, own, ratio
from infra.stacks.monitored import MonitoredResources


def resource_alarms(resources: MonitoredResources) -> Iterator[Alarm]:
    """The causes below the symptoms; parts that a deployment has not got have no alarms."""
    yield from _functions(resources)
    yield from _queues(resources)
    yield from _api(resources)
    yield from _data(resources)
    yield from _tier(resources)


def _functions(resources: MonitoredResources) -> Iterator[Alarm]:
    for short, function in resources.functions.items():
        dashed, by = short.replace("_", "-"), {"FunctionName": function.name}
        yield Alarm(
            f"function-errors-{dashed}",
            f"function {short} ends with errors",
            aws("Lambda", "Errors", "Sum", **by),
            3,
            runbook="function-errors",
            severity="page" if short == "payment_webhook" else "ticket",
        )
        yield Alarm(
            f"function-slow-{dashed}",
            f"function {short} needs more than 80 % of its time-out",
            aws("Lambda", "Duration", "p99", **by),
            800 * function.timeout_s,
            5 * MINUTE,
            3,
            2,
            runbook="function-slow",
        )
        yield Alarm(
            f"function-throttled-{dashed}",
            f"function {short} has not enough concurrency",
            aws("Lambda", "Throttles", "Sum", **by),
            1,
            runbook="function-throttled",
        )


def _queues(resources: MonitoredResources) -> Iterator[Alarm]:
    for short, queue in resources.queues.items():
        dashed = short.removesuffix(".fifo")
        yield Alarm(
            f"dead-letters-{dashed}",
            f"messages of the queue {short} could not be worked on",
            aws("SQS", "ApproximateNumberOfMessagesVisible", "Maximum", QueueName=queue.dead_letter_name),
            1,
            runbook="dead-letters",
        )
        yield Alarm(
            f"queue-old-{dashed}",
            f"messages of the queue {short} wait",
            aws("SQS", "ApproximateAgeOfOldestMessage", "Maximum", QueueName=queue.name),
            # A check may be delayed on purpose; the others are due at once.
            15 * MINUTE if short == "payment-checks" else 5 * MINUTE,
            MINUTE,
            5,
            runbook="queue-old",
            severity="page" if short == "commands.fifo" else "ticket",
        )


def _api(resources: MonitoredResources) -> Iterator[Alarm]:
    by = {"ApiName": resources.api.name, "Stage": resources.api.stage}
    yield Alarm(
        "api-server-errors",
        "the app gets server errors",
        ratio(aws("ApiGateway", "5XXError", "Sum", **by), aws("ApiGateway", "Count", "Sum", **by), "% 5xx", at_least=5),
        1,
        5 * MINUTE,
        2,
        severity="page",
    )


def _data(resources: MonitoredResources) -> Iterator[Alarm]:
    yield Alarm("database-away", "PostgreSQL does not answer", own("DatabaseAway"), 1, MINUTE, 3, 2, severity="page")
    yield Alarm(
        "database-connections-silent",
        "PostgreSQL does not answer on connections that were open",
        own("DatabaseConnectionsSilent"),
        2,
        MINUTE,
        3,
        1,
        severity="page",
        runbook="database-away",
    )
    yield Alarm("redis-away", "Redis does not answer", own("RedisAway"), 1, MINUTE, 5, 3)
    if resources.database is not None:
        database, by = resources.database, {"DBInstanceIdentifier": resources.database.identifier}
        yield Alarm(
            "database-cpu",
            "the database's processors are busy",
            aws("RDS", "CPUUtilization", "Average", **by),
            80,
            5 * MINUTE,
            3,
            runbook="database-overloaded",
        )
        yield Alarm(
            "database-connections",
            "the database is short of connections",
            aws("RDS", "DatabaseConnections", "Maximum", **by),
            int(0.8 * database.max_connections),
            5 * MINUTE,
            2,
            runbook="database-overloaded",
        )
        yield Alarm(
            "database-storage",
            "the database's disk is nearly full",
            aws("RDS", "FreeStorageSpace", "Minimum", **by),
            0.15 * database.allocated_storage_gb * 1024**3,
            15 * MINUTE,
            below=True,
            runbook="database-overloaded",
        )
    for number, node in enumerate(resources.cache.node_ids if resources.cache else (), 1):
        yield Alarm(
            f"cache-memory-{number}",
            "Redis is nearly full",
            aws("ElastiCache", "DatabaseMemoryUsagePercentage", "Maximum", CacheClusterId=node),
            80,
            5 * MINUTE,
            3,
            runbook="cache-memory",
        )


def _tier(resources: MonitoredResources) -> Iterator[Alarm]:
    if resources.socket_tier is None:
        return
    tier = resources.socket_tier
    balancer = {"LoadBalancer": tier.load_balancer}
    targets = balancer | {"TargetGroup": tier.target_group}
    service = {"ClusterName": tier.cluster, "ServiceName": tier.service}
    yield Alarm(
        "load-balancer-errors",
        "the load balancer answers with 5xx",
        aws("ApplicationELB", "HTTPCode_ELB_5XX_Count", "Sum", **balancer),
        10,
        5 * MINUTE,
        2,
        severity="page",
    )
    yield Alarm(
        "tasks-below-minimum",
        "fewer healthy containers than planned",
        aws("ApplicationELB", "HealthyHostCount", "Minimum", **targets),
        tier.minimum_tasks,
        MINUTE,
        5,
        below=True,
        missing="breaching",
        severity="page",
    )
    yield Alarm(
        "socket-tier-overloaded",
        "the containers' processors are busy",
        aws("ECS", "CPUUtilization", "Average", **service),
        85,
        5 * MINUTE,
        3,
    )
    yield Alarm(
        "socket-tier-silent",
        "no container reports its connections",
        own("ConnectedStations", "SampleCount"),
        1,
        MINUTE,
        5,
        below=True,
        missing="breaching",
        severity="page",
    )
