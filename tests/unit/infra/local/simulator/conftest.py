"""A scripted central system on loopback: it answers as told and can say anything, valid or not."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

NOW = "2026-01-01T00:00:00Z"


@dataclass
class Central:
    """Records every CALL of the charger; ``answers`` may replace the default answer of an action."""

    url: str = ""
    calls: list[tuple[str, dict[str, Any], str]] = field(default_factory=list)
    answers: dict[str, Callable[[dict[str, Any]], Any]] = field(default_factory=dict)
    results: dict[str, list[Any]] = field(default_factory=dict)
    sockets: list[ServerConnection] = field(default_factory=list)
    authorizations: list[str | None] = field(default_factory=list)
    transaction_ids: Any = field(default_factory=lambda: count(1))
    starts: dict[str, int] = field(default_factory=dict)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def on_socket(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        self.sockets.append(socket)
        self.authorizations.append(socket.request.headers.get("Authorization"))
        async for text in socket:
            frame = json.loads(text)
            if frame[0] == 2:
                self.calls.append((frame[2], frame[3], frame[1]))
                reply = self.answer(frame[2], frame[3])
                if reply is not None:
                    await socket.send(json.dumps([reply[0], frame[1], *reply[1:]]))
            else:
                self.results[frame[1]] = frame
            async with self.changed:
                self.changed.notify_all()

    def answer(self, action: str, payload: dict[str, Any]) -> list[Any] | None:
        if action in self.answers:
            return self.answers[action](payload)
        if action == "StartTransaction":
            key = json.dumps(payload, sort_keys=True)
            identifier = self.starts.setdefault(key, len(self.starts) + 1)
            return [3, {"transactionId": identifier, "idTagInfo": {"status": "Accepted"}}]
        defaults: dict[str, Any] = {
            "BootNotification": {"status": "Accepted", "currentTime": datetime.now(UTC).isoformat(), "interval": 300},
            "Heartbeat": {"currentTime": NOW},
            "Authorize": {"idTagInfo": {"status": "Accepted"}},
            "SignCertificate": {"status": "Accepted"},
            "StopTransaction": {},
        }
        return [3, defaults.get(action, {})]

    async def call(self, action: str, payload: Any, identifier: str = "c1") -> Any:
        """Send a CALL and return the charger's whole answer frame."""
        self.results.pop(identifier, None)
        await self.sockets[-1].send(json.dumps([2, identifier, action, payload]))
        async with asyncio.timeout(10), self.changed:
            await self.changed.wait_for(lambda: identifier in self.results)
        return self.results[identifier]

    async def say(self, text: str) -> None:
        await self.sockets[-1].send(text)

    def of(self, action: str) -> list[dict[str, Any]]:
        return [payload for name, payload, _ in self.calls if name == action]

    def order(self) -> list[str]:
        return [name for name, _, _ in self.calls]


@pytest.fixture
async def central() -> AsyncIterator[Central]:
    system = Central()
    async with serve(system.on_socket, "127.0.0.1", 0, subprotocols=["ocpp1.6"]) as server:  # type: ignore[list-item]
        port = next(iter(server.sockets)).getsockname()[1]
        system.url = f"ws://127.0.0.1:{port}/ocpp"
        yield system
