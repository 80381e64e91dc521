"""A charger's connection as registry and dispatcher see it, driven by the test."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from socket_tier.dialect import CommandSpec, Dialect

Answer = Callable[[str, Mapping[str, Any]], Awaitable[dict[str, Any]]]


async def accept(_action: str, _payload: Mapping[str, Any]) -> dict[str, Any]:
    return {"status": "Accepted"}


class FakeConnection:
    """Records calls and closes; ``answer`` plays the charger."""

    def __init__(self, station_id: str, epoch: int, answer: Answer = accept, *, accepts_commands: bool = True) -> None:
        self.station_id = station_id
        self.epoch = epoch
        self.accepts_commands = accepts_commands
        self.answer = answer
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.closed_with: tuple[int, str] | None = None
        self.called = asyncio.Event()
        actions = ("RemoteStartTransaction", "RemoteStopTransaction", "Reset", "GetConfiguration", "UnlockConnector")
        specs = {a: CommandSpec() for a in actions} | {"GetConfiguration": CommandSpec(accepted=frozenset())}
        self.dialect = Dialect("ocpp1.6", None, {}, specs)  # type: ignore[arg-type] - no schemas needed here

    async def call(self, action: str, payload: Mapping[str, Any], timeout: float) -> dict[str, Any]:
        self.calls.append((action, dict(payload)))
        self.called.set()
        async with asyncio.timeout(timeout):
            return await self.answer(action, payload)

    async def answers_ping(self, timeout_s: float) -> bool:
        return self.closed_with is None

    def look_up_again(self) -> None:
        self.looks_up_again = True

    async def close(self, code: int, reason: str) -> None:
        self.closed_with = (code, reason)


async def until(condition: Callable[[], object], what: str, timeout_s: float = 10.0) -> None:
    """Wait until ``condition()`` is true (it may return an awaitable)."""
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                result = condition()
                if isinstance(result, Awaitable):
                    result = await result
                if result:
                    return
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"waited {timeout_s:g} s in vain for: {what}") from None
