"""Settings from a Secrets Manager that answers over HTTP."""

import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest

from evpower.aws_secrets import SecretsUnavailableError, read_secret, secret_settings
from evpower.config import Settings
from infra.local.queues import LOCAL_CREDENTIALS, SqsEndpoint

Store = Callable[[str, Any], None]


@pytest.fixture
def store(sqs: SqsEndpoint, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """Puts a secret into the store; the environment points there."""
    for name, value in (LOCAL_CREDENTIALS | {"AWS_ENDPOINT_URL": sqs.endpoint_url}).items():
        monkeypatch.setenv(name, value)
    client = boto3.client("secretsmanager", endpoint_url=sqs.endpoint_url)
    made: list[str] = []

    def put(name: str, value: Any) -> None:
        client.create_secret(Name=name, SecretString=json.dumps(value))
        made.append(name)

    yield put
    for name in made:
        client.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)


def test_settings_come_from_the_secrets_and_the_rest_from_the_environment(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store("evpower/test/database-api", {"username": "login", "password": "a/b"})
    store("evpower/test/auth", {"AUTH_TOKEN_SECRET": "x" * 40, "MASTER_API_KEY": "", "unknown": "ignored"})
    monkeypatch.setenv("SECRET_IDS", "evpower/test/database-api,evpower/test/auth")
    monkeypatch.setenv("DATABASE_URL", "postgresql://{username}:{password}@db:5432/evpower")
    monkeypatch.setenv("MASTER_API_KEY", "from-the-environment")
    monkeypatch.setenv("ENVIRONMENT", "stage")
    settings = Settings()
    assert settings.database_url.get_secret_value() == "postgresql://login:a%2Fb@db:5432/evpower"
    assert settings.auth_token_secret.get_secret_value() == "x" * 40
    assert settings.master_api_key.get_secret_value() == "from-the-environment"
    assert settings.environment == "stage"


@pytest.mark.parametrize("signed", [True, False], ids=["own signature", "sdk"])
def test_a_missing_secret_is_named(store: Store, signed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    environ = dict(os.environ)
    if not signed:  # as in a container, where the SDK finds the credentials
        del environ["AWS_ACCESS_KEY_ID"]
    store("evpower/test/there", {"A": "1"})
    assert read_secret("evpower/test/there", environ) == {"A": "1"}
    with pytest.raises(SecretsUnavailableError, match=r"evpower/test/missing cannot be read: .*ResourceNotFound"):
        read_secret("evpower/test/missing", environ)


def test_an_unreachable_store_is_an_error_that_names_the_secret(store: Store) -> None:
    environ = {**os.environ, "AWS_ENDPOINT_URL": "http://127.0.0.1:9", "SECRET_IDS": "evpower/test/auth"}
    with pytest.raises(SecretsUnavailableError, match="evpower/test/auth cannot be read"):
        secret_settings(environ)
