"""PostgreSQL (unless it is external), Valkey, and the bucket for files of chargers and operators. All data is kept."""

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_elasticache as elasticache
from aws_cdk import aws_iam as iam
from aws_cdk import aws_rds as rds
from aws_cdk import aws_s3 as s3
from constructs import Construct

from infra.environment import Environment
from infra.nag import accept, managed_policy
from infra.secrets import CACHE, DATABASE_LOGINS, DATABASE_OWNER, OWNER_LOGIN
from infra.sizes import database_connections
from infra.stacks.base import ProductStack
from infra.stacks.monitored import MonitoredCache, MonitoredDatabase
from infra.stacks.network import CACHE_PORT, DATABASE_PORT, NetworkStack
from infra.stacks.secrets import SecretsStack

DATABASE_NAME = "evpower"
_POSTGRES = rds.PostgresEngineVersion.VER_17_6  # at the least; minor versions come by themselves
_ACCESS_LOG_DAYS = 90


class DataStack(ProductStack):
    """``database_url`` and ``cache_url`` have places for what the secrets hold (evpower.aws_secrets)."""

    def __init__(
        self, scope: Construct, environment: Environment, network: NetworkStack, secrets: SecretsStack
    ) -> None:
        super().__init__(scope, "Data", environment)
        self._network, self._secrets = network, secrets
        # The rules are the network's; the CDK's own would make the two stacks depend on each other.
        self._database_group = ec2.SecurityGroup.from_security_group_id(
            self, "DatabaseGroup", network.database_group.security_group_id, mutable=False
        )
        self.database_url = ""
        self.database_pooler = "transaction"
        self.monitored_database: MonitoredDatabase | None = None
        if environment.has_database:
            self._database(environment)
        self._cache(environment)
        self._buckets()

    # --- PostgreSQL ---------------------------------------------------------------------------------------------

    def _database(self, environment: Environment) -> None:
        engine = rds.DatabaseInstanceEngine.postgres(version=_POSTGRES)
        identifier = f"{environment.prefix}-db"
        self.log_group(f"/aws/rds/instance/{identifier}/postgresql")
        instance = rds.DatabaseInstance(
            self,
            "Database",
            instance_identifier=identifier,
            engine=engine,
            parameter_group=self._parameters(engine),
            instance_type=ec2.InstanceType(environment.database_instance),
            vpc=self._network.vpc,
            vpc_subnets=self._network.data_subnets,
            security_groups=[self._database_group],
            publicly_accessible=False,
            credentials=rds.Credentials.from_password(
                OWNER_LOGIN, self._secrets.secrets[DATABASE_OWNER].secret_value_from_json("password")
            ),
            database_name=DATABASE_NAME,
            port=DATABASE_PORT,
            multi_az=environment.database_multi_az,
            storage_type=rds.StorageType.GP3,
            storage_encrypted=True,
            allocated_storage=environment.database_storage_gb,
            max_allocated_storage=environment.database_storage_max_gb,
            backup_retention=Duration.days(environment.database_backup_days),
            preferred_backup_window="19:30-20:30",  # 01:30 in Bishkek, before the housekeeping
            preferred_maintenance_window="sun:21:00-sun:22:00",
            copy_tags_to_snapshot=True,
            delete_automated_backups=False,
            deletion_protection=True,
            removal_policy=RemovalPolicy.RETAIN,
            auto_minor_version_upgrade=True,
            ca_certificate=rds.CaCertificate.RDS_CA_RSA2048_G1,
            enable_performance_insights=True,
            monitoring_interval=Duration.seconds(60),
            cloudwatch_logs_exports=["postgresql"],
        )
        accept(instance, self._database_reasons(environment))
        host = instance.db_instance_endpoint_address
        self.owner_url = self._url(host)  # migrations want a session of their own
        self.database_url = self.owner_url
        self.database_pooler = "session"
        if environment.database_proxy:
            self.database_url, self.database_pooler = self._url(self._proxy(instance)), "transaction"
        self.monitored_database = MonitoredDatabase(
            identifier, environment.database_storage_gb, database_connections(environment.database_instance)
        )

    @staticmethod
    def _url(host: str) -> str:
        return f"postgresql://{{username}}:{{password}}@{host}:{DATABASE_PORT}/{DATABASE_NAME}?sslmode=require"

    @staticmethod
    def _database_reasons(environment: Environment) -> dict[str, str]:
        reasons = {
            "AwsSolutions-RDS11": "The port is reachable from two security groups only; another number hides nothing.",
            managed_policy(
                "service-role/AmazonRDSEnhancedMonitoringRole"
            ): "AWS's own policy for enhanced monitoring: it may write its metrics and nothing else.",
        }
        if not environment.database_multi_az:
            reasons["AwsSolutions-RDS3"] = "Development: one zone is enough, and half the price."
        return reasons

    def _parameters(self, engine: rds.IInstanceEngine) -> rds.ParameterGroup:
        return rds.ParameterGroup(
            self,
            "Parameters",
            engine=engine,
            parameters={
                "rds.force_ssl": "1",
                "timezone": "UTC",
                "log_min_duration_statement": "1000",
                "log_lock_waits": "1",
                # A function frozen in the middle of a transaction must not hold a client's lock.
                "idle_in_transaction_session_timeout": "60000",
                "statement_timeout": "60000",
            },
        )

    def _proxy(self, instance: rds.DatabaseInstance) -> str:
        proxy = instance.add_proxy(
            "Proxy",
            secrets=[self._secrets.secrets[name] for name in DATABASE_LOGINS.values()],
            vpc=self._network.vpc,
            vpc_subnets=self._network.data_subnets,
            security_groups=[self._database_group],
            db_proxy_name=f"{self.environment_values.prefix}-db",
            require_tls=True,
            iam_auth=False,
            idle_client_timeout=Duration.minutes(30),
            max_connections_percent=80,
        )
        return proxy.endpoint

    # --- Valkey -------------------------------------------------------------------------------------------------

    def _cache(self, environment: Environment) -> None:
        subnets = elasticache.CfnSubnetGroup(
            self,
            "CacheSubnets",
            description="Data subnets",
            subnet_ids=self._network.vpc.select_subnets(subnet_group_name="data").subnet_ids,
        )
        shards = environment.cache_shards if environment.cache_cluster else 1
        has_replicas = environment.cache_replicas > 0
        secret = self._secrets.secrets[CACHE.name]
        group = elasticache.CfnReplicationGroup(
            self,
            "Cache",
            replication_group_id=environment.prefix,
            replication_group_description=f"EvPower {environment.name}",
            engine="valkey",
            engine_version="8.0",
            cache_node_type=environment.cache_node,
            cache_parameter_group_name="default.valkey8.cluster.on" if environment.cache_cluster else "default.valkey8",
            cluster_mode="enabled" if environment.cache_cluster else "disabled",
            num_node_groups=shards,
            replicas_per_node_group=environment.cache_replicas,
            automatic_failover_enabled=has_replicas or environment.cache_cluster,
            multi_az_enabled=has_replicas,
            cache_subnet_group_name=subnets.ref,
            security_group_ids=[self._network.cache_group.security_group_id],
            port=CACHE_PORT,
            transit_encryption_enabled=True,
            transit_encryption_mode="required",
            at_rest_encryption_enabled=True,
            auth_token=secret.secret_value_from_json("REDIS_AUTH_TOKEN").unsafe_unwrap(),
            auto_minor_version_upgrade=True,
            preferred_maintenance_window="sun:22:00-sun:23:00",
        )
        # It holds nothing that PostgreSQL has not got, but taking it away stops the fleet's routing.
        group.apply_removal_policy(RemovalPolicy.RETAIN)
        accept(
            group,
            {"AwsSolutions-AEC5": "The port is reachable from two security groups only; another number hides nothing."},
        )
        if not has_replicas:
            accept(group, {"AwsSolutions-AEC4": "One node by choice: everything goes on without it, only slower."})
        host = (
            group.attr_configuration_end_point_address
            if environment.cache_cluster
            else group.attr_primary_end_point_address
        )
        database = "" if environment.cache_cluster else "/0"
        self.cache_url = f"rediss://:{{REDIS_AUTH_TOKEN}}@{host}:{CACHE_PORT}{database}"
        self.monitored_cache = MonitoredCache(tuple(self._nodes(environment, shards)))

    @staticmethod
    def _nodes(environment: Environment, shards: int) -> list[str]:
        """Names that ElastiCache gives: group-001, or group-0001-001 with shards."""
        numbers = range(1, environment.cache_replicas + 2)
        if not environment.cache_cluster:
            return [f"{environment.prefix}-{number:03}" for number in numbers]
        return [f"{environment.prefix}-{shard:04}-{number:03}" for shard in range(1, shards + 1) for number in numbers]

    # --- files --------------------------------------------------------------------------------------------------

    def _buckets(self) -> None:
        self.log_bucket = s3.Bucket(
            self,
            "AccessLogs",
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            encryption=s3.BucketEncryption.S3_MANAGED,  # the load balancer writes to no other kind
            enforce_ssl=True,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_PREFERRED,
            lifecycle_rules=[s3.LifecycleRule(expiration=Duration.days(_ACCESS_LOG_DAYS))],
            removal_policy=RemovalPolicy.RETAIN,
        )
        accept(self.log_bucket, {"AwsSolutions-S1": "It holds the access logs; its own would feed themselves."})
        self.files = s3.Bucket(
            self,
            "Files",
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            encryption=s3.BucketEncryption.S3_MANAGED,
            enforce_ssl=True,
            versioned=True,
            server_access_logs_bucket=self.log_bucket,
            server_access_logs_prefix="files/",
            lifecycle_rules=[
                s3.LifecycleRule(
                    noncurrent_version_expiration=Duration.days(30),
                    abort_incomplete_multipart_upload_after=Duration.days(2),
                )
            ],
            removal_policy=RemovalPolicy.RETAIN,
        )

    def grant_files(self, grantee: iam.IGrantable) -> None:
        """Read, write and delete single files; no listing of the bucket, no change of its settings."""
        grantee.grant_principal.add_to_principal_policy(
            iam.PolicyStatement(
                actions=["s3:GetObject", "s3:PutObject", "s3:DeleteObject"],
                resources=[self.files.arn_for_objects("*")],
            )
        )
        bucket = f"{self.stack_name}:ExportsOutputFnGetAttFiles8E6940B8ArnD8EE6C03"
        accept(
            grantee.grant_principal,
            {f"AwsSolutions-IAM5[Resource::{bucket}/*]": "Any file of the product's own bucket."},
        )
