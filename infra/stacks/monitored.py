"""What the deployed system offers to dashboard and alarms: names only, so that they depend on no construct.

A name may be a CDK token that CloudFormation resolves (load balancer, database); use it as a dimension's value, never
parse it. ``infra.observability`` offers ``attach(scope, resources, topic)``, which puts dashboard and alarms into a
stack; :mod:`infra.stacks.observability` calls it.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MonitoredFunction:
    """One Lambda function (AWS/Lambda, dimension FunctionName)."""

    name: str
    timeout_s: int
    log_group: str
    reserved_concurrency: int | None


@dataclass(frozen=True, slots=True)
class MonitoredQueue:
    """One queue with its dead-letter queue (AWS/SQS, dimension QueueName)."""

    name: str
    dead_letter_name: str


@dataclass(frozen=True, slots=True)
class MonitoredApi:
    """The REST API (AWS/ApiGateway; dimensions ApiName, Stage, and Resource and Method where detailed)."""

    name: str
    stage: str
    webhook_resources: tuple[str, ...]  # resource paths; method POST; detailed metrics are on for them
    access_log_group: str


@dataclass(frozen=True, slots=True)
class MonitoredSocketTier:
    """The ECS service behind its load balancer (AWS/ECS, ECS/ContainerInsights, AWS/ApplicationELB)."""

    cluster: str
    service: str
    minimum_tasks: int
    maximum_tasks: int
    load_balancer: str  # "app/name/id", dimension LoadBalancer
    target_group: str  # "targetgroup/name/id", dimension TargetGroup
    log_group: str


@dataclass(frozen=True, slots=True)
class MonitoredDatabase:
    """The RDS instance (AWS/RDS, dimension DBInstanceIdentifier)."""

    identifier: str
    allocated_storage_gb: int
    max_connections: int  # estimate from the instance's memory


@dataclass(frozen=True, slots=True)
class MonitoredCache:
    """The ElastiCache nodes (AWS/ElastiCache, dimension CacheClusterId), one entry per node."""

    node_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MonitoredResources:
    """Everything by the product's own short names.

    None: this deployment has no such part (an external database, LocalStack).
    """

    environment: str  # dev, stage, prod: part of the dashboard's and the alarms' names
    region: str
    namespace: str  # of our own metrics in this environment: what POWERTOOLS_METRICS_NAMESPACE says to every part
    functions: Mapping[str, MonitoredFunction]  # api, payment_webhook, payment_checks, push, sweeps
    queues: Mapping[str, MonitoredQueue]  # commands.fifo, payment-checks, push
    rules: Mapping[str, str]  # sweep -> name of its EventBridge rule
    api: MonitoredApi
    socket_tier: MonitoredSocketTier | None
    database: MonitoredDatabase | None
    cache: MonitoredCache | None
    distribution_id: str | None  # CloudFront (its metrics are in us-east-1)
    web_acl: str | None  # name of the regional web ACL (AWS/WAFV2)
