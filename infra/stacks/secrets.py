"""Every secret of infra/secrets.py. Kept when the stack goes."""

import json
from collections.abc import Mapping

from aws_cdk import RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_secretsmanager as sm
from constructs import Construct

from infra.environment import Environment
from infra.nag import accept
from infra.secrets import (
    CACHE,
    DATABASE_LOGINS,
    DATABASE_OWNER,
    ORIGIN_VERIFY,
    OWNER_LOGIN,
    SECRETS,
    SecretSpec,
    secrets_of,
)
from infra.stacks.base import ProductStack

_ROTATION = {
    "AwsSolutions-SMG4": "Rotated by an operator (docs/operations/secrets.md): a provider's key changes at the"
    " provider, a password of a login together with the function that sets it, a signing key with its predecessor kept."
}
GENERATED_LENGTH = 48


def _generated(key: str, members: Mapping[str, str] | None = None) -> sm.SecretStringGenerator:
    """A JSON object with a random value at ``key``."""
    return sm.SecretStringGenerator(
        secret_string_template=json.dumps(dict(members or {})),
        generate_string_key=key,
        exclude_punctuation=True,  # it stands in URLs and headers
        password_length=GENERATED_LENGTH,
    )


class SecretsStack(ProductStack):
    """Secrets by short name; :meth:`grant` gives one reader what is its own."""

    def __init__(self, scope: Construct, environment: Environment) -> None:
        super().__init__(scope, "Secrets", environment)
        self.secrets: dict[str, sm.Secret] = {}
        for spec in SECRETS:
            self._add(spec)
        self._add(CACHE, generated="" if environment.localstack else CACHE.generated)
        for role, name in DATABASE_LOGINS.items():
            self._add_login(name, f"{role}_login", f"Login of {role}")
        self._add_login(DATABASE_OWNER, OWNER_LOGIN, "Owner of the schema")
        if environment.front_door == "one-name" and not environment.localstack:
            self._add_origin()

    def _add(self, spec: SecretSpec, generated: str | None = None) -> None:
        key = spec.generated if generated is None else generated
        value = _generated(key) if key else None
        self._make(spec.name, f"{spec.description}. Keys: {', '.join(spec.keys)}", value)

    def _add_login(self, name: str, login: str, description: str) -> None:
        if not self.environment_values.has_database:
            self._make(name, f"{description}. Key: DATABASE_URL", None)
            return
        value = _generated("password", {"username": login})
        self._make(name, f"{description}. Keys: username, password", value)

    def _add_origin(self) -> None:
        """What CloudFront adds to each request, so that nobody passes it by. Copied to where CloudFront is defined."""
        here = self.environment_values.region
        description = "Header by which the gateway knows CloudFront. Key: value"
        secret = self._make(ORIGIN_VERIFY, description, _generated("value"))
        if here != "us-east-1":
            secret.add_replica_region("us-east-1")

    def _make(self, name: str, description: str, value: sm.SecretStringGenerator | None) -> sm.Secret:
        secret = sm.Secret(
            self,
            name,
            secret_name=self.name_of(name),
            description=description,
            generate_secret_string=value,
            secret_object_value=None if value else {},
            removal_policy=RemovalPolicy.RETAIN,
        )
        accept(secret, _ROTATION)
        self.secrets[name] = secret
        return secret

    def name_of(self, name: str) -> str:
        """The secret's name in Secrets Manager."""
        return f"evpower/{self.environment_values.name}/{name}"

    def ids_of(self, reader: str, role: str) -> str:
        """Value of SECRET_IDS for a part of the product."""
        return ",".join(self.name_of(name) for name in secrets_of(reader, role))

    def grant(self, grantee: iam.IGrantable, reader: str, role: str) -> None:
        """Let ``grantee`` read the secrets of ``reader`` and no others."""
        for name in secrets_of(reader, role):
            self.secrets[name].grant_read(grantee)
