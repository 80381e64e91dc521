"""An S3 bucket for one machine, for what chargers upload and download: `PUT`, `GET`, `HEAD`, `DELETE /bucket/key`.

It checks AWS Signature Version 4 itself, in the query of a signed link and in the header of an SDK's request: who
signed, for which method, path and headers, and until when. So a link that is wrong, changed or too old fails here as it
would in AWS (Amazon S3 API reference, "Authenticating Requests"). Loopback only; the files lie in a directory.
"""

import asyncio
import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Self
from urllib.parse import quote, unquote

from aiohttp import web

from infra.local.processes import LOOPBACK
from infra.local.queues import REGION

BUCKET = "evpower-files"
ACCESS_KEY, SECRET_KEY = "local-files", "local-files-secret"  # for loopback only
_MAX_BYTES = 64 * 1024 * 1024
_LONGEST_LINK_S = 7 * 86400
_CLOCK_SKEW = timedelta(minutes=15)
_SAFE = "-._~"
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<credential>[^, ]+), ?"
    r"SignedHeaders=(?P<headers>[^, ]+), ?Signature=(?P<signature>\w+)"
)


class Refused(Exception):
    """The request is not allowed; the text is S3's error code."""


class FileStandin:
    """Use as ``async with``, or :meth:`start` and :meth:`stop`."""

    def __init__(self, directory: Path, *, port: int = 0) -> None:
        self._directory = directory
        self._port = port
        self._runner: web.AppRunner | None = None
        self.refused: list[str] = []
        """S3's error codes of the requests that were not allowed."""

    @property
    def base_url(self) -> str:
        return f"http://{LOOPBACK}:{self._port}"

    @property
    def environment(self) -> dict[str, str]:
        """Settings by which the product finds the bucket."""
        return {
            "FILES_BUCKET": BUCKET,
            "FILES_ENDPOINT_URL": self.base_url,
            "FILES_ACCESS_KEY_ID": ACCESS_KEY,
            "FILES_SECRET_ACCESS_KEY": SECRET_KEY,
        }

    async def start(self) -> None:
        (self._directory / BUCKET).mkdir(parents=True, exist_ok=True)
        app = web.Application(client_max_size=_MAX_BYTES)
        app.add_routes([web.route("*", "/{tail:.*}", self._answer)])
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, LOOPBACK, self._port).start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def path_of(self, key: str) -> Path:
        """Where the file of a key lies: under a name that no key can lead out of the directory."""
        return self._directory / BUCKET / hashlib.sha256(key.encode()).hexdigest()

    async def _answer(self, request: web.Request) -> web.Response:
        try:
            verify(request.method, request.raw_path, request.headers, datetime.now(UTC))
            bucket, _, key = unquote(request.raw_path.partition("?")[0]).removeprefix("/").partition("/")
            if bucket != BUCKET or not key:
                raise Refused("NoSuchBucket")
            content = await request.read()
            return await asyncio.to_thread(_serve, request, content, self.path_of(key))
        except Refused as refusal:
            self.refused.append(str(refusal))
            status = 404 if str(refusal).startswith("NoSuch") else 403
            body = f'<?xml version="1.0"?><Error><Code>{refusal}</Code></Error>'
            return web.Response(status=status, text=body, content_type="application/xml")


def _serve(request: web.Request, content: bytes, path: Path) -> web.Response:
    if request.method == "PUT":
        expected = request.headers.get("x-amz-checksum-sha256")
        if expected is not None and expected != _checksum(content):
            raise Refused("BadDigest")
        path.write_bytes(content)
        return web.Response(headers={"ETag": f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'})
    if request.method == "DELETE":
        path.unlink(missing_ok=True)
        return web.Response(status=204)
    if not path.exists():
        raise Refused("NoSuchKey")
    stored = path.read_bytes()
    stored_at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    headers = {"Last-Modified": format_datetime(stored_at, usegmt=True), "x-amz-checksum-sha256": _checksum(stored)}
    disposition = request.query.get("response-content-disposition")
    if disposition:
        headers["Content-Disposition"] = disposition
    return web.Response(body=stored, headers=headers, content_type="binary/octet-stream")


def _checksum(content: bytes) -> str:
    return base64.b64encode(hashlib.sha256(content).digest()).decode()


def verify(method: str, raw_path: str, headers: Mapping[str, str], now: datetime) -> None:
    """Check the signature of a request. ``raw_path``: path and query as sent.

    Raises:
        Refused: not signed, by somebody else, for something else, or too long ago.
    """
    path, _, query = raw_path.partition("?")
    parts = (item.partition("=") for item in query.split("&") if item)
    pairs = [(unquote(name), unquote(value)) for name, _, value in parts]
    asked = dict(pairs)
    if "X-Amz-Signature" in asked:
        if asked.get("X-Amz-Algorithm") != "AWS4-HMAC-SHA256":
            raise Refused("AuthorizationQueryParametersError")
        signature, credential = asked["X-Amz-Signature"], asked.get("X-Amz-Credential", "")
        names, stamp = asked.get("X-Amz-SignedHeaders", ""), asked.get("X-Amz-Date", "")
        lifetime = asked.get("X-Amz-Expires", "")
        if not lifetime.isdecimal() or not 1 <= int(lifetime) <= _LONGEST_LINK_S:
            raise Refused("AuthorizationQueryParametersError")
        signed_at = _moment(stamp)
        if not signed_at - _CLOCK_SKEW <= now <= signed_at + timedelta(seconds=int(lifetime)):
            raise Refused("AccessDenied")  # "Request has expired"
        payload = "UNSIGNED-PAYLOAD"
        pairs = [pair for pair in pairs if pair[0] != "X-Amz-Signature"]
    else:
        found = _AUTHORIZATION.fullmatch(headers.get("Authorization", ""))
        if found is None:
            raise Refused("AccessDenied")
        signature, credential, names = found["signature"], found["credential"], found["headers"]
        stamp, payload = headers.get("x-amz-date", ""), headers.get("x-amz-content-sha256", "")
        if abs(now - _moment(stamp)) > _CLOCK_SKEW:
            raise Refused("RequestTimeTooSkewed")
    scope = f"{stamp[:8]}/{REGION}/s3/aws4_request"
    if credential != f"{ACCESS_KEY}/{scope}":
        raise Refused("InvalidAccessKeyId")
    lines = [method, path, _canonical_query(pairs)]
    lines += [*(f"{name}:{_header(headers, name)}" for name in names.split(";")), "", names, payload]
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    expected = _sign("\n".join(["AWS4-HMAC-SHA256", stamp, scope, digest]), stamp[:8])
    if not hmac.compare_digest(expected, signature):
        raise Refused("SignatureDoesNotMatch")


def _moment(stamp: str) -> datetime:
    try:
        return datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise Refused("AccessDenied") from None


def _header(headers: Mapping[str, str], name: str) -> str:
    if name not in headers:
        raise Refused("SignatureDoesNotMatch")
    return " ".join(headers[name].split())


def _canonical_query(pairs: list[tuple[str, str]]) -> str:
    return "&".join(sorted(f"{quote(name, safe=_SAFE)}={quote(value, safe=_SAFE)}" for name, value in pairs))


def _sign(text: str, day: str) -> str:
    key = f"AWS4{SECRET_KEY}".encode()
    for part in (day, REGION, "s3", "aws4_request"):
        key = hmac.new(key, part.encode(), "sha256").digest()
    return hmac.new(key, text.encode(), "sha256").hexdigest()
