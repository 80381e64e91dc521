"""Delivery against the stand-in of the push providers, over their real protocols."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from evpower.clock import FrozenClock, SystemClock
from evpower.config import Settings
from evpower.db import PooledDatabase
from evpower.notifications.delivery import PushDeps, deliver, push_deps
from infra.local.push_standin.server import PushStandin

CLIENT = "client-a"
ANDROID = "android-phone-1:APA91bExampleExampleExample"
IPHONE = "0123456789abcdef" * 4


@dataclass
class CollectingQueue:
    """Messages that were queued: outbox ids and delay."""

    sent: list[tuple[tuple[int, ...], float]] = field(default_factory=list)

    async def send(self, outbox_ids: Sequence[int], delay_s: float = 0) -> bool:
        self.sent.append((tuple(outbox_ids), delay_s))
        return True


@dataclass
class World:
    """The push function's parts and the people it writes to."""

    deps: PushDeps
    db: PooledDatabase
    clock: FrozenClock
    queue: CollectingQueue
    standin: PushStandin

    async def sql(self, query: str, *values: object) -> list[dict[str, Any]]:
        async with self.db.transaction() as conn:
            cursor = await conn.execute(query, values)
            return await cursor.fetchall() if cursor.description else []

    async def device(self, token: str, platform: str, *, client: str = CLIENT, language: str = "ru") -> None:
        await self.sql(
            "INSERT INTO devices (id, client_id, fcm_token, platform, language) VALUES (%s, %s, %s, %s, %s)",
            f"device-{token[:3]}{token[-3:]}",
            client,
            token,
            platform,
            language,
        )

    async def browser(self, user_id: str = CLIENT, user_type: str = "client") -> str:
        """A browser of the user; its name at the stand-in."""
        subscription = self.standin.browser()
        await self.sql(
            """INSERT INTO push_subscriptions (user_id, user_type, endpoint, p256dh_key, auth_key)
               VALUES (%s, %s, %s, %s, %s)""",
            user_id,
            user_type,
            subscription["endpoint"],
            subscription["keys"]["p256dh"],
            subscription["keys"]["auth"],
        )
        return str(subscription["endpoint"].rpartition("/")[2])

    async def queued(self, event: str = "charging_completed", payload: dict[str, Any] | None = None) -> int:
        """A row of the outbox, written now."""
        payload = payload or {"session_id": "s-1", "energy_kwh": 12.345, "amount": 166.66}
        (row,) = await self.sql(
            """INSERT INTO push_outbox (user_id, event, payload, dedup_key, created_at, next_attempt_at)
               VALUES (%s, %s, %s, gen_random_uuid()::text, %s, %s) RETURNING id""",
            CLIENT,
            event,
            Jsonb(payload),
            self.clock.now(),
            self.clock.now(),
        )
        return int(row["id"])

    async def row(self, outbox_id: int) -> dict[str, Any]:
        (row,) = await self.sql("SELECT * FROM push_outbox WHERE id = %s", outbox_id)
        return row

    async def deliver(self, outbox_id: int) -> str:
        return await deliver(self.deps, outbox_id)


@pytest.fixture(scope="session")
def push_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys and certificates, made once."""
    return tmp_path_factory.mktemp("push")


@pytest.fixture
async def push_standin(push_folder: Path) -> AsyncIterator[PushStandin]:
    async with PushStandin(push_folder) as standin:
        yield standin


@pytest.fixture
def push_settings(make_settings: Callable[..., Settings], push_standin: PushStandin) -> Callable[..., Settings]:
    """Settings whose providers are the stand-in."""

    def make(**overrides: object) -> Settings:
        providers = {name.lower(): value for name, value in push_standin.environment.items()}
        return make_settings(**{**providers, "push_timeout_s": 5.0, **overrides})

    return make


@pytest.fixture
async def make_world(
    db: PooledDatabase, push_settings: Callable[..., Settings], push_standin: PushStandin
) -> AsyncIterator[Callable[..., Any]]:
    opened: list[PushDeps] = []

    def make(**overrides: object) -> World:
        clock, queue = FrozenClock(datetime.now(UTC)), CollectingQueue()
        # The providers live in real time and would refuse tokens from the future.
        deps = replace(push_deps(db, queue, push_settings(**overrides), SystemClock()), clock=clock)
        opened.append(deps)
        return World(deps, db, clock, queue, push_standin)

    yield make
    for deps in opened:
        await deps.http.close()


@pytest.fixture
async def world(make_world: Callable[..., World]) -> World:
    """One client without any address."""
    world = make_world()
    await world.sql("INSERT INTO clients (id, phone) VALUES (%s, '+996700000001')", CLIENT)
    return world
