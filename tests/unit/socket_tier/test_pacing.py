"""The limit of messages per station: excess waits and is answered, others are not held up."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from socket_tier.charger import Charger
from socket_tier.dialect import Route
from socket_tier.ocpp16.routes import ROUTES
from socket_tier.pacing import Pace, Pacer
from tests.unit.socket_tier.conftest import Bench

MakeBench = Callable[..., Bench]
HEARTBEAT = {"currentTime": "2026-01-15T06:00:00.000Z"}


async def beat(_charger: Charger, _payload: dict[str, Any]) -> dict[str, Any]:
    return dict(HEARTBEAT)


def test_a_burst_passes_then_one_message_per_interval() -> None:
    pacer, pace = Pacer(), Pace(per_s=10, burst=3)
    assert [round(pacer.delay("Heartbeat", pace, 100.0), 3) for _ in range(5)] == [0, 0, 0, 0.1, 0.2]


def test_rest_earns_a_new_burst_but_no_more_than_one() -> None:
    pacer, pace = Pacer(), Pace(per_s=10, burst=3)
    for _ in range(3):
        pacer.delay("Heartbeat", pace, 100.0)
    assert round(pacer.delay("Heartbeat", pace, 100.05), 3) == 0.05
    assert [round(pacer.delay("Heartbeat", pace, 900.0), 3) for _ in range(4)] == [0, 0, 0, 0.1]


def test_actions_are_counted_apart() -> None:
    pacer, pace = Pacer(), Pace(per_s=1, burst=1)
    assert pacer.delay("Heartbeat", pace, 5.0) == 0
    assert pacer.delay("BootNotification", pace, 5.0) == 0
    assert pacer.delay("Heartbeat", pace, 5.0) == 1


def test_what_need_not_wait_is_taken_and_nothing_else() -> None:
    pacer, pace = Pacer(), Pace(per_s=10, burst=3)
    assert [pacer.take("Heartbeat", pace, 100.0) for _ in range(5)] == [True, True, True, False, False]
    assert pacer.take("Heartbeat", pace, 100.11)
    assert round(pacer.delay("Heartbeat", pace, 100.11), 3) == 0.09


async def test_a_flood_is_answered_whole_and_in_order_but_no_faster_than_its_pace(bench: MakeBench) -> None:
    flooding = bench({"Heartbeat": Route(beat, pace=Pace(per_s=200, burst=10))})
    neighbour = bench({"Heartbeat": Route(beat, pace=Pace(per_s=200, burst=10))})
    started = time.monotonic()
    for number in range(60):
        await flooding.feed(2, str(number), "Heartbeat", {})
    await neighbour.feed(2, "n", "Heartbeat", {})
    await neighbour.link.count(1)
    assert len(flooding.link.sent) < 60
    sent = await flooding.link.count(60)
    assert [frame[1] for frame in sent] == [str(number) for number in range(60)]
    assert time.monotonic() - started >= 0.2  # 49 of them had to wait 5 ms each, and a little tolerance


async def test_messages_without_a_pace_are_not_counted(bench: MakeBench) -> None:
    b = bench({"Heartbeat": Route(beat)})
    for number in range(500):
        await b.feed(2, str(number), "Heartbeat", {})
    await b.link.count(500)
    assert b.connection._pacer._due == {}


async def test_what_a_gone_charger_has_sent_is_applied_at_once(bench: MakeBench) -> None:
    b = bench({"Heartbeat": Route(beat, pace=Pace(per_s=0.5, burst=1))})
    for number in range(20):
        await b.feed(2, str(number), "Heartbeat", {})
    await b.link.close()
    started = time.monotonic()
    await b.connection.finish()
    assert time.monotonic() - started < 2.5  # at most the message that already waited, not 38 seconds


def test_what_costs_rows_has_a_pace_and_a_queue_of_hours_passes_at_once() -> None:
    assert {action for action, route in ROUTES.items() if route.pace is None} == {
        "Authorize", "DataTransfer", "StatusNotification",
    }  # fmt: skip
    readings = ROUTES["MeterValues"].pace
    assert readings is not None
    assert readings.burst >= 12 * 60 * 4  # two connectors, a reading each half minute, for twelve hours
    assert ROUTES["Heartbeat"].pace is not None


@pytest.mark.parametrize("action", ["StartTransaction", "StopTransaction"])
def test_the_transactions_of_weeks_without_a_connection_pass_at_once(action: str) -> None:
    pace = ROUTES[action].pace
    assert pace is not None
    pacer = Pacer()
    assert all(pacer.delay(action, pace, 100.0) == 0 for _ in range(500))
    # Whoever has more of them waits for each less than a charger's own time-out.
    assert pacer.delay(action, pace, 100.0) <= 1
