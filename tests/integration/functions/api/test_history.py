"""History and statistics of a client: H1-H3 and their aliases (mobile-api.md §4.9)."""

from datetime import timedelta

from tests.integration.functions.api.conftest import CLIENT, OTHER, Api
from tests.integration.functions.api.staff_world import MAYBE_NUMBER, MAYBE_TEXT, NUMBER, add_session, check

HISTORY = "/api/v1/history"
CHARGING = {
    "id": str,
    "station_id": MAYBE_TEXT,
    "connector_id": (int, type(None)),
    "status": MAYBE_TEXT,
    "energy_kwh": NUMBER,
    "amount": NUMBER,
    "started_at": MAYBE_TEXT,
    "ended_at": MAYBE_TEXT,
    "duration_minutes": NUMBER,
    "limit_type": str,
    "limit_value": MAYBE_NUMBER,
    "station": {"model": MAYBE_TEXT, "location": {"name": MAYBE_TEXT, "address": MAYBE_TEXT}},
}
MOVEMENT = {
    "id": str,
    "transaction_type": str,
    "amount": NUMBER,
    "requested_amount": NUMBER,
    "balance_before": MAYBE_NUMBER,
    "balance_after": MAYBE_NUMBER,
    "created_at": MAYBE_TEXT,
    "completed_at": MAYBE_TEXT,
    "status": MAYBE_TEXT,
    "payment_method": MAYBE_TEXT,
    "invoice_id": MAYBE_TEXT,
}


async def test_charging_history_by_both_paths(api: Api) -> None:
    own = await add_session(api, "st-1")
    await add_session(api, "st-1", client_id=OTHER)
    answer = await api.ok("GET", f"{HISTORY}/charging")
    check(answer, {"success": bool, "data": [CHARGING], "total": int, "limit": int, "offset": int})
    assert [item["id"] for item in answer["data"]] == [own]
    assert (answer["total"], answer["limit"], answer["offset"]) == (1, 50, 0)
    assert await api.ok("GET", "/api/v1/charging/history") == answer
    page = await api.ok("GET", f"{HISTORY}/charging?limit=1&offset=1")
    assert (page["data"], page["total"], page["limit"], page["offset"]) == ([], 1, 1, 1)


async def test_transactions_by_both_paths(api: Api) -> None:
    answer = await api.ok("GET", f"{HISTORY}/transactions")
    check(answer, {"success": bool, "data": [MOVEMENT], "total": int, "limit": int, "offset": int})
    assert [item["amount"] for item in answer["data"]] == [1000]
    assert await api.ok("GET", "/api/v1/balance/history") == answer


async def test_stats(api: Api) -> None:
    now = api.deps.clock.now()
    nothing = {"total_sessions": 0, "total_energy_kwh": 0, "total_amount": 0, "average_session_minutes": 0}
    assert await api.ok("GET", f"{HISTORY}/stats") == {"success": True, "stats": nothing}
    for minutes in (30, 61):
        await add_session(api, "st-1", charging_started_at=now - timedelta(minutes=minutes))
    await add_session(api, "st-1", state="error", energy_wh=0, amount=0, charging_started_at=None)
    await add_session(api, "st-1", client_id=OTHER)
    await add_session(api, "st-1", state="charging", energy_wh=1500, amount=20, charging_started_at=now)
    assert (await api.ok("GET", f"{HISTORY}/stats"))["stats"] == {
        "total_sessions": 3,
        "total_energy_kwh": 21.5,
        "total_amount": 290,
        "average_session_minutes": 30.3,
    }


async def test_history_is_private(api: Api) -> None:
    for path in ("charging", "transactions", "stats"):
        await api.fails("GET", f"{HISTORY}/{path}", client=None, status=401, code="unauthorized")
        await api.fails("GET", f"{HISTORY}/{path}", client="nobody", status=404, code="client_not_found")
    for query in ("limit=0", "limit=101", "offset=-1"):
        for path in ("charging", "transactions"):
            await api.fails("GET", f"{HISTORY}/{path}?{query}", status=422, code="validation_error")
    await api.sql("UPDATE clients SET status = 'blocked' WHERE id = %s", CLIENT)
    await api.fails("GET", f"{HISTORY}/stats", status=403, code="client_blocked")
