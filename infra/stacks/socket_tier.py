"""The socket tier: an ECS service of containers behind a load balancer that speaks TLS.

Draining: ECS takes a task out of the load balancer first and sends SIGTERM when the deregistration delay is over, at
which the load balancer also cuts what is left. The process therefore watches its own target (socket_tier.draining):
once it drains, it sends its chargers away one after the other and ends by itself, long before the cut.
"""

from aws_cdk import CfnOutput, Duration, Size
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from constructs import Construct

from infra.environment import Environment
from infra.nag import ANY_RESOURCE, accept
from infra.secrets import SOCKET_TIER
from infra.settings import product_settings
from infra.stacks.base import ProductStack
from infra.stacks.functions import Foundation, allow_authority
from infra.stacks.load_balancer import CERTIFICATE_HEADER, LoadBalancer
from infra.stacks.monitored import MonitoredSocketTier
from infra.stacks.network import TIER_PORT

ROLE = "evpower_worker"
STOP_TIMEOUT_S = 60  # the process itself takes at most 28 s (socket_tier.__main__)
POOL_SIZE = 8
CPU_TARGET_PERCENT = 55
# The image's own check (socket_tier/Dockerfile); ECS does not read it from there.
HEALTH_COMMAND = ["CMD", "python", "-E", "-S", "-B", "/srv/evpower/app/socket_tier/healthcheck.py"]


class SocketTierStack(ProductStack):
    """Cluster, service, load balancer, scaling."""

    def __init__(self, scope: Construct, environment: Environment, foundation: Foundation) -> None:
        super().__init__(scope, "SocketTier", environment)
        assert foundation.network is not None and foundation.data is not None  # noqa: PT018 - both or neither
        self._foundation, self._network, self._data = foundation, foundation.network, foundation.data
        self._log_group = self.log_group(f"/{environment.prefix}/socket-tier")
        self.cluster = ecs.Cluster(
            self,
            "Cluster",
            cluster_name=environment.prefix,
            vpc=self._network.vpc,
            container_insights_v2=ecs.ContainerInsights.ENABLED,
        )
        self.balancer = LoadBalancer(self, environment, self._network, self._data)
        self.service = self._service(self._task())
        self.balancer.targets.add_target(self.service)
        for listener in self.balancer.listeners:
            self.service.node.add_dependency(listener)
        self._scale()
        CfnOutput(self, "LoadBalancerName", value=self.balancer.balancer.load_balancer_dns_name)

    # --- task ---------------------------------------------------------------------------------------------------

    def _task(self) -> ecs.FargateTaskDefinition:
        environment = self.environment_values
        task = ecs.FargateTaskDefinition(
            self,
            "Task",
            family=f"{environment.prefix}-socket-tier",
            cpu=environment.task_cpu,
            memory_limit_mib=environment.task_memory_mb,
            runtime_platform=ecs.RuntimePlatform(
                cpu_architecture=ecs.CpuArchitecture.ARM64, operating_system_family=ecs.OperatingSystemFamily.LINUX
            ),
        )
        repository = ecr.Repository.from_repository_name(self, "Repository", environment.image_repository)
        task.add_container(
            "socket-tier",
            image=ecs.ContainerImage.from_ecr_repository(repository, environment.image_tag),
            essential=True,
            port_mappings=[ecs.PortMapping(container_port=TIER_PORT)],
            environment=self._environment_variables(),
            logging=ecs.LogDriver.aws_logs(
                log_group=self._log_group,
                stream_prefix="tier",
                mode=ecs.AwsLogDriverMode.NON_BLOCKING,
                max_buffer_size=Size.mebibytes(8),
            ),
            health_check=ecs.HealthCheck(
                command=HEALTH_COMMAND,
                interval=Duration.seconds(15),
                timeout=Duration.seconds(5),
                retries=3,
                start_period=Duration.seconds(30),
            ),
            stop_timeout=Duration.seconds(STOP_TIMEOUT_S),
            readonly_root_filesystem=True,  # and no volume: the process writes no file
            user="1000:1000",
            ulimits=[ecs.Ulimit(name=ecs.UlimitName.NOFILE, soft_limit=65_536, hard_limit=65_536)],
        )
        accept(
            task,
            {
                "AwsSolutions-ECS2": "Plain settings only; every secret is read from Secrets Manager by the process.",
                ANY_RESOURCE: "Reading a target's health, and the login to the image store, have no resource to name.",
            },
        )
        self._allow(task)
        return task

    def _environment_variables(self) -> dict[str, str]:
        environment, secrets = self.environment_values, self._foundation.secrets
        values = {
            **product_settings(environment),
            **self._foundation.queues.urls(frozenset({"commands.fifo", "push"})),
            "AWS_REGION": environment.region,
            "POWERTOOLS_METRICS_NAMESPACE": environment.metric_namespace,
            "SECRET_IDS": secrets.ids_of(SOCKET_TIER, ROLE),
            "DATABASE_ROLE": ROLE,
            "DATABASE_POOLER": self._data.database_pooler,
            "DATABASE_POOL_SIZE": str(POOL_SIZE),
            "REDIS_URL": self._data.cache_url,
            "REDIS_CLUSTER": str(environment.cache_cluster).lower(),
            "FILES_BUCKET": self._data.files.bucket_name,
            "SOCKET_TIER_HOST": "0.0.0.0",  # noqa: S104 - inside the container
            "SOCKET_TIER_PORT": str(TIER_PORT),
            "TARGET_GROUP_ARN": self.balancer.targets.target_group_arn,
            "TRUSTED_PROXIES": ",".join([environment.vpc_cidr, *environment.cloudfront_networks]),
        }
        if self._data.database_url:
            values["DATABASE_URL"] = self._data.database_url
        if environment.client_certificates == "verify":
            values["CLIENT_CERTIFICATE_HEADER"] = CERTIFICATE_HEADER
        return values

    def _allow(self, task: ecs.FargateTaskDefinition) -> None:
        queues, role = self._foundation.queues.queues, task.task_role
        queues["commands.fifo"].grant_consume_messages(role)
        queues["push"].grant_send_messages(role)
        self._foundation.secrets.grant(role, SOCKET_TIER, ROLE)
        self._data.grant_files(role)
        allow_authority(self.environment_values, role)
        role.add_to_principal_policy(
            iam.PolicyStatement(
                # It has no resources: any target group's health may be asked for, none may be changed.
                actions=["elasticloadbalancing:DescribeTargetHealth"],
                resources=["*"],
            )
        )

    # --- service ------------------------------------------------------------------------------------------------

    def _service(self, task: ecs.FargateTaskDefinition) -> ecs.FargateService:
        return ecs.FargateService(
            self,
            "Service",
            service_name="socket-tier",
            cluster=self.cluster,
            task_definition=task,
            # No desired count: a deployment would set the fleet back to it. The scaling keeps the minimum.
            # One new task before an old one goes: chargers always find a place.
            min_healthy_percent=100,
            max_healthy_percent=150,
            circuit_breaker=ecs.DeploymentCircuitBreaker(enable=True, rollback=True),
            health_check_grace_period=Duration.seconds(60),
            vpc_subnets=self._network.work_subnets,
            security_groups=[self._network.tier_group],
            assign_public_ip=False,
            platform_version=ecs.FargatePlatformVersion.LATEST,
            propagate_tags=ecs.PropagatedTagSource.SERVICE,
            enable_execute_command=False,
        )

    def _scale(self) -> None:
        environment = self.environment_values
        target = self.service.auto_scale_task_count(
            min_capacity=environment.tasks_min, max_capacity=environment.tasks_max
        )
        # Scaling in closes sockets, so it is slow; the same chargers come back at once.
        slow, quick = Duration.minutes(15), Duration.minutes(1)
        target.scale_on_cpu_utilization(
            "Cpu", target_utilization_percent=CPU_TARGET_PERCENT, scale_in_cooldown=slow, scale_out_cooldown=quick
        )
        # Each task reports its own number under the same name, so the average is that of one task.
        target.scale_to_track_custom_metric(
            "Connections",
            metric=cloudwatch.Metric(
                namespace=environment.metric_namespace,
                metric_name="ConnectedStations",
                statistic="Average",
                period=Duration.minutes(1),
            ),
            target_value=environment.connections_per_task,
            scale_in_cooldown=slow,
            scale_out_cooldown=quick,
        )

    @property
    def monitored(self) -> MonitoredSocketTier:
        environment = self.environment_values
        return MonitoredSocketTier(
            cluster=environment.prefix,
            service="socket-tier",
            minimum_tasks=environment.tasks_min,
            maximum_tasks=environment.tasks_max,
            load_balancer=self.balancer.balancer.load_balancer_full_name,
            target_group=self.balancer.targets.target_group_full_name,
            log_group=self._log_group.log_group_name,
        )
