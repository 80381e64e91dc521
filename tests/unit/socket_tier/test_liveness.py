"""Pings, dead sockets, stored signs of life (ocpp.md §1 Liveness); the time is given."""

import asyncio
import time
from dataclasses import dataclass, field

import psycopg
import pytest

from socket_tier.liveness import Liveness


@dataclass
class FakeSocket:
    station_id: str = "station-1"
    last_seen: float = 100.0
    last_ping: float = 0.0
    answers_pings: bool = True
    pings: int = 0
    closed: tuple[int, str] | None = None

    async def ping(self) -> None:
        self.pings += 1

    async def close(self, code: int, reason: str) -> None:
        self.closed = (code, reason)


@dataclass
class Watch:
    sockets: list[FakeSocket]
    stored: list[dict[str, float]] = field(default_factory=list)
    error: Exception | None = None

    def __post_init__(self) -> None:
        self.liveness = Liveness(lambda: self.sockets, self.touch, ping_interval_s=30, offline_after_s=600)

    async def touch(self, news: dict[str, float]) -> None:
        if self.error is not None:
            raise self.error
        self.stored.append(news)

    async def tick(self, now: float) -> None:
        self.liveness.tick(now)
        for _ in range(3):
            await asyncio.sleep(0)


async def test_a_quiet_socket_is_pinged_once_an_interval() -> None:
    socket = FakeSocket()
    watch = Watch([socket])
    for now in (110, 129, 131, 140, 159):
        await watch.tick(now)
    assert socket.pings == 1
    await watch.tick(162)
    assert socket.pings == 2


async def test_a_talking_socket_needs_no_ping() -> None:
    socket = FakeSocket()
    watch = Watch([socket])
    for now in range(100, 1000, 5):
        socket.last_seen = now - 4
        await watch.tick(now)
    assert socket.pings == 0
    assert socket.closed is None


async def test_a_socket_is_dead_after_missed_pongs() -> None:
    socket = FakeSocket()
    watch = Watch([socket])
    for now in range(100, 190, 5):
        await watch.tick(now)
    assert socket.closed is None
    await watch.tick(190)
    assert socket.closed is not None


async def test_a_pong_keeps_it_alive() -> None:
    socket = FakeSocket()
    watch = Watch([socket])
    for now in range(100, 1000, 5):
        before = socket.pings
        await watch.tick(now)
        if socket.pings > before:
            socket.last_seen = now
    assert socket.closed is None
    assert socket.pings > 20


async def test_a_charger_that_answers_no_pings_is_dead_only_past_the_offline_threshold() -> None:
    socket = FakeSocket(answers_pings=False)
    watch = Watch([socket])
    for now in range(100, 700, 5):
        await watch.tick(now)
    assert socket.closed is None
    await watch.tick(700)
    assert socket.closed is not None


async def test_only_news_are_stored_and_for_all_stations_at_once() -> None:
    first, second = FakeSocket("a"), FakeSocket("b")
    watch = Watch([first, second])
    await watch.liveness.flush()
    assert [set(news) for news in watch.stored] == [{"a", "b"}]
    await watch.liveness.flush()
    assert len(watch.stored) == 1
    second.last_seen += 50
    await watch.liveness.flush()
    assert set(watch.stored[1]) == {"b"}


async def test_what_could_not_be_stored_is_stored_the_next_time() -> None:
    watch = Watch([FakeSocket("a")])
    watch.error = psycopg.OperationalError("away")
    await watch.liveness.flush()
    watch.error = None
    await watch.liveness.flush()
    assert [set(news) for news in watch.stored] == [{"a"}]


async def test_signs_that_cannot_be_stored_for_long_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the instance gives no sign of life of its own: nobody is settled as silent because of it."""
    present = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: present[0])
    watch = Watch([FakeSocket("a", last_seen=990)])
    assert watch.liveness.stores()
    watch.error = psycopg.OperationalError("away")
    for _ in range(3):
        present[0] += 30
        await watch.liveness.flush()
    assert not watch.liveness.stores()
    watch.error = None
    await watch.liveness.flush()
    assert watch.liveness.stores()
    present[0] += 60
    await watch.liveness.flush()  # nothing new: nothing to store
    present[0] += 60
    assert watch.liveness.stores()
