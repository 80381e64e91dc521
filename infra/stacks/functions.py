"""How a Lambda function of the product is made: layers, log group, role, settings, network."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from aws_cdk import AssetHashType, Duration
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_lambda_event_sources as sources
from aws_cdk import aws_sqs as sqs

from infra import layers
from infra.environment import BadEnvironmentError, Environment
from infra.functions import FunctionSpec
from infra.nag import ANY_RESOURCE, accept
from infra.queues import BATCH_SIZE
from infra.secrets import CACHE, DATABASE_LOGINS
from infra.settings import is_trusting_two_hops, product_settings
from infra.stacks.base import ProductStack
from infra.stacks.data import DataStack
from infra.stacks.monitored import MonitoredFunction
from infra.stacks.network import NetworkStack
from infra.stacks.queues import QueuesStack
from infra.stacks.secrets import SecretsStack

RUNTIME = lambda_.Runtime("python" + layers.RUNTIME_VERSION)
_POWERTOOLS = {"POWERTOOLS_LOGGER_LOG_EVENT": "false"}


FILE_USERS = frozenset({"api", "sweeps"})
"""Functions that handle chargers' files and certificates; the socket tier does as well."""


def allow_authority(environment: Environment, grantee: iam.IGrantable) -> None:
    """Let ``grantee`` have certificates of chargers signed by the private authority of CA_ARN, if there is one."""
    if authority := environment.settings.get("CA_ARN"):
        grantee.grant_principal.add_to_principal_policy(
            iam.PolicyStatement(
                actions=["acm-pca:GetCertificate", "acm-pca:IssueCertificate", "acm-pca:RevokeCertificate"],
                resources=[authority],
            )
        )


@dataclass(frozen=True, slots=True)
class Foundation:
    """The stacks below the functions; network and data are None on LocalStack."""

    environment: Environment
    secrets: SecretsStack
    queues: QueuesStack
    network: NetworkStack | None
    data: DataStack | None


class ProductFunctions:
    """Makes functions in one stack. The layers are the stack's own: a shared one could never be replaced."""

    def __init__(self, stack: ProductStack, foundation: Foundation) -> None:
        self._stack, self._foundation = stack, foundation
        self._environment = foundation.environment
        if layers.find_interpreter() is None and self._environment.require_bytecode:
            raise BadEnvironmentError(
                f"require_bytecode: no Python {layers.RUNTIME_VERSION} found to compile for Lambda"
                " (EVPOWER_LAMBDA_PYTHON names one)"
            )
        self._layers = [
            self._layer("Dependencies", layers.dependencies_layer(), "Third-party packages"),
            self._layer("Shared", layers.shared_layer(), "Package evpower"),
        ]
        self.monitored: dict[str, MonitoredFunction] = {}

    def _layer(self, name: str, folder: os.PathLike[str], description: str) -> lambda_.LayerVersion:
        return lambda_.LayerVersion(
            self._stack,
            name,
            code=self._code(folder),
            compatible_runtimes=[RUNTIME],
            compatible_architectures=[lambda_.Architecture.ARM_64],
            description=description,
        )

    @staticmethod
    def _code(folder: os.PathLike[str]) -> lambda_.Code:
        path = Path(folder)
        return lambda_.Code.from_asset(
            str(path), asset_hash=layers.asset_hash(path), asset_hash_type=AssetHashType.CUSTOM
        )

    def add(
        self,
        spec: FunctionSpec,
        *,
        reserved: int | None,
        queues: frozenset[str] = frozenset(),
        settings: Mapping[str, str] | None = None,
        is_recursive: bool = False,
    ) -> lambda_.Function:
        """A function that may send to ``queues``; ``is_recursive`` when its messages come back to it by design."""
        stack, environment = self._stack, self._environment
        name = f"{environment.prefix}-{spec.name}"
        log_group = stack.log_group(f"/aws/lambda/{name}")
        network = self._foundation.network
        function = lambda_.Function(
            stack,
            spec.name,
            function_name=name,
            description=spec.description,
            runtime=RUNTIME,
            architecture=lambda_.Architecture.ARM_64,
            handler=spec.handler,
            code=self._code(layers.function_code(spec.name)),
            layers=self._layers,
            timeout=Duration.seconds(spec.timeout_s),
            memory_size=spec.memory_mb,
            reserved_concurrent_executions=reserved,
            role=self._role(spec, log_group.log_group_arn),
            log_group=log_group,
            tracing=lambda_.Tracing.ACTIVE,
            recursive_loop=lambda_.RecursiveLoop.ALLOW if is_recursive else None,
            vpc=network.vpc if network else None,
            vpc_subnets=network.work_subnets if network else None,
            security_groups=[network.function_group] if network else None,
            environment={
                "POWERTOOLS_METRICS_NAMESPACE": environment.metric_namespace,
                "POWERTOOLS_SERVICE_NAME": spec.name,
                **(settings or {}),
            },
        )
        accept(function, {"AwsSolutions-L1": f"The product is tested with Python {layers.RUNTIME_VERSION}."})
        for queue in queues:
            self._foundation.queues.queues[queue].grant_send_messages(function)
        self.monitored[spec.name] = MonitoredFunction(name, spec.timeout_s, log_group.log_group_name, reserved)
        return function

    def _role(self, spec: FunctionSpec, log_group_arn: str) -> iam.Role:
        """Only what it needs: its own log group, and network interfaces where it has a network."""
        role = iam.Role(
            self._stack,
            f"{spec.name}-role",
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
            description=f"Function {spec.name}",
        )
        # The ARN of a log group ends with its streams.
        role.add_to_policy(
            iam.PolicyStatement(actions=["logs:CreateLogStream", "logs:PutLogEvents"], resources=[log_group_arn])
        )
        if self._foundation.network is not None:
            role.add_to_policy(
                iam.PolicyStatement(
                    actions=[
                        "ec2:AssignPrivateIpAddresses",
                        "ec2:CreateNetworkInterface",
                        "ec2:DeleteNetworkInterface",
                        "ec2:DescribeNetworkInterfaces",
                        "ec2:DescribeSubnets",
                        "ec2:UnassignPrivateIpAddresses",
                    ],
                    resources=["*"],
                )
            )
        accept(role, {ANY_RESOURCE: "Traces and network interfaces have no resource that a policy could name."})
        return role

    def add_product(
        self, spec: FunctionSpec, *, reserved: int | None, queues: frozenset[str], is_recursive: bool = False
    ) -> lambda_.Function:
        """A function with the product's settings and its own secrets."""
        foundation, environment = self._foundation, self._environment
        settings = {
            **product_settings(environment),
            **foundation.queues.urls(queues),
            "DATABASE_ROLE": spec.database_role,
            "TRUSTED_PROXY_HOPS": "2" if is_trusting_two_hops(environment) else "1",
            "SECRET_IDS": foundation.secrets.ids_of(spec.name, spec.database_role),
        }
        data = foundation.data
        if data is not None:
            if data.database_url:
                settings["DATABASE_URL"] = data.database_url
            settings["DATABASE_POOLER"] = data.database_pooler
            if spec.name in FILE_USERS:
                settings["FILES_BUCKET"] = data.files.bucket_name
            if spec.name in CACHE.readers:
                settings |= {"REDIS_URL": data.cache_url, "REDIS_CLUSTER": str(environment.cache_cluster).lower()}
        function = self.add(spec, reserved=reserved, queues=queues, settings=settings, is_recursive=is_recursive)
        foundation.secrets.grant(function, spec.name, spec.database_role)
        if data is not None and spec.name in FILE_USERS:
            data.grant_files(function)
            allow_authority(environment, function)
        return function

    def feed(self, function: lambda_.Function, queue: sqs.Queue, spec: FunctionSpec) -> None:
        """Messages of ``queue`` in batches; the function reports those that failed."""
        function.add_event_source(
            sources.SqsEventSource(
                queue,
                batch_size=BATCH_SIZE,
                report_batch_item_failures=True,
                max_concurrency=spec.event_source_concurrency,
            )
        )

    def owner_settings(self) -> dict[str, str]:
        """What the migration needs: the owner's secret and those of the logins that it sets."""
        foundation = self._foundation
        secrets, data = foundation.secrets, foundation.data
        settings = {"SECRET_IDS": secrets.name_of("database-owner"), "LOG_LEVEL": self._environment.log_level}
        if data is not None and data.database_url:
            settings["DATABASE_URL"] = data.owner_url
            settings["LOGIN_SECRETS"] = ",".join(
                f"{role}={secrets.name_of(name)}" for role, name in DATABASE_LOGINS.items()
            )
        return settings
