"""Transfers that take their time: firmware downloads and log uploads, really made over HTTP, told step by step.

A signed firmware is installed only if its signature is the signing certificate's (security whitepaper edition 3,
section 4.9: SHA-256 with RSA-PSS or ECDSA).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import httpx
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509 import Certificate

from infra.local.simulator.outbox import Message

_TIMEOUT_S = 20.0
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Retries:
    """How often a transfer is tried, and the seconds between two tries."""

    attempts: int = 1
    pause_s: float = 0.0

    @classmethod
    def of(cls, payload: dict[str, Any]) -> Retries:
        """``retries`` and ``retryInterval`` of a command."""
        return cls(int(payload.get("retries", 0)) + 1, float(payload.get("retryInterval", 0)))

    async def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """The first result that is not false, else the last one."""
        for _ in range(self.attempts - 1):
            if found := await work():
                return found
            await asyncio.sleep(self.pause_s)
        return await work()


@dataclass(frozen=True, slots=True)
class Update:
    """A firmware to download at ``when``. With a certificate and a signature it is checked before it is installed."""

    location: str
    when: datetime
    retries: Retries
    request_id: int | None = None
    certificate: Certificate | None = None
    signature: str = ""


class Jobs:
    """Firmware and log jobs of one charge point. ``put`` sends the notifications."""

    def __init__(self, station_id: str, put: Callable[[Message], None]) -> None:
        self._station_id = station_id
        self._put = put
        self._log_job: object | None = None
        self.firmware: bytes | None = None
        self.states: dict[str, dict[str, Any]] = {}
        """The last notification of each kind; a trigger repeats it."""

    def tell(self, action: str, status: str, request_id: int | None = None) -> None:
        """Send a status notification."""
        payload = {"status": status} | ({} if request_id is None else {"requestId": request_id})
        self.states[action] = payload
        self._put(Message(action, lambda: payload))

    def repeat(self, action: str) -> None:
        """Send the last status again, Idle when there was no job yet."""
        payload = self.states.get(action, {"status": "Idle"})
        self._put(Message(action, lambda: payload))

    def file_name(self, kind: str) -> str:
        """Name of the file that an upload brings."""
        return f"{self._station_id}-{kind}.log"[:255]

    async def update(self, update: Update) -> None:
        """Download the firmware, check it, and "install" it: the content is kept, not run."""
        signed = update.certificate is not None
        action = "SignedFirmwareStatusNotification" if signed else "FirmwareStatusNotification"
        wait_s = (update.when - datetime.now(UTC)).total_seconds()
        if wait_s > 0:
            if signed:
                self.tell(action, "DownloadScheduled", update.request_id)
            await asyncio.sleep(wait_s)
        self.tell(action, "Downloading", update.request_id)
        content = await update.retries.run(lambda: _get(update.location))
        if not content:
            self.tell(action, "DownloadFailed", update.request_id)
            return
        self.tell(action, "Downloaded", update.request_id)
        if update.certificate is not None:
            if not is_signed(content, update.signature, update.certificate):
                self.tell(action, "InvalidSignature", update.request_id)
                return
            self.tell(action, "SignatureVerified", update.request_id)
        self.firmware = content
        for status in ("Installing", "Installed"):
            self.tell(action, status, update.request_id)

    @property
    def uploading(self) -> bool:
        """A log upload runs."""
        return self._log_job is not None

    async def upload(
        self, location: str, action: str, kind: str, request_id: int | None = None, *, retries: Retries = Retries()
    ) -> None:
        """PUT a small log to ``location``. A newer upload takes the place of one that runs."""
        token = self._log_job = object()
        self.tell(action, "Uploading", request_id)
        text = f"{self.file_name(kind)}: nothing to report\n".encode()
        done = await retries.run(lambda: _put(location, text))
        if self._log_job is token:
            self._log_job = None
            failed = "UploadFailed" if action == "DiagnosticsStatusNotification" else "UploadFailure"
            self.tell(action, "Uploaded" if done else failed, request_id)


def is_signed(content: bytes, signature: str, certificate: Certificate) -> bool:
    """Whether ``signature`` (base64) over the content is of the certificate's key."""
    key = certificate.public_key()
    try:
        given = base64.b64decode(signature, validate=True)
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(given, content, ec.ECDSA(SHA256()))
        elif isinstance(key, rsa.RSAPublicKey):
            key.verify(given, content, padding.PSS(padding.MGF1(SHA256()), padding.PSS.AUTO), SHA256())
        else:
            return False
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


async def _get(location: str) -> bytes | None:
    try:
        async with httpx.AsyncClient(timeout=_TIMEOUT_S, trust_env=False) as client:
            answer = await client.get(location)
            return answer.content if answer.is_success else None
    except (httpx.HTTPError, httpx.InvalidURL):
        return None


async def _put(location: str, content: bytes) -> bool:
    try:
        async with httpx.AsyncClient(timeout=_TIMEOUT_S, trust_env=False) as client:
            return (await client.put(location, content=content)).is_success
    except (httpx.HTTPError, httpx.InvalidURL):
        return False
