"""Clients for admins and superadmins: D8-D11 (mobile-api.md §7.2)."""

import asyncio
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from evpower.auth import refresh_tokens
from evpower.errors import InsufficientBalance
from evpower.ids import new_id
from evpower.redis_access import RedisAway
from tests.integration.functions.api.conftest import CLIENT, OTHER, Api
from tests.integration.functions.api.staff_world import (
    FIRST,
    FIRST_OPERATOR,
    FIRST_STATION,
    FORMER,
    LONELY,
    MAYBE_TEXT,
    NUMBER,
    ROOT,
    ROOT_OPERATOR,
    SECOND,
    SECOND_OPERATOR,
    SECOND_STATION,
    add_session,
    build,
    check,
)

CLIENTS = "/api/v1/admin/clients"
BALANCE = f"{CLIENTS}/{CLIENT}/balance"
RECENT = {
    "id": str,
    "station_id": str,
    "status": str,
    "energy_kwh": NUMBER,
    "amount_som": NUMBER,
    "start_time": MAYBE_TEXT,
    "stop_time": MAYBE_TEXT,
}
ITEM = {
    "id": str,
    "name": MAYBE_TEXT,
    "email": MAYBE_TEXT,
    "phone": MAYBE_TEXT,
    "balance": NUMBER,
    "status": str,
    "sessions_count": int,
    "total_energy_kwh": NUMBER,
    "total_spent_som": NUMBER,
    "created_at": MAYBE_TEXT,
    "updated_at": MAYBE_TEXT,
    "anonymized": bool,
}
ADJUSTED = {"client_id": str, "old_balance": NUMBER, "new_balance": NUMBER, "adjustment": NUMBER, "reason": str}


@pytest.fixture
async def world(api: Api) -> Api:
    await build(api)
    return api


def key(value: str) -> dict[str, str]:
    return {"Idempotency-Key": value}


async def without_redis(api: Api) -> None:
    """The edge's memory of answers is away; only the database protects the money."""

    async def away(*_: Any, **__: Any) -> Any:
        raise RedisAway

    api.deps.redis.run = away  # type: ignore[method-assign]


async def adjust(api: Api, amount: Any, *, caller: str = ROOT, **options: Any) -> dict[str, Any]:
    answer = await api.ok("PUT", BALANCE, {"amount": amount, "reason": "goodwill"}, client=caller, **options)
    assert set(answer) == {"success", "data"}
    found: dict[str, Any] = answer["data"]
    return found


async def test_clients_are_for_managers(world: Api) -> None:
    calls: list[tuple[str, str, Any]] = [
        ("GET", CLIENTS, None),
        ("GET", f"{CLIENTS}/{CLIENT}", None),
        ("PUT", BALANCE, {"amount": 5, "reason": "because"}),
        ("PUT", f"{CLIENTS}/{CLIENT}/status?status=blocked", None),
    ]
    for method, path, body in calls:
        for caller in (FIRST_OPERATOR, ROOT_OPERATOR, LONELY, FORMER, CLIENT):
            await world.fails(method, path, body, client=caller, status=403, code="forbidden")
        await world.fails(method, path, body, client=None, status=401, code="unauthorized")
    assert await world.balance() == 1000
    assert await world.one("SELECT status FROM clients WHERE id = %s", CLIENT) == "active"
    for caller in (FIRST, ROOT):
        await world.ok("GET", CLIENTS, client=caller)


async def test_client_list(world: Api) -> None:
    await world.sql(
        "UPDATE clients SET name = 'Ann_e', email = 'ann@example.com', phone = '+996700123456' WHERE id = %s", CLIENT
    )
    for number, status in enumerate(("blocked", "inactive", "pending_deletion", "deleted")):
        await world.add_client(f"closed-{number}", status=status)
    answer = await world.ok("GET", CLIENTS, client=ROOT)
    check(answer, {"success": bool, "data": {"clients": [ITEM], "total": int, "limit": int, "offset": int}})
    words = {item["id"]: item["status"] for item in answer["data"]["clients"]}
    assert words == {CLIENT: "active", OTHER: "active", **{f"closed-{n}": "blocked" for n in range(4)}}

    async def found(query: str) -> list[str]:
        page = (await world.ok("GET", f"{CLIENTS}?{query}", client=FIRST))["data"]
        assert page["total"] >= len(page["clients"])
        return [item["id"] for item in page["clients"]]

    assert await found("search=ANN_") == [CLIENT]
    assert await found("search=ann%40example") == [CLIENT]
    assert await found("search=700%20123-456") == [CLIENT]
    assert await found("search=%2B996%20700%20123456") == [CLIENT]
    assert await found(f"search={OTHER}") == [OTHER]
    assert await found("search=a__e") == []  # wildcards are characters
    assert await found("search=%25") == []
    assert len(await found("search=")) == 6
    assert set(await found("status=active")) == {CLIENT, OTHER}
    assert len(await found("status=blocked")) == 4
    assert len(await found("limit=2&offset=5")) == 1
    for wrong in ("status=inactive", "limit=0", "search=%00", f"search={'x' * 101}"):
        await world.fails("GET", f"{CLIENTS}?{wrong}", client=ROOT, status=422, code="validation_error")


async def test_figures_of_a_client_are_of_the_readers_stations(world: Api) -> None:
    mine = await add_session(world, FIRST_STATION)
    theirs = await add_session(world, SECOND_STATION, energy_wh=20_000, taken_amount=270, final_amount=270)
    running = await add_session(world, SECOND_STATION, state="charging", energy_wh=1_000, connector_id=2)
    expected = {
        FIRST: ({mine}, 10, 135),
        SECOND: ({theirs, running}, 21, 270),
        ROOT: ({mine, theirs, running}, 31, 405),
    }
    for caller, (sessions, energy, spent) in expected.items():
        item = (await world.ok("GET", f"{CLIENTS}/{CLIENT}", client=caller))["data"]
        check(item, {**ITEM, "recent_sessions": [RECENT]})
        assert {recent["id"] for recent in item["recent_sessions"]} == sessions
        assert (item["sessions_count"], item["total_energy_kwh"], item["total_spent_som"]) == (
            len(sessions),
            energy,
            spent,
        )
        page = (await world.ok("GET", f"{CLIENTS}?search={CLIENT}", client=caller))["data"]
        assert page["clients"] == [{name: value for name, value in item.items() if name != "recent_sessions"}]
    await world.fails("GET", f"{CLIENTS}/none", client=ROOT, status=404, code="client_not_found")


async def test_adjusting_a_balance(world: Api) -> None:
    given = await adjust(world, 250.5)
    check(given, ADJUSTED)
    assert given == {
        "client_id": CLIENT,
        "old_balance": 1000,
        "new_balance": 1250.5,
        "adjustment": 250.5,
        "reason": "goodwill",
    }
    taken = await adjust(world, -1250.5, caller=FIRST)
    assert (taken["old_balance"], taken["new_balance"], taken["adjustment"]) == (1250.5, 0, -1250.5)
    assert await world.balance() == 0
    rows = await world.sql(
        """SELECT actor, description, amount FROM payment_transactions_odengi
            WHERE transaction_type = 'manual_adjustment' ORDER BY id"""
    )
    assert [tuple(row.values()) for row in rows] == [
        (ROOT, "goodwill", Decimal("250.50")),
        (FIRST, "goodwill", Decimal("-1250.50")),
    ]
    audited = await world.sql("SELECT * FROM audit_logs WHERE operation = 'admin.balance_adjust' ORDER BY id")
    assert [(row["actor"], row["actor_role"], row["client_id"], row["status"]) for row in audited] == [
        (ROOT, "superadmin", CLIENT, 200),
        (FIRST, "admin", CLIENT, 200),
    ]
    assert (audited[0]["amount_masked"], audited[0]["details"]["reason"]) == ("2**", "goodwill")
    history = await world.ok("GET", "/api/v1/balance/history?limit=1")
    assert history["data"][0]["transaction_type"] == "manual_adjustment"


async def test_refused_adjustments(world: Api) -> None:
    for amount, status, code in (
        (-1000.01, 402, InsufficientBalance.code),
        (0, 422, "invalid_amount"),
        (0.001, 422, "invalid_amount"),
        (100_000.01, 422, "maximum_amount_exceeded"),
        (-(10**30), 422, "maximum_amount_exceeded"),
        ("5", 422, "validation_error"),
        (True, 422, "validation_error"),
        (None, 422, "validation_error"),
    ):
        await world.fails(
            "PUT", BALANCE, {"amount": amount, "reason": "because"}, client=ROOT, status=status, code=code
        )
    for amount, why in ((0, "amount must not be 0"), (1.005, "amount has at most 2 decimals")):
        refused = await world.fails(
            "PUT", BALANCE, {"amount": amount, "reason": "because"}, client=ROOT, status=422, code="invalid_amount"
        )
        assert (refused["field"], refused["reason"]) == ("amount", why)
    for reason in ("no", "  x  ", "", None, 5, "x" * 501):
        body = {"amount": 5, "reason": reason}
        await world.fails("PUT", BALANCE, body, client=ROOT, status=422, code="validation_error")
    await world.fails("PUT", BALANCE, {"amount": 5}, client=ROOT, status=422, code="validation_error")
    body = {"amount": 5, "reason": "because"}
    await world.fails("PUT", f"{CLIENTS}/none/balance", body, client=ROOT, status=404, code="client_not_found")
    await world.add_client("gone", status="deleted")
    await world.fails("PUT", f"{CLIENTS}/gone/balance", body, client=ROOT, status=403, code="client_deleted")
    await world.add_client(FIRST)
    await world.fails("PUT", f"{CLIENTS}/{FIRST}/balance", body, client=FIRST, status=400, code="invalid_request")
    assert await world.balance() == 1000
    assert await world.balance(FIRST) == 0
    refused = await world.one(
        "SELECT count(*) FROM audit_logs WHERE operation = 'admin.balance_adjust' AND error_code IS NOT NULL"
    )
    assert refused == 10  # those that reached the rules


async def test_the_same_key_adjusts_once(world: Api) -> None:
    first = await adjust(world, 100, headers=key("k-1"))
    assert await adjust(world, 100, headers=key("k-1")) == first
    assert await world.balance() == 1100
    # The key is the actor's own, and a new one is a new adjustment.
    await adjust(world, 100, caller=FIRST, headers=key("k-1"))
    await adjust(world, 100, headers=key("k-2"))
    assert await world.balance() == 1300


async def test_the_same_key_adjusts_once_without_redis(world: Api) -> None:
    await without_redis(world)
    first = await adjust(world, 100, headers=key("k-1"))
    assert await adjust(world, 100, headers=key("k-1")) == first
    assert await world.balance() == 1100
    for path, amount in ((BALANCE, 200), (f"{CLIENTS}/{OTHER}/balance", 100)):
        body = {"amount": amount, "reason": "goodwill"}
        await world.fails("PUT", path, body, client=ROOT, headers=key("k-1"), status=409, code="invalid_request")
    assert (await world.balance(), await world.balance(OTHER)) == (1100, 500)


@pytest.mark.parametrize("redis_is_there", [True, False])
async def test_the_same_key_at_the_same_time(world: Api, redis_is_there: bool) -> None:
    if not redis_is_there:
        await without_redis(world)
    body = {"amount": 100, "reason": "goodwill"}
    paths = [BALANCE] * 4 + [f"{CLIENTS}/{OTHER}/balance"] * 2
    answers = await asyncio.gather(*(world.call("PUT", path, body, client=ROOT, headers=key("race")) for path in paths))
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) <= {200, 409}
    assert 200 in statuses
    assert sorted([await world.balance() - 1000, await world.balance(OTHER) - 500]) == [0, 100]
    assert len({answer.text for answer in answers if answer.status_code == 200}) == 1


async def test_simultaneous_withdrawals_stop_at_zero(world: Api) -> None:
    body = {"amount": -400, "reason": "correction"}
    answers = await asyncio.gather(*(world.call("PUT", BALANCE, body, client=ROOT) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [200, 200, 402, 402, 402]
    assert await world.balance() == 200


async def test_blocking_a_client(world: Api) -> None:
    now = world.deps.clock.now()
    async with world.db.transaction() as conn:
        _, token = await refresh_tokens.open_login(conn, CLIENT, None, now)
    path = f"{CLIENTS}/{CLIENT}/status"
    answer = await world.ok("PUT", f"{path}?status=blocked", client=FIRST)
    assert answer == {
        "success": True,
        "data": {"client_id": CLIENT, "old_status": "active", "new_status": "blocked"},
    }
    await world.fails("GET", "/api/v1/balance/current", status=403, code="client_blocked")
    async with world.db.transaction() as conn:
        assert await refresh_tokens.use(conn, token, now + timedelta(seconds=1)) is None
    again = await world.ok("PUT", f"{path}?status=blocked", client=FIRST)
    assert again["data"]["old_status"] == "blocked"
    freed = await world.ok("PUT", f"{path}?status=active", client=ROOT)
    assert freed["data"] == {"client_id": CLIENT, "old_status": "blocked", "new_status": "active"}
    await world.ok("GET", "/api/v1/balance/current")
    rows = await world.sql("SELECT actor, details FROM audit_logs WHERE operation = 'admin.client_status' ORDER BY id")
    assert [(row["actor"], row["details"]["old_status"], row["details"]["status"]) for row in rows] == [
        (FIRST, "active", "blocked"),
        (FIRST, "blocked", "blocked"),
        (ROOT, "blocked", "active"),
    ]


async def test_whom_one_cannot_block(world: Api) -> None:
    for staff in (FIRST, SECOND, FIRST_OPERATOR, SECOND_OPERATOR):
        await world.add_client(staff)
    await world.add_client("gone", status="deleted")

    async def refused(client_id: str, caller: str, status: int, code: str, word: str = "blocked") -> None:
        path = f"{CLIENTS}/{client_id}/status?status={word}"
        await world.fails("PUT", path, client=caller, status=status, code=code)

    await refused("none", ROOT, 404, "client_not_found")
    await refused("gone", ROOT, 403, "client_deleted", "active")
    await refused(FIRST, FIRST, 400, "invalid_request")
    await refused(SECOND, FIRST, 403, "forbidden")
    await refused(SECOND_OPERATOR, FIRST, 403, "forbidden")
    await refused(CLIENT, FIRST, 422, "validation_error", "inactive")
    await world.fails("PUT", f"{CLIENTS}/{CLIENT}/status", client=FIRST, status=422, code="validation_error")
    assert await world.one("SELECT count(*) FROM clients WHERE status = 'blocked'") == 0
    await world.ok("PUT", f"{CLIENTS}/{FIRST_OPERATOR}/status?status=blocked", client=FIRST)
    await world.ok("PUT", f"{CLIENTS}/{SECOND}/status?status=blocked", client=ROOT)


async def test_a_blocked_client_still_stops_its_session(world: Api) -> None:
    session = (await world.start())["session_id"]
    await world.ok("PUT", f"{CLIENTS}/{CLIENT}/status?status=blocked", client=ROOT, headers=key(new_id()))
    await world.ok("POST", "/api/v1/charging/stop", {"session_id": session})
    assert await world.balance() == 1000
