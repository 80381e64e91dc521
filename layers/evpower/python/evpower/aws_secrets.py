"""Settings from AWS Secrets Manager, read once at the start of a process.

``SECRET_IDS`` names the secrets, comma-separated. Each is a JSON object: its keys are names of settings. Two settings
are put together, because a host is known to the deployment and a password to the secret alone: ``DATABASE_URL`` and
``REDIS_URL`` may hold ``{key}``, which is replaced by that key of the secrets, quoted for a URL. A key that ends with
``_BASE64`` is a file: it is written for this process and the setting without that ending, plus ``_PATH``, names it.
"""

import base64
import binascii
import hashlib
import hmac
import os
import re
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import orjson

from evpower.outside.plain import PlainHttp

TIMEOUT_S = 5.0
ATTEMPTS = 3
_COMPOSED = ("DATABASE_URL", "REDIS_URL")
_FILE_ENDING = "_BASE64"
_SERVICE = "secretsmanager"
_ACTION = "secretsmanager.GetSecretValue"
_CONTENT_TYPE = "application/x-amz-json-1.1"


class SecretsUnavailableError(Exception):
    """A secret cannot be read or used. The message names the secret, never a value."""


class Reader(Protocol):
    """Gives the text of one secret. Raises SecretsUnavailableError."""

    def __call__(self, secret_id: str) -> str: ...


def secret_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """Settings by upper-case name from the secrets that ``SECRET_IDS`` names; nothing without it.

    Raises:
        SecretsUnavailableError: a secret is missing, forbidden or no JSON object, or a URL names an unknown key.
    """
    wanted = [item.strip() for item in environ.get("SECRET_IDS", "").split(",") if item.strip()]
    if not wanted:
        return {}
    read = _reader(environ)
    values: dict[str, str] = {}
    for secret_id in wanted:
        values |= parse(secret_id, read(secret_id))
    return _composed(environ, _files(values))


def read_secret(secret_id: str, environ: Mapping[str, str]) -> dict[str, str]:
    """The members of one secret. Raises SecretsUnavailableError."""
    return parse(secret_id, _reader(environ)(secret_id))


def parse(secret_id: str, text: str) -> dict[str, str]:
    """Members of a secret's JSON object as text; empty ones are left out, so that a default stays."""
    try:
        members: Any = orjson.loads(text)
    except orjson.JSONDecodeError:
        members = None
    if not isinstance(members, dict):
        raise SecretsUnavailableError(f"the secret {secret_id} is not a JSON object")
    return {
        name: value if isinstance(value, str) else orjson.dumps(value).decode()
        for name, value in members.items()
        if value not in ("", None)
    }


def _composed(environ: Mapping[str, str], values: dict[str, str]) -> dict[str, str]:
    for name in _COMPOSED:
        template = values.get(name) or environ.get(name, "")
        if "{" not in template:
            continue
        try:
            values[name] = re.sub(r"\{(\w+)\}", lambda found: quote(values[found.group(1)], safe=""), template)
        except KeyError as missing:
            raise SecretsUnavailableError(f"{name} names {missing.args[0]}, which no secret holds") from None
    return values


def _files(values: dict[str, str]) -> dict[str, str]:
    for name in [name for name in values if name.endswith(_FILE_ENDING)]:
        try:
            content = base64.b64decode(values.pop(name), validate=True)
        except binascii.Error:
            raise SecretsUnavailableError(f"{name} is not base64") from None
        # mkstemp makes it readable by this user alone; the process's own disk ends with the process.
        handle, path = tempfile.mkstemp(prefix="evpower-")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        values[name.removesuffix(_FILE_ENDING) + "_PATH"] = str(Path(path))
    return values


def _reader(environ: Mapping[str, str]) -> Reader:
    if environ.get("AWS_ACCESS_KEY_ID") and environ.get("AWS_SECRET_ACCESS_KEY"):
        return _SignedReader(environ)
    return _sdk_reader(environ)


def _sdk_reader(environ: Mapping[str, str]) -> Reader:
    """Where the credentials come from a service (containers)."""
    from botocore.exceptions import BotoCoreError, ClientError

    from evpower.outside.aws import aws_client

    client = aws_client(
        "secretsmanager",
        region=_region(environ),
        endpoint_url=environ.get("AWS_ENDPOINT_URL") or None,
        connect_timeout_s=TIMEOUT_S,
        read_timeout_s=TIMEOUT_S,
        retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
    )

    def read(secret_id: str) -> str:
        try:
            return str(client.get_secret_value(SecretId=secret_id)["SecretString"])
        except (BotoCoreError, ClientError, KeyError) as error:
            raise SecretsUnavailableError(f"the secret {secret_id} cannot be read: {error}") from None

    return read


def _region(environ: Mapping[str, str]) -> str:
    return environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or "eu-central-1"


class _SignedReader:
    """One call of one API with the function's own credentials.

    Use case: a cold start reads its secrets before it can answer. boto3 would add 0.4 s of imports there, this 20 ms.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._region = _region(environ)
        endpoint = environ.get("AWS_ENDPOINT_URL") or f"https://{_SERVICE}.{self._region}.amazonaws.com"
        self._http = PlainHttp(endpoint, TIMEOUT_S)

    def __call__(self, secret_id: str) -> str:
        body = orjson.dumps({"SecretId": secret_id})
        failure = ""
        for _ in range(ATTEMPTS):
            try:
                status, answer = self._post(body)
            except OSError as error:
                failure = str(error)
                continue
            if status == 200:
                return str(orjson.loads(answer)["SecretString"])
            failure = f"{status} {_error_code(answer)}"
            if status < 500 and "Throttl" not in failure:
                break
        raise SecretsUnavailableError(f"the secret {secret_id} cannot be read: {failure}")

    def _post(self, body: bytes) -> tuple[int, bytes]:
        headers = signed_headers(
            body,
            host=self._http.host,
            region=self._region,
            access_key=self._environ["AWS_ACCESS_KEY_ID"],
            secret_key=self._environ["AWS_SECRET_ACCESS_KEY"],
            session_token=self._environ.get("AWS_SESSION_TOKEN", ""),
            now=datetime.now(UTC),
        )
        return self._http.post(body, headers)


def _error_code(answer: bytes) -> str:
    try:
        return str(orjson.loads(answer)["__type"]).rpartition("#")[2]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return ""


def signed_headers(
    body: bytes, *, host: str, region: str, access_key: str, secret_key: str, session_token: str, now: datetime
) -> dict[str, str]:
    """Headers of a signed ``POST /`` to Secrets Manager. Source: AWS Signature Version 4 for API requests."""
    moment = now.strftime("%Y%m%dT%H%M%SZ")
    headers = {"content-type": _CONTENT_TYPE, "host": host, "x-amz-date": moment, "x-amz-target": _ACTION}
    if session_token:
        headers["x-amz-security-token"] = session_token
    names = ";".join(sorted(headers))
    canonical_headers = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    canonical = f"POST\n/\n\n{canonical_headers}\n{names}\n{hashlib.sha256(body).hexdigest()}"
    scope = f"{moment[:8]}/{region}/{_SERVICE}/aws4_request"
    to_sign = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{secret_key}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    return {
        **headers,
        "authorization": f"AWS4-HMAC-SHA256 Credential={access_key}/{scope}, SignedHeaders={names}, "
        f"Signature={signature}",
    }
