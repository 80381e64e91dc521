"""Announcing changed stations: what is sent, how often, and that nothing is ever raised."""

import json
from typing import Any

import pytest

from evpower.config import Settings
from evpower.realtime.service import CHANNEL, Publisher, changed_stations
from evpower.stations.models import StationRef


class Redis:
    """Keeps what is published; fails when told to."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.tries = 0
        self.published: list[tuple[str, Any]] = []

    async def publish(self, channel: str, body: bytes) -> None:
        self.tries += 1
        if self.error is not None:
            raise self.error
        self.published.append((channel, json.loads(body)))


def publisher(redis: Redis) -> Publisher:
    return Publisher(Settings(), redis)  # type: ignore[arg-type]


async def test_ids_and_references_are_sent_once_each() -> None:
    redis = Redis()
    await publisher(redis).stations_changed(["b", StationRef("a", "place"), "b", StationRef("b", None)])
    assert redis.published == [(CHANNEL, {"stations": ["a", "b"]})]


async def test_nothing_changed_sends_nothing() -> None:
    redis = Redis()
    await publisher(redis).stations_changed([])
    assert redis.tries == 0


async def test_a_mass_change_is_sent_in_parts() -> None:
    redis = Redis()
    ids = [f"st-{number:04}" for number in range(1201)]
    await publisher(redis).stations_changed(ids)
    assert [len(body["stations"]) for _, body in redis.published] == [500, 500, 201]
    assert sorted(station for _, body in redis.published for station in body["stations"]) == ids


@pytest.mark.parametrize("error", [OSError("away"), RuntimeError("the loop is closed"), TimeoutError()])
async def test_a_failure_is_not_raised_and_not_repeated_at_once(error: Exception) -> None:
    redis = Redis(error)
    announcer = publisher(redis)
    await announcer.stations_changed(["a"])
    await announcer.stations_changed(["b"])
    assert redis.tries == 1


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b'{"stations":7}', b"\xff", b"null"])
def test_an_unreadable_announcement_means_anything_may_have_changed(body: bytes) -> None:
    assert changed_stations(body) is None


def test_a_readable_announcement() -> None:
    assert changed_stations(b'{"stations":["a","b","a",7]}') == {"a", "b"}
