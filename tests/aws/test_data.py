"""Database, cache and buckets: encrypted, private, kept."""

import json

from evpower.config import Settings
from infra.app import context_of
from infra.environment import read_environment
from infra.functions import FUNCTIONS, MIGRATE
from infra.sizes import database_connections
from infra.stacks.socket_tier import POOL_SIZE
from tests.aws.cloud import ALL_OPTIONS, Cloud, listed, text_of
from tests.aws.conftest import Synthesise


def test_the_database_is_private_encrypted_and_kept(prod: Cloud) -> None:
    (instance,) = prod.of_type("AWS::RDS::DBInstance").values()
    properties = instance["Properties"]
    assert properties["PubliclyAccessible"] is False
    assert properties["StorageEncrypted"] is True
    assert properties["MultiAZ"] is True
    assert properties["DeletionProtection"] is True
    assert properties["BackupRetentionPeriod"] == 35
    assert properties["DeleteAutomatedBackups"] is False
    assert (instance["DeletionPolicy"], instance["UpdateReplacePolicy"]) == ("Retain", "Retain")
    assert "resolve:secretsmanager" in text_of(properties["MasterUserPassword"])
    parameters = prod.one("AWS::RDS::DBParameterGroup")["Parameters"]
    assert parameters["rds.force_ssl"] == "1"
    assert prod.one("AWS::RDS::DBProxy")["RequireTLS"] is True


def test_the_database_is_reached_from_the_product_alone(cloud: Cloud) -> None:
    """Nothing but two security groups, and the database's own subnets have no way out."""
    groups = cloud.properties("AWS::EC2::SecurityGroup", "Network")
    rules = [
        rule
        for kind in ("AWS::EC2::SecurityGroupIngress",)
        for rule in cloud.properties(kind, "Network").values()
        if rule["FromPort"] in (5432, 6379)
    ]
    assert len(rules) == 5  # functions and tier to each of the two, and the database's proxy to the database
    assert all("SourceSecurityGroupId" in rule and "CidrIp" not in rule for rule in rules)
    public = {
        (ingress["FromPort"], ingress["CidrIp"])
        for properties in groups.values()
        for ingress in properties.get("SecurityGroupIngress", [])
        if ingress.get("CidrIp") == "0.0.0.0/0"
    }
    assert public <= {(443, "0.0.0.0/0"), (80, "0.0.0.0/0"), (8443, "0.0.0.0/0")}
    assert (443, "0.0.0.0/0") in public
    routes = {
        text_of(route["RouteTableId"])
        for route in cloud.properties("AWS::EC2::Route", "Network").values()
        if route.get("DestinationCidrBlock") == "0.0.0.0/0"
    }
    data_tables = [
        logical.partition("/")[2]
        for logical in cloud.of_type("AWS::EC2::RouteTable", "Network")
        if "dataSubnet" in logical
    ]
    assert len(data_tables) >= 2
    assert not [table for table in data_tables if any(table in route for route in routes)]


def test_the_database_can_serve_everybody_at_once(prod: Cloud) -> None:
    """One connection for each function that may run, a pool for each container: below what the instance accepts."""
    environment = read_environment(context_of(["env=prod"]))
    reserved = sum(prod.functions()[name]["ReservedConcurrentExecutions"] for name in (*FUNCTIONS, MIGRATE.name))
    # During a deployment half as many containers again are there.
    containers = int(environment.tasks_max * 1.5 + 1) * POOL_SIZE
    assert reserved + containers < database_connections(environment.database_instance)


def test_an_external_database_leaves_none_behind(synthesise: Synthesise) -> None:
    cloud = synthesise("plain")
    assert not cloud.of_type("AWS::RDS::DBInstance")
    for name, properties in cloud.functions().items():
        assert "DATABASE_URL" not in properties["Environment"]["Variables"], name
        if name != MIGRATE.name:
            assert properties["Environment"]["Variables"]["DATABASE_POOLER"] == "transaction"
    secrets = {
        properties["Name"]: properties for properties in cloud.properties("AWS::SecretsManager::Secret").values()
    }
    assert secrets["evpower/stage/database-api"]["SecretString"] == "{}"


def test_the_cache_speaks_tls_and_asks_for_a_password(cloud: Cloud) -> None:
    cache = cloud.one("AWS::ElastiCache::ReplicationGroup")
    assert cache["Engine"] == "valkey"
    assert cache["TransitEncryptionEnabled"] is True
    assert cache["TransitEncryptionMode"] == "required"
    assert cache["AtRestEncryptionEnabled"] is True
    assert "resolve:secretsmanager" in text_of(cache["AuthToken"])


def test_the_cache_in_cluster_mode(prod: Cloud, synthesise: Synthesise) -> None:
    cache = prod.one("AWS::ElastiCache::ReplicationGroup")
    assert (cache["ClusterMode"], cache["NumNodeGroups"], cache["AutomaticFailoverEnabled"]) == ("enabled", 2, True)
    variables = prod.functions()["api"]["Environment"]["Variables"]
    assert variables["REDIS_CLUSTER"] == "true"
    single = synthesise("dev")
    assert single.one("AWS::ElastiCache::ReplicationGroup")["ClusterMode"] == "disabled"
    assert single.functions()["api"]["Environment"]["Variables"]["REDIS_CLUSTER"] == "false"


def test_urls_have_places_for_what_the_secrets_hold(prod: Cloud) -> None:
    """The keys in braces are keys of secrets that the same function reads."""
    secrets = {s["Name"]: s for s in prod.properties("AWS::SecretsManager::Secret").values()}
    variables = prod.functions()["api"]["Environment"]["Variables"]
    login = secrets["evpower/prod/database-api"]["GenerateSecretString"]
    assert {*json.loads(login["SecretStringTemplate"]), login["GenerateStringKey"]} == {"username", "password"}
    assert "postgresql://{username}:{password}@" in text_of(variables["DATABASE_URL"])
    assert "sslmode=require" in text_of(variables["DATABASE_URL"])
    cache = secrets["evpower/prod/cache"]["GenerateSecretString"]
    assert cache["GenerateStringKey"] == "REDIS_AUTH_TOKEN"
    assert "rediss://:{REDIS_AUTH_TOKEN}@" in text_of(variables["REDIS_URL"])
    assert {"evpower/prod/database-api", "evpower/prod/cache"} <= set(variables["SECRET_IDS"].split(","))


def test_buckets_are_private_encrypted_and_kept(cloud: Cloud) -> None:
    buckets = cloud.of_type("AWS::S3::Bucket")
    assert len(buckets) >= 2
    for name, bucket in buckets.items():
        properties = bucket["Properties"]
        assert set(properties["PublicAccessBlockConfiguration"].values()) == {True}, name
        assert properties["BucketEncryption"], name
        assert bucket["DeletionPolicy"] == "Retain", name
    policies = cloud.properties("AWS::S3::BucketPolicy").values()
    refusing = [
        statement
        for policy in policies
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Deny" and statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    ]
    assert len(refusing) == len(buckets)


def test_secrets_are_kept_and_never_overwritten(cloud: Cloud) -> None:
    """A fixed first value: a later deployment with other keys must not reset what an operator wrote."""
    secrets = cloud.of_type("AWS::SecretsManager::Secret")
    assert len(secrets) >= 16
    for name, secret in secrets.items():
        properties = secret["Properties"]
        assert secret["DeletionPolicy"] == "Retain", name
        if "SecretString" in properties:
            assert properties["SecretString"] == "{}", name
        else:
            generated = properties["GenerateSecretString"]
            assert generated["PasswordLength"] >= 32, name
            assert set(json.loads(generated["SecretStringTemplate"])) <= {"username"}, name


def test_no_secret_stands_in_a_template(cloud: Cloud) -> None:
    """Every secret setting is absent from every environment variable, whatever process it belongs to."""
    secret = {name.upper() for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)}
    secret -= {"DATABASE_URL", "REDIS_URL"}  # they hold places for secrets; looked at above
    for name, properties in cloud.functions().items():
        assert not secret & set(properties["Environment"]["Variables"]), name
    for task in cloud.properties("AWS::ECS::TaskDefinition").values():
        for container in task["ContainerDefinitions"]:
            assert not secret & {variable["Name"] for variable in container["Environment"]}


def test_readers_get_their_own_secrets_only(prod: Cloud) -> None:
    """The webhook cannot read the push keys, the push worker not the payment provider's; the API no worker login."""

    def readable(role: str) -> str:
        return json.dumps(
            [
                listed(statement["Resource"])
                for where, statement in prod.statements()
                if role in where and "secretsmanager:GetSecretValue" in listed(statement["Action"])
            ]
        )

    webhook, push, api = (readable(f"{name}role") for name in ("paymentwebhook", "push", "api"))
    assert "payments" in webhook
    assert "databaseworker" in webhook
    assert "push" not in webhook
    assert "databaseapi" not in webhook
    assert "payments" not in push
    assert "databaseworker" not in api
    assert "databaseowner" not in webhook + push + api


def test_every_option_of_production_is_on_in_these_tests() -> None:
    assert read_environment(context_of([f"{key}={value}" for key, value in ALL_OPTIONS.items()])).database_proxy
