"""Send to SQS without boto3, which costs a cold function 0.5 s before its first message leaves.

Two operations of one service are all that functions need: a signed POST of the service's JSON protocol. The signature
is AWS Signature Version 4 (IAM User Guide, "Create a signed AWS API request"), tested against botocore's own. Where
credentials are not in the environment, as Lambda provides them (a container's role, a profile), boto3 does it.
"""

import hashlib
import hmac
import json
import os
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from evpower.config import Settings
from evpower.outside.aws import aws_client
from evpower.outside.plain import PlainHttp

_CONTENT_TYPE = "application/x-amz-json-1.0"
_ALGORITHM = "AWS4-HMAC-SHA256"
_SIGNED_HEADERS = ("content-type", "host", "x-amz-date", "x-amz-security-token", "x-amz-target")


class SqsError(Exception):
    """SQS refused a request; ``code`` is the name of its error, ``status`` the HTTP status."""

    def __init__(self, code: str, message: str, status: int) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.status = status

    @property
    def is_passing(self) -> bool:
        """Whether the same request may succeed a moment later."""
        return self.status >= 500 or "Throttl" in self.code


@dataclass(frozen=True, slots=True)
class Credentials:
    """Keys of the function's role, as Lambda puts them into the environment."""

    access_key: str
    secret_key: str
    session_token: str = ""

    @classmethod
    def of_environment(cls) -> "Credentials | None":
        """None where the environment has none. Read for every request: Lambda renews them between invocations."""
        access_key, secret_key = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
        if not access_key or not secret_key:
            return None
        return cls(access_key, secret_key, os.environ.get("AWS_SESSION_TOKEN", ""))


def signed_headers(
    credentials: Credentials, region: str, host: str, target: str, body: bytes, now: datetime
) -> dict[str, str]:
    """All headers of a POST to ``/`` of SQS at ``host``; ``now`` may be 15 minutes off at most."""
    stamp = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    headers = {"content-type": _CONTENT_TYPE, "host": host, "x-amz-date": stamp, "x-amz-target": target}
    if credentials.session_token:
        headers["x-amz-security-token"] = credentials.session_token
    names = [name for name in _SIGNED_HEADERS if name in headers]
    lines = [f"{name}:{headers[name]}" for name in names]
    request = "\n".join(["POST", "/", "", *lines, "", ";".join(names), hashlib.sha256(body).hexdigest()])
    scope = f"{stamp[:8]}/{region}/sqs/aws4_request"
    to_sign = "\n".join([_ALGORITHM, stamp, scope, hashlib.sha256(request.encode()).hexdigest()])
    key = f"AWS4{credentials.secret_key}".encode()
    for part in (*scope.split("/"), to_sign):
        key = hmac.digest(key, part.encode(), "sha256")
    credential = f"{_ALGORITHM} Credential={credentials.access_key}/{scope}"
    return {**headers, "authorization": f"{credential}, SignedHeaders={';'.join(names)}, Signature={key.hex()}"}


class SqsSender:
    """A kept connection to SQS. Blocking and safe in several threads; one request at a time.

    ``attempts``: a request whose answer was lost is sent again, so a standard queue may get a message twice, as it may
    at any time; a FIFO queue knows its deduplication id.
    """

    def __init__(self, settings: Settings, *, timeout_s: float = 2.0, attempts: int = 2) -> None:
        self._region = settings.aws_region
        self._endpoint_url = settings.aws_endpoint_url
        url = settings.aws_endpoint_url or f"https://sqs.{settings.aws_region}.amazonaws.com"
        self._http = PlainHttp(url, timeout_s)
        self._timeout_s = timeout_s
        self._attempts = attempts
        self._lock = threading.Lock()
        self._boto3_client: Any = None

    def call(self, operation: str, members: Mapping[str, Any]) -> dict[str, Any]:
        """Do ``SendMessage`` or ``SendMessageBatch`` with the members of SQS's API reference.

        Raises:
            SqsError: SQS refused it.
            OSError: it cannot be reached or answers nonsense.
        """
        credentials = Credentials.of_environment()
        with self._lock:
            if credentials is None:
                return self._by_boto3(operation, members)
            return self._by_hand(credentials, operation, json.dumps(members).encode())

    def _by_hand(self, credentials: Credentials, operation: str, body: bytes) -> dict[str, Any]:
        for attempt in range(1, self._attempts + 1):
            is_last = attempt == self._attempts
            is_fresh = not self._http.is_open
            try:
                return self._request(credentials, operation, body)
            except OSError as error:
                # A connection that was kept over a pause of the sandbox is often closed: that is no failure of SQS.
                if is_last and (is_fresh or isinstance(error, TimeoutError)):
                    raise
            except SqsError as error:
                if is_last or not error.is_passing:
                    raise
        return self._request(credentials, operation, body)

    def _request(self, credentials: Credentials, operation: str, body: bytes) -> dict[str, Any]:
        target = f"AmazonSQS.{operation}"
        now = datetime.now(UTC)
        headers = signed_headers(credentials, self._region, self._http.host, target, body, now)
        status, content = self._http.post(body, headers)
        try:
            answer = json.loads(content or b"{}")
        except ValueError:
            answer = None
        if status != HTTPStatus.OK or not isinstance(answer, dict):
            told = answer if isinstance(answer, dict) else {}
            code = str(told.get("__type", "")).rpartition("#")[2] or f"HTTP{status}"
            raise SqsError(code, str(told.get("message") or told.get("Message") or "no reason given"), status)
        return answer

    def _by_boto3(self, operation: str, members: Mapping[str, Any]) -> dict[str, Any]:
        if self._boto3_client is None:
            self._boto3_client = aws_client(
                "sqs",
                region=self._region,
                endpoint_url=self._endpoint_url,
                connect_timeout_s=1,
                read_timeout_s=self._timeout_s,
                retries={"total_max_attempts": self._attempts, "mode": "standard"},
            )
        method = getattr(self._boto3_client, re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower())
        answer: dict[str, Any] = method(**members)
        return answer
