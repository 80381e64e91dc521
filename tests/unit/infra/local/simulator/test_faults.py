"""Each fault does what it says, and what the server does wrong is never swallowed."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from infra.local.simulator import ChargePoint, Faults, LinkSettings, ProtocolViolationError, clock_ahead, clock_of_1970

from .conftest import Central
from .test_charge_point import point_of, statuses


async def test_a_dropped_connection_comes_back_without_losing_a_message(central: Central) -> None:
    async with point_of(central) as point:
        await point.wait_online()
        await point.start_with_tag(1, "CARD")
        await point.wait_for(lambda: central.of("MeterValues"))
        point.drop_tcp()
        await point.wait_for(lambda: point.link.record.connections == 2)
        point.stop_locally(1)
        await point.wait_for(lambda: point.transactions[0].confirmed)
        assert point.link.record.closes[0][0] is None
        assert len(central.of("StopTransaction")) == 1


async def test_offline_queue_is_replayed_with_old_timestamps_status_first(central: Central) -> None:
    async with point_of(central, faults=Faults(boot_on_reconnect=False)) as point:
        await point.wait_online()
        point.go_offline()
        await point.wait_for(lambda: not point.link.is_online)
        central.calls.clear()
        await point.start_with_tag(1, "CARD")
        await point.wait_for(lambda: point.link.outbox.transactions >= 2)
        point.stop_locally(1)
        before = datetime.now(UTC)
        assert central.calls == []
        point.go_online()
        await point.wait_for(lambda: point.transactions[0].confirmed)
        order = central.order()
        assert order[:3] == ["StatusNotification"] * 3
        assert order[3] == "StartTransaction"
        assert order[-1] == "StopTransaction"
        assert "BootNotification" not in order
        assert datetime.fromisoformat(central.of("StartTransaction")[0]["timestamp"]) < before
        assert {p["transactionId"] for p in central.of("MeterValues")} == {1}


async def test_power_loss_restarts_the_register_and_keeps_the_transaction(central: Central) -> None:
    async with point_of(central, meter_wh=50_000, faults=Faults(boot_on_reconnect=False)) as point:
        await point.wait_online()
        await point.start_with_tag(1, "CARD")
        await point.wait_for(lambda: central.of("MeterValues"))
        point.lose_power()
        await point.wait_for(lambda: point.link.record.boots == 2 and point.link.is_online)
        point.stop_locally(1)
        await point.wait_for(lambda: point.transactions[0].confirmed)
        assert central.of("StopTransaction")[0]["transactionId"] == 1
        assert central.of("StopTransaction")[0]["meterStop"] < 50_000


async def test_duplicates_have_the_same_content_and_another_id(central: Central) -> None:
    async with point_of(central, faults=Faults(duplicate={"StartTransaction"})) as point:
        await point.wait_online()
        await point.start_with_tag(1, "CARD")
        await point.wait_for(lambda: point.transactions[0].answered)
        (_, first, one), (_, second, two) = [c for c in central.calls if c[0] == "StartTransaction"]
        assert first == second
        assert one != two


async def test_two_ids_for_one_start_are_the_servers_mistake(central: Central) -> None:
    central.answers["StartTransaction"] = lambda _: [
        3,
        {"transactionId": next(central.transaction_ids), "idTagInfo": {"status": "Accepted"}},
    ]
    async with point_of(central, faults=Faults(duplicate={"StartTransaction"})) as point:
        await point.wait_online()
        await point.start_with_tag(1, "CARD")
        await expect_failure(point, "two ids")


@pytest.mark.parametrize("same_id", [False, True])
async def test_a_lost_answer_makes_the_charger_repeat(central: Central, same_id: bool) -> None:
    faults = Faults(lose_answers={"StartTransaction": 2}, repeat_with_same_id=same_id)
    async with point_of(central, faults=faults) as point:
        await point.wait_online()
        await point.start_with_tag(1, "CARD")
        await point.wait_for(lambda: point.transactions[0].answered)
        sent = [c for c in central.calls if c[0] == "StartTransaction"]
        assert len(sent) == 3
        assert len({json.dumps(c[1]) for c in sent}) == 1
        assert len({c[2] for c in sent}) == (1 if same_id else 3)
        assert point.link.record.lost_answers == 2


async def test_lying_clock_register_jump_and_false_meter_stop(central: Central) -> None:
    faults = Faults(clock=clock_ahead(5), meter_stop=-1)
    async with point_of(central, faults=faults) as point:
        await point.wait_online()
        await point.start_with_tag(1, "CARD")
        await point.wait_for(lambda: point.transactions[0].answered)
        ahead = datetime.fromisoformat(central.of("StartTransaction")[0]["timestamp"]) - datetime.now(UTC)
        assert 4.9 * 3600 < ahead.total_seconds() < 5.1 * 3600
        point.jump_register(1, 300_000)
        seen = len(central.of("MeterValues"))
        await point.wait_for(lambda: len(central.of("MeterValues")) > seen + 1)
        register = central.of("MeterValues")[-1]["meterValue"][0]["sampledValue"][0]
        assert int(register["value"]) > 300_000
        point.stop_locally(1)
        await point.wait_for(lambda: point.transactions[0].confirmed)
        assert central.of("StopTransaction")[0]["meterStop"] == -1


def test_the_clock_of_1970() -> None:
    assert clock_of_1970(datetime(2026, 5, 6, 1, 2, tzinfo=UTC)) == datetime(1970, 1, 1, 1, 2, tzinfo=UTC)


async def test_refusals_of_commands(central: Central) -> None:
    faults = Faults(reject_remote_start=True, reject_remote_stop=True)
    async with point_of(central, faults=faults) as point:
        await point.wait_online()
        start = {"connectorId": 1, "idTag": "T"}
        assert (await central.call("RemoteStartTransaction", start))[2] == {"status": "Rejected"}
        faults.reject_remote_start, faults.never_start = False, True
        assert (await central.call("RemoteStartTransaction", start))[2] == {"status": "Accepted"}
        assert central.of("StartTransaction") == []
        faults.never_start = False
        await central.call("RemoteStartTransaction", start)
        await point.wait_for(lambda: point.transactions and point.transactions[0].answered)
        assert (await central.call("RemoteStopTransaction", {"transactionId": 1}))[2] == {"status": "Rejected"}
        assert point.transactions[0].is_running


async def test_the_message_may_leave_before_the_answer_to_its_command(central: Central) -> None:
    async with point_of(central, faults=Faults(act_before_answer=True, no_preparing=True)) as point:
        await point.wait_online()
        await central.call("RemoteStartTransaction", {"connectorId": 1, "idTag": "T"})
        await point.wait_for(lambda: point.transactions[0].answered and not len(point.link.outbox))
        assert "Preparing" not in statuses(central, 1)


async def test_reboot_on_the_same_socket(central: Central) -> None:
    async with point_of(central) as point:
        await point.wait_online()
        await point.reboot_on_same_socket()
        await point.wait_for(lambda: len(central.of("StatusNotification")) == 6)
        assert len(central.of("BootNotification")) == 2
        assert len(central.sockets) == 1


async def test_a_pending_boot_sends_nothing_else_until_accepted(central: Central) -> None:
    verdicts = iter(["Pending", "Rejected", "Accepted"])
    central.answers["BootNotification"] = lambda _: [
        3,
        {"status": next(verdicts), "currentTime": "2026-01-01T00:00:00Z", "interval": 1},
    ]
    async with point_of(central) as point:
        await point.wait_online()
        assert central.order()[:4] == [*["BootNotification"] * 3, "StatusNotification"]


async def test_a_call_error_is_retried_and_then_given_up(central: Central) -> None:
    central.answers["StartTransaction"] = lambda _: [4, "InternalError", "no", {}]
    link = LinkSettings(central.url, "CP-1", retry_interval_s=0.01)
    async with point_of(central, link=link) as point:
        await point.wait_online()
        await point.start_with_tag(1, "CARD")
        await point.wait_for(lambda: point.link.record.given_up)
        point.stop_locally(1)
        await point.wait_for(lambda: point.transactions[0].confirmed)
        assert len(central.of("StartTransaction")) == 3
        assert central.of("StopTransaction")[0]["transactionId"] == -1


async def test_a_late_answer_is_no_violation(central: Central) -> None:
    central.answers["Heartbeat"] = lambda _: None
    async with point_of(central, call_timeout_s=0.05) as point:
        await point.wait_online()
        await point.heartbeat()
        identifier = next(i for name, _, i in central.calls if name == "Heartbeat")
        await central.say(json.dumps([3, identifier, {"currentTime": "2026-01-01T00:00:00Z"}]))
        await central.call("ClearCache", {})
        point.check()


async def expect_failure(point: ChargePoint, words: str) -> None:
    with pytest.raises((ProtocolViolationError, BaseExceptionGroup)) as caught:
        await point.wait_for(lambda: False, timeout_s=10)
    assert words in repr(caught.value)
    point._failure = None  # looked at: leaving the context must not raise it again


WRONG: list[tuple[str, str]] = [
    ("no json", "not JSON"),
    ("{}", "not an OCPP-J frame"),
    ('[2,"a","RemoteStartTransaction"]', "not an OCPP-J frame"),
    ('[2,"a","RemoteStartTransaction",{}]', "idTag"),
    ('[2,"a","RemoteStartTransaction",{"idTag":"123456789012345678901"}]', "longer than 20"),
    ('[2,"a","RemoteStartTransaction",{"idTag":"A","limit":5}]', "limit"),
    ('[2,"a","BootNotification",{}]', "not an action of a central system"),
    ('[3,"never-sent",{}]', "never sent"),
    (f'[3,"{"x" * 37}",{{}}]', "not an OCPP-J frame"),
    ('[5,"a","b",{}]', "not an OCPP-J frame"),
]


@pytest.mark.parametrize(("text", "words"), WRONG)
async def test_whatever_the_server_does_wrong_fails_loudly(central: Central, text: str, words: str) -> None:
    async with point_of(central) as point:
        await point.wait_online()
        await central.say(text)
        await expect_failure(point, words)


@pytest.mark.parametrize(
    "answer",
    [
        {"status": "Accepted", "currentTime": "yesterday", "interval": 300},
        {"status": "Accepted", "currentTime": "2026-01-01T00:00:00Z", "interval": 0},
        {"status": "Welcome", "currentTime": "2026-01-01T00:00:00Z", "interval": 300},
        {"status": "Accepted", "currentTime": "2026-01-01T00:00:00Z"},
    ],
)
async def test_an_invalid_answer_fails_loudly(central: Central, answer: dict[str, Any]) -> None:
    central.answers["BootNotification"] = lambda _: [3, answer]
    async with point_of(central) as point:
        await expect_failure(point, "ProtocolViolationError")


async def test_back_off_survives_a_server_that_is_away() -> None:
    link = LinkSettings("ws://127.0.0.1:9", "CP-1", backoff_first_s=0.01, backoff_most_s=0.02)
    point = ChargePoint("", "CP-1", link=link)
    await point.start()
    with pytest.raises(TimeoutError):
        await point.wait_online(0.3)
    await asyncio.wait_for(point.stop(), 5)
