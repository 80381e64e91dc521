"""The file store: an S3 bucket, reached by whoever holds a signed link (AWS Signature Version 4 in the query).

Chargers get no credentials, only links that end. The security extension of OCPP 1.6 gives a link 512 characters
(GetLog, SignedUpdateFirmware). A link signed by a role's temporary credentials carries their session token and is
longer than that, and it ends with them: so links are signed with an access key of their own (``FILES_ACCESS_KEY_ID``),
which may do nothing but read and write this bucket.
"""

import asyncio
import base64
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from evpower.clock import Clock, SystemClock
from evpower.config import Settings
from evpower.errors import ServiceUnavailable
from evpower.logging import get_logger
from evpower.outside.aws import aws_client

LONGEST_LINK = timedelta(days=7)
"""Signature Version 4 signs for no longer (AmazonS3: authenticating requests with query parameters)."""

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SignedLink:
    """A link that works until ``expires_at``. ``headers`` must be sent with it as they are."""

    url: str
    method: str
    expires_at: datetime
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StoredFile:
    """What the store knows of a file. ``sha256`` (hex) is there when the upload had to prove it."""

    size_bytes: int
    stored_at: datetime
    sha256: str | None = None


class FileStore(Protocol):
    """Port of the store. Every method may raise ServiceUnavailable: no store is configured, or it does not answer."""

    async def upload_link(
        self, key: str, lifetime: timedelta, *, size_bytes: int | None = None, sha256: str | None = None
    ) -> SignedLink:
        """Link for one PUT. With a size and a checksum (hex) the store takes nothing else."""
        ...

    async def download_link(self, key: str, lifetime: timedelta, *, file_name: str | None = None) -> SignedLink:
        """Link for GETs; ``file_name`` is what a browser calls the file."""
        ...

    async def find(self, key: str) -> StoredFile | None:
        """The file, or None when there is none."""
        ...

    async def delete(self, key: str) -> None:
        """Remove the file; nothing happens when there is none."""
        ...


class S3FileStore:
    """Files in the bucket ``FILES_BUCKET``. boto3 is imported with the first call."""

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        self._client: Any = None
        self._lock = asyncio.Lock()

    async def upload_link(
        self, key: str, lifetime: timedelta, *, size_bytes: int | None = None, sha256: str | None = None
    ) -> SignedLink:
        """See `FileStore`."""
        asked: dict[str, Any] = {}
        headers: dict[str, str] = {}
        if size_bytes is not None:
            asked["ContentLength"] = size_bytes
            headers["Content-Length"] = str(size_bytes)
        if sha256 is not None:
            asked["ChecksumSHA256"] = headers["x-amz-checksum-sha256"] = base64.b64encode(
                bytes.fromhex(sha256)
            ).decode()
        return await self._link("put_object", "PUT", key, lifetime, asked, headers)

    async def download_link(self, key: str, lifetime: timedelta, *, file_name: str | None = None) -> SignedLink:
        """See `FileStore`."""
        asked = {} if file_name is None else {"ResponseContentDisposition": f'attachment; filename="{file_name}"'}
        return await self._link("get_object", "GET", key, lifetime, asked, {})

    async def _link(
        self, operation: str, method: str, key: str, lifetime: timedelta, asked: dict[str, Any], headers: dict[str, str]
    ) -> SignedLink:
        client = await self._ready()
        lifetime = min(lifetime, LONGEST_LINK)
        url: str = await asyncio.to_thread(
            client.generate_presigned_url,
            operation,
            Params={"Bucket": self._settings.files_bucket, "Key": key, **asked},
            ExpiresIn=int(lifetime.total_seconds()),
        )
        return SignedLink(url, method, self._clock.now() + lifetime, headers)

    async def find(self, key: str) -> StoredFile | None:
        """See `FileStore`."""
        found = await self._ask("head_object", Bucket=self._settings.files_bucket, Key=key, ChecksumMode="ENABLED")
        if found is None:
            return None
        checksum = found.get("ChecksumSHA256")
        sha256 = base64.b64decode(checksum).hex() if checksum else None
        return StoredFile(int(found["ContentLength"]), found["LastModified"], sha256)

    async def delete(self, key: str) -> None:
        """See `FileStore`."""
        await self._ask("delete_object", Bucket=self._settings.files_bucket, Key=key)

    async def _ask(self, operation: str, **arguments: Any) -> dict[str, Any] | None:
        """One request to the store; None when it says that there is no such file."""
        from botocore.exceptions import BotoCoreError, ClientError

        client = await self._ready()
        try:
            answer: dict[str, Any] = await asyncio.to_thread(getattr(client, operation), **arguments)
        except ClientError as error:
            if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 404:
                return None
            _log.error("file store refused %s: %s", operation, error)
            raise ServiceUnavailable("the file store refuses") from error
        except BotoCoreError as error:
            _log.error("file store not reached for %s: %s", operation, error)
            raise ServiceUnavailable("the file store does not answer") from error
        return answer

    async def _ready(self) -> Any:
        if not self._settings.files_bucket:
            raise ServiceUnavailable("no file store is configured (FILES_BUCKET): name a location of your own")
        async with self._lock:
            if self._client is None:
                self._client = await asyncio.to_thread(_make_client, self._settings)
            return self._client


def _make_client(settings: Settings) -> Any:
    """boto3 client of the configured endpoint that gives up quickly."""
    endpoint = settings.files_endpoint_url or settings.aws_endpoint_url
    return aws_client(
        "s3",
        region=settings.aws_region,
        endpoint_url=endpoint,
        access_key=settings.files_access_key_id or None,
        secret_key=settings.files_secret_access_key.get_secret_value() or None,
        signature_version="s3v4",
        # Host names per bucket need a name server that knows them, which an endpoint of one's own has not.
        s3={"addressing_style": "path" if endpoint else "virtual"},
        # A charger sends the bytes and nothing else: no checksum that only AWS's own clients compute.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
