"""What apps may say on the locations stream, and what waits for a slow one."""

import asyncio
import json
from typing import Any

import pytest

from evpower.clock import FrozenClock
from evpower.realtime.events import Event
from socket_tier.stream_client import MAX_CHANNELS, MESSAGES_PER_SECOND, Order, StreamClient, parse_order


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ('{"type":"subscribe","data":{"channel":"location:7"}}', Order("subscribe", "location:7")),
        ('{"type":"unsubscribe","data":{"channel":"all"}}', Order("unsubscribe", "all")),
        ('{"action":"subscribe","channel":"station:SN 1"}', Order("subscribe", "station:SN 1")),
        ('{"action":"unsubscribe","channel":"location_stations:x"}', Order("unsubscribe", "location_stations:x")),
        ('{"action":"ping"}', Order("ping")),
        ('{"type":"ping"}', Order("ping")),
        ('{"type":"pong"}', Order("pong")),
        ("{", "bad JSON"),
        ("", "bad JSON"),
        (b"\xff", "bad JSON"),
        ("[]", "a message is a JSON object"),
        ("null", "a message is a JSON object"),
        ("{}", "unknown action"),
        ('{"action":["subscribe"]}', "unknown action"),
        ('{"type":"subscribe"}', "unknown channel"),
        ('{"type":"subscribe","data":"all"}', "unknown channel"),
        ('{"action":"subscribe","channel":"client:7"}', "unknown channel"),
        ('{"action":"subscribe","channel":"location:"}', "unknown channel"),
        ('{"action":"subscribe","channel":7}', "unknown channel"),
        ('{"action":"subscribe","channel":"station:' + "x" * 300 + '"}', "unknown channel"),
    ],
)
def test_both_dialects(text: str | bytes, order: Order | str) -> None:
    assert parse_order(text) == order


class Socket:
    """Plays the WebSocket: hands out messages, keeps what is sent; ``reading`` false plays an app that hangs."""

    def __init__(self, *messages: str) -> None:
        self.messages = list(messages)
        self.sent: list[dict[str, Any]] = []
        self.reading = asyncio.Event()
        self.reading.set()

    async def recv(self, decode: bool) -> bytes:
        if not self.messages:
            await asyncio.Event().wait()
        return self.messages.pop(0).encode()

    async def send(self, frame: str) -> None:
        await self.reading.wait()
        self.sent.append(json.loads(frame))


async def converse(socket: Socket, count: int) -> tuple[StreamClient, list[dict[str, Any]]]:
    """Let a client handle all messages; the first ``count`` frames that it sends."""
    client = StreamClient(socket, "client-1", FrozenClock())  # type: ignore[arg-type]

    def snapshot(channels: Any) -> list[Event]:
        return [Event(f"station:{name}", frozenset([name]), {"type": "station_status_update"}) for name in channels]

    async with asyncio.TaskGroup() as tasks:
        jobs = [
            tasks.create_task(client.send_forever(5)),
            tasks.create_task(client.receive_forever(snapshot)),
        ]
        async with asyncio.timeout(5):
            while len(socket.sent) < count:
                await asyncio.sleep(0.001)
        for job in jobs:
            job.cancel()
    return client, socket.sent


async def test_subscriptions_are_confirmed_and_answered_with_the_present_state() -> None:
    socket = Socket('{"action":"subscribe","channel":"station:7"}', '{"action":"unsubscribe","channel":"all"}')
    client, sent = await converse(socket, 3)
    assert client.channels == {"station:7"}
    assert [frame["type"] for frame in sent] == ["subscription", "subscription", "station_status_update"]
    assert sent[0] == {"type": "subscription", "status": "subscribed", "channel": "station:7"}
    assert sent[1] == {"type": "subscription", "status": "unsubscribed", "channel": "all"}
    assert sent[2]["timestamp"].endswith("Z")


async def test_ping_is_answered() -> None:
    _, sent = await converse(Socket('{"action":"ping"}'), 1)
    assert sent[0]["type"] == "pong"
    assert sent[0]["timestamp"].endswith("Z")


async def test_more_than_ten_messages_a_second_are_ignored_and_said_once() -> None:
    socket = Socket(*['{"action":"ping"}'] * (MESSAGES_PER_SECOND + 20))
    _, sent = await converse(socket, MESSAGES_PER_SECOND + 1)
    assert [frame["type"] for frame in sent].count("pong") == MESSAGES_PER_SECOND
    assert [frame["message"] for frame in sent if frame["type"] == "error"] == ["rate_limited"]
    assert socket.messages == []


async def test_channels_are_bounded() -> None:
    client = StreamClient(Socket(), "client-1", FrozenClock())  # type: ignore[arg-type]
    for number in range(MAX_CHANNELS + 5):
        client._obey(Order("subscribe", f"station:{number}"), lambda _channels: [])
    assert len(client.channels) == MAX_CHANNELS


async def test_a_slow_app_gets_the_newest_state_of_each_subject() -> None:
    socket = Socket()
    client = StreamClient(socket, "client-1", FrozenClock())  # type: ignore[arg-type]
    for number in range(10_000):
        client.update(f"station:{number % 3}", json.dumps({"number": number}))
    assert len(client._updates) == 3
    sender = asyncio.create_task(client.send_forever(5))
    async with asyncio.timeout(5):
        while len(socket.sent) < 3:
            await asyncio.sleep(0.001)
    sender.cancel()
    assert sorted(frame["number"] for frame in socket.sent) == [9997, 9998, 9999]


async def test_an_app_that_does_not_read_is_given_up() -> None:
    socket = Socket()
    socket.reading.clear()
    client = StreamClient(socket, "client-1", FrozenClock())  # type: ignore[arg-type]
    client.reply("ping")
    with pytest.raises(TimeoutError):
        await client.send_forever(0.05)


async def test_replies_are_bounded() -> None:
    client = StreamClient(Socket(), "client-1", FrozenClock())  # type: ignore[arg-type]
    for _ in range(1000):
        client.reply("pong")
    assert client.overflowed
    assert len(client._replies) <= 32
    with pytest.raises(TimeoutError):
        await client.send_forever(5)
