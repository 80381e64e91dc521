"""The environments dev, stage and prod: every switch of a deployment, typed, checked before anything is synthesised.

Values come from three places, the later wins: the defaults of the environment's name below, ``environments.<name>`` in
cdk.json, and ``-c key=value`` on the command line. An unknown key or a bad value stops with a sentence that names it.
"""

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

NAMES = ("dev", "stage", "prod")


class BadEnvironmentError(Exception):
    """The context does not describe a deployment; the message says what to change."""


def _listed(value: object) -> object:
    """`a,b` on the command line is a list."""
    return [item.strip() for item in value.split(",") if item.strip()] if isinstance(value, str) else value


def _number(value: object) -> object:
    """`512` on the command line is a number; pydantic reads it so for `int`, not for a choice of numbers."""
    return int(value) if isinstance(value, str) and re.fullmatch(r"\s*\d{1,9}\s*", value) else value


_Number = BeforeValidator(_number)
Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]
_Host = Annotated[str, Field(max_length=240, pattern=r"^([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}$")]
_Arn = Annotated[str, Field(pattern=r"^(arn:aws:[a-z0-9-]+:[a-z0-9-]*:\d{12}:.+)?$")]


class Environment(BaseModel):
    """One deployment. Sizes and counts are AWS's units; durations carry their unit in the name."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    # Where
    name: Literal["dev", "stage", "prod"]
    account: Annotated[str, Field(pattern=r"^(\d{12})?$")] = ""  # empty: the account of the credentials that deploy
    region: Annotated[str, Field(pattern=r"^[a-z]{2}-[a-z]+-\d$")] = "eu-central-1"
    availability_zones: Names = ()  # empty: a and b of the region (prod: a, b and c)
    localstack: bool = False  # leave out what LocalStack has not got

    # Names and certificates
    domain: _Host  # what the app calls; chargers too, unless two names are wanted
    front_door: Literal["one-name", "two-names"] = "one-name"
    hosted_zone_id: str = ""  # Route 53 zone that holds the domain: records and certificates are made
    hosted_zone_name: str = ""
    certificate_arn: _Arn = ""  # without a zone: ACM certificate in the region for rest. and chargers. (and the domain)
    front_certificate_arn: _Arn = ""  # without a zone: ACM certificate in us-east-1 for the domain
    # Networks that CloudFront calls the load balancer from, whose X-Forwarded-For is believed. Read them with
    # `aws ec2 get-managed-prefix-list-entries` of com.amazonaws.global.cloudfront.origin-facing.
    cloudfront_networks: Names = ()

    # Network
    vpc_cidr: str = "10.40.0.0/16"
    nat_gateways: int = Field(default=1, ge=0, le=3)
    interface_endpoints: bool = False  # AWS's own services without NAT: safer, costs by the hour and zone
    plain_websockets: bool = False  # port 80 for old chargers without TLS (OCPP security profile 0 and 1)
    client_certificates: Literal["off", "verify"] = "off"  # port 8443: the load balancer verifies chargers' own
    trust_store_bucket: str = ""
    trust_store_key: str = ""  # PEM bundle of the authorities of chargers' certificates

    # Data
    database: Literal["rds", "external"] = "rds"  # external: Supabase, its URLs are in the secrets
    database_instance: Annotated[str, Field(pattern=r"^[a-z0-9]+\.[a-z0-9]+$")] = "t4g.medium"
    database_storage_gb: int = Field(default=50, ge=20, le=65_536)
    database_storage_max_gb: int = Field(default=200, ge=20, le=65_536)
    database_multi_az: bool = False
    database_backup_days: int = Field(default=7, ge=1, le=35)
    database_proxy: bool = False
    cache_node: Annotated[str, Field(pattern=r"^cache\.[a-z0-9]+\.[a-z0-9]+$")] = "cache.t4g.small"
    cache_replicas: int = Field(default=1, ge=0, le=5)
    cache_cluster: bool = False
    cache_shards: int = Field(default=2, ge=1, le=90)

    # Functions
    api_concurrency: int = Field(default=50, ge=5, le=1000)
    webhook_concurrency: int = Field(default=10, ge=2, le=500)
    api_rate_per_s: int = Field(default=200, ge=1, le=10_000)
    api_burst: int = Field(default=400, ge=1, le=5_000)
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_retention_days: Annotated[Literal[1, 3, 5, 7, 14, 30, 60, 90, 120, 180, 365, 400, 545, 731], _Number] = 90
    require_bytecode: bool = False  # refuse to build layers without the interpreter that will run them

    release: str = ""  # commit that is deployed, for logs and error reports

    # Socket tier
    image_repository: str = "evpower-socket-tier"  # ECR repository in this account
    image_tag: str = "latest"
    tasks_min: int = Field(default=2, ge=2, le=100)
    tasks_max: int = Field(default=4, ge=2, le=200)
    task_cpu: Annotated[Literal[256, 512, 1024, 2048, 4096], _Number] = 512
    task_memory_mb: int = Field(default=1024, ge=512, le=30_720)
    connections_per_task: int = Field(default=2_500, ge=50, le=10_000)

    # Product settings that differ by deployment; names as in evpower.config, values as in the environment
    settings: dict[str, str] = Field(default_factory=dict)

    # Operators
    alarm_emails: Names = ()
    tags: dict[str, str] = Field(default_factory=dict)

    @field_validator("settings", "tags", mode="before")
    @classmethod
    def _from_text(cls, value: object) -> object:
        """`-c settings='{"A": "b"}'` comes as text; numbers and booleans of cdk.json become text."""
        if isinstance(value, str):
            value = json.loads(value)
        if isinstance(value, Mapping):
            return {key: str(item).lower() if isinstance(item, bool) else str(item) for key, item in value.items()}
        return value

    @model_validator(mode="after")
    def _complete(self) -> Self:
        for zone in self.availability_zones:
            if not re.fullmatch(re.escape(self.region) + "[a-f]", zone):
                raise ValueError(f"availability_zones: {zone} is not a zone of {self.region}")
        if bool(self.hosted_zone_id) != bool(self.hosted_zone_name):
            raise ValueError("hosted_zone_id and hosted_zone_name belong together")
        if self.hosted_zone_name and not f".{self.domain}".endswith(f".{self.hosted_zone_name}"):
            raise ValueError(f"domain: {self.domain} is not in the zone {self.hosted_zone_name}")
        if self.tasks_max < self.tasks_min:
            raise ValueError("tasks_max is less than tasks_min")
        if self.database_storage_max_gb < self.database_storage_gb:
            raise ValueError("database_storage_max_gb is less than database_storage_gb")
        if self.client_certificates == "verify" and not (self.trust_store_bucket and self.trust_store_key):
            raise ValueError("client_certificates=verify needs trust_store_bucket and trust_store_key")
        if self.nat_gateways == 0 and not self.interface_endpoints:
            raise ValueError("nat_gateways=0 needs interface_endpoints=true: functions must reach SQS and the secrets")
        if self.nat_gateways > len(self.zones):
            raise ValueError(f"nat_gateways: at most one for each of the {len(self.zones)} zones")
        if not self.localstack:
            self._check_certificates()
        return self

    def _check_certificates(self) -> None:
        if not self.hosted_zone_id:
            if not self.certificate_arn:
                raise ValueError("give hosted_zone_id and hosted_zone_name, or certificate_arn")
            if self.front_door == "one-name" and not self.front_certificate_arn:
                raise ValueError("without a hosted zone, front_door=one-name needs front_certificate_arn (us-east-1)")
        if self.front_certificate_arn and ":acm:us-east-1:" not in self.front_certificate_arn:
            raise ValueError("front_certificate_arn: CloudFront takes certificates of us-east-1 only")
        if self.name == "prod" and self.front_door == "one-name" and not self.cloudfront_networks:
            raise ValueError(
                "cloudfront_networks: without them every charger behind CloudFront seems to come from a few addresses,"
                " and limits by address hit the innocent; see the comment in infra/environment.py for the command"
            )

    @property
    def zones(self) -> tuple[str, ...]:
        """Availability zones, named: a look-up would need an account."""
        letters = "abc" if self.name == "prod" else "ab"
        return self.availability_zones or tuple(self.region + letter for letter in letters)

    @property
    def prefix(self) -> str:
        """First part of every physical name."""
        return f"evpower-{self.name}"

    @property
    def api_domain(self) -> str:
        """Name of API Gateway: behind CloudFront a name of its own, else the domain itself."""
        return f"rest.{self.domain}" if self.front_door == "one-name" else self.domain

    @property
    def charger_domain(self) -> str:
        """The load balancer's own name, which old chargers may use directly."""
        return f"chargers.{self.domain}"

    @property
    def metric_namespace(self) -> str:
        """CloudWatch namespace of our own metrics; stages in one account do not mix."""
        return f"EvPower/{self.name}"

    @property
    def setting_name(self) -> str:
        """Value of ENVIRONMENT."""
        return "production" if self.name == "prod" else self.name

    @property
    def is_production(self) -> bool:
        return self.name == "prod"

    @property
    def has_database(self) -> bool:
        return self.database == "rds" and not self.localstack


_DEFAULTS: dict[str, dict[str, Any]] = {
    "dev": {"log_retention_days": 14},
    "stage": {"database_multi_az": True},
    "prod": {
        "nat_gateways": 3,
        "interface_endpoints": True,
        "database_instance": "m7g.large",
        "database_storage_gb": 200,
        "database_storage_max_gb": 1000,
        "database_multi_az": True,
        "database_backup_days": 35,
        "cache_node": "cache.m7g.large",
        "api_concurrency": 200,
        "webhook_concurrency": 20,
        "api_rate_per_s": 1000,
        "api_burst": 2000,
        "log_retention_days": 365,
        "require_bytecode": True,
        "tasks_max": 12,
        "task_cpu": 1024,
        "task_memory_mb": 2048,
    },
}


def read_environment(context: Mapping[str, Any]) -> Environment:
    """The environment that ``context`` (cdk.json with the command line's values over it) describes.

    Raises:
        BadEnvironmentError: no such environment, an unknown key, or a value that cannot be right.
    """
    name = str(context.get("env", "dev"))
    if name not in NAMES:
        raise BadEnvironmentError(f"env={name}: there are {', '.join(NAMES)}")
    environments = context.get("environments", {})
    if not isinstance(environments, Mapping) or not isinstance(environments.get(name, {}), Mapping):
        raise BadEnvironmentError("cdk.json: context.environments maps dev, stage and prod to their values")
    if strange := sorted(set(environments) - set(NAMES)):
        raise BadEnvironmentError(f"cdk.json: environments.{strange[0]}: there are {', '.join(NAMES)}")
    # Keys with ":" or "@" are the CDK's own.
    given = {key: value for key, value in context.items() if not re.search("[:@]", key)}
    given.pop("env", None)
    given.pop("environments", None)
    try:
        return Environment.model_validate({**_DEFAULTS[name], **environments.get(name, {}), **given, "name": name})
    except ValidationError as error:
        raise BadEnvironmentError("; ".join(_sentence(fault) for fault in error.errors())) from None
    except json.JSONDecodeError as error:
        raise BadEnvironmentError(f"settings and tags are JSON objects: {error}") from None


def _sentence(fault: Any) -> str:
    where = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        return f"{where}: no such key"
    text = str(fault["msg"]).removeprefix("Value error, ")
    return f"{where}: {text}" if where else text
