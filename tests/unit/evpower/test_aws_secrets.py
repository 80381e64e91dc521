"""Settings from Secrets Manager: signature, composition, files."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from evpower import aws_secrets
from evpower.aws_secrets import SecretsUnavailableError, parse, secret_settings, signed_headers

_NOW = datetime(2026, 11, 22, 8, 9, 10, tzinfo=UTC)


@pytest.mark.parametrize("token", ["", "session-token/with+signs=="])
def test_signature_is_the_one_that_the_sdk_makes(token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    body = b'{"SecretId":"evpower/prod/auth"}'
    host = "secretsmanager.eu-central-1.amazonaws.com"
    ours = signed_headers(
        body,
        host=host,
        region="eu-central-1",
        access_key="AKIDEXAMPLE",
        secret_key="secret/example",
        session_token=token,
        now=_NOW,
    )
    request = AWSRequest(
        "POST",
        f"https://{host}/",
        data=body,
        headers={"Content-Type": ours["content-type"], "X-Amz-Target": ours["x-amz-target"]},
    )
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: _NOW.replace(tzinfo=None))
    SigV4Auth(Credentials("AKIDEXAMPLE", "secret/example", token or None), "secretsmanager", "eu-central-1").add_auth(
        request
    )
    assert ours["x-amz-date"] == request.headers["X-Amz-Date"]
    assert ours["authorization"] == request.headers["Authorization"]


def _secrets(monkeypatch: pytest.MonkeyPatch, **secrets: dict[str, object]) -> None:
    monkeypatch.setattr(aws_secrets, "_reader", lambda _environ: lambda name: json.dumps(secrets[name]))


def test_nothing_is_read_without_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_environ: object) -> object:
        raise AssertionError("no secret was asked for")

    monkeypatch.setattr(aws_secrets, "_reader", refuse)
    assert secret_settings({"SECRET_IDS": " , "}) == {}
    assert secret_settings({}) == {}


def test_urls_are_put_together_and_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    _secrets(monkeypatch, db={"username": "api", "password": "p@ss/wo rd%"}, cache={"REDIS_AUTH_TOKEN": "a&b"})
    environ = {
        "SECRET_IDS": "db, cache",
        "DATABASE_URL": "postgresql://{username}:{password}@db.internal:5432/evpower?sslmode=require",
        "REDIS_URL": "rediss://:{REDIS_AUTH_TOKEN}@cache.internal:6379/0",
    }
    found = secret_settings(environ)
    assert found["DATABASE_URL"] == "postgresql://api:p%40ss%2Fwo%20rd%25@db.internal:5432/evpower?sslmode=require"
    assert found["REDIS_URL"] == "rediss://:a%26b@cache.internal:6379/0"


def test_an_unknown_key_of_a_url_is_named_without_any_value(monkeypatch: pytest.MonkeyPatch) -> None:
    _secrets(monkeypatch, db={"username": "api", "password": "very-secret"})
    with pytest.raises(SecretsUnavailableError, match="DATABASE_URL names host, which") as failure:
        secret_settings({"SECRET_IDS": "db", "DATABASE_URL": "postgresql://{username}:{password}@{host}/x"})
    assert "very-secret" not in str(failure.value)


def test_a_file_is_written_for_this_user_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    _secrets(monkeypatch, payments={"OBANK_CERT_BASE64": "AAEC"})
    found = secret_settings({"SECRET_IDS": "payments"})
    path = Path(found["OBANK_CERT_PATH"])
    try:
        assert set(found) == {"OBANK_CERT_PATH"}
        assert path.read_bytes() == b"\x00\x01\x02"
        assert os.stat(path).st_mode & 0o077 == 0
    finally:
        path.unlink()


def test_a_broken_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    _secrets(monkeypatch, payments={"OBANK_CERT_BASE64": "not base64!"})
    with pytest.raises(SecretsUnavailableError, match="OBANK_CERT_BASE64"):
        secret_settings({"SECRET_IDS": "payments"})


def test_members_are_text_and_blank_ones_keep_the_default() -> None:
    text = '{"A": "x", "B": "", "C": null, "D": 100, "E": true, "F": {"type": "service_account"}}'
    assert parse("s", text) == {"A": "x", "D": "100", "E": "true", "F": '{"type":"service_account"}'}


@pytest.mark.parametrize("text", ["not json", "[1]", '"text"'])
def test_anything_but_an_object_is_refused(text: str) -> None:
    with pytest.raises(SecretsUnavailableError, match="the secret s is not a JSON object"):
        parse("s", text)
