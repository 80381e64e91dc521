"""The deployment's migration: schema, then logins that can do their work and no more."""

import base64
import hashlib
import hmac
import json
import uuid
from collections.abc import Iterator
from typing import Any

import boto3
import psycopg
import pytest
from psycopg import sql

from evpower.db.migrate import MigrationError, load_migrations
from functions.migrate import handler as migrate
from infra.local.queues import LOCAL_CREDENTIALS, SqsEndpoint


class Deployment:
    """Secrets in a store, and the environment that names them."""

    def __init__(self, sqs: SqsEndpoint, owner_dsn: str) -> None:
        self._client = boto3.client("secretsmanager", endpoint_url=sqs.endpoint_url)
        self._suffix = uuid.uuid4().hex[:8]
        self.logins = {role: f"{role}_login_{self._suffix}" for role in ("evpower_api", "evpower_worker")}
        self.owner_dsn = owner_dsn
        self.names = {role: f"deployment/{self._suffix}/{role}" for role in self.logins}
        for role, login in self.logins.items():
            self._client.create_secret(Name=self.names[role], SecretString=self._secret(login, f"first of {role}"))
        self.environ = {
            **LOCAL_CREDENTIALS,
            "AWS_ENDPOINT_URL": sqs.endpoint_url,
            "DATABASE_URL": owner_dsn,
            "LOGIN_SECRETS": ",".join(f"{role}={name}" for role, name in self.names.items()),
        }

    @staticmethod
    def _secret(login: str, password: str) -> str:
        return json.dumps({"username": login, "password": password})

    def change_password(self, role: str, password: str) -> None:
        self._client.put_secret_value(SecretId=self.names[role], SecretString=self._secret(self.logins[role], password))

    def close(self) -> None:
        for name in self.names.values():
            self._client.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)
        with psycopg.connect(self.owner_dsn, autocommit=True) as conn:
            for login in self.logins.values():
                conn.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(login)))


@pytest.fixture
def deployment(sqs: SqsEndpoint, empty_database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    for name, value in LOCAL_CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    made = Deployment(sqs, empty_database_url)
    yield made
    made.close()


def _rows(dsn: str, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn) as conn:
        return conn.execute(query.encode(), parameters).fetchall()


def _opens(verifier: str, password: str) -> bool:
    """Whether a SCRAM-SHA-256 verifier (RFC 5803) belongs to the password."""
    _, parameters, keys = verifier.split("$")
    iterations, salt = parameters.split(":")
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(salt), int(iterations))
    stored = hashlib.sha256(hmac.new(salted, b"Client Key", hashlib.sha256).digest()).digest()
    return base64.b64decode(keys.split(":")[0]) == stored


async def test_an_empty_database_gets_schema_and_logins(deployment: Deployment) -> None:
    answer = await migrate.work(deployment.environ)
    assert answer["applied"] == [migration.version for migration in load_migrations()]
    assert sorted(answer["logins_made"]) == sorted(deployment.logins.values())
    for role, login in deployment.logins.items():
        [(verifier, can_log_in, is_super, bypasses)] = _rows(
            deployment.owner_dsn,
            "SELECT rolpassword, rolcanlogin, rolsuper, rolbypassrls FROM pg_authid WHERE rolname = %s",
            login,
        )
        assert _opens(verifier, f"first of {role}")
        assert (can_log_in, is_super, bypasses) == (True, False, False)


async def test_a_login_takes_its_own_role_only(deployment: Deployment) -> None:
    await migrate.work(deployment.environ)
    dsn = deployment.owner_dsn.replace("postgres@", f"{deployment.logins['evpower_api']}@")
    with psycopg.connect(dsn, autocommit=True) as conn:
        assert conn.execute("SELECT set_config('role', 'evpower_api', false), count(*) FROM clients").fetchone()
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute("SET ROLE evpower_worker")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute("RESET ROLE; CREATE TABLE anything (id int)")


async def test_a_second_run_applies_nothing_and_brings_the_changed_password(deployment: Deployment) -> None:
    await migrate.work(deployment.environ)
    deployment.change_password("evpower_worker", "second")
    assert await migrate.work(deployment.environ) == {"applied": [], "logins_made": []}
    [(verifier,)] = _rows(
        deployment.owner_dsn,
        "SELECT rolpassword FROM pg_authid WHERE rolname = %s",
        deployment.logins["evpower_worker"],
    )
    assert _opens(verifier, "second")
    assert not _opens(verifier, "first of evpower_worker")


async def test_a_database_that_is_not_ours_fails_the_deployment(deployment: Deployment) -> None:
    with psycopg.connect(deployment.owner_dsn, autocommit=True) as conn:
        conn.execute("CREATE TABLE public.clients (id int)")
    with pytest.raises(MigrationError):
        await migrate.work(deployment.environ)
    assert (
        _rows(deployment.owner_dsn, "SELECT 1 FROM pg_roles WHERE rolname = %s", deployment.logins["evpower_api"]) == []
    )
