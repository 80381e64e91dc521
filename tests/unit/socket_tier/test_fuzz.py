"""Hostile frames by the ten thousand: never a crash, never a well-formed CALL without an answer, memory bounded.

Handlers answer from memory; what is fuzzed is everything between the socket and them: frames, ids, schemas, answers.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from socket_tier import rpc
from socket_tier.charger import Charger
from socket_tier.dialect import CommandSpec, Done, Durability, QuickPath, Route
from socket_tier.ocpp16 import meter_frames
from socket_tier.ocpp16.meter_frames import MeterFrame
from socket_tier.ocpp16.routes import ROUTES
from socket_tier.repeats import REMEMBERED_ANSWERS
from tests.unit.socket_tier.conftest import SCHEMAS, Bench, admission

EXAMPLES = 250
FRAMES_PER_EXAMPLE = 400  # 250 x 400: 100,000 frames in a run
NOW = "2026-01-15T06:00:00.000Z"
ANSWERS: dict[str, dict[str, Any]] = {
    "Authorize": {"idTagInfo": {"status": "Accepted"}},
    "BootNotification": {"status": "Accepted", "currentTime": NOW, "interval": 300},
    "DataTransfer": {"status": "UnknownVendorId"},
    "Heartbeat": {"currentTime": NOW},
    "SignCertificate": {"status": "Accepted"},
    "StartTransaction": {"transactionId": 1, "idTagInfo": {"status": "Accepted"}},
}
SAMPLES: dict[str, dict[str, Any]] = {
    "Authorize": {"idTag": "TAG"},
    "BootNotification": {"chargePointVendor": "v", "chargePointModel": "m"},
    "DataTransfer": {"vendorId": "v", "data": "x"},
    "DiagnosticsStatusNotification": {"status": "Idle"},
    "FirmwareStatusNotification": {"status": "Idle"},
    "Heartbeat": {},
    "LogStatusNotification": {"status": "Idle", "requestId": 1},
    "MeterValues": {"connectorId": 1, "meterValue": [{"timestamp": NOW, "sampledValue": [{"value": "1"}]}]},
    "SecurityEventNotification": {"type": "ResetOrReboot", "timestamp": NOW},
    "SignCertificate": {"csr": "x"},
    "SignedFirmwareStatusNotification": {"status": "Idle"},
    "StartTransaction": {"connectorId": 1, "idTag": "TAG", "meterStart": 0, "timestamp": NOW},
    "StatusNotification": {"connectorId": 1, "errorCode": "NoError", "status": "Available", "timestamp": NOW},
    "StopTransaction": {"transactionId": 1, "meterStop": 1, "timestamp": NOW},
}
HOSTILE: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 1.5, 2**31, -(2**63), 2**64 - 1, 1e308, -0.0, "", " ", "\x00", "x" * 300, "ꙮ" * 60,
    "2026-02-30T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:60Z", "NaN", "1e999", "Accepted", [], {},
    [[]], [None], {"": {}}, {"status": "Accepted"}, [[[[[[[[[[[[]]]]]]]]]]]],
)  # fmt: skip
ACTIONS = (*SAMPLES, "Dance", "", "ReserveNow", "GetLog", "heartbeat", "../MeterValues", "x" * 5000)
IDS: tuple[Any, ...] = (
    "a",
    "-1",
    "x" * 36,
    "x" * 255,
    "x" * 256,
    "",
    "ꙮ\x00",
    7,
    0,
    -1,
    1.5,
    2**53,
    None,
    True,
    [],
    {},
)
RAW: tuple[bytes, ...] = (
    b"", b"{", b"[", b"[]", b"[2]", b'[2,"a"', b"null", b"1e999", b"\xff\xfe", b"\x00", b'"text"', b"{}", b"[" * 5000,
    b'[2,"a","Heartbeat",{},{}]', b'[2,"a",7,{}]', b'[2.0,"a","Heartbeat",{}]', b'[true,"a","Heartbeat",{}]',
    b'[2,"\\ud800","Heartbeat",{}]', b'[99999999999999999999,"a"]', b'\xef\xbb\xbf[2,"a","Heartbeat",{}]',
)  # fmt: skip


def mutate(random: Any, value: Any, depth: int = 0) -> Any:
    """A copy of a JSON value with, somewhere, something hostile."""
    if depth > 6 or random.random() < 0.15:
        return random.choice(HOSTILE)
    if isinstance(value, dict):
        result = dict(value)
        for _ in range(random.randint(1, 2)):
            name = random.choice([*result, "extra", "status", "timestamp", "connectorId"])
            if name in result and random.random() < 0.3:
                del result[name]
            else:
                result[name] = mutate(random, result.get(name), depth + 1)
        return result
    if isinstance(value, list) and value:
        at = random.randrange(len(value))
        return [*value[:at], mutate(random, value[at], depth + 1), *value[at + 1 :]]
    return random.choice(HOSTILE)


def frame(random: Any) -> bytes:
    """One frame: good, slightly wrong, an answer nobody asked for, or rubbish."""
    kind = random.random()
    action, message_id = random.choice(ACTIONS), random.choice(IDS)
    sample = SAMPLES.get(action, {})
    if kind < 0.25:
        return orjson.dumps([2, random.choice(("a", "b", "c", 7)), action, sample])
    if kind < 0.7:
        return orjson.dumps([2, message_id, action, mutate(random, sample)])
    if kind < 0.8:
        return orjson.dumps([random.choice((3, 4)), message_id, *random.choices(HOSTILE, k=random.randint(0, 4))])
    if kind < 0.9:
        return orjson.dumps(random.choices((2, *IDS, *HOSTILE), k=random.randint(0, 6)))
    raw = bytearray(random.choice((*RAW, orjson.dumps([2, "a", action, sample]))))
    for _ in range(random.randint(0, 3)):
        if raw:
            raw[random.randrange(len(raw))] = random.randrange(256)
    return bytes(raw)


def routes() -> dict[str, Route]:
    """The real table with handlers that answer from memory; a StopTransaction is kept, whatever it says."""

    def answering(action: str) -> Route:
        async def handle(_charger: Charger, _payload: dict[str, Any]) -> dict[str, Any]:
            return dict(ANSWERS.get(action, {}))

        async def keep(_charger: Charger, _raw: Any, _reason: str) -> dict[str, Any]:
            return {}

        return Route(handle, Durability.NONE, on_fault=keep if ROUTES[action].on_fault else None)

    return {action: answering(action) for action in ROUTES}


def quickly(_charger: Charger, frame: MeterFrame, done: Done) -> bool:
    """The quick path up to the store: a good reading is answered as soon as the loop turns."""
    if meter_frames.readings(frame) is None:
        return False
    asyncio.get_running_loop().call_soon(done, {})
    return True


async def play(frames: list[bytes]) -> None:
    quick = QuickPath(meter_frames.read, quickly)
    bench = Bench(routes(), {"Reset": CommandSpec()}, admission(), quick)
    command = asyncio.create_task(bench.connection.call("Reset", {"type": "Soft"}, 60))
    await bench.link.count(1)
    reset = bench.link.sent.pop()
    for number, data in enumerate(frames):
        bench.connection.receive(data)
        if number % 50 == 0:
            await bench.connection.drained()
    await bench.connection.drained()
    sent = bench.link.sent
    parsed = [rpc.parse(data) for data in frames]
    assert len(sent) == sum(not isinstance(item, rpc.CallResult | rpc.CallError) for item in parsed)
    assert all(answer[0] == 3 or (answer[0] == 4 and answer[2] != rpc.INTERNAL_ERROR) for answer in sent)
    calls = Counter(repr(item.id) for item in parsed if isinstance(item, rpc.Call))
    assert calls <= Counter(repr(answer[1]) for answer in sent)
    # Nothing is kept of them, the connection lives, and the command that waited all the while gets its answer.
    assert bench.link.closed is None
    assert len(bench.connection._repeats) <= REMEMBERED_ANSWERS
    assert len(bench.connection._quirks) <= 100
    await bench.feed(3, reset[1], {"status": "Accepted"})
    assert await command == {"status": "Accepted"}


@pytest.fixture
def quiet() -> Iterator[None]:
    """Without the log lines of 100,000 refusals, which pytest would keep."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(st.randoms(use_true_random=True))  # one seed an example, told when it fails: 400 frames are too many to draw
def test_a_hundred_thousand_hostile_frames(quiet: None, random: Any) -> None:
    asyncio.run(play([frame(random) for _ in range(FRAMES_PER_EXAMPLE)]))


def test_what_is_sent_as_good_is_good() -> None:
    """The samples pass their schemas: otherwise the fuzz would only ever see refusals."""
    assert set(SAMPLES) == set(ROUTES)
    for action, payload in SAMPLES.items():
        checked = SCHEMAS.check_request(action, payload)
        assert (checked.fault, checked.quirks) == (None, ())
