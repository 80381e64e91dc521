"""Signed links against a store that checks them: what they allow, what they do not, and until when."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from evpower.config import Settings
from evpower.errors import ServiceUnavailable
from evpower.storage.store import LONGEST_LINK, S3FileStore
from infra.local.file_standin import FileStandin, Refused, verify

HOUR = timedelta(hours=1)
IMAGE = b"new firmware"
SHA256 = hashlib.sha256(IMAGE).hexdigest()


@pytest.fixture
async def bucket(tmp_path: Path) -> AsyncIterator[FileStandin]:
    async with FileStandin(tmp_path) as running:
        yield running


@pytest.fixture
def store(bucket: FileStandin) -> S3FileStore:
    environment = {name.lower(): value for name, value in bucket.environment.items()}
    return S3FileStore(Settings.model_validate({"environment": "test", **environment}))


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False) as client:
        yield client


async def test_a_file_goes_up_and_comes_down(store: S3FileStore, http: httpx.AsyncClient) -> None:
    up = await store.upload_link("logs/1/x.log", HOUR)
    assert (await http.put(up.url, content=b"log")).status_code == 200
    found = await store.find("logs/1/x.log")
    assert found is not None
    assert (found.size_bytes, found.sha256) == (3, hashlib.sha256(b"log").hexdigest())
    assert abs(found.stored_at - datetime.now(UTC)) < timedelta(minutes=1)
    down = await store.download_link("logs/1/x.log", HOUR, file_name="x.log")
    answer = await http.get(down.url)
    assert (answer.content, answer.headers["content-disposition"]) == (b"log", 'attachment; filename="x.log"')
    await store.delete("logs/1/x.log")
    await store.delete("logs/1/x.log")
    assert await store.find("logs/1/x.log") is None
    assert (await http.get(down.url)).status_code == 404


async def test_a_link_is_good_for_its_method_and_file_only(store: S3FileStore, http: httpx.AsyncClient) -> None:
    up = await store.upload_link("logs/1/x.log", HOUR)
    for method, url in (
        ("GET", up.url),
        ("DELETE", up.url),
        ("PUT", up.url.replace("/1/", "/2/")),
        ("PUT", up.url.replace("X-Amz-Expires=3600", "X-Amz-Expires=360000")),
        ("PUT", up.url[:-1] + ("0" if up.url[-1] != "0" else "1")),
        ("PUT", up.url.partition("?")[0]),
    ):
        assert (await http.request(method, url, content=b"x")).status_code == 403, (method, url)
    assert await store.find("logs/1/x.log") is None


async def test_an_upload_with_size_and_checksum_takes_that_file_only(
    store: S3FileStore, http: httpx.AsyncClient
) -> None:
    link = await store.upload_link("firmware/1", HOUR, size_bytes=len(IMAGE), sha256=SHA256)
    assert (await http.put(link.url, content=IMAGE)).status_code == 403  # without the checksum's header
    for other in (b"old firmware", IMAGE + b"x"):
        answer = await http.put(link.url, content=other, headers={**link.headers, "Content-Length": str(len(other))})
        assert answer.status_code == 403
    assert (await http.put(link.url, content=IMAGE, headers=link.headers)).status_code == 200
    found = await store.find("firmware/1")
    assert found is not None
    assert (found.size_bytes, found.sha256) == (len(IMAGE), SHA256)


async def test_a_link_ends(store: S3FileStore, bucket: FileStandin) -> None:
    link = await store.download_link("logs/1/x.log", HOUR)
    parts = urlsplit(link.url)
    raw, headers = f"{parts.path}?{parts.query}", {"host": parts.netloc}
    now = datetime.now(UTC)
    verify("GET", raw, headers, now)
    verify("GET", raw, headers, now + HOUR - timedelta(seconds=5))
    with pytest.raises(Refused, match="AccessDenied"):
        verify("GET", raw, headers, now + HOUR + timedelta(seconds=5))
    assert abs(link.expires_at - now - HOUR) < timedelta(seconds=10)
    endless = await store.download_link("logs/1/x.log", timedelta(days=400))
    assert abs(endless.expires_at - now - LONGEST_LINK) < timedelta(seconds=10)
    parts = urlsplit(endless.url)
    verify("GET", f"{parts.path}?{parts.query}", headers, now)


@pytest.mark.parametrize("endpoint", [None, "https://s3.example"])
async def test_a_link_fits_into_the_messages_of_the_security_extension(endpoint: str | None) -> None:
    """512 characters (GetLog, SignedUpdateFirmware), with names as long as AWS's."""
    settings = {
        "files_bucket": "evpower-production-files-123456789012",
        "files_access_key_id": "AKIAIOSFODNN7EXAMPLE",
        "files_secret_access_key": "x" * 40,
        "aws_region": "ap-southeast-1",
        "files_endpoint_url": endpoint,
    }
    store = S3FileStore(Settings.model_validate({"environment": "test", **settings}))
    for key in (f"logs/{'0' * 36}/DiagnosticsLog.log", f"firmware/{'0' * 36}"):
        for link in (await store.upload_link(key, LONGEST_LINK), await store.download_link(key, LONGEST_LINK)):
            assert len(link.url) <= 512
    parts = urlsplit((await store.upload_link("x", HOUR)).url)
    assert parts.hostname == (
        "s3.example" if endpoint else f"{settings['files_bucket']}.s3.ap-southeast-1.amazonaws.com"
    )


async def test_a_store_that_is_away_or_refuses_is_told_in_time(bucket: FileStandin) -> None:
    away = {**bucket.environment, "FILES_ENDPOINT_URL": "http://127.0.0.1:9"}
    stranger = {**bucket.environment, "FILES_SECRET_ACCESS_KEY": "guessed"}
    for environment in (away, stranger, {}):
        values = {name.lower(): value for name, value in environment.items()}
        store = S3FileStore(Settings.model_validate({"environment": "test", **values}))
        async with asyncio.timeout(20):
            with pytest.raises(ServiceUnavailable):
                await store.find("logs/1/x.log")
    assert bucket.refused == ["SignatureDoesNotMatch"]
