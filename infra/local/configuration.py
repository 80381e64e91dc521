"""Settings of the local system: the environment of the product's processes and the table of functions.

Whatever the caller has set in the environment wins, so the local system can be pointed at other services.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from infra.functions import FUNCTIONS
from infra.local import sms_standin
from infra.local.lambda_pool import FunctionDefinition, base_environment
from infra.local.processes import LOOPBACK, ROOT
from infra.local.queues import SqsEndpoint

DEFAULT_PORT = 9210
DEFAULT_SOCKET_TIER_PORT = 9220

# Known to everybody who reads this file: good for loopback, refused by production settings or useless there.
_LOCAL_SETTINGS = {
    "ENVIRONMENT": "local",
    "LOG_LEVEL": "INFO",
    "ENABLE_SWAGGER": "true",
    "DATABASE_POOLER": "session",
    "SUPABASE_URL": "http://supabase.localhost",
    "SUPABASE_JWT_SECRET": "local-supabase-jwt-secret-for-loopback-only",
    "MASTER_API_KEY": "local-master-key",
    "AUTH_TOKEN_SECRET": "local-auth-token-secret-for-loopback-only",
    "HMAC_SECRET": "local-hmac-secret-for-loopback-only",
    "ODENGI_MERCHANT_ID": "local-merchant",
    "ODENGI_PASSWORD": "local-odengi-password",
    "ODENGI_WEBHOOK_SECRET": "local-odengi-webhook-secret",
    "SMS_PROVIDER": "http",
    "ALLOW_UNAUTHENTICATED_STATIONS": "true",
    "TRUSTED_PROXIES": "127.0.0.0/8",
}


@dataclass(frozen=True, slots=True)
class LocalOptions:
    """How to run the local system. Ports of None are chosen freely; ``data`` of None is temporary and removed."""

    data: Path | None = None
    port: int | None = None
    socket_tier_port: int | None = None
    socket_tiers: int = 1
    demo_data: bool = True
    chargers: bool = True
    schedules: bool = True
    schedule_intervals: Mapping[str, float] = field(default_factory=dict)
    durable: bool = True
    environment: Mapping[str, str] = field(default_factory=dict)
    time_scale: float = 60.0
    sample_interval_s: float = 2.0


# The stop route waits up to 6 s in its process, hence the room to grow.
_WARM = {"api": 3}
_MAXIMUM = {"api": 10, "payment_webhook": 3, "sweeps": 3}


def functions() -> list[FunctionDefinition]:
    """Every Lambda function as AWS gets it, with numbers of processes for a laptop."""
    return [
        FunctionDefinition(
            spec.name,
            spec.handler,
            spec.timeout_s,
            warm=_WARM.get(spec.name, 1),
            maximum=_MAXIMUM.get(spec.name, 2),
            environment={"DATABASE_ROLE": spec.database_role},
        )
        for spec in FUNCTIONS.values()
    ]


def product_environment(
    options: LocalOptions,
    *,
    port: int,
    socket_tier_port: int,
    database_url: str,
    redis_url: str,
    sqs: SqsEndpoint,
    provider_url: str,
    sms_gateway_url: str,
    push: Mapping[str, str],
    authority: Mapping[str, str],
    files: Mapping[str, str],
) -> dict[str, str]:
    """Environment of functions and socket tier."""
    defaults = {
        **_LOCAL_SETTINGS,
        "ODENGI_API_URL": provider_url,
        "ODENGI_RESULT_URL": f"http://{LOOPBACK}:{port}/api/v1/payment/webhook",
        "SMS_GATEWAY_URL": sms_gateway_url,
        "SMS_GATEWAY_TOKEN": sms_standin.TOKEN,
        **push,
        **authority,
        **files,
        "METER_SAMPLE_INTERVAL_S": f"{options.sample_interval_s:.0f}",
        "METER_MAX_POWER_KW": "5000",  # simulated cars charge faster than real ones
    }
    caller = {name: os.environ[name] for name in defaults if os.environ.get(name)}
    return {
        **base_environment(),
        **defaults,
        **caller,
        **sqs.environment,
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "SOCKET_TIER_URL": f"http://{LOOPBACK}:{socket_tier_port}",
        "SOCKET_TIER_HOST": LOOPBACK,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "layers/evpower/python")]),
        **options.environment,
    }
