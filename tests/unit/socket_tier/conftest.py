"""A charger without a network: frames go into a list, a table of routes is made by each test."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, cast

import orjson
import pytest

from evpower.clock import FrozenClock
from evpower.config import Settings
from evpower.db import Database
from evpower.stations.models import AdminStatus, Admission, RegistrationStatus
from socket_tier.charger import Charger
from socket_tier.connection import ChargerConnection
from socket_tier.dialect import CommandSpec, Dialect, QuickPath, Route
from socket_tier.schemas import SchemaSet
from socket_tier.services import Services

SCHEMAS = SchemaSet("v16")


def admission(**changes: Any) -> Admission:
    values: dict[str, Any] = {
        "station_id": "station-1",
        "serial_number": "SN-1",
        "status": AdminStatus.ACTIVE,
        "registration_status": RegistrationStatus.ACCEPTED,
        "auth_key_hash": None,
        "allow_missing_subprotocol": False,
        "answers_pings": True,
        "heartbeat_interval_s": None,
        "meter_interval_s": None,
        "connection_epoch": 1,
        "location_id": None,
    }
    return Admission(**{**values, **changes})


class FakeLink:
    """Collects what is written; ``held`` tells whether reading is stopped."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.closed: tuple[int, str] | None = None
        self.held = False
        self._moved = asyncio.Event()

    def write(self, frame: bytes) -> bool:
        if self.closed is not None:
            return False
        self.sent.append(orjson.loads(frame))
        self._moved.set()
        return True

    def hold(self) -> None:
        self.held = True

    def resume(self) -> None:
        self.held = False
        self._moved.set()

    async def close(self, code: int = 1000, reason: str = "") -> None:
        self.closed = self.closed or (code, reason)
        self._moved.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not condition():
                self._moved.clear()
                await self._moved.wait()

    async def count(self, number: int) -> list[Any]:
        await self.until(lambda: len(self.sent) >= number)
        return self.sent


class Bench:
    """One connection under test."""

    def __init__(
        self,
        routes: dict[str, Route],
        commands: dict[str, CommandSpec],
        record: Admission,
        quick: QuickPath | None = None,
    ) -> None:
        self.link = FakeLink()
        self.drained: list[str] = []
        self.clock = FrozenClock(datetime(2026, 1, 15, 6, tzinfo=UTC))
        services = Services(
            database=cast(Database, None),
            clock=self.clock,
            settings=Settings.model_validate({"environment": "test"}),
            instance_id="i-1",
            flush=cast(Any, None),
            dispatch=lambda _station, _command: True,
            changed=_nothing,
            drain=self.drained.append,
        )
        self.charger = Charger(record, 1, services)
        self.connection = ChargerConnection(
            self.link, Dialect("ocpp1.6", SCHEMAS, routes, commands, quick), self.charger, call_timeout_s=5
        )

    async def feed(self, *frame: Any) -> None:
        self.connection.receive(orjson.dumps(list(frame)))


async def _nothing(_stations: list[str]) -> None:
    return None


@pytest.fixture
def bench() -> Callable[..., Bench]:
    def make(
        routes: dict[str, Route] | None = None,
        commands: dict[str, CommandSpec] | None = None,
        quick: QuickPath | None = None,
        **record: Any,
    ) -> Bench:
        return Bench(routes or {}, commands or {}, admission(**record), quick)

    return make
