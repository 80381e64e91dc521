"""The staff's desk: messages put aside, sessions for review (Q1-Q4, R1-R3)."""

import asyncio
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.integration.functions.api.conftest import CLIENT, OTHER, STATION, Api
from tests.integration.functions.api.desk_world import (
    MESSAGES,
    NOTE,
    audited,
    books,
    card,
    charged,
    start,
    stop,
    wait,
)
from tests.integration.functions.api.staff_world import (
    FIRST,
    FIRST_OPERATOR,
    FIRST_STATION,
    ROOT,
    SECOND,
    SECOND_STATION,
    add_session,
    build,
)


@pytest.fixture
async def staff(api: Api) -> Api:
    await build(api)
    return api


# --- Messages put aside -------------------------------------------------------------------------------------------


async def put_aside(api: Api) -> int:
    listed = await api.ok("GET", f"{MESSAGES}?open=true", client=ROOT)
    (message,) = listed["data"]["messages"]
    found: int = message["id"]
    return found


async def test_a_stop_with_an_unknown_id_is_applied_to_its_session_once(staff: Api) -> None:
    await card(staff)
    started = await start(staff)
    wait(staff, minutes=30)
    await stop(staff, 2_000_000_000, 3000)
    message_id = await put_aside(staff)
    path = f"{MESSAGES}/{message_id}"
    detail = (await staff.ok("GET", path, client=FIRST_OPERATOR))["data"]
    assert detail["payload"]["meterStop"] == 3000
    assert [item["transaction_id"] for item in detail["candidates"]] == [started.transaction_id]
    assert detail["candidates"][0]["session_id"] == started.session_id
    wait(staff, hours=2)
    body = {"session_id": started.session_id, **NOTE}
    applied = [(await staff.ok("POST", f"{path}/apply", body, client=FIRST))["data"] for _ in range(3)]
    assert [answer["repeated"] for answer in applied] == [False, True, True]
    assert {answer["final_amount_som"] for answer in applied} == {27.0}
    assert applied[0]["message"]["resolved_as"] == "applied"
    assert await staff.balance() == 973
    (session,) = await staff.sql("SELECT * FROM charging_sessions")
    assert (session["state"], session["energy_wh"], session["settlement_revision"]) == ("stopped", 2000, 1)
    # It ended when the message came, not when somebody found the time for it.
    assert staff.deps.clock.now() - session["stop_time"] > timedelta(hours=1)
    assert await staff.ok("GET", f"{MESSAGES}?open=true", client=ROOT) == {
        "success": True,
        "data": {"messages": [], "total": 0, "limit": 50, "offset": 0},
    }
    assert len(await audited(staff, "admin.quarantine_apply")) == 3
    assert len(await staff.sql("SELECT * FROM session_reviews WHERE action = 'apply_stop'")) == 1
    await books(staff)


async def test_another_end_of_a_settled_session_books_the_difference(staff: Api) -> None:
    session_id, transaction_id = await charged(staff, 2000)
    wait(staff, seconds=30)
    await stop(staff, transaction_id, 3000)
    message_id = await put_aside(staff)
    assert await staff.balance() == 1000 - Decimal("13.5")
    body = {"transaction_id": transaction_id, **NOTE}
    answer = (await staff.ok("POST", f"{MESSAGES}/{message_id}/apply", body, client=FIRST))["data"]
    # What the connector cannot have delivered in thirty seconds is not billed, whoever applies it.
    assert answer["settlement_revision"] == 1
    assert await staff.balance() == 1000 - Decimal("13.5")
    (session,) = await staff.sql("SELECT needs_review FROM charging_sessions WHERE id = %s", session_id)
    assert session["needs_review"]
    await books(staff)


async def test_a_believable_other_end_is_a_second_settlement(staff: Api) -> None:
    _session_id, transaction_id = await charged(staff, 2000)
    wait(staff, minutes=10)
    await stop(staff, transaction_id, 3000)
    message_id = await put_aside(staff)
    body = {"transaction_id": transaction_id, **NOTE}
    answer = (await staff.ok("POST", f"{MESSAGES}/{message_id}/apply", body, client=FIRST))["data"]
    assert (answer["settlement_revision"], answer["final_amount_som"]) == (2, 27.0)
    assert await staff.balance() == 973
    await books(staff)


async def test_two_members_of_staff_apply_one_message_at_once(staff: Api) -> None:
    await card(staff)
    await card(staff, "SECOND", client_id=OTHER)
    first, second = await start(staff), await start(staff, "SECOND", 2)
    wait(staff, minutes=30)
    await stop(staff, 2_000_000_000, 3000)
    path = f"{MESSAGES}/{await put_aside(staff)}/apply"
    wishes = [{"session_id": started.session_id, **NOTE} for started in (first, second, first, second)]
    answers = await asyncio.gather(*(staff.call("POST", path, wish, client=ROOT) for wish in wishes))
    assert sorted(answer.status_code for answer in answers) == [200, 200, 409, 409]
    assert sorted([await staff.balance(), await staff.balance(OTHER)]) in ([300, 973], [473, 800])
    await books(staff)


@pytest.mark.parametrize(
    ("payload", "register", "status"),
    [
        ('{"payload": "nonsense"}', None, 422),
        ('{"payload": "nonsense"}', 3000, 200),
        ('{"meterStop": "3000"}', None, 200),
        ('{"meterStop": true}', None, 422),
        ('{"meterStop": 1000000000000000}', None, 422),
        ('{"meterStop": 3000, "timestamp": 5, "reason": [], "idTag": {}}', None, 200),
        ('{"meterStop": 3000, "timestamp": "no time"}', None, 200),
    ],
)
async def test_what_a_message_can_be_used_for(staff: Api, payload: str, register: int | None, status: int) -> None:
    await card(staff)
    started = await start(staff)
    wait(staff, minutes=30)
    message_id = await staff.one(
        """INSERT INTO quarantined_messages (station_id, action, reason, payload, fingerprint, received_at)
           VALUES (%s, 'StopTransaction', 'test', %s, 'f', %s) RETURNING id""",
        STATION,
        payload,
        staff.deps.clock.now(),
    )
    body = {"transaction_id": started.transaction_id, **NOTE, **({"meter_stop": register} if register else {})}
    answer = await staff.call("POST", f"{MESSAGES}/{message_id}/apply", body, client=ROOT)
    assert answer.status_code == status, answer.text
    if status == 422:
        assert (answer.json()["field"], "give meter_stop" in answer.json()["reason"]) == ("meter_stop", True)
    assert await staff.balance() == (973 if status == 200 else 800)
    await books(staff)


async def test_a_message_is_applied_at_its_own_station_only(staff: Api) -> None:
    message_id = await staff.one(
        """INSERT INTO quarantined_messages (station_id, action, reason, payload, fingerprint)
           VALUES (%s, 'StopTransaction', 'test', '{"meterStop": 5}', 'f') RETURNING id""",
        SECOND_STATION,
    )
    _session, transaction_id = await charged(staff)
    path = f"{MESSAGES}/{message_id}"
    body = {"transaction_id": transaction_id, **NOTE}
    refused = await staff.fails("POST", f"{path}/apply", body, client=ROOT, status=409, code="state_conflict")
    assert f"{SECOND_STATION} has no such transaction" in refused["reason"]
    await staff.fails(
        "POST", f"{path}/apply", {"session_id": "none", **NOTE}, client=ROOT, status=404, code="session_not_found"
    )
    for wrong in (NOTE, {**body, "session_id": "x"}, {"transaction_id": transaction_id}, {**body, "note": ""}):
        await staff.fails("POST", f"{path}/apply", wrong, client=ROOT, status=422, code="validation_error")
    # The first admin does not see the second one's station.
    await staff.fails("GET", path, client=FIRST, status=404, code="not_found")
    await staff.fails("POST", f"{path}/dismiss", NOTE, client=FIRST, status=404, code="not_found")
    assert (await staff.ok("GET", MESSAGES, client=FIRST))["data"]["total"] == 0
    assert (await staff.ok("GET", f"{MESSAGES}?station_id=SN-{SECOND_STATION}", client=SECOND))["data"]["total"] == 1


async def test_a_dismissed_message_stays_dismissed(staff: Api) -> None:
    _session, transaction_id = await charged(staff)
    await stop(staff, 5, 5)
    path = f"{MESSAGES}/{await put_aside(staff)}"
    for _ in range(2):
        answer = (await staff.ok("POST", f"{path}/dismiss", NOTE, client=FIRST_OPERATOR))["data"]
        assert (answer["resolved_as"], answer["resolved_by"], answer["resolution"]) == (
            "dismissed", FIRST_OPERATOR, NOTE["note"],
        )  # fmt: skip
    body = {"transaction_id": transaction_id, **NOTE}
    refused = await staff.fails("POST", f"{path}/apply", body, client=FIRST, status=409, code="state_conflict")
    assert (refused["resolved_as"], "was dismissed" in refused["reason"]) == ("dismissed", True)
    body = {"transaction_id": 77, **NOTE}  # there is none, but that does not matter any more
    refused = await staff.fails("POST", f"{path}/apply", body, client=FIRST, status=409, code="state_conflict")
    assert "was dismissed" in refused["reason"]
    refused = await staff.fails("POST", f"{path}/apply", body, client=FIRST_OPERATOR, status=403, code="forbidden")
    assert refused["required_role"] == "admin"


# --- Sessions for review ------------------------------------------------------------------------------------------


def review(session_id: str) -> str:
    return f"/api/v1/admin/sessions/{session_id}/review"


async def doubtful(api: Api) -> str:
    """An ended session whose last register nobody believes."""
    session_id, _ = await charged(api, 500_000)
    return session_id


async def test_a_doubtful_session_is_listed_explained_corrected_and_closed(staff: Api) -> None:
    session_id = await doubtful(staff)
    await charged(staff, 2000, "GOOD", OTHER)  # nothing is wrong with it
    listed = await staff.ok("GET", "/api/v1/admin/sessions?needs_review=true", client=FIRST_OPERATOR)
    assert [session["id"] for session in listed["data"]["sessions"]] == [session_id]
    assert (await staff.ok("GET", "/api/v1/admin/sessions?needs_review=true", client=SECOND))["data"]["total"] == 0
    told = (await staff.ok("GET", review(session_id), client=FIRST_OPERATOR))["data"]
    assert (told["needs_review"], told["reasons"], told["start_source"]) == (True, ["register_jump"], "rfid")
    assert told["meter"]["candidate"] == 500_000
    assert told["settlements"][0]["due_amount"] == 0
    assert [entry["amount"] for entry in told["ledger"]] == [-200, 200]
    answer = await staff.ok(
        "POST", f"{review(session_id)}/adjust", {"amount": -27, "reason": "the display showed 2 kWh"}, client=FIRST
    )
    assert (answer["data"]["old_balance"], answer["data"]["new_balance"]) == (1000, 973)
    told = (await staff.ok("GET", review(session_id), client=FIRST))["data"]
    assert told["ledger"][-1]["transaction_type"] == "manual_adjustment"
    assert told["acts"][-1] == answer["data"]["act"]
    closed = [await staff.ok("POST", f"{review(session_id)}/close", NOTE, client=FIRST_OPERATOR) for _ in range(2)]
    assert [answer["data"]["closed"] for answer in closed] == [True, False]
    assert (await staff.ok("GET", "/api/v1/admin/sessions?needs_review=true", client=ROOT))["data"]["total"] == 0
    (adjusted,) = await audited(staff, "admin.session_adjust")
    assert (adjusted["actor"], adjusted["status"]) == (FIRST, 200)
    assert [row["details"]["closed"] for row in await audited(staff, "admin.review_close")] == [True, False]
    await books(staff)


async def test_an_adjustment_happens_once_per_key(staff: Api) -> None:
    session_id = await doubtful(staff)
    headers = {"Idempotency-Key": "key-1"}
    body = {"amount": 12.34, "reason": "half of it was ours"}
    answers = await asyncio.gather(
        *(staff.call("POST", f"{review(session_id)}/adjust", body, client=FIRST, headers=headers) for _ in range(5))
    )
    assert 200 in {answer.status_code for answer in answers}
    assert await staff.balance() == Decimal("1012.34")
    # Redis has lost the answer: the ledger has not.
    await staff.deps.redis.run(lambda client: client.flushall())
    again = await staff.ok("POST", f"{review(session_id)}/adjust", body, client=FIRST, headers=headers)
    assert again["data"]["new_balance"] == 1012.34
    assert await staff.balance() == Decimal("1012.34")
    assert len(await staff.sql("SELECT * FROM session_reviews WHERE action = 'adjust'")) == 1
    # Another member of staff's key of the same words is another key.
    await staff.ok("POST", f"{review(session_id)}/adjust", body, client=ROOT, headers=headers)
    assert await staff.balance() == Decimal("1024.68")
    await books(staff)


async def test_a_key_of_something_else_is_refused(staff: Api) -> None:
    session_id = await doubtful(staff)
    other_session = await add_session(staff, FIRST_STATION)
    body = {"amount": 5, "reason": "test"}
    for number, other in enumerate((review(other_session) + "/adjust", f"/api/v1/admin/clients/{CLIENT}/balance")):
        headers = {"Idempotency-Key": f"key-{number}"}
        method = "POST" if "review" in other else "PUT"
        await staff.ok(method, other, body, client=FIRST, headers=headers)
        await staff.deps.redis.run(lambda client: client.flushall())
        await staff.fails(
            "POST", f"{review(session_id)}/adjust", body, client=FIRST, headers=headers, status=409,
            code="invalid_request",
        )  # fmt: skip
    assert await staff.balance() == 1010


@pytest.mark.parametrize(
    ("amount", "status", "code"),
    [
        (0, 422, None),
        (0.001, 422, None),
        (100_001, 422, None),
        (-100_001, 422, None),
        (-1000.01, 402, "insufficient_balance"),
        ("5", 422, None),
    ],
)
async def test_bounds_of_an_adjustment(staff: Api, amount: Any, status: int, code: str | None) -> None:
    session_id = await doubtful(staff)
    answer = await staff.call(
        "POST", f"{review(session_id)}/adjust", {"amount": amount, "reason": "test"}, client=FIRST
    )
    expected = {status} if code else {400, 422}
    assert answer.status_code in expected, answer.text
    assert await staff.balance() == 1000
    assert await staff.sql("SELECT * FROM session_reviews") == []


async def test_who_may_correct_what(staff: Api) -> None:
    session_id = await doubtful(staff)
    body = {"amount": 5, "reason": "test"}
    path = f"{review(session_id)}/adjust"
    await staff.fails("POST", path, body, client=FIRST_OPERATOR, status=403, code="forbidden")
    await staff.fails("POST", path, body, client=SECOND, status=404, code="session_not_found")
    await staff.fails("GET", review(session_id), client=SECOND, status=404, code="session_not_found")
    await staff.fails("POST", f"{review(session_id)}/close", NOTE, client=SECOND, status=404, code="session_not_found")
    live = await start(staff)
    refused = await staff.fails(
        "POST", f"{review(str(live.session_id))}/adjust", body, client=FIRST, status=409, code="state_conflict"
    )
    assert (refused["state"], "still runs" in refused["reason"]) == ("charging", True)
    # Who gives money gives it to others.
    await staff.add_client(FIRST)
    own = await add_session(staff, FIRST_STATION, client_id=FIRST)
    await staff.fails("POST", f"{review(own)}/adjust", body, client=FIRST, status=400, code="invalid_request")


async def test_new_doubts_put_a_closed_session_on_the_list_again(staff: Api) -> None:
    session_id = await doubtful(staff)
    await staff.ok("POST", f"{review(session_id)}/close", NOTE, client=FIRST)
    async with staff.db.transaction() as conn:
        from evpower.charging.repository import sessions

        await sessions.flag_for_review(conn, session_id, ["register_reset"], staff.deps.clock.now())
    told = (await staff.ok("GET", review(session_id), client=FIRST))["data"]
    assert (told["needs_review"], told["reasons"]) == (True, ["register_jump", "register_reset"])
