"""Environment variables of the deployed product: which part gets which setting, and from where.

Secrets come from Secrets Manager (infra/secrets.py); names of queues, hosts and buckets from the resources; the rest
from the environment's ``settings`` in cdk.json or stays at the product's default.
"""

from collections.abc import Mapping

from pydantic import ValidationError

from evpower.config import Settings
from infra.environment import BadEnvironmentError, Environment
from infra.secrets import CACHE, SECRETS

# Set by the stacks from their resources.
FROM_RESOURCES = frozenset(
    {
        "ENVIRONMENT",
        "LOG_LEVEL",
        "GIT_COMMIT",
        "DATABASE_URL",
        "DATABASE_ROLE",
        "DATABASE_POOLER",
        "REDIS_URL",
        "REDIS_CLUSTER",
        "AWS_REGION",  # Lambda and ECS set it
        "SQS_COMMANDS_QUEUE_URL",
        "SQS_PAYMENT_CHECKS_QUEUE_URL",
        "SQS_PUSH_QUEUE_URL",
        "FILES_BUCKET",
        "ODENGI_RESULT_URL",
        "SOCKET_TIER_HOST",
        "SOCKET_TIER_PORT",
        "TRUSTED_PROXIES",
        "TRUSTED_PROXY_HOPS",
        "CLIENT_CERTIFICATE_HEADER",
        "OBANK_CERT_PATH",  # from OBANK_CERT_BASE64
        "OBANK_CA_PATH",
    }
)
# Meaningless or harmful in AWS.
NOT_IN_AWS = frozenset({"AWS_ENDPOINT_URL", "FILES_ENDPOINT_URL", "INSTANCE_ID", "SOCKET_TIER_URL", "BUILD_TIME"})

SECRET_KEYS = frozenset(key for spec in (*SECRETS, CACHE) for key in spec.keys)
NAMES = frozenset(name.upper() for name in Settings.model_fields)

# In AWS the product's own defaults are not always the ones wanted.
_DEFAULTS = {"SMS_PROVIDER": "sns"}

_PLAUSIBLE_SECRET = "a-value-as-long-as-a-generated-secret-would-be"  # noqa: S105 - only to check the others


def product_settings(environment: Environment) -> dict[str, str]:
    """Plain settings of every part: the environment's own over ours, checked as the product will read them.

    Raises:
        BadEnvironmentError: no such setting, a secret, one that the deployment sets itself, or a refused value.
    """
    for name in environment.settings:
        if name not in NAMES:
            raise BadEnvironmentError(f"settings.{name}: the product has no such setting")
        if name in SECRET_KEYS or name in {"DATABASE_URL", "REDIS_URL"}:
            raise BadEnvironmentError(f"settings.{name} is a secret: put it into Secrets Manager (infra/secrets.py)")
        if name in FROM_RESOURCES | NOT_IN_AWS:
            raise BadEnvironmentError(f"settings.{name} is set by the deployment")
    chosen = {
        **_DEFAULTS,
        **environment.settings,
        "ENVIRONMENT": environment.setting_name,
        "LOG_LEVEL": environment.log_level,
        "ODENGI_RESULT_URL": f"https://{environment.domain}/api/v1/payment/webhook",
    }
    if environment.release:
        chosen["GIT_COMMIT"] = environment.release
    _check(chosen)
    return chosen


def _check(chosen: Mapping[str, str]) -> None:
    values = {name.lower(): value for name, value in chosen.items()}
    secrets = dict.fromkeys(("obank_point", "obank_service_id", "obank_cert_path"), "from-the-secret")
    secrets |= dict.fromkeys(("auth_token_secret", "obank_notify_secret"), _PLAUSIBLE_SECRET)
    try:
        Settings(**{**secrets, **values})  # type: ignore[arg-type]
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc'])).upper() or 'settings'}: {fault['msg'].removeprefix('Value error, ')}"
            for fault in error.errors()
        )
        raise BadEnvironmentError(f"settings: {faults}") from None


def is_trusting_two_hops(environment: Environment) -> bool:
    """Whether CloudFront stands before the gateway: then it and the gateway each add an address."""
    return environment.front_door == "one-name" and not environment.localstack
