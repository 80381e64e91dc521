"""The rules of one connection (ocpp.md §2), without a network."""

import asyncio
from collections.abc import Callable
from typing import Any

import orjson
import psycopg
import pytest

from evpower.charging.service import ConnectionLost
from evpower.stations.models import RegistrationStatus
from socket_tier import connection as module
from socket_tier.call_failures import CallRefused, CallTimedOut, CommandNotSupported, ConnectionGone
from socket_tier.charger import Charger
from socket_tier.dialect import CallFault, CommandSpec, Durability, Route
from socket_tier.schemas import OutboundInvalid
from tests.unit.socket_tier.conftest import Bench

MakeBench = Callable[..., Bench]
HEARTBEAT = {"currentTime": "2026-01-15T06:00:00.000Z"}
RESET = {"Reset": CommandSpec()}


async def beat(_charger: Charger, _payload: dict[str, Any]) -> dict[str, Any]:
    return dict(HEARTBEAT)


class Counting:
    """A handler that counts, and can be held back or made to fail."""

    def __init__(self, answer: dict[str, Any] | None = None) -> None:
        self.seen: list[dict[str, Any]] = []
        self.answer = HEARTBEAT if answer is None else answer
        self.gate = asyncio.Event()
        self.gate.set()
        self.errors: list[Exception] = []

    async def __call__(self, _charger: Charger, payload: dict[str, Any]) -> dict[str, Any]:
        self.seen.append(payload)
        await self.gate.wait()
        if self.errors:
            raise self.errors.pop(0)
        return dict(self.answer)


async def test_a_call_is_answered_by_its_id(bench: MakeBench) -> None:
    b = bench({"Heartbeat": Route(beat)})
    await b.feed(2, "a", "Heartbeat", {})
    assert await b.link.count(1) == [[3, "a", HEARTBEAT]]


async def test_calls_are_handled_in_order(bench: MakeBench) -> None:
    handler = Counting()
    handler.gate.clear()
    b = bench({"Heartbeat": Route(handler)})
    for number in range(10):
        await b.feed(2, str(number), "Heartbeat", {"n": number})
    handler.gate.set()
    sent = await b.link.count(10)
    assert [frame[1] for frame in sent] == [str(number) for number in range(10)]
    assert [payload["n"] for payload in handler.seen] == list(range(10))


async def test_a_repeated_message_id_gets_the_same_answer_without_side_effects(bench: MakeBench) -> None:
    handler = Counting()
    b = bench({"Heartbeat": Route(handler)})
    await b.feed(2, "a", "Heartbeat", {})
    await b.link.count(1)
    b.connection.receive(b'[2, "a", "Heartbeat", {}]')  # formatted anew, same content
    assert await b.link.count(2) == [[3, "a", HEARTBEAT]] * 2
    assert len(handler.seen) == 1


async def test_an_answer_of_the_moment_is_made_anew_for_a_repeated_message_id(bench: MakeBench) -> None:
    handler = Counting()
    b = bench({"Heartbeat": Route(handler, of_the_moment=True)})
    await b.feed(2, "1", "Heartbeat", {})
    await b.feed(2, "1", "Heartbeat", {})
    assert await b.link.count(2) == [[3, "1", HEARTBEAT]] * 2
    assert len(handler.seen) == 2


async def test_a_repeat_that_overtakes_its_answer_waits_for_it(bench: MakeBench) -> None:
    handler = Counting()
    handler.gate.clear()
    b = bench({"Heartbeat": Route(handler)})
    await b.feed(2, "a", "Heartbeat", {})
    await b.feed(2, "a", "Heartbeat", {})
    handler.gate.set()
    assert await b.link.count(2) == [[3, "a", HEARTBEAT]] * 2
    assert len(handler.seen) == 1


async def test_the_same_id_with_other_content_is_a_new_message(bench: MakeBench) -> None:
    handler = Counting()
    b = bench({"Heartbeat": Route(handler)})
    await b.feed(2, "a", "Heartbeat", {})
    await b.feed(2, "a", "Heartbeat", {"x": 1})
    await b.link.count(2)
    assert len(handler.seen) == 2


async def test_large_messages_are_remembered_by_their_hash(bench: MakeBench) -> None:
    handler = Counting()
    b = bench({"Heartbeat": Route(handler)})
    for _ in range(2):
        await b.feed(2, "a", "Heartbeat", {"x": "y" * 10_000})
    await b.link.count(2)
    assert len(handler.seen) == 1


async def test_numeric_message_ids_are_echoed_as_sent(bench: MakeBench) -> None:
    b = bench({"Heartbeat": Route(beat)})
    await b.feed(2, 17, "Heartbeat", {})
    assert await b.link.count(1) == [[3, 17, HEARTBEAT]]


@pytest.mark.parametrize(
    ("frame", "message_id", "code"),
    [
        (b"{", "-1", "FormationViolation"),
        (b'[2,"a","Heartbeat",7]', "a", "FormationViolation"),
        (b'[2,"a","Dance",{}]', "a", "NotImplemented"),
        (b'[2,"a","ReserveNow",{}]', "a", "NotSupported"),
        (b'[2,"a","MeterValues",{}]', "a", "OccurenceConstraintViolation"),
        (b'[7,"a",{}]', "a", "FormationViolation"),
    ],
)
async def test_bad_frames_are_answered_and_the_connection_goes_on(
    bench: MakeBench, frame: bytes, message_id: str, code: str
) -> None:
    b = bench({"Heartbeat": Route(beat), "MeterValues": Route(beat)})
    b.connection.receive(frame)
    (answer,) = await b.link.count(1)
    assert answer[:3] == [4, message_id, code]
    assert b.link.closed is None
    await b.feed(2, "b", "Heartbeat", {})
    assert (await b.link.count(2))[1] == [3, "b", HEARTBEAT]


async def test_an_answer_that_nobody_waits_for_is_ignored(bench: MakeBench) -> None:
    b = bench({"Heartbeat": Route(beat)})
    await b.feed(3, "never-sent", {"status": "Accepted"})
    await b.feed(4, "never-sent", "GenericError", "", {})
    await b.feed(2, "a", "Heartbeat", {})
    assert await b.link.count(1) == [[3, "a", HEARTBEAT]]


async def test_a_failure_of_ours_is_an_internal_error(bench: MakeBench) -> None:
    handler = Counting()
    handler.errors = [ValueError("bug")]
    b = bench({"Heartbeat": Route(handler)})
    await b.feed(2, "a", "Heartbeat", {})
    (answer,) = await b.link.count(1)
    assert answer[2] == "InternalError"
    assert "bug" not in answer[3]


async def test_an_answer_that_breaks_the_schema_never_leaves(bench: MakeBench) -> None:
    b = bench({"Heartbeat": Route(Counting({"currentTime": 5}))})
    await b.feed(2, "a", "Heartbeat", {})
    assert (await b.link.count(1))[0][2] == "InternalError"


async def test_a_handler_may_name_its_own_fault(bench: MakeBench) -> None:
    handler = Counting()
    handler.errors = [CallFault("PropertyConstraintViolation", "no")]
    b = bench({"Heartbeat": Route(handler, Durability.COMMIT)})
    await b.feed(2, "a", "Heartbeat", {})
    assert (await b.link.count(1))[0][:3] == [4, "a", "PropertyConstraintViolation"]


# --- durability -------------------------------------------------------------------------------------------------


async def test_a_transaction_message_waits_for_the_database(bench: MakeBench) -> None:
    handler = Counting()
    handler.errors = [psycopg.OperationalError("away"), psycopg.OperationalError("away")]
    b = bench({"Heartbeat": Route(handler, Durability.COMMIT)})
    await b.feed(2, "a", "Heartbeat", {})
    assert await b.link.count(1) == [[3, "a", HEARTBEAT]]
    assert len(handler.seen) == 3


async def test_without_the_database_a_transaction_message_stays_unanswered_and_the_socket_closes(
    bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "COMMIT_PATIENCE_S", 0.3)
    handler = Counting()
    handler.errors = [psycopg.OperationalError("away") for _ in range(100)]
    b = bench({"Heartbeat": Route(handler, Durability.COMMIT)})
    await b.feed(2, "a", "Heartbeat", {})
    await b.link.until(lambda: b.link.closed is not None)
    assert b.link.closed is not None
    assert b.link.closed[0] == 1013
    assert b.link.sent == []


@pytest.mark.parametrize("durability", [Durability.COMMIT, Durability.RETRY])
async def test_the_patience_ends_also_while_a_handler_waits(
    bench: MakeBench, monkeypatch: pytest.MonkeyPatch, durability: Durability
) -> None:
    """Use case: the database neither answers nor fails. Nothing was looked at before an exception came."""
    monkeypatch.setattr(module, "COMMIT_PATIENCE_S", 0.05)
    monkeypatch.setattr(module, "RETRY_PATIENCE_S", 0.05)
    handler = Counting()
    handler.gate.clear()
    b = bench({"Heartbeat": Route(handler, durability)})
    await b.feed(2, "a", "Heartbeat", {})
    if durability is Durability.COMMIT:
        await b.link.until(lambda: b.link.closed is not None)
        assert b.link.closed is not None
        assert b.link.closed[0] == module.TRY_AGAIN_LATER
        assert b.link.sent == []
    else:
        assert (await b.link.count(1))[0][:3] == [4, "a", "InternalError"]
    assert len(handler.seen) == 1


async def test_a_defect_leaves_a_transaction_message_unanswered_without_closing(bench: MakeBench) -> None:
    handler = Counting()
    handler.errors = [ValueError("bug")]
    b = bench({"Heartbeat": Route(handler, Durability.COMMIT)})
    await b.feed(2, "a", "Heartbeat", {})
    await b.feed(2, "b", "Heartbeat", {})
    assert await b.link.count(1) == [[3, "b", HEARTBEAT]]
    assert b.link.closed is None


async def test_other_messages_get_an_internal_error_when_the_database_stays_away(
    bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_PATIENCE_S", 0.2)
    handler = Counting()
    handler.errors = [psycopg.OperationalError("away") for _ in range(100)]
    b = bench({"Heartbeat": Route(handler, Durability.RETRY)})
    await b.feed(2, "a", "Heartbeat", {})
    assert (await b.link.count(1))[0][2] == "InternalError"
    assert b.link.closed is None


async def test_a_replaced_connection_closes_without_an_answer(bench: MakeBench) -> None:
    handler = Counting()
    handler.errors = [ConnectionLost("station-1")]
    b = bench({"Heartbeat": Route(handler, Durability.COMMIT)})
    await b.feed(2, "a", "Heartbeat", {})
    await b.link.until(lambda: b.link.closed is not None)
    assert b.link.closed is not None
    assert b.link.closed[0] == 4001
    assert b.link.sent == []


# --- messages that must not be refused --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "frame",
    [b'[2,"a","StopTransaction",{}]', b'[2,"a","StopTransaction",[1]]', b'[2,"a","StopTransaction"]',
     b'[2,"a","StopTransaction",{"transactionId":1e30,"meterStop":1,"timestamp":"2026-01-15T06:00:00Z"}]'],
)  # fmt: skip
async def test_a_message_with_a_fault_handler_is_never_refused(bench: MakeBench, frame: bytes) -> None:
    kept: list[tuple[Any, str]] = []

    async def keep(_charger: Charger, raw: Any, reason: str) -> dict[str, Any]:
        kept.append((raw, reason))
        return {}

    b = bench({"StopTransaction": Route(Counting({}), Durability.COMMIT, on_fault=keep)})
    b.connection.receive(frame)
    assert await b.link.count(1) == [[3, "a", {}]]
    assert len(kept) == 1


async def test_until_its_registration_is_accepted_nothing_but_boots_is_processed(bench: MakeBench) -> None:
    kept: list[Any] = []

    async def keep(_charger: Charger, raw: Any, _reason: str) -> dict[str, Any]:
        kept.append(raw)
        return {}

    handler = Counting()
    boot = Counting({"status": "Pending", "currentTime": HEARTBEAT["currentTime"], "interval": 300})
    b = bench(
        {
            "Heartbeat": Route(handler),
            "BootNotification": Route(boot, before_accepted=True),
            "StopTransaction": Route(handler, on_fault=keep),
        },
        registration_status=RegistrationStatus.PENDING,
    )
    await b.feed(2, "a", "Heartbeat", {})
    await b.feed(2, "b", "BootNotification", {"chargePointVendor": "v", "chargePointModel": "m"})
    await b.feed(2, "c", "StopTransaction", {"transactionId": 1, "meterStop": 1, "timestamp": "2026-01-15T06:00:00Z"})
    sent = await b.link.count(3)
    assert sent[0][:3] == [4, "a", "SecurityError"]
    assert sent[1][2]["status"] == "Pending"
    assert sent[2] == [3, "c", {}]
    assert handler.seen == []
    assert len(kept) == 1
    assert not b.connection.accepts_commands


# --- calling the charger ----------------------------------------------------------------------------------------


async def reply(b: Bench, number: int, *tail: Any, kind: int = 3) -> None:
    frame = (await b.link.count(number))[number - 1]
    await b.feed(kind, frame[1], *tail)


async def test_the_charger_is_called_and_answers(bench: MakeBench) -> None:
    b = bench(commands=RESET)
    call = asyncio.create_task(b.connection.call("Reset", {"type": "Soft"}))
    await reply(b, 1, {"status": "Accepted"})
    assert await call == {"status": "Accepted"}


async def test_a_handler_may_call_the_charger_back(bench: MakeBench) -> None:
    async def handler(charger: Charger, _payload: dict[str, Any]) -> dict[str, Any]:
        assert charger.caller is not None
        await charger.caller.call("Reset", {"type": "Soft"})
        return dict(HEARTBEAT)

    b = bench({"Heartbeat": Route(handler)}, RESET)
    b.charger.caller = b.connection
    await b.feed(2, "a", "Heartbeat", {})
    await reply(b, 1, {"status": "Accepted"})
    assert (await b.link.count(2))[1] == [3, "a", HEARTBEAT]


async def test_the_call_that_a_command_causes_may_come_before_its_answer(bench: MakeBench) -> None:
    b = bench({"Heartbeat": Route(beat)}, RESET)
    call = asyncio.create_task(b.connection.call("Reset", {"type": "Soft"}))
    frame = (await b.link.count(1))[0]
    await b.feed(2, "caused", "Heartbeat", {})
    assert (await b.link.count(2))[1] == [3, "caused", HEARTBEAT]
    await b.feed(3, frame[1], {"status": "Accepted"})
    assert await call == {"status": "Accepted"}


async def test_one_call_is_in_flight_and_a_timeout_frees_the_line_at_once(bench: MakeBench) -> None:
    b = bench(commands=RESET)
    first = asyncio.create_task(b.connection.call("Reset", {"type": "Soft"}, 0.2))
    await b.link.count(1)
    second = asyncio.create_task(b.connection.call("Reset", {"type": "Hard"}, 5))
    await asyncio.sleep(0)
    assert len(b.link.sent) == 1
    with pytest.raises(CallTimedOut) as timed_out:
        await first
    assert timed_out.value.written
    await reply(b, 2, {"status": "Rejected"})
    assert await second == {"status": "Rejected"}


async def test_a_call_that_waits_too_long_for_the_line_was_never_written(bench: MakeBench) -> None:
    b = bench(commands=RESET)
    first = asyncio.create_task(b.connection.call("Reset", {"type": "Soft"}, 5))
    await b.link.count(1)
    with pytest.raises(CallTimedOut) as timed_out:
        await b.connection.call("Reset", {"type": "Hard"}, 0.05)
    assert not timed_out.value.written
    await reply(b, 1, {"status": "Accepted"})
    await first


async def test_a_late_answer_does_not_satisfy_the_next_call(bench: MakeBench) -> None:
    b = bench(commands=RESET)
    with pytest.raises(CallTimedOut):
        await b.connection.call("Reset", {"type": "Soft"}, 0.05)
    late = b.link.sent[0][1]
    second = asyncio.create_task(b.connection.call("Reset", {"type": "Hard"}, 5))
    await b.link.count(2)
    await b.feed(3, late, {"status": "Accepted"})
    await reply(b, 2, {"status": "Rejected"})
    assert await second == {"status": "Rejected"}


async def test_a_call_error_is_an_error_and_not_an_empty_answer(bench: MakeBench) -> None:
    b = bench(commands=RESET)
    call = asyncio.create_task(b.connection.call("Reset", {"type": "Soft"}))
    await reply(b, 1, "NotSupported", "no reset here", {}, kind=4)
    with pytest.raises(CallRefused, match="NotSupported: no reset here"):
        await call


@pytest.mark.parametrize("payload", [{}, {"status": "Perhaps"}, {"status": 7}])
async def test_an_answer_that_is_none_is_refused(bench: MakeBench, payload: dict[str, Any]) -> None:
    b = bench(commands=RESET)
    call = asyncio.create_task(b.connection.call("Reset", {"type": "Soft"}))
    await reply(b, 1, payload)
    with pytest.raises(CallRefused):
        await call


async def test_a_misshapen_answer_ends_the_call_at_once(bench: MakeBench) -> None:
    b = bench(commands=RESET)
    call = asyncio.create_task(b.connection.call("Reset", {"type": "Soft"}))
    await reply(b, 1, [1])
    with pytest.raises(CallRefused, match="FormationViolation"):
        await call


async def test_pending_calls_fail_when_the_socket_closes(bench: MakeBench) -> None:
    b = bench(commands=RESET)
    first = asyncio.create_task(b.connection.call("Reset", {"type": "Soft"}))
    second = asyncio.create_task(b.connection.call("Reset", {"type": "Hard"}))
    await b.link.count(1)
    await b.connection.close(4001, "replaced")
    with pytest.raises(ConnectionGone) as gone:
        await first
    assert gone.value.written
    with pytest.raises(ConnectionGone) as gone:
        await second
    assert not gone.value.written
    assert len(b.link.sent) == 1


async def test_nothing_invalid_and_nothing_outside_the_table_is_sent(bench: MakeBench) -> None:
    b = bench(commands=RESET)
    with pytest.raises(OutboundInvalid):
        await b.connection.call("Reset", {"type": "Gentle"})
    with pytest.raises(CommandNotSupported):
        await b.connection.call("UnlockConnector", {"connectorId": 1})
    assert b.link.sent == []


# --- life -------------------------------------------------------------------------------------------------------


async def test_commands_wait_until_the_charger_has_spoken(bench: MakeBench) -> None:
    b = bench({"Heartbeat": Route(beat)}, RESET)
    assert not b.connection.accepts_commands
    await b.feed(2, "a", "Heartbeat", {})
    await b.link.count(1)
    assert b.connection.accepts_commands
    assert b.drained == ["station-1"]


async def test_what_was_received_is_applied_although_the_charger_is_gone(bench: MakeBench) -> None:
    handler = Counting()
    handler.gate.clear()
    b = bench({"Heartbeat": Route(handler)})
    for number in range(3):
        await b.feed(2, str(number), "Heartbeat", {})
    ending = asyncio.create_task(b.connection.finish())
    await asyncio.sleep(0)
    handler.gate.set()
    await ending
    assert len(handler.seen) == 3


async def test_a_full_queue_stops_reading_until_there_is_room(
    bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_QUEUED_CALLS", 4)
    handler = Counting()
    handler.gate.clear()
    b = bench({"Heartbeat": Route(handler)})
    for number in range(3):
        await b.feed(2, str(number), "Heartbeat", {})
    assert not b.link.held
    await b.feed(2, "3", "Heartbeat", {})
    assert b.link.held
    handler.gate.set()
    await b.link.until(lambda: not b.link.held)
    assert len(await b.link.count(4)) == 4


async def test_large_messages_fill_the_queue_sooner(bench: MakeBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_QUEUED_BYTES", 1000)
    handler = Counting()
    handler.gate.clear()
    b = bench({"Heartbeat": Route(handler)})
    await b.feed(2, "a", "Heartbeat", {"x": "y" * 2000})
    assert b.link.held
    handler.gate.set()
    await b.link.until(lambda: not b.link.held)


async def test_deferred_work_follows_the_answer(bench: MakeBench) -> None:
    order: list[str] = []

    async def handler(charger: Charger, _payload: dict[str, Any]) -> dict[str, Any]:
        async def later() -> None:
            order.append(f"answers sent: {len(b.link.sent)}")

        charger.defer(later)
        return dict(HEARTBEAT)

    b = bench({"Heartbeat": Route(handler)})
    await b.feed(2, "a", "Heartbeat", {})
    await b.link.count(1)
    await b.charger.finish_background(1)
    assert order == ["answers sent: 1"]


# --- defects outside the handlers ---------------------------------------------------------------------------------


async def test_a_defect_keeps_a_message_aside_that_must_not_be_refused(bench: MakeBench) -> None:
    kept: list[tuple[Any, str]] = []

    async def fail(_charger: Charger, _payload: dict[str, Any]) -> dict[str, Any]:
        raise ValueError("a defect")

    async def keep(_charger: Charger, raw: Any, reason: str) -> dict[str, Any]:
        kept.append((raw, reason))
        return {}

    made = bench({"StopTransaction": Route(fail, Durability.COMMIT, on_fault=keep)})
    stop = {"transactionId": 1, "meterStop": 5, "timestamp": "2026-01-15T06:00:00Z"}
    await made.feed(2, "m1", "StopTransaction", stop)
    await made.link.count(1)
    assert made.link.sent == [[3, "m1", {}]]
    assert kept == [(stop, "InternalError: ValueError('a defect')")]


@pytest.mark.parametrize("depth", [120, 260, 900, 1100])
async def test_a_payload_nested_without_end_is_answered_and_the_connection_lives(bench: MakeBench, depth: int) -> None:
    b = bench({"Heartbeat": Route(beat)})
    for number in ("1", "1", "2"):  # the second is a repeat, which must be compared
        nested = b"[" * depth + b'"\\u0000"' + b"]" * depth
        b.connection.receive(b'[2,"%s","Heartbeat",{"x":%s}]' % (number.encode(), nested))
    await b.feed(2, "3", "Heartbeat", {})
    sent = await b.link.count(4)
    assert [frame[:3] for frame in sent[2:]] == [[4, "2", "FormationViolation"], [3, "3", HEARTBEAT]]


async def test_a_stop_nested_without_end_is_kept_without_its_depths(bench: MakeBench) -> None:
    kept: list[Any] = []

    async def keep(_charger: Charger, raw: Any, _reason: str) -> dict[str, Any]:
        kept.append(raw)
        return {}

    b = bench({"StopTransaction": Route(beat, Durability.COMMIT, on_fault=keep)})
    frame = b'[2,"1","StopTransaction",{"meterStop":5,"x":' + b"[" * 500 + b"]" * 500 + b"}]"
    b.connection.receive(frame)
    assert await b.link.count(1) == [[3, "1", {}]]
    assert [raw["meterStop"] for raw in kept] == [5]
    assert orjson.dumps(kept).count(b"[") <= 101


@pytest.mark.parametrize("error", [RecursionError("deep"), ValueError("odd"), KeyError("x")])
async def test_a_defect_outside_the_handler_is_answered_with_internal_error(
    bench: MakeBench, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    b = bench({"Heartbeat": Route(beat)})

    def check(_self: object, _action: str, _payload: dict[str, Any]) -> None:
        raise error

    monkeypatch.setattr(type(b.connection.dialect.schemas), "check_request", check)
    await b.feed(2, "1", "Heartbeat", {})
    await b.feed(2, "2", "Unknown", {})
    sent = await b.link.count(2)
    assert [frame[1:3] for frame in sent] == [["1", "InternalError"], ["2", "NotImplemented"]]


async def test_a_defect_outside_the_handler_leaves_a_transaction_message_to_be_sent_again(
    bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    b = bench({"StopTransaction": Route(beat, Durability.COMMIT), "Heartbeat": Route(beat)})
    check = type(b.connection.dialect.schemas).check_request

    def fail_once(self: Any, action: str, payload: dict[str, Any]) -> Any:
        if action == "StopTransaction":
            raise RuntimeError("defect")
        return check(self, action, payload)

    monkeypatch.setattr(type(b.connection.dialect.schemas), "check_request", fail_once)
    await b.feed(2, "1", "StopTransaction", {"transactionId": 1, "meterStop": 1, "timestamp": "2026-01-15T06:00:00Z"})
    await b.feed(2, "2", "Heartbeat", {})
    assert await b.link.count(1) == [[3, "2", HEARTBEAT]]
