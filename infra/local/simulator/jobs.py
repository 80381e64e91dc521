"""Transfers that take their time: firmware downloads and log uploads, really made over HTTP, told step by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx

from infra.local.simulator.outbox import Message

_TIMEOUT_S = 20.0


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

    async def update(self, location: str, *, signed: bool, request_id: int | None = None) -> None:
        """Download the firmware and "install" it. The content is kept, not run, and its signature is not checked."""
        action = "SignedFirmwareStatusNotification" if signed else "FirmwareStatusNotification"
        self.tell(action, "Downloading", request_id)
        content = await _get(location)
        if content is None:
            self.tell(action, "DownloadFailed", request_id)
            return
        self.firmware = content
        for status in ("Downloaded", "Installing", "Installed"):
            self.tell(action, status, request_id)

    @property
    def uploading(self) -> bool:
        """A log upload runs."""
        return self._log_job is not None

    async def upload(self, location: str, action: str, kind: str, request_id: int | None = None) -> None:
        """PUT a small log to ``location``. A newer upload takes the place of one that runs."""
        token = self._log_job = object()
        self.tell(action, "Uploading", request_id)
        text = f"{self.file_name(kind)}: nothing to report\n".encode()
        done = await _put(location, text)
        if self._log_job is token:
            self._log_job = None
            failed = "UploadFailed" if action == "DiagnosticsStatusNotification" else "UploadFailure"
            self.tell(action, "Uploaded" if done else failed, request_id)


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
