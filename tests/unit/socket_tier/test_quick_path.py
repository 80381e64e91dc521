"""The way of the message that makes up nearly all the load: without a task, in order; in doubt the usual way."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
import psycopg

from evpower.stations.models import RegistrationStatus
from socket_tier.charger import Charger
from socket_tier.dialect import Done, Durability, QuickPath, Route
from socket_tier.pacing import Pace
from tests.unit.socket_tier.conftest import Bench

MakeBench = Callable[..., Bench]
HEARTBEAT = {"currentTime": "2026-01-15T06:00:00.000Z"}


@dataclass
class Beat:
    id: str
    action: str


class Quick:
    """Takes heartbeats without members; the test finishes them."""

    def __init__(self, *, takes: bool = True) -> None:
        self.takes = takes
        self.waiting: list[Done] = []
        self.path = QuickPath(self.read, self.take)

    def read(self, data: bytes) -> Beat | None:
        frame = orjson.loads(data)
        return Beat(frame[1], "Heartbeat") if frame[2:] == ["Heartbeat", {}] else None

    def take(self, _charger: Charger, _call: Any, done: Done) -> bool:
        if self.takes:
            self.waiting.append(done)
        return self.takes


class Handler:
    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []

    async def __call__(self, _charger: Charger, payload: dict[str, Any]) -> dict[str, Any]:
        self.seen.append(payload)
        return dict(HEARTBEAT)


async def test_it_answers_without_a_task_and_keeps_the_order(bench: MakeBench) -> None:
    quick, handler = Quick(), Handler()
    b = bench({"Heartbeat": Route(handler)}, quick=quick.path)
    await b.feed(2, "a", "Heartbeat", {})
    await b.feed(2, "b", "Heartbeat", {"later": 1})
    await b.feed(2, "c", "Heartbeat", {})
    assert len(quick.waiting) == 1
    assert b.link.sent == []
    quick.waiting[0](dict(HEARTBEAT))
    assert [frame[1] for frame in await b.link.count(3)] == ["a", "b", "c"]
    assert handler.seen == [{"later": 1}, {}]


async def test_a_failure_sends_the_message_the_usual_way_before_those_behind_it(bench: MakeBench) -> None:
    quick, handler = Quick(), Handler()
    b = bench({"Heartbeat": Route(handler, Durability.COMMIT)}, quick=quick.path)
    await b.feed(2, "a", "Heartbeat", {})
    await b.feed(2, "b", "Heartbeat", {"later": 1})
    quick.waiting[0](psycopg.OperationalError("away"))
    assert [frame[1] for frame in await b.link.count(2)] == ["a", "b"]
    assert handler.seen == [{}, {"later": 1}]


async def test_it_may_decline(bench: MakeBench) -> None:
    handler = Handler()
    b = bench({"Heartbeat": Route(handler)}, quick=Quick(takes=False).path)
    await b.feed(2, "a", "Heartbeat", {})
    assert await b.link.count(1) == [[3, "a", HEARTBEAT]]
    assert len(handler.seen) == 1


async def test_a_defect_of_it_costs_no_message(bench: MakeBench) -> None:
    def broken(_charger: Charger, _call: Any, _done: Done) -> bool:
        raise ValueError("a defect")

    handler = Handler()
    b = bench({"Heartbeat": Route(handler)}, quick=QuickPath(Quick().read, broken))
    await b.feed(2, "a", "Heartbeat", {})
    await b.feed(2, "b", "Heartbeat", {})
    assert [frame[1] for frame in await b.link.count(2)] == ["a", "b"]
    assert len(handler.seen) == 2


async def test_a_repeated_message_gets_its_answer_again(bench: MakeBench) -> None:
    quick, handler = Quick(), Handler()
    b = bench({"Heartbeat": Route(handler)}, quick=quick.path)
    await b.feed(2, "a", "Heartbeat", {})
    quick.waiting[0](dict(HEARTBEAT))
    await b.feed(2, "a", "Heartbeat", {})
    assert await b.link.count(2) == [[3, "a", HEARTBEAT]] * 2
    assert len(quick.waiting) == 1
    assert handler.seen == []


async def test_a_station_that_is_not_accepted_does_not_take_it(bench: MakeBench) -> None:
    quick = Quick()
    b = bench({"Heartbeat": Route(Handler())}, quick=quick.path, registration_status=RegistrationStatus.REJECTED)
    await b.feed(2, "a", "Heartbeat", {})
    assert (await b.link.count(1))[0][:3] == [4, "a", "SecurityError"]
    assert quick.waiting == []


async def test_the_end_of_a_socket_waits_for_it(bench: MakeBench) -> None:
    quick = Quick()
    b = bench({"Heartbeat": Route(Handler())}, quick=quick.path)
    await b.feed(2, "a", "Heartbeat", {})
    ending = asyncio.create_task(b.connection.finish())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not ending.done()
    quick.waiting[0](dict(HEARTBEAT))
    await ending


async def test_a_shutdown_and_the_end_of_the_socket_both_wait_for_it(bench: MakeBench) -> None:
    quick = Quick()
    b = bench({"Heartbeat": Route(Handler())}, quick=quick.path)
    await b.feed(2, "a", "Heartbeat", {})
    ending = asyncio.create_task(b.connection.finish())
    await asyncio.sleep(0)
    draining = asyncio.create_task(b.connection.drained())
    await asyncio.sleep(0)
    quick.waiting[0](dict(HEARTBEAT))
    async with asyncio.timeout(1):
        await asyncio.gather(ending, draining)


async def test_a_flood_waits_for_its_pace(bench: MakeBench) -> None:
    quick, handler = Quick(), Handler()
    b = bench({"Heartbeat": Route(handler, pace=Pace(per_s=20, burst=2))}, quick=quick.path)
    for number, message_id in enumerate(("a", "b", "c")):
        await b.feed(2, message_id, "Heartbeat", {})
        if number < 2:
            quick.waiting[number](dict(HEARTBEAT))
    assert [frame[1] for frame in await b.link.count(2)] == ["a", "b"]
    assert handler.seen == []  # the third waits, and takes the usual way
    assert [frame[1] for frame in await b.link.count(3)] == ["a", "b", "c"]
    assert (len(quick.waiting), len(handler.seen)) == (2, 1)
