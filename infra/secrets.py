"""Where each secret setting lives in AWS Secrets Manager and which parts of the product read it.

A secret is ``evpower/<environment>/<name>``. Generated ones get their value when they are made; the others start as
``{}`` and are filled by an operator with the keys below. The initial text never changes, so a later deployment never
overwrites what an operator wrote.
"""

from dataclasses import dataclass

FUNCTIONS = frozenset({"api", "payment_webhook", "payment_checks", "push", "sweeps"})
SOCKET_TIER = "socket_tier"
EVERYBODY = FUNCTIONS | {SOCKET_TIER}
_PAYMENTS = frozenset({"api", "payment_webhook", "payment_checks", "sweeps"})
_CACHE = frozenset({"api", "payment_webhook", "sweeps", SOCKET_TIER})
_CHARGERS = frozenset({"api", "sweeps", SOCKET_TIER})


@dataclass(frozen=True, slots=True)
class SecretSpec:
    """One secret: keys (settings, or ``*_BASE64`` files, see evpower.aws_secrets), readers, what generates it."""

    name: str
    keys: tuple[str, ...]
    readers: frozenset[str]
    description: str
    generated: str = ""  # the key that gets a random value of 48 letters and digits


SECRETS = (
    SecretSpec("auth-token", ("AUTH_TOKEN_SECRET",), EVERYBODY, "Signs our own tokens", "AUTH_TOKEN_SECRET"),
    SecretSpec("otp-pepper", ("OTP_PEPPER",), frozenset({"api"}), "Keys the hashes of login codes", "OTP_PEPPER"),
    SecretSpec("master-key", ("MASTER_API_KEY",), frozenset({"api"}), "Opens the admin routes", "MASTER_API_KEY"),
    SecretSpec("station-key", ("STATION_SECRETS_KEY",), _CHARGERS, "Seals chargers' keys", "STATION_SECRETS_KEY"),
    SecretSpec(
        "auth",
        (
            "AUTH_TOKEN_SECRETS_PREVIOUS",
            "HMAC_SECRET",
            "SUPABASE_ANON_KEY",
            "SUPABASE_JWT_SECRET",
            "SUPABASE_SERVICE_ROLE_KEY",
        ),
        frozenset({"api"}),
        "Supabase's keys, signed requests, earlier token secrets",
    ),
    SecretSpec("sms", ("SMS_GATEWAY_TOKEN",), frozenset({"api"}), "SMS gateway"),
    SecretSpec(
        "payments",
        (
            "ODENGI_MERCHANT_ID",
            "ODENGI_PASSWORD",
            "ODENGI_WEBHOOK_SECRET",
            "OBANK_POINT",
            "OBANK_SERVICE_ID",
            "OBANK_CERT_BASE64",
            "OBANK_CERT_PASSWORD",
            "OBANK_CA_BASE64",
            "OBANK_NOTIFY_SECRET",
        ),
        _PAYMENTS,
        "Payment providers",
    ),
    SecretSpec("push", ("FCM_SERVICE_ACCOUNT", "APNS_KEY"), frozenset({"push"}), "Push services"),
    SecretSpec("web-push", ("VAPID_PRIVATE_KEY",), frozenset({"api", "push"}), "Push to browsers"),
    SecretSpec("authority", ("CA_CERTIFICATE", "CA_KEY"), _CHARGERS, "Local authority of chargers' certificates"),
    SecretSpec("files", ("FILES_ACCESS_KEY_ID", "FILES_SECRET_ACCESS_KEY"), _CHARGERS, "Another file store than S3"),
    SecretSpec("telemetry", ("SENTRY_DSN",), EVERYBODY, "Sentry"),
)

CACHE = SecretSpec("cache", ("REDIS_AUTH_TOKEN", "REDIS_URL"), _CACHE, "Redis", "REDIS_AUTH_TOKEN")
"""REDIS_URL: only where the cache is not ours."""

DATABASE_LOGINS = {"evpower_api": "database-api", "evpower_worker": "database-worker"}
"""Role -> secret with ``username`` and ``password``, or with ``DATABASE_URL`` where the database is not ours."""

DATABASE_OWNER = "database-owner"
OWNER_LOGIN = "evpower_owner"
ORIGIN_VERIFY = "origin-verify"


def secrets_of(reader: str, role: str) -> list[str]:
    """Names of all secrets that ``reader`` gets; ``role`` is its database role."""
    names = [spec.name for spec in (*SECRETS, CACHE) if reader in spec.readers]
    return [*names, DATABASE_LOGINS[role]]
